package feed

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/admit-auth/admit"
)

// HandlerOptions are the rare choices of [Handler] and [SnapshotHandler].
type HandlerOptions struct {
	// Refuse answers a request with an error: authorize's, or the source's.
	// Without it the answer is a bare status and the error's code.
	Refuse func(http.ResponseWriter, *http.Request, error)
}

// stuck is how long a follower may take to read one message. A slow one is cut
// off; it comes back to where it was.
const stuck = 10 * time.Second

// Handler serves a feed as server-sent events, for GET /feed. Each message is
// one [News] as JSON with its head as id, so that Last-Event-ID resumes. A
// [Remote] reads it, and so does a browser's EventSource.
//
// Authorize says with what audiences a request may be concerned: see
// [News.For]. It is asked again at least once in a Heartbeat as long as the request
// lasts. When it refuses, the stream ends; when the audiences have changed, the
// follower hears a reset. An error of a kind that is no refusal, as when a
// database is away, changes nothing for who was let in before.
//
// A stream ends with its request's context. [http.Server.Shutdown] waits for
// it: cancel the server's BaseContext first.
func Handler(source Source, authorize func(*http.Request) (audiences []string, err error), o *HandlerOptions) http.Handler {
	h := &handler{source: source, authorize: authorize, refuse: refuse}
	if o != nil && o.Refuse != nil {
		h.refuse = o.Refuse
	}
	return h
}

type handler struct {
	source    Source
	authorize func(*http.Request) ([]string, error)
	refuse    func(http.ResponseWriter, *http.Request, error)
	whole     bool // leave nothing out, for feedtest
}

// refuse is the answer to those who do not bring one of their own.
func refuse(w http.ResponseWriter, _ *http.Request, err error) {
	code, status := "unavailable", http.StatusServiceUnavailable
	switch admit.KindOf(err) {
	case admit.Unauthenticated:
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", "Bearer")
	case admit.Forbidden:
		status = http.StatusForbidden
	default:
		w.Header().Set("Retry-After", "1")
	}
	if e, ok := errors.AsType[*admit.Error](err); ok {
		code = e.Code()
	}
	http.Error(w, code, status)
}

// refused reports whether an error of authorize says no, rather than that it
// cannot tell.
func refused(err error) bool {
	return errors.Is(err, admit.Unauthenticated) || errors.Is(err, admit.Forbidden)
}

// errChanged ends a stream that must begin anew.
var errChanged = errors.New("feed: the audiences have changed")

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	audiences, err := h.authorize(r)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	// What is no position cannot be continued from: the first news is a reset.
	after, _ := ParseID(r.Header.Get("Last-Event-ID"))
	s := &stream{handler: h, w: w, r: r, control: http.NewResponseController(w), audiences: audiences}
	for err = errChanged; err == errChanged; after = (ID{}) {
		s.checked = time.Now()
		err = h.source.Follow(r.Context(), after, s.hear)
	}
	if s.sent.IsZero() && r.Context().Err() == nil {
		h.refuse(w, r, err)
	}
}

// A stream is one follower's answer.
type stream struct {
	*handler
	w         http.ResponseWriter
	r         *http.Request
	control   *http.ResponseController
	audiences []string
	checked   time.Time // when authorize was asked last
	sent      time.Time // when the last message was; zero before the first
}

func (s *stream) hear(n News) error {
	now := time.Now()
	told := n
	if !s.whole {
		told = n.For(s.audiences...)
	}
	// News that concerns others is worth a message no more often than a
	// heartbeat would be.
	if len(told.Events) > 0 || n.Events == nil || n.Reset || now.Sub(s.sent) >= Heartbeat/2 {
		if err := s.send(told, now); err != nil {
			return err
		}
	}
	// After the news, which must not wait for a database. A heartbeat that comes a
	// little early would else be passed over, and its follower be heard a second
	// longer than it may.
	if now.Sub(s.checked) < Heartbeat/2 {
		return nil
	}
	s.checked = now
	audiences, err := s.authorize(s.r)
	switch {
	case refused(err):
		return err
	case err == nil && !slices.Equal(audiences, s.audiences):
		s.audiences = audiences
		return errChanged
	}
	return nil
}

func (s *stream) send(n News, now time.Time) error {
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if s.sent.IsZero() {
		h := s.w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Accel-Buffering", "no") // nginx passes it on as it comes
	}
	s.sent = now
	if err := s.control.SetWriteDeadline(now.Add(stuck)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	// encoding/json writes no line breaks.
	if _, err := fmt.Fprintf(s.w, "id: %v\ndata: %s\n\n", n.Head, text); err != nil {
		return err
	}
	return s.control.Flush()
}

// SnapshotHandler serves everything that still matters as one [News] in JSON, a
// reset, for GET /feed/snapshot: for those who ask now and then in place of
// following. The arguments are Handler's.
func SnapshotHandler(source Source, authorize func(*http.Request) (audiences []string, err error), o *HandlerOptions) http.Handler {
	refuse := refuse
	if o != nil && o.Refuse != nil {
		refuse = o.Refuse
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		audiences, err := authorize(r)
		if err != nil {
			refuse(w, r, err)
			return
		}
		var snapshot News
		enough := errors.New("enough")
		if err := source.Follow(r.Context(), ID{}, func(n News) error { snapshot = n; return enough }); err != enough {
			if r.Context().Err() == nil {
				refuse(w, r, err)
			}
			return
		}
		text, err := json.Marshal(snapshot.For(audiences...))
		if err != nil {
			refuse(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(text) // who hung up needs no answer
	})
}
