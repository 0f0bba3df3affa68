// Package trace times the parts of a request for whoever wants to see them.
//
// The edge begins a [Span] with a [Tracer] and puts it into the context by
// [With]; what works for the request calls [Start]. Without a span in the
// context that costs one look and no allocation.
package trace

import (
	"context"
	"strings"
)

// A Tracer makes spans. Its methods are quick and safe for several goroutines, and
// so are a span's Child and Parent; the rest of a span is for one at a time.
type Tracer interface {
	// Begin begins a span that no other of this process contains. Parent is what
	// a trusted peer sent as traceparent, or what [Parent] returned; "" for none.
	Begin(kind Kind, name, parent string) Span
}

// A Span is a piece of work with a beginning and an end. Names and attributes are
// of a few kinds, such as routes and codes: never a path, a name or an address.
type Span interface {
	// Child begins a span within this one.
	Child(name string) Span
	// Name gives it a better name, which may be known late only.
	Name(name string)
	// Set gives it an attribute: text, an int or a bool.
	Set(key string, value any)
	// Parent is the traceparent for what this span leads to.
	Parent() string
	// End ends it; err is why it failed, or nil. It is called once.
	End(err error)
}

// A Kind says on which side of a call a span is.
type Kind uint8

// The kinds; their numbers are those of OTLP.
const (
	Internal Kind = 1
	Server   Kind = 2
	Consumer Kind = 5 // takes later what a Server left
)

type key struct{}

// With returns a context in which Start begins children of a span.
func With(ctx context.Context, s Span) context.Context { return context.WithValue(ctx, key{}, s) }

// Start begins a child of the context's span; without one the span does nothing.
func Start(ctx context.Context, name string) (context.Context, Span) {
	parent, ok := ctx.Value(key{}).(Span)
	if !ok {
		return ctx, off{}
	}
	child := parent.Child(name)
	return With(ctx, child), child
}

// Parent returns the traceparent of the context's span, "" without one.
func Parent(ctx context.Context) string {
	if s, ok := ctx.Value(key{}).(Span); ok {
		return s.Parent()
	}
	return ""
}

// off is a span where nobody looks.
type off struct{}

func (off) Child(string) Span { return off{} }
func (off) Name(string)       {}
func (off) Set(string, any)   {}
func (off) Parent() string    { return "" }
func (off) End(error)         {}

// Parse returns the parts of a traceparent, in hex, and whether it can be read
// (W3C Trace Context 3.2).
func Parse(h string) (trace, parent string, sampled, ok bool) {
	// version "-" trace "-" parent "-" flags; later versions may add more.
	if len(h) < 55 || h[2] != '-' || h[35] != '-' || h[52] != '-' || len(h) > 55 && (h[:2] == "00" || h[55] != '-') {
		return "", "", false, false
	}
	trace, parent = h[3:35], h[36:52]
	if h[:2] == "ff" || !isHex(h[:2]) || !isHex(trace) || !isHex(parent) || !isHex(h[53:55]) ||
		strings.Trim(trace, "0") == "" || strings.Trim(parent, "0") == "" {
		return "", "", false, false
	}
	return trace, parent, strings.IndexByte("13579bdf", h[54]) >= 0, true
}

func isHex(text string) bool { return strings.Trim(text, "0123456789abcdef") == "" }
