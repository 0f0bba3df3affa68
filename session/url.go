package session

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/admit-auth/admit/token"
)

const (
	// urlParam is what links and forms carry the value in.
	urlParam = "session"
	// urlIdle ends a session in URLs that nobody used, and a value that nobody
	// followed: it lies in histories and logs.
	urlIdle = 10 * time.Minute
	// urlGrace is how long a value is good after it was followed: for reloads, and
	// for what a page loads beside.
	urlGrace = time.Minute
	// urlNone asks for a session in URLs where there is none yet. As a cookie's
	// value it tells later whether the browser keeps cookies.
	urlNone = "none"
)

// Links puts what names a session into the links and forms of one page. The zero
// Links changes nothing: that is what clients get that keep cookies.
type Links struct{ value string }

// To returns a path of this site as a link, the action of a POST form or the
// target of a redirect has to name it. What leads elsewhere it returns as it is.
func (l Links) To(target string) string {
	u, err := url.Parse(target)
	if err != nil || l.value == "" || u.Scheme != "" || u.Host != "" || u.Opaque != "" || u.User != nil ||
		strings.HasPrefix(target, "//") || strings.HasPrefix(target, "#") ||
		strings.ContainsFunc(target, func(r rune) bool { return r <= ' ' || r == '\\' || r == 0x7f }) {
		return target
	}
	query := ""
	for _, pair := range strings.Split(u.RawQuery, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(name); pair != "" && (err != nil || name != urlParam) {
			query += pair + "&"
		}
	}
	u.RawQuery = query + urlParam + "=" + l.value
	return u.String()
}

// Field returns the hidden field that a GET form needs, for browsers drop the
// query of its action. Without a name it needs none.
func (l Links) Field() (name, value string) {
	if l.value == "" {
		return "", ""
	}
	return urlParam, l.value
}

// Links returns what the page that answers r puts its links and forms through:
// see Options.InsecureURLSessions. Session is that of the page, nil for none. Call
// it after Start, Update or Load, and before the response is written: it sets
// headers.
//
// The page gets a value of its own. The one that led to it is good for 60 s more.
func (m *Manager[D]) Links(w http.ResponseWriter, r *http.Request, session *Info) (Links, error) {
	if !m.urls || session != nil && (session.Bearer || session.JWT) {
		return Links{}, nil
	}
	if !cookieless(r) {
		// Who came here by the first page's value keeps cookies: it serves nobody
		// any more, and stands in the address.
		t, err := m.readTicket(r)
		if err == nil && t != nil && t.version != 0 {
			err = m.store.Delete(r.Context(), t.key)
		}
		if err != nil {
			err = storeError(err)
		}
		return Links{}, err
	}
	// Other sites are not told the address. The own may be: with no-referrer a
	// form's Origin would be null, which is refused as foreign.
	w.Header().Set("Referrer-Policy", "same-origin")
	w.Header().Set("Cache-Control", "no-store")
	none := session == nil || session.SID == "" // Update keeps no stranger without data
	if none || session.URL {
		if err := m.cookie.SetRaw(w, urlNone, 0); err != nil {
			return Links{}, err
		}
	}
	if none {
		return Links{urlNone}, nil
	}
	ctx, now := r.Context(), time.Now()
	by, err := m.nameURL(r)
	if err != nil {
		return Links{}, err
	}
	h := held{sid: session.SID, named: by}
	if err := m.alive(ctx, &h, now); err != nil {
		return Links{}, err
	}
	next := ticket{auth: h.rec.auth, sid: h.sid}
	switch {
	case h.rec.place() == placeURL:
	case by != nil && by.SID == h.sid:
		if err := m.move(ctx, &h, now); changed(err) {
			return Links{urlNone}, nil // by somebody with its cookie
		} else if err != nil {
			return Links{}, err
		}
	case h.rec.place() == placeCookie && session.Guest():
		// Begun by this request, whose client may keep its cookie or not. If it
		// does not, nobody else will have written the record.
		next.version = h.item.Version
	default:
		return Links{urlNone}, nil
	}
	tok := token.New(token.URL)
	next.digest = m.digest(tok)
	if _, err := m.store.Add(ctx, ticketKey(tok), next.item(now.Add(urlIdle))); err != nil {
		return Links{}, storeError(err)
	}
	if by != nil && !by.url.followed {
		old := *by.url
		old.followed = true
		_, err := m.store.Swap(ctx, by.url.key, by.url.read, old.item(now.Add(urlGrace)))
		if err != nil && !changed(err) {
			return Links{}, storeError(err)
		}
	}
	return Links{tok.Reveal()}, nil
}

// cookieless reports whether a request could carry a session in its URL: never
// beside a cookie, whichever it is, for such a client keeps cookies.
func cookieless(r *http.Request) bool {
	return len(r.Header["Cookie"]) == 0 && len(r.Header["Authorization"]) == 0
}

// wantsURL reports whether a session that the request begins can only be in URLs.
func (m *Manager[D]) wantsURL(r *http.Request) bool {
	return m.urls && cookieless(r) && r.URL.Query().Has(urlParam)
}

// nameURL returns what the value in the request's URL names, nil where it names
// nothing.
func (m *Manager[D]) nameURL(r *http.Request) (*Named, error) {
	if !m.urls || !cookieless(r) {
		return nil, nil
	}
	t, err := m.readTicket(r)
	if t == nil || err != nil {
		return nil, err
	}
	by := &Named{SID: t.sid, url: t}
	if t.auth != 0 {
		by.AuthTime = time.UnixMilli(t.auth)
	}
	return by, nil
}

// readTicket reads the record of the value in the request's URL, nil for none.
func (m *Manager[D]) readTicket(r *http.Request) (*ticket, error) {
	if !strings.Contains(r.URL.RawQuery, urlParam) {
		return nil, nil
	}
	texts := r.URL.Query()[urlParam]
	if len(texts) != 1 {
		return nil, nil
	}
	tok, err := token.Parse(token.URL, texts[0])
	if err != nil {
		return nil, nil
	}
	it, err := m.store.Get(r.Context(), ticketKey(tok))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, storeError(err)
	}
	t := &ticket{key: ticketKey(tok), read: it.Version}
	if !t.parse(it.Value) || !m.matches(tok, t.digest) || !time.Now().Before(it.Expires) {
		return nil, nil
	}
	return t, nil
}

// meantURL is meant for a value in the URL.
func (h *held) meantURL() error {
	first := h.named.url.version != 0 && h.named.url.version == h.item.Version
	if h.rec.place() == placeURL || h.rec.place() == placeCookie && first {
		return nil
	}
	return ErrNone
}

// moves reports whether an update takes the held session out of its cookie, into
// URLs. It does so alone: who has the cookie may be writing, too.
func (h *held) moves() bool {
	return h.named != nil && h.named.url != nil && h.rec.place() != placeURL
}

// placeInURL makes the held record one whose session is in URLs, and in no
// cookie any more.
func (h *held) placeInURL(now time.Time) {
	h.rec.flags = h.rec.flags&^flagPersistent | placeURL
	h.rec.idle = min(h.rec.idle, urlIdle.Milliseconds())
	if most := now.Add(urlIdle); h.item.Expires.After(most) {
		h.item.Expires = most
	}
}

// move does so in the store.
func (m *Manager[D]) move(ctx context.Context, h *held, now time.Time) error {
	if h.named.url.version != h.item.Version {
		return ErrConflict
	}
	h.placeInURL(now)
	return m.write(ctx, h, []byte(h.rec.data))
}

// A ticket is the record of one value:
//
//	format   1 byte, ticketV1
//	followed 1 byte: 1 where a page was made for who followed it
//	digest   16 bytes
//	auth     6 bytes, AuthTime of the session then, Unix milliseconds
//	version  6 bytes, of the session's record where it may yet be in a cookie; else 0
//	sid      the rest
type ticket struct {
	digest   token.Digest
	followed bool
	auth     int64
	version  uint64
	sid      string

	key  string // under which it was read
	read uint64 // its own version then
}

const ticketV1 = 'u' // no record of a session begins so

const ticketHead = 2 + 16 + 2*6

// ticketKey cannot be a sid or an epoch's key.
func ticketKey(tok token.Token) string { return "u:" + tok.Selector() }

func (t *ticket) item(expires time.Time) Item {
	b := make([]byte, 2, ticketHead+len(t.sid))
	b[0] = ticketV1
	if t.followed {
		b[1] = 1
	}
	b = append(b, t.digest[:]...)
	b = appendUint48(b, t.auth)
	b = appendUint48(b, int64(t.version))
	return Item{Value: string(append(b, t.sid...)), Expires: expires}
}

func (t *ticket) parse(value string) bool {
	if len(value) < ticketHead || value[0] != ticketV1 || value[1] > 1 || !token.IsSelector(value[ticketHead:]) {
		return false
	}
	t.followed = value[1] == 1
	n := value[2+copy(t.digest[:], value[2:]):]
	t.auth, t.version, t.sid = int64(uint48(n)), uint48(n[6:]), value[ticketHead:]
	return true
}
