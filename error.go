package admit

import (
	"errors"
	"time"
)

// A Kind says why something was refused, coarsely enough to choose an HTTP
// status, a log level or a metric label. It is itself an error, so that
// errors.Is(err, admit.Conflict) asks for the kind of any wrapped error.
type Kind uint8

// The zero Kind is Internal: an error that nobody classified tells strangers
// nothing.
const (
	Internal        Kind = iota // our fault
	Invalid                     // the request cannot be right
	Unauthenticated             // who asks is not known, or no longer
	Forbidden                   // who asks is known and may not
	NotFound                    // there is no such thing, for this asker
	Conflict                    // something else came first
	RateLimited                 // a budget is spent; try later
	Unavailable                 // overloaded, or a part we need is away; try later
)

var kindNames = [...]string{
	Internal:        "internal error",
	Invalid:         "invalid",
	Unauthenticated: "unauthenticated",
	Forbidden:       "forbidden",
	NotFound:        "not found",
	Conflict:        "conflict",
	RateLimited:     "rate limited",
	Unavailable:     "unavailable",
}

// Error returns the kind's name in words.
func (k Kind) Error() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[Internal]
}

// New returns a refusal of this kind to be kept in a variable and compared
// with errors.Is. The code is stable and made for programs (snake_case); the
// text is a sentence that a stranger may read.
func (k Kind) New(code, text string) *Error {
	return &Error{kind: k, code: code, text: text}
}

// KindOf returns the kind of err: the first one found along its chain, or
// Internal.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.kind
	}
	if k, ok := errors.AsType[Kind](err); ok {
		return k
	}
	return Internal
}

// An Error is a refusal that strangers may see: a kind, a stable code, a
// sentence, and perhaps a hint what to do. What is wrapped around it with %w
// is for the log only.
type Error struct {
	kind             Kind
	code, text, hint string
}

// WithHint returns a copy of e that also says what to do next. The copy still
// matches e with errors.Is.
func (e *Error) WithHint(hint string) *Error {
	c := *e
	c.hint = hint
	return &c
}

// Kind returns the refusal's kind.
func (e *Error) Kind() Kind { return e.kind }

// Code returns the stable code, such as "session_expired".
func (e *Error) Code() string { return e.code }

// Hint returns what to do next, or "".
func (e *Error) Hint() string { return e.hint }

// Error returns the sentence.
func (e *Error) Error() string { return e.text }

// Is reports whether target is e's kind, or a refusal with e's code.
func (e *Error) Is(target error) bool {
	switch t := target.(type) {
	case Kind:
		return t == e.kind
	case *Error:
		return t.kind == e.kind && t.code == e.code
	}
	return false
}

// A FieldError is a refusal that concerns one named input.
type FieldError struct {
	Field string // the input's name on the wire, such as "password"
	Err   error
}

// Error returns the field's name and what is wrong with it.
func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap returns what is wrong with the field.
func (e *FieldError) Unwrap() error { return e.Err }

// A RetryError is a refusal that will pass by itself.
type RetryError struct {
	After time.Duration // when to try again
	Err   error
}

// Error returns the refusal's text.
func (e *RetryError) Error() string { return e.Err.Error() }

// Unwrap returns the refusal.
func (e *RetryError) Unwrap() error { return e.Err }

// WithChallenge returns a refusal with the value of WWW-Authenticate that tells
// what would do (RFC 9110 section 11.6.1): package problem sends it.
func WithChallenge(err error, challenge string) error { return challenged{err, challenge} }

type challenged struct {
	error
	challenge string
}

func (e challenged) Unwrap() error     { return e.error }
func (e challenged) Challenge() string { return e.challenge }
