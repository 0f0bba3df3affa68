package web

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// An Observer hears what came of requests. Its methods are quick and safe for
// several goroutines.
type Observer interface {
	// Route returns what is told each request of a route, which is a pattern,
	// never a path. It is called while the handler is made, so that a request
	// looks up no names. The status is 0 where nothing was answered.
	Route(method, route string) func(status int, took time.Duration)
	Problem(code string)
	SessionBegun(guest bool)
}

// nobody is the Observer where there is none.
type nobody struct{}

func (nobody) Route(string, string) func(int, time.Duration) { return func(int, time.Duration) {} }
func (nobody) Problem(string)                                {}
func (nobody) SessionBegun(bool)                             {}

func (o *Options) observer() Observer {
	if o.Observer == nil {
		return nobody{}
	}
	return o.Observer
}

// requestID is what a trusted proxy calls the request, so that its log and ours
// can be read together, or an id of our own.
func (s *server) requestID(r *http.Request) string {
	if s.RequestID != nil {
		if id := s.RequestID(r); isRequestID(id) {
			return id
		}
	}
	return strconv.FormatUint(rand.Uint64(), 36)
}

// isRequestID reports whether a text can stand in logs, records and problems.
func isRequestID(id string) bool {
	return id != "" && len(id) <= 64 && strings.Trim(id, idLetters) == ""
}

const idLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

// traceID returns the trace that a request belongs to, "" where it says none
// that can be read (W3C Trace Context 3.2). It is only for the log: whoever
// asks may say any.
func traceID(header []string) string {
	if len(header) != 1 {
		return ""
	}
	// version "-" trace "-" parent "-" flags; later versions may add more.
	h := header[0]
	if len(h) < 55 || h[2] != '-' || h[35] != '-' || h[52] != '-' || len(h) > 55 && (h[:2] == "00" || h[55] != '-') {
		return ""
	}
	trace, parent := h[3:35], h[36:52]
	if h[:2] == "ff" || !isHex(h[:2]) || !isHex(trace) || !isHex(parent) || !isHex(h[53:55]) ||
		strings.Trim(trace, "0") == "" || strings.Trim(parent, "0") == "" {
		return ""
	}
	return trace
}

func isHex(text string) bool { return strings.Trim(text, "0123456789abcdef") == "" }
