package express

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/session"
)

// A Manager keeps sessions together with Express servers. It is made by [New],
// does not change, and is safe for use by several goroutines.
type Manager struct {
	store   Store
	secrets *Secrets
	o       Options
	clear   *cookie.Cookie
	queue   queue
}

// Options of a Manager. Give both sides the same Name and Cookie.
type Options struct {
	Name   string // default: "connect.sid"
	Cookie Attributes

	// Rolling sends the cookie with each use, so that its end moves.
	Rolling bool
	// SaveUninitialized keeps a session for every stranger who comes. Off, none
	// is kept until something is written.
	SaveUninitialized bool
	// Resave writes the record with each use, for stores of Express that cannot
	// touch. There is no need for it here: what it loses in Express, a change
	// that came in between, is kept nevertheless.
	Resave bool

	// TouchAfter is how old the last use of a session with a MaxAge may be
	// before the next one is noted; 0 notes each, as Express does.
	TouchAfter time.Duration

	// TrustProxy believes X-Forwarded-Proto, for Secure cookies behind a proxy
	// that ends TLS. Without such a proxy anybody can send the header.
	TrustProxy bool

	// NewID makes the ids of new sessions, which are bearers here: the store's
	// key is all that is signed. Default: [NewID].
	NewID func(*http.Request) (string, error)

	// User says whose a session is, "" for a guest's. Of two valid cookies of
	// different users neither counts. Default: the JSON of "user" in "passport",
	// or else of "user".
	User func(*Data) string

	// Log is told of records that cannot be read. Default: slog.Default().
	Log *slog.Logger
}

const (
	maxCookies = 4  // of one name are looked at
	maxRetries = 64 // bounds compare-and-set against other servers
	// freshFor is how long what Handler read is taken for now.
	freshFor = time.Second
)

// ErrInsecure refuses to begin a session whose cookie would not be sent: Express
// keeps it all the same, one for each request, and the visitor learns nothing.
var ErrInsecure = admit.Invalid.New("insecure_connection", "This site keeps sessions over HTTPS only.").
	WithHint("Behind a proxy that ends TLS, set TrustProxy and let the proxy set X-Forwarded-Proto.")

// New returns a Manager. Nil options are Express's defaults, but resave and
// saveUninitialized are off.
func New(store Store, secrets *Secrets, o *Options) (*Manager, error) {
	if store == nil || secrets == nil {
		return nil, errors.New("express: no store or no secrets")
	}
	m := &Manager{store: store, secrets: secrets}
	if o != nil {
		m.o = *o
	}
	if m.o.Name == "" {
		m.o.Name = "connect.sid"
	}
	if m.o.NewID == nil {
		m.o.NewID = func(*http.Request) (string, error) { return NewID(), nil }
	}
	if m.o.User == nil {
		m.o.User = user
	}
	if m.o.Log == nil {
		m.o.Log = slog.Default()
	}
	var err error
	m.clear, err = m.o.Cookie.check(m.o.Name)
	return m, err
}

// NewID returns an id as uid-safe makes them for Express: 24 random bytes in 32
// characters.
func NewID() string {
	b := make([]byte, 24)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func user(d *Data) string {
	var passport struct{ User json.RawMessage }
	d.Get("passport", &passport) // of another shape: no user
	for _, raw := range []string{string(passport.User), d.Raw("user")} {
		if truthy(raw) {
			return raw
		}
	}
	return ""
}

// A Session is a session with its data. It is a copy: changing it changes
// nothing else.
type Session struct {
	// ID is Express's req.sessionID, which the store has as its key. Signed it
	// is what the browser presents, so do not show it around.
	ID string
	Data
}

// A held is a session as it was read.
type held struct {
	sid  string
	old  bool // signed with a secret that is no longer the first
	rec  Record
	data Data
}

func (h *held) session() *Session { return &Session{h.sid, h.data} }

// Load returns the request's session. It never writes and never sets a cookie.
// Its error is session.ErrNone, ErrEnded, ErrExpired, ErrAmbiguous, or of kind
// admit.Unavailable.
func (m *Manager) Load(r *http.Request) (*Session, error) {
	h, err := m.hold(r, time.Now())
	if err != nil {
		return nil, err
	}
	return h.session(), nil
}

// Use is [Manager.Load] that also does what Express does when a request leaves
// the session alone: it notes the use, renews the cookie with Rolling, writes
// with Resave, and begins a session with SaveUninitialized. It also signs the
// cookie anew where an older secret verified it, and clears ambiguous ones.
func (m *Manager) Use(w http.ResponseWriter, r *http.Request) (*Session, error) {
	h, err := m.use(w, r, time.Now())
	if err != nil {
		return nil, err
	}
	return h.session(), nil
}

// Handler does [Manager.Use] before next runs. Load and Update inside next then
// cost no second read, and know a session that ended meanwhile.
func (m *Manager) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.WithContext(context.WithValue(r.Context(), m, &seen{}))
		m.use(w, r, time.Now())
		next.ServeHTTP(w, r)
	})
}

func (m *Manager) use(w http.ResponseWriter, r *http.Request, now time.Time) (h *held, err error) {
	defer func() { m.remember(r, h, err) }()
	h, err = m.hold(r, now)
	switch {
	case err == nil:
		return h, m.touch(w, r, h, now)
	case errors.Is(err, session.ErrAmbiguous):
		m.clear.DeleteAll(w, r)
	case m.o.SaveUninitialized && begins(err) && m.sends(r, m.o.Cookie.Secure):
		return m.begin(w, r, m.new(now), now)
	}
	return nil, err
}

// touch does what is due when the session is used and not changed.
func (m *Manager) touch(w http.ResponseWriter, r *http.Request, h *held, now time.Time) error {
	used := h.data
	used.renew(now)
	until := used.Expires()
	idle := used.MaxAge()
	due := m.o.Rolling || m.o.TouchAfter == 0 || idle == 0 || h.rec.Until.IsZero() || h.rec.Until.Sub(now) < idle-m.o.TouchAfter
	var err error
	switch {
	case m.o.Resave:
		next := *h
		next.data = used
		if err = m.swap(r.Context(), &next); err == nil {
			*h = next
		}
	case due:
		err = m.store.Touch(r.Context(), h.sid, h.rec, until)
	}
	if errors.Is(err, session.ErrNotFound) {
		return session.ErrEnded
	}
	// Otherwise the session was read, and is good for this request. Another's
	// write has noted that it is in use, or the next request's touch will.
	if err == nil && m.o.Rolling || h.old {
		m.send(w, r, h.sid, &used)
	}
	return nil
}

// swap keeps the held data in place of the record that was read.
func (m *Manager) swap(ctx context.Context, h *held) error {
	rec, err := m.store.Swap(ctx, h.sid, h.rec, Record{JSON: h.data.JSON(), Until: h.data.Expires()})
	if err == nil {
		h.rec = rec
	}
	return err
}

// Update changes the data of the request's session, or of a new one where the
// request has none, and returns it as it is now kept. The change is in the store
// when Update returns nil; write the response after that. Where fn changes
// nothing, nothing is written: a use is noted, and a stranger stays one, whose
// Session has no ID.
//
// Fn gets the data as it is now and may run more than once, when somebody else
// wrote meanwhile; it should do nothing but change the data. Its error ends
// Update, and nothing is kept. While fn runs, other updates of the session in
// this process wait: fn must not update the same session.
//
// A session that ends while the request runs is session.ErrEnded, and is not
// written again. One that was gone before is like none, as in Express: nothing
// there tells ended from unknown. Ambiguous cookies are cleared.
func (m *Manager) Update(w http.ResponseWriter, r *http.Request, fn func(*Data) error) (*Session, error) {
	h, err := m.update(w, r, fn, time.Now())
	if err != nil {
		if errors.Is(err, session.ErrEnded) {
			m.remember(r, nil, err)
		}
		return nil, err
	}
	if h.sid != "" {
		m.remember(r, h, nil)
	}
	return h.session(), nil
}

func (m *Manager) update(w http.ResponseWriter, r *http.Request, fn func(*Data) error, now time.Time) (after *held, failed error) {
	ctx := r.Context()
	var h *held
	ids := m.presented(r)
	if len(ids) == 1 && !m.handled(r) {
		// There is no doubt which session is meant. It is read in turn, and not
		// at all where the writer before has left it here.
		h = &held{sid: ids[0].value, old: ids[0].old}
	} else if read, err := m.hold(r, now); err == nil {
		h = read
	} else if !begins(err) {
		if errors.Is(err, session.ErrAmbiguous) && !m.handled(r) {
			m.clear.DeleteAll(w, r) // or the visitor is refused for ever
		}
		return nil, err
	}
	err := error(session.ErrNone)
	var left, last *Record // by the writer before, and for the next one
	if h != nil {
		if left, err = m.queue.enter(ctx, h.sid); err != nil {
			return nil, err
		}
		// What was left here is not handed on: it would outlive the session for as
		// long as somebody waits.
		defer func() { m.queue.leave(h.sid, last, failed) }()
		now = time.Now()
		if left != nil {
			// Where somebody else wrote after it, the swap finds out.
			h.rec = *left
			h.data, err = parse(left.JSON)
		} else if h.rec == (Record{}) {
			err = m.check(ctx, h, now)
		}
	}
	if begins(err) {
		begun := &held{data: m.new(now)}
		if err := fn(&begun.data); err != nil || len(begun.data.members) == 1 && !m.o.SaveUninitialized {
			return begun, err
		}
		return m.begin(w, r, begun.data, now)
	}
	if err != nil {
		return nil, err
	}
	after, last, err = m.apply(w, r, h, left != nil, fn, now)
	return after, err
}

// apply changes the held session, whose turn it is, and of which somebody may have
// told. Known is the record, where more was learnt of it.
func (m *Manager) apply(w http.ResponseWriter, r *http.Request, h *held, told bool, fn func(*Data) error, now time.Time) (after *held, known *Record, err error) {
	ctx := r.Context()
	for range maxRetries {
		next := *h
		if err := fn(&next.data); err != nil {
			return nil, known, err
		}
		if next.data.JSON() == h.data.JSON() {
			if told { // the session may have ended since, and no write finds out
				if err := m.reread(ctx, h, now); err != nil {
					return nil, nil, err
				}
				told = false
				continue
			}
			if m.handled(r) {
				return h, known, nil
			}
			return h, known, m.touch(w, r, h, now)
		}
		jar := sameMembers(next.data.cookie, h.data.cookie)
		next.data.renew(now)
		err := m.swap(ctx, &next)
		switch {
		case err == nil:
			if m.o.Rolling || !next.data.Expires().IsZero() || !jar || h.old {
				m.send(w, r, h.sid, &next.data)
			}
			return &next, &next.rec, nil
		case errors.Is(err, session.ErrConflict):
			if err := m.reread(ctx, h, now); err != nil {
				return nil, nil, err
			}
			told = false
			rec := h.rec
			known = &rec
		case errors.Is(err, session.ErrNotFound):
			return nil, nil, session.ErrEnded
		default:
			return nil, known, fmt.Errorf("keep a session: %w", err)
		}
	}
	return nil, known, session.ErrBusy
}

// Start signs somebody in or out, as Express's regenerate does: the request's
// session is gone, and a new one begins under a new id with the data that fn, if
// not nil, leaves in it. Nothing is kept of the old one's data: see
// [Manager.Renew]. Other cookies of the name that the browser sent are cleared.
func (m *Manager) Start(w http.ResponseWriter, r *http.Request, fn func(*Data) error) (*Session, error) {
	return m.renew(w, r, fn, false)
}

// Renew gives the session a new id, as every sign-in should, and keeps its data,
// which fn, if not nil, may change: what was there when the old id died. Without
// a session it is [Manager.Start].
func (m *Manager) Renew(w http.ResponseWriter, r *http.Request, fn func(*Data) error) (*Session, error) {
	return m.renew(w, r, fn, true)
}

func (m *Manager) renew(w http.ResponseWriter, r *http.Request, fn func(*Data) error, keep bool) (*Session, error) {
	ctx, now := r.Context(), time.Now()
	if !m.sends(r, m.o.Cookie.Secure) {
		return nil, ErrInsecure
	}
	h, err := m.hold(r, now)
	if err != nil && !errors.Is(err, admit.Unauthenticated) {
		return nil, err
	}
	begun := m.new(now)
	for try := 0; err == nil; try++ {
		data, old := m.new(now), h.rec
		if keep {
			data = h.data
		} else {
			old = Record{} // whatever is there
		}
		if fn != nil {
			if err := fn(&data); err != nil {
				return nil, err
			}
		}
		if err = m.store.Delete(ctx, h.sid, old); err == nil {
			begun = data
			break
		}
		switch {
		case errors.Is(err, session.ErrNotFound): // somebody else ended it: nothing is to be kept
			err = session.ErrEnded
		case !errors.Is(err, session.ErrConflict):
			return nil, err
		case try == maxRetries:
			return nil, session.ErrBusy
		default:
			err = m.check(ctx, h, now)
		}
		if err != nil && !errors.Is(err, admit.Unauthenticated) {
			return nil, err
		}
	}
	if err != nil && fn != nil {
		if err := fn(&begun); err != nil {
			return nil, err
		}
	}
	if errors.Is(err, session.ErrAmbiguous) || len(cookie.Values(r.Header, m.o.Name, nil)) > 1 {
		m.clear.DeleteAll(w, r)
	}
	h, err = m.begin(w, r, begun, now)
	m.remember(r, h, err)
	if err != nil {
		return nil, err
	}
	return h.session(), nil
}

// new returns the data of a new session.
func (m *Manager) new(now time.Time) Data {
	d := Data{members: []member{{"cookie", `"cookie"`, ""}}, cookie: m.o.Cookie.members()}
	d.renew(now)
	return d
}

// begin adds a session and sets its cookie.
func (m *Manager) begin(w http.ResponseWriter, r *http.Request, data Data, now time.Time) (*held, error) {
	if !m.sends(r, data.secure()) {
		return nil, ErrInsecure
	}
	sid, err := m.o.NewID(r)
	if err != nil {
		return nil, fmt.Errorf("make a session's id: %w", err)
	}
	data.renew(now)
	h := &held{sid: sid, data: data}
	if h.rec, err = m.store.Add(r.Context(), sid, Record{JSON: data.JSON(), Until: data.Expires()}); err != nil {
		return nil, fmt.Errorf("keep a new session: %w", err)
	}
	m.send(w, r, sid, &h.data)
	return h, nil
}

// End signs the request's session out, as Express's destroy does, and clears the
// cookie, which Express leaves in the browser. A request without a session is no
// error. Where the browser sent several, all are ended.
func (m *Manager) End(w http.ResponseWriter, r *http.Request) error {
	for _, sid := range m.presented(r) {
		if err := m.store.Delete(r.Context(), sid.value, Record{}); err != nil {
			return err
		}
	}
	m.remember(r, nil, session.ErrEnded)
	if len(cookie.Values(r.Header, m.o.Name, nil)) > 1 {
		m.clear.DeleteAll(w, r)
	} else {
		m.clear.Delete(w)
	}
	return nil
}

// send gives the browser the cookie, where it may have it.
func (m *Manager) send(w http.ResponseWriter, r *http.Request, sid string, d *Data) {
	if m.sends(r, d.secure()) {
		put(w.Header(), d.line(m.o.Name, m.secrets.Sign(sid)))
	}
}

// sends reports whether a cookie may go out on the request's connection.
func (m *Manager) sends(r *http.Request, secure bool) bool {
	if !secure || r.TLS != nil {
		return true
	}
	first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	return m.o.TrustProxy && strings.EqualFold(strings.TrimSpace(first), "https")
}
