package otlp

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/trace"
)

// A collector takes traces as the protocol says, and nothing else. It answers
// with what stands in answers, one after the other, and then with 200.
type collector struct {
	t       testing.TB
	answers []func(http.ResponseWriter)
	mu      sync.Mutex
	spans   []received
	header  http.Header
	calls   int
}

// received is a span of opentelemetry/proto/trace/v1, in the JSON form.
type received struct {
	TraceID           string `json:"traceId"`
	SpanID            string `json:"spanId"`
	ParentSpanID      string `json:"parentSpanId"`
	Name              string `json:"name"`
	Kind              int    `json:"kind"`
	StartTimeUnixNano int64  `json:"startTimeUnixNano,string"`
	EndTimeUnixNano   int64  `json:"endTimeUnixNano,string"`
	Attributes        []pair `json:"attributes"`
	Status            struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"status"`
}

type pair struct {
	Key   string `json:"key"`
	Value struct {
		StringValue *string `json:"stringValue"`
		IntValue    *int64  `json:"intValue,string"`
		BoolValue   *bool   `json:"boolValue"`
	} `json:"value"`
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	c.header = r.Header
	if r.Method != "POST" || r.URL.Path != "/otel/v1/traces" || r.Header.Get("Content-Type") != "application/json" {
		c.t.Errorf("the collector is asked %s %s with %s", r.Method, r.URL, r.Header.Get("Content-Type"))
	}
	if len(c.answers) > 0 {
		answer := c.answers[0]
		c.answers = c.answers[1:]
		answer(w)
		return
	}
	var in struct {
		ResourceSpans []struct {
			Resource struct {
				Attributes []pair `json:"attributes"`
			} `json:"resource"`
			ScopeSpans []struct {
				Scope struct {
					Name    string `json:"name"`
					Version string `json:"version"`
				} `json:"scope"`
				Spans []received `json:"spans"`
			} `json:"scopeSpans"`
		} `json:"resourceSpans"`
	}
	body := json.NewDecoder(r.Body)
	body.DisallowUnknownFields()
	if err := body.Decode(&in); err != nil {
		c.t.Errorf("this is no OTLP: %v", err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, of := range in.ResourceSpans {
		if len(of.Resource.Attributes) == 0 || of.Resource.Attributes[0].Key != "service.name" || *of.Resource.Attributes[0].Value.StringValue != "admit" {
			c.t.Errorf("the resource is %+v", of.Resource)
		}
		for _, scope := range of.ScopeSpans {
			for _, s := range scope.Spans {
				if a, err := hex.DecodeString(s.TraceID); err != nil || len(a) != 16 {
					c.t.Errorf("%q is no trace", s.TraceID)
				}
				if a, err := hex.DecodeString(s.SpanID); err != nil || len(a) != 8 {
					c.t.Errorf("%q is no span", s.SpanID)
				}
				if s.EndTimeUnixNano < s.StartTimeUnixNano || s.StartTimeUnixNano <= 0 || s.Name == "" || s.Kind < 1 || s.Kind > 5 {
					c.t.Errorf("%+v cannot be", s)
				}
				c.spans = append(c.spans, s)
			}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, `{"partialSuccess":{}}`)
}

func status(code int, headers ...string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
	}
}

// collect returns an exporter that runs until the returned function is called,
// within a bubble of its own time.
func collect(t *testing.T, c *collector) (e *Exporter, stop func(), log *bytes.Buffer) {
	t.Helper()
	c.t = t
	log = &bytes.Buffer{}
	e, err := New(Options{
		Endpoint: "http://collector.example/otel/", Headers: admit.NewSecret("api-key=s%20ecret,tenant=blue"), Version: "v1",
		Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	e.client.Transport = direct{c}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	return e, func() { cancel(); <-done }, log
}

// direct asks a handler without a network.
type direct struct{ to http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.to.ServeHTTP(w, r)
	return w.Result(), r.Context().Err()
}

var errDisk = admit.Unavailable.New("disk_full", "ann@example.org's disk is full.")

func TestSpansReachTheCollectorAsOTLPSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collector{}
		e, stop, _ := collect(t, c)
		root := e.Begin(trace.Server, "request", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
		child := root.Child("store write")
		time.Sleep(3 * time.Millisecond)
		child.End(errDisk)
		root.Name("POST /api/v1/signin")
		root.Set("http.response.status_code", 503)
		root.Set("flag", true)
		root.End(admit.Unauthenticated.New("bad_credentials", "No."))
		time.Sleep(sendEvery)
		stop()
		if len(c.spans) != 2 || c.calls != 1 {
			t.Fatalf("%d spans in %d calls", len(c.spans), c.calls)
		}
		in, out := c.spans[0], c.spans[1]
		if out.TraceID != "4bf92f3577b34da6a3ce929d0e0e4736" || out.ParentSpanID != "00f067aa0ba902b7" || out.Kind != 2 || out.Name != "POST /api/v1/signin" {
			t.Errorf("the request is %+v", out)
		}
		if in.TraceID != out.TraceID || in.ParentSpanID != out.SpanID || in.Kind != 1 || in.EndTimeUnixNano-in.StartTimeUnixNano != 3_000_000 {
			t.Errorf("its part is %+v", in)
		}
		if in.Status.Code != 2 || out.Status.Code != 0 || in.Status.Message != "" {
			t.Errorf("a failure has status %+v, a refusal %+v", in.Status, out.Status)
		}
		for _, s := range []struct {
			of   received
			want string
		}{{in, "error.type=disk_full"}, {out, "http.response.status_code=503 flag=true error.type=bad_credentials"}} {
			var said []string
			for _, a := range s.of.Attributes {
				switch v := a.Value; {
				case v.StringValue != nil:
					said = append(said, a.Key+"="+*v.StringValue)
				case v.IntValue != nil:
					said = append(said, fmt.Sprint(a.Key, "=", *v.IntValue))
				default:
					said = append(said, fmt.Sprint(a.Key, "=", *v.BoolValue))
				}
			}
			if got := strings.Join(said, " "); got != s.want {
				t.Errorf("%s says %s, want %s", s.of.Name, got, s.want)
			}
		}
		if c.header.Get("Api-Key") != "s ecret" || c.header.Get("Tenant") != "blue" || c.header.Get("User-Agent") != "admit/v1" {
			t.Errorf("the headers are %v", c.header)
		}
		if e.Stats() != (Stats{Sent: 2}) {
			t.Errorf("the numbers are %+v", e.Stats())
		}
	})
}

func TestATraceThatItsFirstPartDoesNotWantIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collector{}
		e, stop, _ := collect(t, c)
		root := e.Begin(trace.Server, "request", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
		root.Child("part").End(nil)
		if p := root.Parent(); !strings.HasPrefix(p, "00-4bf92f3577b34da6a3ce929d0e0e4736-") || !strings.HasSuffix(p, "-00") {
			t.Errorf("what it leads to is told %s", p)
		}
		root.End(nil)
		stop()
		if c.calls != 0 {
			t.Errorf("the collector was asked %d times", c.calls)
		}
	})
}

func TestWhatACollectorCannotTakeNowIsSentAgainAndToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collector{answers: []func(http.ResponseWriter){status(503), status(429, "Retry-After", "30"), status(502)}}
		e, stop, log := collect(t, c)
		e.Begin(trace.Server, "request", "").End(nil)
		time.Sleep(2 * time.Minute)
		stop()
		if len(c.spans) != 1 || c.calls != 4 || e.Stats() != (Stats{Sent: 1}) {
			t.Errorf("%d spans arrive in %d calls: %+v", len(c.spans), c.calls, e.Stats())
		}
		if n := strings.Count(log.String(), "traces do not reach"); n != 1 || !strings.Contains(log.String(), "over: traces reach") {
			t.Errorf("the log says\n%s", log)
		}
		if strings.Contains(log.String(), "ecret") {
			t.Errorf("the log tells a header: %s", log)
		}
	})
}

func TestWhatACollectorRefusesIsDroppedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collector{answers: []func(http.ResponseWriter){
			status(401), status(302, "Location", "http://elsewhere.example/"),
			func(w http.ResponseWriter) {
				fmt.Fprint(w, `{"partialSuccess":{"rejectedSpans":"1","errorMessage":"no"}}`)
			},
		}}
		e, stop, _ := collect(t, c)
		for range 3 {
			e.Begin(trace.Server, "request", "").End(nil)
			e.Begin(trace.Server, "request", "").End(nil)
			time.Sleep(2 * sendEvery)
		}
		stop()
		if e.Stats() != (Stats{Sent: 1, Dropped: 5}) || c.calls != 3 {
			t.Errorf("%+v in %d calls", e.Stats(), c.calls)
		}
	})
}

func TestACollectorThatIsAwayCostsBoundedMemoryAndNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collector{}
		e, stop, _ := collect(t, c)
		e.client.Transport = broken{}
		began := time.Now()
		const n = 5000
		for range n {
			e.Begin(trace.Server, "request", "").End(nil)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("requests waited for %v", took)
		}
		time.Sleep(time.Hour)
		for range n {
			e.Begin(trace.Server, "request", "").End(nil)
		}
		if len(e.ended) > maxWaiting {
			t.Errorf("%d wait", len(e.ended))
		}
		stop()
		if got := e.Stats(); got != (Stats{Dropped: 2 * n}) {
			t.Errorf("%+v, want all dropped and counted", got)
		}
	})
}

type broken struct{}

func (broken) RoundTrip(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

func TestWhatIsLeftIsSentWhenTheServerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collector{}
		e, stop, _ := collect(t, c)
		for range maxBatch + 10 {
			e.Begin(trace.Server, "request", "").End(nil)
		}
		stop()
		if len(c.spans) != maxBatch+10 {
			t.Errorf("%d arrive, want %d", len(c.spans), maxBatch+10)
		}
	})
}

func TestHeadersForTheCollectorAreReadStrictly(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "map[]",
		"api-key=abc":                   "map[Api-Key:[abc]]",
		" a = b%3D%2C , c = ":           "map[A:[b=,] C:[]]",
		"authorization=Basic%20dTpw==,": "map[Authorization:[Basic dTpw==]]",
	} {
		if got, err := ParseHeaders(text); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%q is read as %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"hunter2", "=hunter2", "a b=hunter2", "a=hunter2%0D%0Ab: c", "a=%zhunter2"} {
		if _, err := ParseHeaders(text); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add("api-key=abc,b=%20c")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := ParseHeaders(text)
		if err != nil {
			return
		}
		// net/http refuses what could break out of a header.
		r := httptest.NewRequest("POST", "http://localhost/", nil)
		for name, values := range h {
			r.Header[name] = values
		}
		if err := r.Header.Write(io.Discard); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		for name, values := range h {
			if strings.ContainsAny(name+strings.Join(values, ""), "\r\n\x00") {
				t.Errorf("%q is read as %v", text, h)
			}
		}
	})
}

func TestAnErrorWithoutACodeIsTellingNothing(t *testing.T) {
	e, err := New(Options{Endpoint: "http://localhost", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	e.Begin(trace.Internal, "part", "").End(errors.New("open /home/ann: no"))
	body, err := e.encode([]*span{<-e.ended})
	if err != nil || strings.Contains(string(body), "ann") || !strings.Contains(string(body), `"internal"`) {
		t.Errorf("%s, %v", body, err)
	}
}

func BenchmarkASpanThatIsSent(b *testing.B) {
	e, err := New(Options{Endpoint: "http://localhost", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		s := e.Begin(trace.Server, "request", "")
		s.Set("http.response.status_code", 200)
		s.End(nil)
		<-e.ended
	}
}
