// Package problem tells clients why a request was refused, as RFC 9457
// problem details.
//
// Most handlers need [Write], and [Read] for a JSON body:
//
//	if err := problem.Read(r, &in); err != nil {
//		problem.Write(w, err, requestID)
//		return
//	}
//
// A stranger sees the kind, the code, the sentence and the hint of an
// [admit.Error], and nothing of what is wrapped around it; an error that
// nobody classified is "internal" and says no more.
package problem

import (
	"cmp"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/admit-auth/admit"
)

// What is wrong with a request before anybody looks at what it asks for. Each
// has a status of its own.
var (
	ErrMalformed   = admit.Invalid.New("malformed", "The request's body cannot be read.")
	ErrUnknown     = admit.Invalid.New("unknown_field", "The request has a field that is not known here.")
	ErrCrossSite   = admit.Forbidden.New("cross_site", "This request comes from another site's page.").WithHint("Open this site's own page and try again there.")
	ErrNotFound    = admit.NotFound.New("not_found", "There is nothing at this address.")
	ErrMethod      = admit.Invalid.New("method_not_allowed", "This address does not take this method.")
	ErrTooLarge    = admit.Invalid.New("too_large", "The request is too large.")
	ErrHeader      = admit.Invalid.New("headers_too_large", "The request's headers are too large.").WithHint("Delete this site's cookies and try again.")
	ErrContentType = admit.Invalid.New("unsupported_content_type", "The request's body must be application/json.")
	ErrHost        = admit.Invalid.New("unknown_host", "This server does not answer for this host.").WithHint("Use the address that the server was started with.")
	errInternal    = admit.Internal.New("internal", "Something went wrong on our side.").WithHint("Try again; tell the request id to whoever runs this server.")
)

// A Problem is what a client sees.
type Problem struct {
	Type      string  `json:"type"` // "about:blank" unless the caller has a page for the code
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Detail    string  `json:"detail"`
	Code      string  `json:"code"` // stable, for programs
	Hint      string  `json:"hint,omitempty"`
	Reason    string  `json:"reason,omitempty"` // what came before it, such as why a session ended; stable, too
	Errors    []Field `json:"errors,omitempty"`
	RequestID string  `json:"request_id,omitempty"`

	// RetryAfter is when to try again, in whole seconds; it is sent as a header.
	RetryAfter int `json:"-"`

	// Challenge is sent as WWW-Authenticate. There is one with each status 401:
	// "Bearer", where nothing more is known.
	Challenge string `json:"-"`
}

// A Field says what is wrong with one input.
type Field struct {
	Field  string `json:"field"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
}

// statuses of the codes whose kind does not tell it.
var statuses = map[string]int{
	ErrMethod.Code():      http.StatusMethodNotAllowed,
	ErrTooLarge.Code():    http.StatusRequestEntityTooLarge,
	ErrHeader.Code():      http.StatusRequestHeaderFieldsTooLarge,
	ErrContentType.Code(): http.StatusUnsupportedMediaType,
	ErrHost.Code():        http.StatusMisdirectedRequest,
}

// kinds is what HTTP makes of a kind, and what is said of it where nothing more
// is known.
var kinds = [...]struct {
	status int
	said   *admit.Error
}{
	admit.Internal:        {http.StatusInternalServerError, errInternal},
	admit.Invalid:         {http.StatusBadRequest, admit.Invalid.New("invalid", "The request cannot be right.")},
	admit.Unauthenticated: {http.StatusUnauthorized, admit.Unauthenticated.New("unauthenticated", "You are not signed in.")},
	admit.Forbidden:       {http.StatusForbidden, admit.Forbidden.New("forbidden", "You may not do this.")},
	admit.NotFound:        {http.StatusNotFound, ErrNotFound},
	admit.Conflict:        {http.StatusConflict, admit.Conflict.New("conflict", "Something else came first.")},
	admit.RateLimited:     {http.StatusTooManyRequests, admit.RateLimited.New("rate_limited", "Too many requests.")},
	admit.Unavailable:     {http.StatusServiceUnavailable, admit.Unavailable.New("unavailable", "This cannot be done just now.")},
}

// Status returns the HTTP status of a kind.
func Status(k admit.Kind) int {
	if int(k) < len(kinds) {
		return kinds[k].status
	}
	return http.StatusInternalServerError
}

// Of returns what a client may see of an error. An error along its chain that
// has a method Reason() string, such as session.EndedError, gives the reason;
// one that has a method Challenge() string, as [admit.WithChallenge] makes it,
// the challenge.
func Of(err error) Problem {
	e := shown(err)
	p := Problem{Type: "about:blank", Status: Status(e.Kind()), Detail: e.Error(), Code: e.Code(), Hint: e.Hint()}
	if status, ok := statuses[p.Code]; ok {
		p.Status = status
	}
	p.Title = http.StatusText(p.Status)
	if r, ok := errors.AsType[interface {
		error
		Reason() string
	}](err); ok {
		p.Reason = r.Reason()
	}
	if c, ok := errors.AsType[interface {
		error
		Challenge() string
	}](err); ok {
		p.Challenge = c.Challenge()
	}
	if p.Status == http.StatusUnauthorized {
		p.Challenge = cmp.Or(p.Challenge, "Bearer") // RFC 9110, 15.5.2 demands a challenge
	}
	p.Errors = fields(nil, err)
	switch e.Kind() {
	case admit.RateLimited, admit.Unavailable:
		after := time.Second
		if r, ok := errors.AsType[*admit.RetryError](err); ok {
			after = r.After
		}
		p.RetryAfter = max(1, int(math.Ceil(after.Seconds())))
	}
	return p
}

// shown returns the refusal inside an error.
func shown(err error) *admit.Error {
	if e, ok := errors.AsType[*admit.Error](err); ok {
		return e
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok && tooLarge != nil {
		return ErrTooLarge
	}
	if k, ok := errors.AsType[admit.Kind](err); ok && int(k) < len(kinds) {
		return kinds[k].said
	}
	return errInternal
}

// fields collects the field errors along the tree of an error.
func fields(dst []Field, err error) []Field {
	switch e := err.(type) {
	case nil:
		return dst
	case *admit.FieldError:
		what := shown(e.Err)
		return append(dst, Field{e.Field, what.Code(), what.Error(), what.Hint()})
	case interface{ Unwrap() error }:
		return fields(dst, e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, each := range e.Unwrap() {
			dst = fields(dst, each)
		}
	}
	return dst
}

// Write answers a request with what its client may see of err, and returns the
// status and the code for the log.
func Write(w http.ResponseWriter, err error, requestID string) (status int, code string) {
	p := Of(err)
	p.RequestID = requestID
	p.Write(w)
	return p.Status, p.Code
}

// Write answers with p. Most programs call the function of this name.
func (p Problem) Write(w http.ResponseWriter) {
	h := w.Header()
	// What a handler said of the body that it did not come to write.
	for _, of := range []string{"Content-Length", "Content-Encoding", "Etag", "Last-Modified"} {
		h.Del(of)
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	if p.Challenge != "" && h.Get("WWW-Authenticate") == "" {
		h.Set("WWW-Authenticate", p.Challenge)
	}
	b, err := json.Marshal(p)
	if err != nil { // strings and numbers only
		panic(err)
	}
	w.WriteHeader(p.Status)
	w.Write(append(b, '\n')) // who is gone needs no answer
}

// Parse reads a problem as an error of its kind, code, sentence and hint, with
// its fields: for clients written in Go. Text that is no problem is an
// internal error.
func Parse(text []byte) error {
	var p Problem
	if err := json.Unmarshal(text, &p); err != nil || p.Code == "" {
		return errors.New("the answer is no problem details")
	}
	kind := admit.Internal
	for k, of := range kinds {
		if of.status == p.Status {
			kind = admit.Kind(k)
		}
	}
	if _, ok := statuses[p.Code]; ok {
		kind = admit.Invalid
	}
	var errs []error
	for _, f := range p.Errors {
		errs = append(errs, &admit.FieldError{Field: f.Field, Err: kind.New(f.Code, f.Detail).WithHint(f.Hint)})
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return kind.New(p.Code, p.Detail).WithHint(p.Hint)
}
