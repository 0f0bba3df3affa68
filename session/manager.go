package session

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/token"
)

// A Manager keeps sessions with data of type D. It is made by [New], does not
// change, and is safe for use by several goroutines.
type Manager[D any] struct {
	store    Store
	epochs   EpochGetter // store, if it is one
	guesses  Guesser     // store, if it is one
	seal     *sealed     // store, where the records travel in the cookie
	cookie   *cookie.Cookie
	realm    token.Digest // of the cookie's name
	codec    Codec
	lifetime time.Duration
	idle     time.Duration
	bearer   bool
	urls     bool
	named    func(*http.Request) (*Named, error)
	feed     feed.Sink
	parents  Parents
	queue    queue
	watches  watches
	log      *slog.Logger
	unread   atomic.Pointer[string] // sid of the last session that was unreadable
	made     time.Time
	calls    atomic.Uint32
	runs     atomic.Int32 // calls of Run
	swept    sweeps
}

const (
	// graveTime is how long a tombstone tells "ended" from "unknown", and
	// keeps a request in flight from writing over an ending.
	graveTime = time.Minute
	// maxTouch and idle/20 bound how often a session's last use is written.
	maxTouch = time.Minute
	// maxRetries bounds compare-and-set against other processes.
	maxRetries = 64
	// sweepEvery calls that write, expired records are swept in a small step.
	sweepEvery = 64
	sweepLimit = 256
	// runStep is how many records Run sweeps at a stretch, in about 0.2 ms.
	runStep = 1000
	// maxCookies of one name are looked at.
	maxCookies = 4
)

// New returns a Manager over a store. It refuses options that contradict each
// other.
func New[D any](store Store, o *Options) (*Manager[D], error) {
	if o == nil {
		o = &Options{}
	}
	m := &Manager[D]{
		store:    store,
		codec:    o.Codec,
		lifetime: cmp.Or(o.Lifetime, 12*time.Hour),
		idle:     cmp.Or(o.Idle, time.Hour),
		bearer:   o.Bearer,
		urls:     o.InsecureURLSessions,
		named:    o.Named,
		feed:     o.Feed,
		log:      o.Log,
		parents:  o.Parents,
		made:     time.Now(),
	}
	if store == nil {
		return nil, errors.New("session: no store")
	}
	if _, ok := store.(unguarded); o.InsecureNoGuard && !ok {
		return nil, errors.New("session: InsecureNoGuard is for NewSealed without a store")
	}
	if m.lifetime < time.Second || m.idle < time.Second {
		return nil, fmt.Errorf("session: a lifetime of %v and an idle time of %v: at least a second each", m.lifetime, m.idle)
	}
	if m.log == nil {
		m.log = slog.Default()
	}
	m.epochs, _ = store.(EpochGetter)
	m.guesses, _ = store.(Guesser)
	if m.codec == nil {
		m.codec = newJSONCodec(reflect.TypeFor[D]())
	}
	name := o.Name
	switch {
	case name != "":
	case o.InsecureAllowHTTP:
		name = "session"
	case o.Domain != "" || o.Path != "" && o.Path != "/":
		name = "__Secure-session"
	default:
		name = "__Host-session"
	}
	var err error
	m.cookie, err = cookie.New(name, &cookie.Options{
		Domain: o.Domain, Path: o.Path, SameSite: o.SameSite, InsecureAllowHTTP: o.InsecureAllowHTTP,
	})
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	sum := sha256.Sum256([]byte(name))
	copy(m.realm[:], sum[:])
	return m, nil
}

// digest is what a record keeps of its token. The name of the cookie is in it: a
// session of another name in the same store is none of ours, and who moves its
// token into our cookie is a stranger.
func (m *Manager[D]) digest(tok token.Token) token.Digest {
	d := tok.Digest()
	for i := range d {
		d[i] ^= m.realm[i]
	}
	return d
}

// matches compares in constant time.
func (m *Manager[D]) matches(tok token.Token, d token.Digest) bool {
	own := m.digest(tok)
	return subtle.ConstantTimeCompare(own[:], d[:]) == 1
}

// A held is a session as it was read: who it is, and the record to write over.
type held struct {
	sid   string
	tok   token.Token // none where it was found by its sid
	named *Named      // by which it was found; nil for none
	item  Item
	epoch Epoch // of the subject, in which alone a write counts
	rec   record

	guess   bool // what the store remembers of it will do
	guessed bool // it is what the store remembered, and was not read
}

func (h *held) info() Info {
	rec := &h.rec
	if rec.created == 0 { // of a sealed session, and its cookie is not here
		return Info{SID: h.sid, Subject: h.item.Subject, IdleExpiresAt: h.item.Expires, ExpiresAt: rec.end(), Epoch: h.epoch.N}
	}
	i := Info{
		SID:           h.sid,
		Subject:       h.item.Subject,
		CreatedAt:     time.UnixMilli(rec.created),
		IdleExpiresAt: h.item.Expires,
		ExpiresAt:     rec.end(),
		ACR:           rec.text[1],
		Device:        Device{rec.text[2], rec.text[3], rec.text[4]},
		Persistent:    rec.flags&flagPersistent != 0,
		Bearer:        rec.place() == placeHeader,
		JWT:           rec.place() == placeJWT,
		URL:           rec.place() == placeURL,
		Parent:        rec.parent,
		Epoch:         h.epoch.N,
		amr:           rec.text[0],
	}
	i.LastSeenAt = i.IdleExpiresAt.Add(-time.Duration(rec.idle) * time.Millisecond)
	if rec.auth != 0 {
		i.AuthTime = time.UnixMilli(rec.auth)
	}
	if h.named != nil && h.named.AuthTime.Before(i.AuthTime) {
		i.AuthTime = h.named.AuthTime // a token that was stolen before is not raised along with a new proof
	}
	if i.ExpiresAt.Before(i.IdleExpiresAt) {
		i.IdleExpiresAt = i.ExpiresAt
	}
	return i
}

// Check returns what is known about the request's session, without decoding
// its data. It never writes. Its error is ErrNone, ErrEnded, ErrExpired,
// ErrAmbiguous, or of kind admit.Unavailable.
func (m *Manager[D]) Check(r *http.Request) (Info, error) {
	r = m.peek(r)
	var h held
	if err := m.hold(r, &h); err != nil {
		return Info{}, err
	}
	return h.info(), nil
}

// Load returns the request's session. It never writes and never sets a
// cookie. Errors are those of Check.
func (m *Manager[D]) Load(r *http.Request) (*Session[D], error) {
	r = m.peek(r)
	var h held
	if err := m.hold(r, &h); err != nil {
		return nil, err
	}
	return m.session(&h), nil
}

// session returns the held session with its data. Data that cannot be decoded,
// such as that of a program with another D, is as if there were none: otherwise its
// holder would have nothing but errors until the session ends.
func (m *Manager[D]) session(h *held) *Session[D] {
	s := &Session[D]{Info: h.info()}
	if err := m.codec.Decode(h.rec.data, &s.Data); err != nil {
		var none D
		s.Data, h.rec.data = none, ""
		m.unreadable(h.sid, err)
	}
	return s
}

// unreadable logs what could not be read, once while it is the same session's.
func (m *Manager[D]) unreadable(sid string, err error) {
	if last := m.unread.Swap(&sid); last == nil || *last != sid {
		m.log.Warn("A session cannot be read: it begins anew.", "sid", sid, "error", err)
	}
}

// Update changes the data of the request's session, or of a new guest's where
// the request has none, and returns it as it is now kept. The change is in the
// store when Update returns nil; write the response after that.
//
// Fn gets the data as it is now, or was, and may run more than once: when another
// process wrote meanwhile, or when the store remembered the data (see [Guesser])
// and fn changed nothing. It should do nothing but change the data. Its error ends
// Update, and nothing is kept. While fn runs, other updates of the session
// in this process wait: fn must not update the same session. Those that wait for
// each other share one write: fn may get data that is not in the store yet, but
// Update returns nothing that was not. A change counts as use, as [Manager.Handler]
// notes it.
//
// A request whose session has been ended gets ErrEnded and no cookie, so that
// a late request never replaces a fresh sign-in; where the session expired or
// is unknown, a new one begins. A stranger of whom fn leaves nothing to remember,
// the zero D, is not kept: no record, no cookie, and the Session has no SID.
func (m *Manager[D]) Update(w http.ResponseWriter, r *http.Request, fn func(*D) error) (_ *Session[D], err error) {
	r, c := m.carry(r)
	defer c.set(w, &err)
	for guess := m.guesses != nil; ; guess = false {
		h := held{guess: guess}
		err = m.hold(r, &h)
		m.forget(r)
		switch {
		case errors.Is(err, ErrNone), errors.Is(err, ErrExpired):
			s := &Session[D]{}
			if err := fn(&s.Data); err != nil {
				return nil, err
			}
			if reflect.ValueOf(&s.Data).Elem().IsZero() {
				return s, nil
			}
			return m.begin(w, r, "", s.Data, "", nil, time.Now())
		case errors.Is(err, ErrAmbiguous):
			m.cookie.DeleteAll(w, r) // or the visitor is refused for ever
			return nil, err
		case err != nil:
			return nil, err
		}
		before, guessed := h.item.Expires, h.guessed
		s, err := m.update(r.Context(), &h, fn)
		if guessed && (errors.Is(err, ErrNone) || errors.Is(err, ErrExpired)) {
			continue // it has gone since it was remembered, or fn says so
		}
		if err == nil && h.rec.flags&(flagPersistent|flagBearer) == flagPersistent && h.item.Expires.After(before) {
			err = m.setCookie(w, &h, time.Now())
		}
		return s, err
	}
}

// Prove notes that the subject of the request's session has just proved itself
// again, by these methods: AuthTime is now, and the session has a new token, so
// that one which was stolen before is not raised along with it. The id and the
// data stay. A cookie is set; with Bearer, Session.Token is what the client
// presents from now on. A session of Options.Named has no token: what the program
// makes of it from now on tells of the proof, and what it has made does not.
//
// For a minute the token before it is answered with ErrEnded, so that a late
// request replaces nothing; of two proofs at once one counts, and the other gets
// that. A guest has nothing to prove: ErrNone.
func (m *Manager[D]) Prove(w http.ResponseWriter, r *http.Request, amr ...string) (*Session[D], error) {
	return m.prove(w, r, func(rec *record) { rec.text[0] = union(rec.text[0], amr) })
}

// ProveAs is Prove where what the session says of its user's proof is replaced: ACR
// and AMR are these from now on, higher than before or lower.
func (m *Manager[D]) ProveAs(w http.ResponseWriter, r *http.Request, acr string, amr ...string) (*Session[D], error) {
	return m.prove(w, r, func(rec *record) { rec.text[0], rec.text[1] = strings.Join(amr, " "), acr })
}

func (m *Manager[D]) prove(w http.ResponseWriter, r *http.Request, by func(*record)) (_ *Session[D], err error) {
	r, c := m.carry(r)
	defer c.set(w, &err)
	ctx := r.Context()
	var h held
	err = m.hold(r, &h)
	m.forget(r)
	if err == nil && h.item.Subject == "" {
		err = ErrNone
	}
	if err != nil {
		return nil, err
	}
	waited, err := m.queue.enter(ctx, h.sid)
	if err != nil {
		return nil, err
	}
	defer m.queue.leave(h.sid)
	now := time.Now()
	for try := range maxRetries {
		if waited || try > 0 {
			if err := m.reread(ctx, &h, now); err != nil {
				return nil, err
			}
		}
		next := h
		if h.named == nil {
			next.tok = h.tok.WithNewVerifier()
			c.gives(next.tok)
			next.rec.flags |= flagPrevious
			next.rec.previous, next.rec.digest = h.rec.digest, m.digest(next.tok)
		}
		next.named, next.rec.auth = nil, now.UnixMilli()
		by(&next.rec)
		next.item.Expires = now.Add(time.Duration(h.rec.idle) * time.Millisecond)
		next.item.Value = next.rec.value([]byte(h.rec.data))
		if next.item.Version, err = m.store.Swap(ctx, h.sid, h.item.Version, next.item); changed(err) {
			continue
		} else if err != nil {
			return nil, storeError(err)
		}
		s := m.session(&next)
		switch {
		case h.named != nil:
			return s, nil
		case next.rec.flags&flagBearer != 0:
			s.Token = admit.NewSecret(next.tok.Reveal())
			return s, nil
		}
		return s, m.setCookie(w, &next, now)
	}
	return nil, ErrBusy
}

// union adds methods to those of a record.
func union(amr string, more []string) string {
	all := strings.Fields(amr)
	for _, method := range more {
		if !slices.Contains(all, method) {
			all = append(all, method)
		}
	}
	return strings.Join(all, " ")
}

// write swaps the held record for one with other data.
func (m *Manager[D]) write(ctx context.Context, h *held, data []byte) error {
	it := h.item
	it.Value = h.rec.value(data)
	var err error
	if m.guesses != nil {
		it.Version, err = m.guesses.SwapIn(ctx, h.sid, it.Version, it, h.epoch)
	} else {
		it.Version, err = m.store.Swap(ctx, h.sid, it.Version, it)
	}
	if err != nil {
		return storeError(err)
	}
	h.item = it
	return nil
}

// reread reads a held session anew. It must still be alive.
func (m *Manager[D]) reread(ctx context.Context, h *held, now time.Time) error {
	if h.named != nil {
		return m.readNamed(ctx, h.named, h, now)
	}
	return m.check(ctx, h, h.rec.flags&flagBearer != 0, now)
}

// Start signs the subject in: it begins a session with a new id and sets the
// cookie, or returns the token with StartOptions.Bearer. The data of the
// request's guest, or of its session of the same subject, is kept; the old id
// is dead before Start returns. Another subject's session is ended and its data
// is not carried over. An empty subject begins a guest's session.
func (m *Manager[D]) Start(w http.ResponseWriter, r *http.Request, subject string, o *StartOptions) (*Session[D], error) {
	return m.StartWith(w, r, subject, o, nil)
}

// StartWith is Start with data: fn, if not nil, gets what Start would keep, and
// what it leaves there is what the session begins with.
func (m *Manager[D]) StartWith(w http.ResponseWriter, r *http.Request, subject string, o *StartOptions, fn func(*D)) (*Session[D], error) {
	return m.start(w, r, subject, o, func(data *D, _ bool) {
		if fn != nil {
			fn(data)
		}
	})
}

// StartMerging is Start for a program that has a rule of its own for what a guest
// did: merge gets it, and what the user's session begins with, which is what the
// session of the same subject in this browser held, or zero. It is called once for
// each sign-in, and with a zero guest where nobody was one: who signs in again is not
// given twice what the guest did. Of any number of sign-ins at once that present the
// same guest's session, one gets it, for that session is over before.
func (m *Manager[D]) StartMerging(w http.ResponseWriter, r *http.Request, subject string, o *StartOptions, merge func(guest D, user *D)) (*Session[D], error) {
	if subject == "" || merge == nil {
		return nil, errors.New("session: StartMerging without a subject, or without a rule")
	}
	return m.start(w, r, subject, o, func(data *D, guest bool) {
		var none D
		if !guest {
			merge(none, data)
			return
		}
		was := *data
		*data = none
		merge(was, data)
	})
}

// start begins a session with what fn makes of the data that is kept, which may be a
// guest's.
func (m *Manager[D]) start(w http.ResponseWriter, r *http.Request, subject string, o *StartOptions, fn func(data *D, guest bool)) (_ *Session[D], err error) {
	r, c := m.carry(r)
	defer c.set(w, &err)
	ctx := r.Context()
	now := time.Now()
	var old held
	err = m.read(r, &old, now)
	m.forget(r)
	if err == nil {
		if _, err := m.queue.enter(ctx, old.sid); err != nil {
			return nil, err
		}
		defer m.queue.leave(old.sid)
		// What is kept is what was there when the old id died.
		err = m.bury(ctx, &old, "renewed", now)
	}
	var data D
	var before string
	guest := false
	switch {
	case err == nil && old.named != nil && old.named.url != nil: // whose link it was is not known
	case err == nil && (old.item.Subject == "" || old.item.Subject == subject):
		data = m.session(&old).Data
		before = old.rec.data
		guest = old.item.Subject == ""
	case errors.Is(err, ErrAmbiguous):
		m.cookie.DeleteAll(w, r)
	case err != nil && !errors.Is(err, admit.Unauthenticated):
		return nil, err
	}
	fn(&data, guest)
	return m.begin(w, r, subject, data, before, o, now)
}

// begin adds a session and sets its cookie. Before is what data was decoded
// from, "" for new data.
func (m *Manager[D]) begin(w http.ResponseWriter, r *http.Request, subject string, data D, before string, o *StartOptions, now time.Time) (*Session[D], error) {
	ctx := r.Context()
	if o == nil {
		o = &StartOptions{}
	}
	if o.Bearer && !m.bearer || o.JWT && m.named == nil {
		return nil, errors.New("session: StartOptions.Bearer without Options.Bearer, or JWT without Named")
	}
	if o.Parent != "" && (m.parents == nil || !token.IsSelector(o.Parent)) {
		return nil, errors.New("session: StartOptions.Parent without Options.Parents, or no sid")
	}
	encoded, err := m.codec.Encode(&data, before)
	if err != nil {
		return nil, fmt.Errorf("encode session: %w", err)
	}
	tok := token.New(token.Session)
	h := held{sid: tok.Selector(), tok: tok}
	h.rec = record{
		digest:   m.digest(tok),
		created:  now.UnixMilli(),
		idle:     cmp.Or(o.Idle, m.idle).Milliseconds(),
		lifetime: cmp.Or(o.Lifetime, m.lifetime).Milliseconds(),
		parent:   o.Parent,
		text:     [5]string{strings.Join(o.AMR, " "), o.ACR, o.Device.Name, o.Device.UserAgent, o.Device.Address},
	}
	switch {
	case o.Bearer: // not persistent: a touch would put the token into a cookie
		h.rec.flags |= flagBearer
	case o.JWT:
		h.rec.flags |= flagJWT
	case m.wantsURL(r):
		h.rec.flags |= placeURL
		h.rec.idle = min(h.rec.idle, urlIdle.Milliseconds())
	case o.Persistent:
		h.rec.flags |= flagPersistent
	}
	if subject != "" {
		at := o.AuthTime
		if at.IsZero() {
			at = now
		}
		h.rec.auth = at.UnixMilli()
		if h.rec.epoch, err = m.epochFor(ctx, subject, h.rec.end(), now); err != nil {
			return nil, err
		}
		h.epoch.N = h.rec.epoch
	}
	h.item = Item{
		Value:   h.rec.value(encoded),
		Subject: subject,
		Expires: now.Add(time.Duration(h.rec.idle) * time.Millisecond),
	}
	m.seal.carried(ctx).gives(tok)
	if h.item.Version, err = m.store.Add(ctx, h.sid, h.item); err != nil {
		return nil, storeError(err)
	}
	s := &Session[D]{Info: h.info(), Data: data}
	switch {
	case o.Bearer:
		s.Token = admit.NewSecret(h.tok.Reveal())
	case o.JWT, s.URL: // nobody ever has the token, so that it is none
	default:
		if err := m.setCookie(w, &h, now); err != nil {
			return nil, errors.Join(err, m.store.Delete(ctx, h.sid))
		}
	}
	m.sweep(ctx, now)
	return s, nil
}

// setCookie gives the browser the session's token.
func (m *Manager[D]) setCookie(w http.ResponseWriter, h *held, now time.Time) error {
	if m.seal != nil {
		return nil // it carries what was just written: carry.set
	}
	var age time.Duration // a browser-session cookie
	if h.rec.flags&flagPersistent != 0 {
		age = min(h.item.Expires.Sub(now), h.rec.end().Sub(now))
	}
	return m.cookie.SetRaw(w, h.tok.Reveal(), age)
}

// epochFor returns the subject's epoch, making one where there is none. The
// epoch is kept for longer than any session that was begun in it: a session
// whose epoch is missing counts as ended, so that a store that forgets never
// revives anything.
func (m *Manager[D]) epochFor(ctx context.Context, subject string, end, now time.Time) (uint64, error) {
	key := EpochKey(subject)
	for range maxRetries {
		it, err := m.store.Get(ctx, key)
		switch {
		case err == nil && now.Before(it.Expires) && ParseEpoch(it.Value).N > 0:
			if it.Expires.Before(end) {
				// Twice as long as needed, so that few sign-ins write it.
				err := m.store.Touch(ctx, key, it.Version, end.Add(end.Sub(now)))
				if changed(err) {
					continue
				}
				if err != nil {
					return 0, storeError(err)
				}
			}
			return ParseEpoch(it.Value).N, nil
		case err == nil:
			if err := m.raise(ctx, subject, it, ParseEpoch(it.Value).Next(""), end); err != nil && !changed(err) {
				return 0, storeError(err)
			}
		case errors.Is(err, ErrNotFound):
			// The first epoch is the time, so that one made after the store
			// forgot is later than all before.
			it := Item{Value: Epoch{N: uint64(now.UnixMilli())}.String(), Subject: epochOwner, Expires: end.Add(end.Sub(now))}
			if _, err := m.store.Add(ctx, key, it); err != nil && !changed(err) {
				return 0, storeError(err)
			}
		default:
			return 0, storeError(err)
		}
	}
	return 0, ErrBusy
}

// raise swaps an epoch record for the next epoch.
func (m *Manager[D]) raise(ctx context.Context, subject string, it Item, epoch Epoch, end time.Time) error {
	next := Item{Value: epoch.String(), Subject: epochOwner, Expires: it.Expires}
	if next.Expires.Before(end) {
		next.Expires = end
	}
	_, err := m.store.Swap(ctx, EpochKey(subject), it.Version, next)
	return err
}

// End signs the request's session out: its record is gone, the cookie is
// cleared, the ending is told. A request without a session is no error; one whose
// credential Options.Named refuses is, for its session may live. Where the browser
// sent two sessions, both are ended.
func (m *Manager[D]) End(w http.ResponseWriter, r *http.Request, reason string) error {
	r, _ = m.carry(r)
	now := time.Now()
	m.forget(r)
	by, err := m.name(r)
	if err != nil {
		return err
	}
	if by != nil {
		var h held
		err = m.readNamed(r.Context(), by, &h, now)
		if err == nil || errors.Is(err, ErrStale) {
			err = m.end(r.Context(), &h, reason, now)
		}
	}
	if err != nil && !errors.Is(err, admit.Unauthenticated) {
		return err
	}
	var buf [maxCookies]string
	texts, bearer := m.presented(r, buf[:0])
	if by != nil {
		texts = nil // it is judged by that alone
	}
	for _, text := range texts {
		tok, err := token.Parse(token.Session, text)
		if err != nil {
			continue
		}
		h := held{sid: tok.Selector(), tok: tok}
		err = m.check(r.Context(), &h, bearer, now)
		if err == nil {
			err = m.end(r.Context(), &h, reason, now)
		}
		if err != nil && !errors.Is(err, admit.Unauthenticated) {
			return err
		}
	}
	if !bearer {
		m.cookie.DeleteAll(w, r)
	}
	m.sweep(r.Context(), now)
	return nil
}

// EndSID ends one of the subject's sessions, or returns ErrUnknown.
func (m *Manager[D]) EndSID(ctx context.Context, subject, sid, reason string) error {
	h := held{sid: sid}
	err := m.find(ctx, &h, time.Now())
	if err == nil && (subject == "" || h.item.Subject != subject) {
		return ErrUnknown
	}
	if err != nil {
		return err
	}
	return m.EndAny(ctx, sid, reason)
}

// Find returns a session by its public id, whoever's it is: for operators.
// Most programs never call it. ErrUnknown where no live session has the id.
func (m *Manager[D]) Find(ctx context.Context, sid string) (*Session[D], error) {
	h := held{sid: sid}
	if err := m.find(ctx, &h, time.Now()); err != nil {
		return nil, err
	}
	return m.session(&h), nil
}

// EndAny ends a session by its public id, whoever's it is: for operators.
// Most programs want EndSID, which asks whose. ErrUnknown as Find.
func (m *Manager[D]) EndAny(ctx context.Context, sid, reason string) error {
	now := time.Now()
	h := held{sid: sid}
	err := m.find(ctx, &h, now)
	if err == nil {
		err = m.end(ctx, &h, reason, now)
	}
	if errors.Is(err, admit.Unauthenticated) {
		return ErrUnknown
	}
	return err
}

// find reads the live session with h's sid, or returns ErrUnknown.
func (m *Manager[D]) find(ctx context.Context, h *held, now time.Time) error {
	if !token.IsSelector(h.sid) {
		return ErrUnknown
	}
	err := m.alive(ctx, h, now)
	if errors.Is(err, admit.Unauthenticated) {
		return ErrUnknown
	}
	return err
}

// end ends a live session and its parent. The parent is first: once it has
// ended neither lives, whatever happens next; and where it cannot be ended
// neither is, so that who signs out is not told that he has, and tries again.
func (m *Manager[D]) end(ctx context.Context, h *held, reason string, now time.Time) error {
	if h.rec.parent != "" && m.parents != nil {
		parent := feed.DigestOf(feed.Session, h.rec.parent)
		defer m.watches.wake(func(w *watch) bool { return w.parent == parent }) // whatever comes of it
		err := m.parents.EndAny(ctx, h.rec.parent, reason)
		if err != nil && !errors.Is(err, admit.NotFound) && !errors.Is(err, admit.Unauthenticated) {
			return storeError(err)
		}
	}
	return m.bury(ctx, h, reason, now)
}

// bury swaps a live record for a tombstone. On return h holds the record as it
// was when it ended. ErrEnded if somebody else was first.
func (m *Manager[D]) bury(ctx context.Context, h *held, reason string, now time.Time) error {
	for range maxRetries {
		ended := feed.SessionEnded(h.sid, h.item.Subject, reason, h.rec.end())
		_, err := m.store.Swap(withEnding(ctx, ended, now), h.sid, h.item.Version, h.stone(reason, now))
		if err == nil {
			m.watches.end(feed.DigestOf(feed.Session, h.sid), reason)
			return m.tell(ctx, now, ended)
		}
		if !changed(err) {
			return storeError(err)
		}
		if err := m.itself(ctx, h, now); err != nil {
			return err
		}
	}
	return ErrBusy
}

// stone returns the tombstone of a live session.
func (h *held) stone(reason string, now time.Time) Item {
	stone := Item{Value: tombstone(h.rec.digest, reason), Subject: h.item.Subject, Expires: now.Add(graveTime)}
	if h.tok == (token.Token{}) && stone.Expires.Before(h.item.Expires) {
		// Ended by somebody else than its holder, who may come back for as
		// long as the session would have waited, and is told why it is gone.
		stone.Expires = h.item.Expires
	}
	return stone
}

// EndAll ends every session of the subject but one; an empty except spares
// none. It is one write, however many sessions there are: it raises the
// subject's epoch.
func (m *Manager[D]) EndAll(ctx context.Context, subject, except, reason string) error {
	if subject == "" {
		return errors.New("session: EndAll of nobody")
	}
	now := time.Now()
	return m.raiseTo(ctx, subject, reason, now, func(epoch Epoch) (Epoch, error) {
		if except != "" {
			h := held{sid: except}
			if err := m.alive(ctx, &h, now); err != nil {
				return Epoch{}, err
			}
			if h.item.Subject != subject {
				return Epoch{}, ErrUnknown
			}
		}
		return epoch.Next(except), nil
	})
}

// RaiseClaims makes tokens that were made from the subject's sessions before out
// of date, and ends no session: call it when what such tokens say of the subject
// has changed, such as its roles. It is one write, and told to the feed. Most
// programs make no tokens and never call it.
func (m *Manager[D]) RaiseClaims(ctx context.Context, subject, reason string) error {
	if subject == "" {
		return errors.New("session: RaiseClaims of nobody")
	}
	return m.raiseTo(ctx, subject, reason, time.Now(), func(epoch Epoch) (Epoch, error) { return epoch.NextClaims(), nil })
}

// raiseTo swaps the subject's epoch for the next one, and tells it. There is none
// where no session was ever begun.
func (m *Manager[D]) raiseTo(ctx context.Context, subject, reason string, now time.Time, next func(Epoch) (Epoch, error)) error {
	for range maxRetries {
		it, err := m.store.Get(ctx, EpochKey(subject))
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return storeError(err)
		}
		epoch, err := next(ParseEpoch(it.Value))
		if err != nil {
			return err
		}
		raised := feed.SubjectRaised(subject, epoch.N, reason, it.Expires)
		err = m.raise(withEnding(ctx, raised, now), subject, it, epoch, it.Expires)
		if changed(err) {
			continue
		}
		if err != nil {
			return storeError(err)
		}
		whose := feed.DigestOf(feed.Subject, subject)
		m.watches.wake(func(w *watch) bool { return w.whose == whose })
		return m.tell(ctx, now, raised)
	}
	return ErrBusy
}

// List returns the subject's live sessions, last seen first. ErrNoList where
// the store is no Lister. An empty subject lists everybody's, guests included.
func (m *Manager[D]) List(ctx context.Context, subject string) ([]Info, error) {
	var all []Info
	for after := ""; ; {
		live, next, err := m.listSome(ctx, subject, after, listStep)
		if err != nil {
			return nil, err
		}
		all = append(all, live...)
		if next == "" {
			break
		}
		after = next
	}
	slices.SortStableFunc(all, func(a, b Info) int { return b.LastSeenAt.Compare(a.LastSeenAt) })
	return all, nil
}

// ListPage returns up to limit of the subject's live sessions in the order of
// their ids, from after one on, and the id to go on after, "" at the end. What
// begins or ends meanwhile moves nothing else to another page. It is List
// where there may be too many; errors are those of List.
func (m *Manager[D]) ListPage(ctx context.Context, subject, after string, limit int) (page []Info, next string, err error) {
	for next = after; len(page) < limit; {
		var live []Info
		if live, next, err = m.listSome(ctx, subject, next, min(limit-len(page), listStep)); err != nil {
			return nil, "", err
		}
		if page = append(page, live...); next == "" {
			break
		}
	}
	return page, next, nil
}

// listStep records are read at a time.
const listStep = 1000

// listSome reads limit records and returns those that are live sessions, and
// the key to go on after, "" at the end.
func (m *Manager[D]) listSome(ctx context.Context, subject, after string, limit int) (live []Info, next string, err error) {
	l, ok := m.store.(Lister)
	if !ok {
		return nil, "", ErrNoList
	}
	now := time.Now()
	page, err := l.List(ctx, subject, after, limit)
	if err != nil {
		return nil, "", storeError(err)
	}
	epochs := map[string]Epoch{}
	for _, e := range page {
		h := held{sid: e.Key, item: e.Item}
		if strings.HasPrefix(e.Key, epochPrefix) || !h.rec.parse(e.Value) || h.rec.ended() || h.rec.expired(e.Expires, now) {
			continue
		}
		if e.Subject != "" {
			if _, ok := epochs[e.Subject]; !ok {
				if epochs[e.Subject], err = m.epoch(ctx, e.Subject); err != nil {
					return nil, "", err
				}
			}
			if !epochs[e.Subject].alive(e.Key, h.rec.epoch) {
				continue
			}
			h.epoch = epochs[e.Subject]
		}
		switch err := m.parentAlive(ctx, &h); {
		case errors.Is(err, admit.Unauthenticated):
			continue
		case err != nil:
			return nil, "", err
		}
		live = append(live, h.info())
	}
	if len(page) == limit {
		next = page[limit-1].Key
	}
	return live, next, nil
}

// endersOfAll end sessions side by side in EndEveryone, so that a store which
// writes together what comes together syncs once for many: over SQLite 8,000
// sessions take 1.2 s, one after the other 5.7 s.
const endersOfAll = 32

// EndEveryone ends every session there is, guests' included, and returns how
// many. A session that begins meanwhile may live.
func (m *Manager[D]) EndEveryone(ctx context.Context, reason string) (int, error) {
	all, err := m.List(ctx, "")
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next, ended atomic.Int64
	var work sync.WaitGroup
	for range min(endersOfAll, len(all)) {
		work.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(all) {
					return
				}
				switch err := m.EndAny(ctx, all[i].SID, reason); {
				case err == nil:
					ended.Add(1)
				case !errors.Is(err, ErrUnknown):
					cancel(err)
				}
			}
		})
	}
	work.Wait()
	return int(ended.Load()), context.Cause(ctx)
}

// tell passes an ending on that is already durable.
func (m *Manager[D]) tell(ctx context.Context, now time.Time, e feed.Event) error {
	if m.feed == nil {
		return nil
	}
	if err := m.feed.Append(context.WithoutCancel(ctx), now, e); err != nil {
		return fmt.Errorf("ended, but the feed was not told: %w", err)
	}
	return nil
}

// changed reports whether a write came too late.
func changed(err error) bool {
	return errors.Is(err, ErrConflict) || errors.Is(err, ErrNotFound)
}

// storeError makes sure that a store's failure is told as one.
func storeError(err error) error {
	switch admit.KindOf(err) {
	case admit.Unavailable, admit.Conflict, admit.NotFound, admit.Invalid:
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
