// Package feed carries the news that credentials have ended to everyone who
// accepts them without asking.
//
// Who ends something tells a [Sink]; who keeps copies or verifies tokens
// follows a [Source]. [Log] is both, for programs of one process:
//
//	log := feed.NewLog(nil)
//	sessions, err := session.New[Data](store, &session.Options{Feed: log})
//	…
//	err = log.Follow(ctx, feed.ID{}, func(n feed.News) error {
//		if n.Reset {
//			forgetEverything()
//		}
//		for _, e := range n.Events {
//			refuse(e.Kind, e.Digest)
//		}
//		position, freshAsOf = n.Head, n.At
//		return nil
//	})
//
// # The shape
//
// A feed is a sequence of [Event] values. Each has an [ID], the epoch of the
// feed with a number that rises by one, given in the order in which endings
// took effect: a later number is never visible before an earlier one. A feed
// that has lost its past, as after a restored backup, begins a new epoch.
//
// Followers hear [News]: events in order, the position that they lead to, and
// the issuer's time at which that was the whole truth. News without events is
// the heartbeat. A follower whose position is unknown, too old or of another
// epoch first hears everything that still matters, marked as a reset. So a
// follower needs neither a second connection nor a special case to begin, to
// resume or to catch up.
//
// How old the latest news is, on the issuer's clock, says how far a follower
// may trust what it has not heard. Time of arrival says nothing: a proxy may
// have held the news back.
//
// # Across a network
//
// [Handler] serves a feed over HTTP, and [Remote] is its other end: a [Source]
// for programs elsewhere. Who is not the issuer is told digests in place of
// ids, and only what concerns its audiences.
package feed

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/admit-auth/admit"
)

// Heartbeat is how often a follower hears from a feed at least.
const Heartbeat = time.Second

// A Sink is told what has ended. Managers of sessions, grants and keys take
// one.
type Sink interface {
	// Append gives the events the next numbers, in their order and with
	// nothing between them, or returns an error and appends none. The sink
	// sets ID, At (to now) and Digest. After Append has returned nil no
	// follower is told again that it knows everything without having heard
	// them.
	Append(ctx context.Context, now time.Time, events ...Event) error
}

// A Source is a feed as its followers see it. Package feedtest checks every
// promise below.
type Source interface {
	// Follow calls hear, from the calling goroutine and never twice at once,
	// with what came after the position, in order and without gaps: at once,
	// then whenever there is something new, and at least once in a Heartbeat
	// while hear returns in time. With the zero ID, and with a position that
	// the feed cannot continue from, the first news is a reset. So is later
	// news where hear was so slow that the feed no longer keeps what it
	// missed: a slow follower costs the feed no memory.
	//
	// Follow returns hear's error as it is, the context's when that is done,
	// or one of kind admit.Unavailable when the feed cannot be had just now;
	// never nil. The caller may follow again from the last Head it heard.
	Follow(ctx context.Context, after ID, hear func(News) error) error
}

// News is what a follower hears at a time, and one message on the wire: a
// snapshot, some events or a heartbeat.
//
// As JSON it is {"head", "at", "reset"?, "events"?}; [ParseNews] reads it.
type News struct {
	// Head is the follower's position once it has taken this news in: the
	// number of the last event up to here, whether or not it concerned the
	// follower.
	Head ID `json:"head"`

	// At is the issuer's time, to the millisecond. Everything whose ending
	// was acknowledged before At has a number up to Head.
	At time.Time `json:"at"`

	// Reset says that the follower must forget all it has heard before: the
	// events are a snapshot, all those up to Head whose Until is after At.
	Reset bool `json:"reset,omitempty"`

	// Events in the order of their numbers. They are shared among followers
	// and must not be changed.
	Events []Event `json:"events,omitempty"`
}

// For returns the news as a follower may hear it who is trusted only with
// what concerns these audiences: other events are left out, and what remains
// tells digests in place of ids (see [Event.Digest]), no subject and no
// audience.
func (n News) For(audiences ...string) News {
	var events []Event
	for _, e := range n.Events {
		if e.concerns(audiences) {
			e.Target, e.Subject, e.Audiences = "", "", nil
			events = append(events, e)
		}
	}
	n.Events = events
	return n
}

// An Event says that something has ended, and with it every credential that
// names it. Make one with [SessionEnded] or its siblings.
//
// As JSON it is {"id", "at", "kind", "target"?, "digest"?, "subject"?, "sev"?,
// "reason"?, "audiences"?, "until"}; times are RFC 3339 in UTC.
type Event struct {
	ID   ID        `json:"id"`   // set by the sink
	At   time.Time `json:"at"`   // the issuer's time, to the millisecond; set by the sink
	Kind Kind      `json:"kind"` // what has ended

	// Target is the id of what has ended, as credentials name it. It is ""
	// for Everyone, and for followers who are told digests only.
	Target string `json:"target,omitempty"`

	// Digest is DigestOf(Kind, Target), by which a verifier that was not told
	// the target still finds its credentials. It is zero for Everyone.
	Digest Digest `json:"digest,omitzero"`

	// Subject is the user concerned, if one is and the follower may know.
	Subject string `json:"subject,omitempty"`

	// SEV is the new epoch where Kind is Subject or Everyone, and otherwise 0:
	// credentials with a smaller one have ended.
	SEV uint64 `json:"sev,omitempty"`

	// Reason is a short code for logs and people, such as "signed_out".
	Reason string `json:"reason,omitempty"`

	// Audiences names whose credentials can be concerned; nil is everyone's.
	Audiences []string `json:"audiences,omitempty"`

	// Until is when every credential that the event can concern has expired
	// by itself, so that the event may be forgotten. To the millisecond,
	// rounded up.
	Until time.Time `json:"until"`
}

// SessionEnded says that a session is over. Subject is its user, "" for a
// guest; until is when the last credential that was made from it expires.
func SessionEnded(sid, subject, reason string, until time.Time) Event {
	return Event{Kind: Session, Target: sid, Subject: subject, Reason: reason, Until: until}
}

// GrantEnded says that a grant is over: an app's consent, a family of refresh
// tokens, an API key.
func GrantEnded(gid, subject, reason string, until time.Time) Event {
	return Event{Kind: Grant, Target: gid, Subject: subject, Reason: reason, Until: until}
}

// TokenEnded says that a single token is over. Until is its expiry.
func TokenEnded(jti, subject, reason string, until time.Time) Event {
	return Event{Kind: Token, Target: jti, Subject: subject, Reason: reason, Until: until}
}

// SubjectRaised says that the subject's epoch is now sev: it signed out
// everywhere, or its password or its permissions changed.
func SubjectRaised(subject string, sev uint64, reason string, until time.Time) Event {
	return Event{Kind: Subject, Target: subject, Subject: subject, SEV: sev, Reason: reason, Until: until}
}

// ClientEnded says that nothing made for this OAuth client counts any more.
func ClientEnded(clientID, reason string, until time.Time) Event {
	return Event{Kind: Client, Target: clientID, Reason: reason, Until: until}
}

// KeyEnded says that nothing signed with this key counts any more.
func KeyEnded(kid, reason string, until time.Time) Event {
	return Event{Kind: Key, Target: kid, Reason: reason, Until: until}
}

// EveryoneRaised says that the epoch of every subject is at least sev now.
// The issuer must give all later credentials an epoch that is not smaller.
func EveryoneRaised(sev uint64, reason string, until time.Time) Event {
	return Event{Kind: Everyone, SEV: sev, Reason: reason, Until: until}
}

func (e Event) concerns(audiences []string) bool {
	return e.Audiences == nil || slices.ContainsFunc(e.Audiences, func(a string) bool {
		return slices.Contains(audiences, a)
	})
}

// MaxText is the length of the longest target, subject, reason or audience in
// bytes.
const MaxText = 1024

// Stamp returns the event as a sink keeps it, with its number, the time and
// its digest, or says why it cannot be kept. Most programs never call it: it
// is for those who write a carrier.
func (e Event) Stamp(id ID, now time.Time) (Event, error) {
	e.ID = id
	e.At = millis(now)
	e.Until = millis(e.Until.Add(time.Millisecond - 1))
	e.Digest = Digest{}
	if e.Kind != Everyone {
		if e.Target == "" {
			return Event{}, fmt.Errorf("feed: event of kind %v has no target", e.Kind)
		}
		e.Digest = DigestOf(e.Kind, e.Target)
	}
	e.Audiences = append([]string(nil), e.Audiences...) // nil where there are none
	if err := e.check(); err != nil {
		return Event{}, err
	}
	return e, nil
}

// millis drops what the wire does not carry.
func millis(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// check says what is wrong with an event that has been stamped.
func (e Event) check() error {
	raised := e.Kind == Subject || e.Kind == Everyone
	switch {
	case !e.Kind.valid():
		return fmt.Errorf("feed: unknown kind %d", e.Kind)
	case e.ID.IsZero() || e.ID.Seq == 0:
		return fmt.Errorf("feed: event of kind %v has no number", e.Kind)
	case !wireTime(e.At) || !wireTime(e.Until):
		return fmt.Errorf("feed: event %v has a time that cannot be told", e.ID)
	case raised != (e.SEV > 0):
		return fmt.Errorf("feed: event %v of kind %v has the epoch %d", e.ID, e.Kind, e.SEV)
	case (e.Kind == Everyone) != (e.Digest == Digest{}):
		return fmt.Errorf("feed: event %v of kind %v has a wrong digest", e.ID, e.Kind)
	case e.Kind == Everyone && e.Target != "":
		return fmt.Errorf("feed: event %v for everyone has a target", e.ID)
	case e.Target != "" && e.Digest != DigestOf(e.Kind, e.Target):
		return fmt.Errorf("feed: event %v has the digest of another target", e.ID)
	case e.Audiences != nil && len(e.Audiences) == 0:
		return fmt.Errorf("feed: event %v is for no audience", e.ID)
	case !wireText(e.Target) || !wireText(e.Subject) || !wireText(e.Reason):
		return fmt.Errorf("feed: event %v has text that is too long or not UTF-8", e.ID)
	}
	for _, a := range e.Audiences {
		if a == "" || !wireText(a) {
			return fmt.Errorf("feed: event %v has an audience that is empty, too long or not UTF-8", e.ID)
		}
	}
	return nil
}

// wireText reports whether JSON carries s unchanged.
func wireText(s string) bool { return len(s) <= MaxText && utf8.ValidString(s) }

// wireTime reports whether t is set, has the precision of the wire, and a year
// that RFC 3339 can write. The zero time is a forgotten field, never a choice.
func wireTime(t time.Time) bool {
	return !t.IsZero() && t.Equal(millis(t)) && t.UTC().Year() > 0 && t.UTC().Year() < 10000
}

// A Kind says what has ended. Its text is the name of the claim by which a
// credential names it.
type Kind uint8

// The kinds of endings.
const (
	Session  Kind = 1 + iota // "sid": a session
	Grant                    // "gid": an OAuth consent, a refresh family, an API key
	Token                    // "jti": a single token
	Subject                  // "sub": a subject's epochs below SEV
	Client                   // "client_id": an OAuth client
	Key                      // "kid": a signing key
	Everyone                 // "everyone": every subject's epochs below SEV
)

var kindNames = [...]string{
	Session: "sid", Grant: "gid", Token: "jti", Subject: "sub",
	Client: "client_id", Key: "kid", Everyone: "everyone",
}

func (k Kind) valid() bool { return k >= Session && k <= Everyone }

// String returns the kind's text.
func (k Kind) String() string {
	if !k.valid() {
		return "unknown"
	}
	return kindNames[k]
}

// MarshalText returns the kind's text.
func (k Kind) MarshalText() ([]byte, error) {
	if !k.valid() {
		return nil, fmt.Errorf("feed: unknown kind %d", k)
	}
	return []byte(kindNames[k]), nil
}

// UnmarshalText reads the text of a known kind. An unknown one is an error: a
// follower that did not understand what ended must not believe that it is up
// to date.
func (k *Kind) UnmarshalText(text []byte) error {
	for i, name := range kindNames {
		if i > 0 && name == string(text) {
			*k = Kind(i)
			return nil
		}
	}
	return ErrMalformed
}

// A Digest stands for a target towards followers who are not told it: the
// first 128 bits of SHA-256 over the kind's text, a colon and the target.
// Kinds never collide, so one set can hold the digests of all of them. It
// hides what cannot be guessed, as a sid; not a subject like "alice".
type Digest [16]byte

// DigestOf returns the digest of a target.
func DigestOf(kind Kind, target string) Digest {
	// On the stack for ids of usual length.
	b := append(make([]byte, 0, 128), kind.String()...)
	b = append(b, ':')
	b = append(b, target...)
	sum := sha256.Sum256(b)
	return Digest(sum[:16])
}

// digestLen is the length of a digest's text.
const digestLen = 22

// String returns the digest in base64url, 22 characters.
func (d Digest) String() string { return base64.RawURLEncoding.EncodeToString(d[:]) }

// MarshalText is String.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote, in that spelling only.
func (d *Digest) UnmarshalText(text []byte) error {
	// The decoder skips line breaks and ignores stray bits, so that only the
	// way back shows whether the spelling is the one.
	var v Digest
	if len(text) != digestLen {
		return ErrMalformed
	}
	n, err := base64.RawURLEncoding.Decode(v[:], text)
	if err != nil || n != len(v) || v.String() != string(text) {
		return ErrMalformed
	}
	*d = v
	return nil
}

// ErrMalformed is the answer to text that is no id, event or news of a feed.
var ErrMalformed = admit.Invalid.New("feed_malformed", "This is not news of a feed.")
