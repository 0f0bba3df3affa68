package web

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/trace"
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

// identify gives the call its id, which is what a trusted proxy calls it, so that
// its log and ours can be read together, or one of our own; and begins its span.
func (c *call) identify() {
	if id := c.byProxy("X-Request-Id"); isRequestID(id) {
		c.id = id
	} else {
		c.id = strconv.FormatUint(rand.Uint64(), 36)
	}
	c.ids[0] = c.id
	if c.Tracer == nil || c.r.URL.Path == "/healthz" || c.r.URL.Path == "/readyz" {
		return
	}
	c.span = c.Tracer.Begin(trace.Server, "request", c.byProxy("Traceparent"))
	c.r = c.r.WithContext(trace.With(c.r.Context(), c.span))
}

// byProxy returns a header that our proxy has set, or has let through: then its
// operator says that those who ask may choose it.
func (c *call) byProxy(name string) string {
	values := c.r.Header[name]
	if len(values) != 1 || len(c.Proxies) == 0 {
		return ""
	}
	peer, err := netip.ParseAddrPort(c.r.RemoteAddr)
	if err != nil || !c.trusts(peer.Addr().Unmap().WithZone("")) {
		return ""
	}
	return values[0]
}

// isRequestID reports whether a text can stand in logs, records and problems.
func isRequestID(id string) bool {
	return id != "" && len(id) <= 64 && strings.Trim(id, idLetters) == ""
}

const idLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

// trace returns the id of the trace that the call belongs to, "" for none.
func (c *call) trace() string {
	parent := ""
	if c.span != nil {
		parent = c.span.Parent()
	} else {
		parent = c.byProxy("Traceparent")
	}
	id, _, _, _ := trace.Parse(parent)
	return id
}

var errUnanswered = errors.New("no answer was made")

// methodNames are those that a trace may name without a route.
var methodNames = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// endSpan tells the tracer what the log and the metrics are told.
func (c *call) endSpan() {
	method, route, known := strings.Cut(c.route, " ")
	if known {
		c.span.Name(c.route)
		c.span.Set("http.route", route)
	} else if method = c.r.Method; !slices.Contains(methodNames, method) {
		method = "_OTHER" // anybody can make one up
	}
	c.span.Set("http.request.method", method)
	c.span.Set("http.response.status_code", c.status)
	c.span.Set("admit.request_id", c.id)
	switch {
	case c.fault():
		c.span.End(cmp.Or(c.cause, errUnanswered))
	case c.code != "":
		c.span.Set("error.type", c.code)
		fallthrough
	default:
		c.span.End(nil)
	}
}

// fault reports whether it is ours that the call was not answered.
func (c *call) fault() bool {
	return c.status >= 500 && !errors.Is(c.cause, account.ErrMail) // which is how the server was set up
}
