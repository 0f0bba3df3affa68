package handover

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/internal/remote"
	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/token"
)

// TargetOptions are the choices of a [Target]. The zero value is what most
// programs want.
type TargetOptions struct {
	// Remember is for how long the origin's word that a session lives is taken
	// without asking again: 5 s for 0, never if negative. It bounds how much
	// later than at the origin a session ends here that nobody tells of it.
	Remember time.Duration

	// Calls is the URL under which the origin's server is asked, where that is
	// another than browsers are sent to. The program admit is asked under
	// /api/v1/handover.
	Calls string

	// Transport makes the requests: http.DefaultTransport unless set. Each takes
	// 5 s at most.
	Transport http.RoundTripper

	// InsecureAllowHTTP is for development: the origin may be plain HTTP off this
	// machine, and the cookie is set without Secure.
	InsecureAllowHTTP bool
}

// A Target takes over sessions from another domain. It is the
// [session.Parents] of its own.
type Target struct {
	origin, calls, name string
	secret              admit.Secret
	remember            time.Duration
	http                *http.Client
	insecure            bool

	mu    sync.Mutex
	known map[feed.Digest]word // of parents, by digest of the sid; guarded by mu
	asked map[feed.Digest]*ask // guarded by mu
	gen   uint64               // counts what was heard to end; guarded by mu
}

// A word of the origin about a session.
type word struct {
	ended bool
	until time.Time // it counts
}

// An ask is one question about a session, of which all learn who want to know
// meanwhile.
type ask struct {
	done chan struct{} // closed when err is there
	err  error
}

// NewTarget returns a Target. Origin is the URL under which the [Origin] stands,
// name and secret are those of the [Site] there.
func NewTarget(origin, name string, secret admit.Secret, o *TargetOptions) (*Target, error) {
	if o == nil {
		o = &TargetOptions{}
	}
	calls := cmp.Or(o.Calls, origin)
	if !remote.Safe(origin, o.InsecureAllowHTTP) || !remote.Safe(calls, o.InsecureAllowHTTP) || name == "" || len(secret.Reveal()) < minSecret {
		return nil, fmt.Errorf("handover: target %q: it needs a name, a secret of %d characters, and an origin over HTTPS", name, minSecret)
	}
	return &Target{
		origin: strings.TrimSuffix(origin, "/"), calls: strings.TrimSuffix(calls, "/"), name: name, secret: secret,
		remember: cmp.Or(o.Remember, 5*time.Second),
		http:     remote.Client(&http.Client{Transport: o.Transport, Timeout: 5 * time.Second}),
		insecure: o.InsecureAllowHTTP,
		known:    map[feed.Digest]word{},
		asked:    map[feed.Digest]*ask{},
	}, nil
}

const (
	// flowLife is how long somebody may take to sign in at the origin.
	flowLife = 30 * time.Minute
	// maxFlows of one browser are under way, in as many tabs.
	maxFlows = 8
	// maxFlowBytes is what their cookies take together. A page elsewhere can lead a
	// browser to long paths here, one after the other: proxies refuse requests with
	// more than 8 KB of cookies, and so all of that browser's for as long.
	maxFlowBytes = 5000
	// maxReturn bounds what is kept in a cookie.
	maxReturn = 2000
)

// flow is the cookie of one hand-over under way, which has its state in its
// name: so tabs do not mix, and a __Host- cookie nobody can plant from a
// sub-domain. Its value is the verifier and where to return to.
func (t *Target) flow(state string) (*cookie.Cookie, error) {
	return cookie.New(t.prefix()+state, &cookie.Options{InsecureAllowHTTP: t.insecure})
}

func (t *Target) prefix() string {
	if t.insecure {
		return "handover-"
	}
	return "__Host-handover-"
}

// Begin sends the browser to the origin, and will have it return to a path of
// this site, such as that of the request. ErrReturn where it is none.
func (t *Target) Begin(w http.ResponseWriter, r *http.Request, returnTo string) error {
	if !isPath(returnTo) {
		return ErrReturn
	}
	// A fresh token is a state and a verifier of 131 random bits each.
	fresh := token.New(token.OneTime)
	state, verifier := fresh.Selector(), fresh.Reveal()
	c, err := t.flow(state)
	if err != nil {
		return err
	}
	value := verifier + "." + base64.RawURLEncoding.EncodeToString([]byte(returnTo))
	t.makeRoom(w, r, len(c.Name())+len(value))
	if err := c.SetRaw(w, value, flowLife); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, t.origin+"/begin?"+url.Values{
		"site": {t.name}, "challenge": {challengeOf(verifier)}, "state": {state},
	}.Encode(), http.StatusSeeOther)
	return nil
}

// makeRoom gives up the oldest flows of a browser for one more, of this size.
func (t *Target) makeRoom(w http.ResponseWriter, r *http.Request, size int) {
	flows := 1
	for _, c := range slices.Backward(r.Cookies()) { // browsers send the oldest first
		state, ok := strings.CutPrefix(c.Name, t.prefix())
		if !ok || !token.IsSelector(state) {
			continue
		}
		flows, size = flows+1, size+len(c.Name)+len(c.Value)
		if old, err := t.flow(state); err == nil && (flows > maxFlows || size > maxFlowBytes) {
			old.Delete(w)
		}
	}
}

// isPath reports whether a browser takes it for a path of the same site.
func isPath(text string) bool {
	u, err := url.Parse(text)
	return err == nil && len(text) <= maxReturn && u.Scheme == "" && u.Host == "" && u.User == nil &&
		strings.HasPrefix(text, "/") && !strings.HasPrefix(text, "//") &&
		!strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == '\\' || r == 0x7f })
}

// An Arrival is who came over from the origin.
type Arrival struct {
	Subject    string
	Parent     string // sid of the session at the origin
	AuthTime   time.Time
	AMR        []string
	ACR        string
	Persistent bool
	ExpiresAt  time.Time
	ReturnTo   string // the path that was given to Begin
}

// StartOptions are those of the session that the arrival begins.
func (a *Arrival) StartOptions() *session.StartOptions {
	return &session.StartOptions{
		Parent: a.Parent, AuthTime: a.AuthTime, AMR: a.AMR, ACR: a.ACR,
		Persistent: a.Persistent, Lifetime: max(time.Until(a.ExpiresAt), time.Second),
	}
}

// Arrive takes a browser that comes back to the callback, and redeems its code.
// ErrUnsolicited where this browser was not sent from here or came back before;
// ErrCode where the origin refuses the code; what Check says where the session
// at the origin has ended meanwhile; and of kind admit.Unavailable where the
// origin cannot be asked.
func (t *Target) Arrive(w http.ResponseWriter, r *http.Request) (*Arrival, error) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer") // the address holds a code
	q := r.URL.Query()
	state, code := q.Get("state"), q.Get("code")
	if !token.IsSelector(state) {
		return nil, ErrUnsolicited
	}
	c, err := t.flow(state)
	if err != nil {
		return nil, ErrUnsolicited
	}
	var buf [2]string
	values := cookie.Values(r.Header, c.Name(), buf[:0])
	if len(values) != 1 {
		return nil, ErrUnsolicited
	}
	c.Delete(w)
	verifier, encoded, _ := strings.Cut(values[0], ".")
	returnTo, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || !isPath(string(returnTo)) {
		return nil, ErrUnsolicited
	}
	var h Handed
	if err := t.ask(r.Context(), "redeem", redemption{code, verifier}, &h); err != nil {
		return nil, err
	}
	return &Arrival{
		Subject: h.Subject, Parent: h.SID, AuthTime: h.AuthTime, AMR: strings.Fields(h.AMR), ACR: h.ACR,
		Persistent: h.Persistent, ExpiresAt: h.ExpiresAt, ReturnTo: string(returnTo),
	}, nil
}

// maxKnown sessions are remembered.
const maxKnown = 10_000

// Alive implements [session.Parents].
func (t *Target) Alive(ctx context.Context, sid string) error {
	if t.remember < 0 {
		_, err := t.askAlive(ctx, sid)
		return err
	}
	now, of := time.Now(), feed.DigestOf(feed.Session, sid)
	t.mu.Lock()
	if k := t.known[of]; now.Before(k.until) {
		t.mu.Unlock()
		if k.ended {
			return session.ErrEnded
		}
		return nil
	}
	a, gen := t.asked[of], t.gen
	if a == nil {
		a = &ask{done: make(chan struct{})}
		t.asked[of] = a
		t.mu.Unlock()
		t.learn(context.WithoutCancel(ctx), sid, a, gen, now) // others wait for it
		return a.err
	}
	t.mu.Unlock()
	select {
	case <-a.done:
		return a.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// learn asks, and remembers the answer from when it was asked on.
func (t *Target) learn(ctx context.Context, sid string, a *ask, gen uint64, now time.Time) {
	defer close(a.done)
	of := feed.DigestOf(feed.Session, sid)
	var ended bool
	ended, a.err = t.askAlive(ctx, sid)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.asked[of] == a {
		delete(t.asked, of)
	}
	// What ended while the origin was asked may not be remembered as alive.
	if ended || a.err == nil && t.gen == gen {
		if len(t.known) >= maxKnown {
			clear(t.known)
		}
		t.known[of] = word{ended, now.Add(t.remember)}
	}
}

func (t *Target) askAlive(ctx context.Context, sid string) (ended bool, err error) {
	var a answer
	if err := t.ask(ctx, "alive", question{SID: sid}, &a); err != nil {
		return false, err
	}
	if !a.Alive {
		return true, session.ErrEnded
	}
	return false, nil
}

// EndAny implements [session.Parents]: it ends the session at the origin.
func (t *Target) EndAny(ctx context.Context, sid, reason string) error {
	if err := t.ask(ctx, "end", question{sid, reason}, &answer{}); err != nil {
		return err
	}
	t.forget(feed.DigestOf(feed.Session, sid))
	return nil
}

func (t *Target) forget(of feed.Digest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gen++
	delete(t.known, of)
	delete(t.asked, of) // who comes now asks anew
}

// Hear takes the news of the origin's feed, so that what ends there ends here at
// once. Give it to the target before the sessions:
//
//	err := source.Follow(ctx, feed.ID{}, func(n feed.News) error {
//		return errors.Join(target.Hear(n), sessions.Hear(n))
//	}) // again, where the feed broke off
func (t *Target) Hear(n feed.News) error {
	all := n.Reset
	for _, e := range n.Events {
		if e.Kind == feed.Session {
			t.forget(e.Digest)
		} else {
			all = true // whose sessions these are is not known here
		}
	}
	if all {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.gen++
		clear(t.known)
		clear(t.asked)
	}
	return nil
}

// ask sends a question to the origin's server.
func (t *Target) ask(ctx context.Context, what string, q, a any) error {
	body, err := json.Marshal(q)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.calls+"/"+what, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.SetBasicAuth(t.name, t.secret.Reveal())
	res, err := t.http.Do(r)
	if err != nil {
		return fmt.Errorf("%w: %w", session.ErrUnavailable, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("%w: %w", session.ErrUnavailable, err)
	}
	if res.StatusCode == http.StatusOK {
		if err := json.Unmarshal(text, a); err != nil {
			return fmt.Errorf("%w: the origin's answer to %s: %w", session.ErrUnavailable, what, err)
		}
		return nil
	}
	// Only what the origin says in its own words is its refusal: a proxy's 401
	// must sign nobody out.
	refusal := problem.Parse(text)
	for _, known := range []*admit.Error{ErrCode, session.ErrNone, session.ErrEnded, session.ErrExpired} {
		if errors.Is(refusal, known) {
			return known
		}
	}
	return fmt.Errorf("%w: the origin answers %s with %d: %w", session.ErrUnavailable, what, res.StatusCode, refusal)
}
