// Package otlp sends spans to a collector of OpenTelemetry.
//
// [New] returns an [Exporter], which is a trace.Tracer; Run sends what has ended,
// by OTLP over HTTP in its JSON form. What a collector cannot take is dropped and
// counted: no request ever waits for one.
package otlp

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/trace"
)

const (
	maxWaiting = 2048 // spans, 1 kB each at most; the same numbers as in OpenTelemetry's own
	maxBatch   = 512
	sendEvery  = 5 * time.Second
	sendTime   = 10 * time.Second // for one batch
	lastTime   = 2 * time.Second  // for what is left when Run ends
	maxPause   = time.Minute      // between tries
	maxAnswer  = 64 << 10         // bytes
)

// Options of an Exporter.
type Options struct {
	Endpoint string       // the collector's URL; /v1/traces is added to it
	Headers  admit.Secret // name=value, with commas between, as in OTEL_EXPORTER_OTLP_HEADERS
	Version  string       // of this program
	Log      *slog.Logger
}

// An Exporter is a trace.Tracer.
type Exporter struct {
	o       Options
	url     string
	headers http.Header
	client  *http.Client
	ended   chan *span
	stats   struct{ sent, dropped atomic.Uint64 }
	failing bool // of Run
}

// Stats are what became of spans.
type Stats struct{ Sent, Dropped uint64 }

// New returns an exporter, which keeps spans until Run sends them.
func New(o Options) (*Exporter, error) {
	headers, err := ParseHeaders(o.Headers.Reveal())
	if err != nil {
		return nil, err
	}
	return &Exporter{
		o: o, url: strings.TrimSuffix(o.Endpoint, "/") + "/v1/traces", headers: headers,
		// A collector that leads elsewhere would take the headers along.
		client: &http.Client{Timeout: sendTime, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		ended:  make(chan *span, maxWaiting),
	}, nil
}

// ParseHeaders reads headers as in OTEL_EXPORTER_OTLP_HEADERS: a list of
// name=value, each percent-encoded. Its errors quote no value.
func ParseHeaders(text string) (http.Header, error) {
	h := http.Header{}
	for pair := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		name, bad := url.PathUnescape(strings.TrimSpace(name))
		value, worse := url.PathUnescape(strings.TrimSpace(value))
		if !ok || bad != nil || worse != nil || name == "" || strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, errors.New("a header is not written as name=value")
		}
		h.Add(name, value)
	}
	return h, nil
}

// Stats returns what became of spans since New.
func (e *Exporter) Stats() Stats { return Stats{e.stats.sent.Load(), e.stats.dropped.Load()} }

// A span is a trace.Span.
type span struct {
	to      *Exporter
	trace   [16]byte
	id      [8]byte
	parent  [8]byte // zero for none
	sampled bool
	began   time.Time
	shape   wireSpan
}

// Begin implements trace.Tracer. Whether a trace is wanted its first part has
// decided; of those that begin here all are.
func (e *Exporter) Begin(kind trace.Kind, name, parent string) trace.Span {
	s := &span{to: e, sampled: true}
	id, from, sampled, ok := trace.Parse(parent)
	if ok {
		hex.Decode(s.trace[:], []byte(id)) // which Parse has seen
		hex.Decode(s.parent[:], []byte(from))
		s.sampled = sampled
	} else {
		// Not secret: an id only must not be another's.
		binary.BigEndian.PutUint64(s.trace[:], rand.Uint64())
		binary.BigEndian.PutUint64(s.trace[8:], rand.Uint64()|1) // zero is no id
	}
	return s.begin(kind, name)
}

func (s *span) begin(kind trace.Kind, name string) *span {
	binary.BigEndian.PutUint64(s.id[:], rand.Uint64()|1)
	s.shape.Name, s.shape.Kind, s.began = name, kind, time.Now()
	return s
}

// Child implements trace.Span.
func (s *span) Child(name string) trace.Span {
	child := &span{to: s.to, trace: s.trace, parent: s.id, sampled: s.sampled}
	return child.begin(trace.Internal, name)
}

// Name implements trace.Span.
func (s *span) Name(name string) { s.shape.Name = name }

// Set implements trace.Span.
func (s *span) Set(key string, v any) {
	a := attribute{Key: key}
	switch v := v.(type) {
	case string:
		a.Value.String = &v
	case bool:
		a.Value.Bool = &v
	case int:
		text := strconv.Itoa(v) // a JSON number has no 64 bits
		a.Value.Int = &text
	default:
		return
	}
	s.shape.Attributes = append(s.shape.Attributes, a)
}

// Parent implements trace.Span.
func (s *span) Parent() string {
	flags := "-00"
	if s.sampled {
		flags = "-01"
	}
	return "00-" + hex.EncodeToString(s.trace[:]) + "-" + hex.EncodeToString(s.id[:]) + flags
}

// End implements trace.Span. A refusal is no failure, and of a failure the code is
// told: the words of an error may name people.
func (s *span) End(err error) {
	if !s.sampled {
		return
	}
	if err != nil {
		code := "internal"
		if e, ok := errors.AsType[*admit.Error](err); ok {
			code = e.Code()
		}
		s.Set("error.type", code)
		if kind := admit.KindOf(err); kind == admit.Internal || kind == admit.Unavailable {
			s.shape.Status.Code = 2
		}
	}
	w := &s.shape
	w.Trace, w.ID = hex.EncodeToString(s.trace[:]), hex.EncodeToString(s.id[:])
	if s.parent != [8]byte{} {
		w.Parent = hex.EncodeToString(s.parent[:])
	}
	w.Start = strconv.FormatInt(s.began.UnixNano(), 10)
	// By the monotonic clock: a clock that is set back would end it before it began.
	w.End = strconv.FormatInt(s.began.UnixNano()+int64(time.Since(s.began)), 10)
	select {
	case s.to.ended <- s:
	default:
		s.to.stats.dropped.Add(1)
	}
}

// Run sends what has ended until ctx is done, and then once more.
func (e *Exporter) Run(ctx context.Context) {
	// What is under way when the server stops may end, for a moment: cut off, it
	// would be sent once more.
	sending, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastTime, cut) })()

	tick := time.NewTicker(sendEvery)
	defer tick.Stop()
	var batch []*span
	var tries int
	for {
		full := false
		// A batch that waits for the collector takes no more.
		for len(batch) < maxBatch && !full && tries == 0 {
			select {
			case <-ctx.Done():
				e.last(sending, batch)
				return
			case s := <-e.ended:
				batch = append(batch, s)
			case <-tick.C:
				full = len(batch) > 0
			}
		}
		again, pause := e.send(sending, batch)
		if !again {
			batch, tries = nil, 0
			continue
		}
		tries++
		if pause == 0 {
			pause = min(maxPause, time.Second<<min(tries, 6))
		}
		wait := time.NewTimer(pause/2 + rand.N(pause/2+1))
		select {
		case <-ctx.Done():
			wait.Stop()
			e.last(sending, batch)
			return
		case <-wait.C:
		}
	}
}

// last sends what is left, until ctx is cut off.
func (e *Exporter) last(ctx context.Context, batch []*span) {
	for {
		for len(batch) < maxBatch && len(e.ended) > 0 {
			batch = append(batch, <-e.ended)
		}
		if len(batch) == 0 {
			return
		}
		if again, _ := e.send(ctx, batch); again {
			e.stats.dropped.Add(uint64(len(batch) + len(e.ended)))
			return
		}
		batch = nil
	}
}

// send sends a batch and says whether to try again, and when; 0 is as the caller
// likes.
func (e *Exporter) send(ctx context.Context, batch []*span) (again bool, pause time.Duration) {
	rejected, again, pause, err := e.post(ctx, batch)
	if ctx.Err() != nil {
		return true, 0
	}
	if failing := err != nil; failing != e.failing {
		e.failing = failing
		if failing {
			e.o.Log.WarnContext(ctx, "traces do not reach the collector", "endpoint", e.url, "error", err)
		} else {
			e.o.Log.InfoContext(ctx, "over: traces reach the collector again", "dropped", e.stats.dropped.Load())
		}
	}
	switch {
	case again:
	case err != nil:
		e.stats.dropped.Add(uint64(len(batch)))
	default:
		rejected = min(rejected, len(batch))
		e.stats.dropped.Add(uint64(rejected))
		e.stats.sent.Add(uint64(len(batch) - rejected))
	}
	return again, pause
}

func (e *Exporter) post(ctx context.Context, batch []*span) (rejected int, again bool, pause time.Duration, err error) {
	body, err := e.encode(batch)
	if err != nil {
		return 0, false, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, "POST", e.url, bytes.NewReader(body))
	if err != nil {
		return 0, false, 0, err
	}
	for name, values := range e.headers {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "admit/"+e.o.Version)
	res, err := e.client.Do(req)
	if err != nil {
		return 0, true, 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	switch res.StatusCode {
	case http.StatusOK:
		var said struct {
			Partial struct {
				Rejected json.Number `json:"rejectedSpans"` // a string, by the rules for 64 bits
			} `json:"partialSuccess"`
		}
		_ = json.Unmarshal(text, &said) // what took it owes no more
		n, _ := strconv.Atoi(said.Partial.Rejected.String())
		return max(n, 0), false, 0, nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
		again, pause = true, min(max(0, time.Duration(seconds)*time.Second), maxPause)
	}
	return 0, again, pause, errors.Join(fmt.Errorf("the collector answers %s", res.Status), err)
}

// What is sent, in the JSON form of OTLP 1.x: ids are hex, 64-bit numbers strings.
type (
	wireSpan struct {
		Trace      string      `json:"traceId"`
		ID         string      `json:"spanId"`
		Parent     string      `json:"parentSpanId,omitempty"`
		Name       string      `json:"name"`
		Kind       trace.Kind  `json:"kind"`
		Start      string      `json:"startTimeUnixNano"`
		End        string      `json:"endTimeUnixNano"`
		Attributes []attribute `json:"attributes,omitempty"`
		Status     struct {
			Code int `json:"code,omitempty"`
		} `json:"status"`
	}
	attribute struct {
		Key   string `json:"key"`
		Value struct {
			String *string `json:"stringValue,omitempty"`
			Int    *string `json:"intValue,omitempty"`
			Bool   *bool   `json:"boolValue,omitempty"`
		} `json:"value"`
	}
	scopeSpans struct {
		Scope struct {
			Name    string `json:"name"`
			Version string `json:"version"`
		} `json:"scope"`
		Spans []*wireSpan `json:"spans"`
	}
	resourceSpans struct {
		Resource struct {
			Attributes []attribute `json:"attributes"`
		} `json:"resource"`
		ScopeSpans []scopeSpans `json:"scopeSpans"`
	}
)

func (e *Exporter) encode(batch []*span) ([]byte, error) {
	var scope scopeSpans
	scope.Scope.Name, scope.Scope.Version = "github.com/admit-auth/admit/server", e.o.Version
	for _, s := range batch {
		scope.Spans = append(scope.Spans, &s.shape)
	}
	var of span
	of.Set("service.name", "admit")
	of.Set("service.version", e.o.Version)
	var all resourceSpans
	all.Resource.Attributes, all.ScopeSpans = of.shape.Attributes, []scopeSpans{scope}
	return json.Marshal(struct {
		ResourceSpans []resourceSpans `json:"resourceSpans"`
	}{[]resourceSpans{all}})
}
