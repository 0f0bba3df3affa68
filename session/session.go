// Package session keeps what a server remembers about one visitor from
// request to request.
//
// Most programs need [New] and [Manager.Update]:
//
//	type Visit struct{ Count int }
//
//	sessions, err := session.New[Visit](session.NewMemory(nil), nil)
//	…
//	s, err := sessions.Update(w, r, func(v *Visit) error { v.Count++; return nil })
//
// Update loads the session or begins one for a guest, changes its data, and
// keeps the change before anything is written to the response; of any number
// of parallel updates none is lost. [Manager.Load] reads. [Manager.Start]
// signs somebody in: a new id, the guest's data kept, the old id dead at once.
// [Manager.Prove] notes that somebody proved who he is once more. [Manager.End]
// signs out; [Manager.EndAll] signs a subject out everywhere.
//
// The browser holds a token of 128 random bits of id, which is public, and 128
// bits of secret; the store sees the id, called sid, and a digest. A session
// ends when nobody used it for its idle time, at the end of its lifetime, or
// when it is ended; an ended one cannot come back, whatever is in flight.
//
// [NewSealed] in the place of New keeps the data in the cookie, encrypted, and a few
// bytes in the store so that an old cookie brings nothing back.
package session

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
)

// Why there is no session. Each is of kind admit.Unauthenticated; a store that
// cannot answer is admit.Unavailable instead, and is never taken for "no
// session".
var (
	ErrNone      = admit.Unauthenticated.New("no_session", "You are not signed in.")
	ErrEnded     = admit.Unauthenticated.New("session_ended", "This session has been ended.")
	ErrExpired   = admit.Unauthenticated.New("session_expired", "This session has expired.")
	ErrAmbiguous = admit.Unauthenticated.New("ambiguous_session", "Your browser sent two different sessions, so neither counts.")
	ErrStale     = admit.Unauthenticated.New("stale_claims", "What this token says is out of date.").WithHint("Refresh it; the session may live on.")
)

// An EndedError is ErrEnded for the holder of the session's token, who may
// know why. Nobody else gets one: the id alone is public.
type EndedError struct {
	SID, Subject string
	// Why is the reason that ended the session, as it was given to End, EndSID
	// or EndAny. It is "" where all of the subject's sessions ended at once: who
	// ended them knows.
	Why string
}

// ReasonProved is why a token ended that a new proof has replaced.
const ReasonProved = "proved_again"

// ReasonReplaced is why a cookie of [NewSealed] ended that a newer one has
// replaced. The session lives on.
const ReasonReplaced = "replaced"

// Error returns the sentence of ErrEnded.
func (e *EndedError) Error() string { return ErrEnded.Error() }

// Unwrap returns ErrEnded.
func (e *EndedError) Unwrap() error { return ErrEnded }

// Reason returns Why, which package problem tells.
func (e *EndedError) Reason() string { return e.Why }

// Other refusals.
var (
	ErrUnknown     = admit.NotFound.New("unknown_session", "There is no such session.")
	ErrBusy        = admit.Unavailable.New("session_busy", "This session is being changed by too many requests at once.")
	ErrNoList      = admit.Invalid.New("cannot_list", "This store cannot list sessions.")
	ErrUnavailable = admit.Unavailable.New("session_store_unavailable", "Sessions cannot be read just now.")
)

// Info is what is known about a session besides its data.
type Info struct {
	SID           string // public id
	Subject       string // who signed in; "" for a guest
	CreatedAt     time.Time
	LastSeenAt    time.Time // to the precision of touching: a minute at most
	IdleExpiresAt time.Time // unless it is used before
	ExpiresAt     time.Time // whatever happens
	AuthTime      time.Time // when the subject proved itself; zero for a guest
	ACR           string
	Device        Device
	Persistent    bool   // the cookie outlives the browser
	Bearer        bool   // the token is sent in the Authorization header, not in a cookie
	JWT           bool   // tokens that the program makes name it: see Options.Named
	URL           bool   // it is in links and forms, not in a cookie: see Options.InsecureURLSessions
	Parent        string // sid of the session elsewhere that this one ends with; "" for none

	// Epoch is the subject's when the session was read: the "sev" of a token
	// that is made from it. What else the token says of the subject must be
	// read later, so that a change in between makes it stale. 0 for a guest.
	Epoch uint64

	amr string
}

// A Device is what a user recognises a session by. Each text is cut at 255
// bytes.
type Device struct{ Name, UserAgent, Address string }

// Guest reports whether nobody has signed in.
func (i *Info) Guest() bool { return i.Subject == "" }

// AMR returns the authentication methods (RFC 8176) the subject proved itself
// with.
func (i *Info) AMR() []string { return strings.Fields(i.amr) }

// Credential returns how the session is presented: "cookie", "token", "jwt" or
// "url".
func (i *Info) Credential() string {
	switch {
	case i.Bearer:
		return "token"
	case i.JWT:
		return "jwt"
	case i.URL:
		return "url"
	}
	return "cookie"
}

// Principal returns the session as who is asking.
func (i *Info) Principal() admit.Principal {
	return admit.Principal{
		Subject:    i.Subject,
		SID:        i.SID,
		Credential: i.Credential(),
		AuthTime:   i.AuthTime,
		AMR:        i.AMR(),
		ACR:        i.ACR,
	}
}

// A Session is a session with its data. It is a copy: changing it changes
// nothing else. A text of Data may lie in the memory of the whole record: who keeps it for
// long keeps strings.Clone of it.
type Session[D any] struct {
	Info
	Data D

	// Token is what a client without cookies presents from now on. It is set
	// by Start with StartOptions.Bearer, and by nothing else.
	Token admit.Secret
}

// Options of a Manager. The zero value is what most programs want.
type Options struct {
	// Name of the cookie. The default is "__Host-session"; "__Secure-session"
	// where Domain or Path is set, "session" with InsecureAllowHTTP. A token, also
	// one for the header, is good only where the name is the one it was begun with.
	// Managers of several names may share a store where they share their subjects:
	// EndAll and List know no names.
	Name     string
	Domain   string        // default: this host only
	Path     string        // default: "/"
	SameSite http.SameSite // default: Lax

	Lifetime time.Duration // a session's end, whatever happens; default 12 h
	Idle     time.Duration // a session's end when unused; default 1 h

	Codec Codec // of the data; default JSON

	// Bearer also takes the token of a session from the Authorization header
	// (RFC 6750), for clients that keep no cookies. A request with such a
	// header is judged by it alone. A session is good only in the place it was
	// begun for.
	Bearer bool

	// Named looks at a request before anything else does, and returns what its
	// credential names where that is one of the program's own making, such as a
	// JWT that it has verified; nil where it carries none. Such a request is
	// judged by it alone, and its session is one that was begun for it
	// (StartOptions.JWT). Most programs leave it nil.
	Named func(*http.Request) (*Named, error)

	// Feed is told of every ending, after it is durable and before it is
	// answered. Most programs of one process leave it nil. A store that keeps a
	// feed beside its records is told with each write: see [Ending].
	Feed feed.Sink

	// Parents keep the sessions that some of ours end with: those begun with
	// StartOptions.Parent, as by a hand-over from another domain.
	Parents Parents

	// InsecureURLSessions keeps sessions also for clients that keep no cookies: a
	// value in links and forms names theirs, which pages get from [Manager.Links].
	// Who sees such a value, in a history, in a log, over a shoulder, has the
	// session: for 60 s after it was followed, for 10 min if nobody does. It never
	// counts beside a cookie, and what a session in URLs holds is not kept at
	// sign-in, for somebody else may have made the link.
	InsecureURLSessions bool

	// Log is told of sessions that cannot be read; default slog.Default().
	Log *slog.Logger

	// InsecureAllowHTTP sets the cookie without Secure, for development on
	// plain HTTP: whoever is on the network can then take the session.
	InsecureAllowHTTP bool

	// InsecureNoGuard keeps nothing at all on the server, for NewSealed without a
	// store: an old cookie counts as the newest does until its idle time is over,
	// ending a session only clears the cookie, and of parallel updates one remains.
	InsecureNoGuard bool
}

// StartOptions of one session. The zero value takes the Manager's defaults.
type StartOptions struct {
	AMR        []string  // how the subject proved itself; no spaces inside
	ACR        string    // the assurance reached
	AuthTime   time.Time // when; default now
	Device     Device
	Lifetime   time.Duration // default: the Manager's
	Idle       time.Duration // default: the Manager's
	Persistent bool          // the cookie outlives the browser ("remember me")
	Bearer     bool          // no cookie: Session.Token is for the Authorization header
	JWT        bool          // neither: the program makes tokens that name the session
	Parent     string        // sid of a session of Options.Parents: the two end together
}

// Parents keep sessions that others end with. A [Manager] is one for its own: of
// the same store, or of another in the same process. Package handover has one
// for the sessions of another domain.
type Parents interface {
	// Alive returns nil while the session lives, and notes that it is in use. Its
	// error is of kind admit.Unauthenticated where it does not, and
	// admit.Unavailable where that cannot be told.
	Alive(ctx context.Context, sid string) error

	// EndAny ends the session. One that has ended already is ErrUnknown.
	EndAny(ctx context.Context, sid, reason string) error
}
