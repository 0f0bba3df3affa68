package db

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/admit-auth/admit/provider"
)

// A nearRow is what a provider reads again and again, and keeps a copy of.
type nearRow struct {
	of nearKind
	id string
}

type nearKind uint8

const (
	ofClient nearKind = iota
	ofGrant
	ofToken
	ofSpent // whether it is
	ofPlace // on a status list
	ofSession
	ofEpoch // of a subject: no copy, but what copies stand on
	ofUser
	ofUsers // all of them: what copies of users stand on
)

// A near keeps copies of rows, so that a token which is shown again and again costs no
// look at the database (15 µs for each row, and as much to begin). It is for a process
// that has the database for itself: whoever writes a row forgets its copy after the
// commit and before anybody hears of that, so a copy is never older than what was
// acknowledged.
//
// A copy proves no expiry: that is looked at each time. It is replaced and never changed.
type near struct {
	mu         sync.Mutex
	young, old map[nearRow]any       // guarded by mu
	forgotten  [256]nearRow          // the last ones, in a ring; guarded by mu
	seq        uint64                // how many there were; guarded by mu
	silent     time.Time             // until when nothing is kept; zero: it is; guarded by mu
	doubted    map[nearRow]time.Time // until when nothing of these is kept; guarded by mu
}

// nearDoubted is how many rows are doubted at once; of more, everything is.
const nearDoubted = 1024

// nearMost is how many copies are young: then they are old, and those that were old go,
// unless they were used since. Some 10 MB.
const nearMost = 8192

// get returns a copy, and counts as its use.
func (n *near) get(r nearRow) (any, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if v, ok := n.young[r]; ok {
		return v, true
	}
	v, ok := n.old[r]
	if ok {
		n.put(r, v)
	}
	return v, ok
}

func (n *near) put(r nearRow, v any) {
	if n.young == nil || len(n.young) >= nearMost {
		n.young, n.old = make(map[nearRow]any, nearMost/8), n.young
	}
	n.young[r] = v
}

// now is told to fill, by who is about to read.
func (n *near) now() uint64 {
	if n == nil {
		return 0
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.seq
}

// fill keeps what was read after since, unless that, or a row that it stands on, was
// forgotten meanwhile: then it was perhaps read before it was written.
func (n *near) fill(v any, since uint64, r nearRow, on ...nearRow) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.seq-since > uint64(len(n.forgotten)) {
		return
	}
	if !n.silent.IsZero() {
		if time.Now().Before(n.silent) {
			return
		}
		n.silent = time.Time{}
	}
	if n.doubts(r) || slices.ContainsFunc(on, n.doubts) {
		return
	}
	for i := since; i < n.seq; i++ {
		if gone := n.forgotten[i%uint64(len(n.forgotten))]; gone == r || slices.Contains(on, gone) {
			return
		}
	}
	n.put(r, v)
}

// doubts reports whether a row may be written yet by who has given up. It is locked.
func (n *near) doubts(r nearRow) bool {
	until, ok := n.doubted[r]
	if ok && !time.Now().Before(until) {
		delete(n.doubted, r)
		return false
	}
	return ok
}

func (n *near) forget(all ...nearRow) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lose(all...)
}

func (n *near) lose(all ...nearRow) {
	for _, r := range all {
		delete(n.young, r)
		delete(n.old, r)
		n.forgotten[n.seq%uint64(len(n.forgotten))] = r
		n.seq++
	}
}

// clear forgets everything, what is being read included.
func (n *near) clear() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.drop()
}

// doubt keeps nothing until whatever may be under way has ended: of some rows, or of any.
func (n *near) doubt(now time.Time, some ...nearRow) {
	n.mu.Lock()
	defer n.mu.Unlock()
	until := now.Add(3 * writeTimeout)
	if len(n.doubted) >= nearDoubted {
		maps.DeleteFunc(n.doubted, func(_ nearRow, until time.Time) bool { return !now.Before(until) })
	}
	if len(some) == 0 || len(n.doubted) >= nearDoubted {
		n.silent = until
		n.drop()
		return
	}
	if n.doubted == nil {
		n.doubted = map[nearRow]time.Time{}
	}
	for _, r := range some {
		n.doubted[r] = until
	}
	n.lose(some...)
}

func (n *near) drop() {
	n.young, n.old = nil, nil
	n.seq += uint64(len(n.forgotten)) + 1
}

// A mark is what copies stand on: they count while it is in its place.
type mark struct{ _ byte } // not of size 0: each has its own address

// stand returns the mark of a row, and makes one where there is none.
func (n *near) stand(r nearRow, since uint64) *mark {
	if m, ok := n.get(r); ok {
		return m.(*mark)
	}
	m := new(mark)
	n.fill(m, since, r)
	return m
}

func (n *near) stands(r nearRow, m *mark) bool {
	now, ok := n.get(r)
	return ok && now == any(m)
}

type nearSession struct {
	provider.Session
	idle  time.Time // when it has expired unless it was used
	epoch *mark     // of its subject
}

type nearUser struct {
	provider.User
	all *mark
}

// forgetOf forgets what a transaction has written. Whether a user was written is known
// of all of them together.
func (n *near) forgetOf(t *tx, users bool) {
	switch {
	case n == nil:
		return
	case t.all:
		n.clear()
		return
	case users:
		t.wrote(nearRow{of: ofUsers})
	}
	if len(t.stale) > 0 {
		n.forget(t.stale...)
	}
}

// copies returns those that a reading may use. In a transaction that writes everything
// must stay as it is until the commit, and only the database sees to that: but for
// clients, which its own turn alone writes.
func (t providerTx) copies(of nearKind) *near {
	if t.near == nil || t.writes && (of != ofClient || t.under.touched(of)) {
		return nil
	}
	return t.near
}

// copied returns a row by its copy, or reads it and keeps one.
func copied[T any](t providerTx, r nearRow, read func() (*T, error)) (*T, error) {
	n := t.copies(r.of)
	if n == nil {
		return read()
	}
	if v, ok := n.get(r); ok {
		own := *v.(*T)
		return &own, nil
	}
	v, err := read()
	if err == nil && v != nil {
		own := *v
		n.fill(&own, t.began, r)
	}
	return v, err
}

// Client implements provider.Tx. It is everybody's, and one for as long as it is the same.
func (t providerTx) Client(id string) (*provider.Client, error) {
	n, r := t.copies(ofClient), nearRow{ofClient, id}
	if n == nil {
		return t.txn.Client(id)
	}
	if v, ok := n.get(r); ok {
		return v.(*provider.Client), nil
	}
	c, err := t.txn.Client(id)
	if err == nil && c != nil {
		n.fill(c, t.began, r)
	}
	return c, err
}

// nearSession returns a session by its copy, nil where there is none that counts.
func (t providerTx) nearSession(sid string, now time.Time) *provider.Session {
	n := t.copies(ofSession)
	if n == nil {
		return nil
	}
	v, ok := n.get(nearRow{ofSession, sid})
	if !ok {
		return nil
	}
	s := v.(*nearSession)
	if !now.Before(s.idle) || !now.Before(s.Expires) || !n.stands(nearRow{ofEpoch, s.Subject}, s.epoch) {
		return nil
	}
	own := s.Session
	return &own
}

func (t providerTx) keepSession(s *provider.Session, idle time.Time) {
	if n := t.copies(ofSession); n != nil {
		epoch := nearRow{ofEpoch, s.Subject}
		n.fill(&nearSession{*s, idle, n.stand(epoch, t.began)}, t.began, nearRow{ofSession, s.SID}, epoch)
	}
}

// nearUser likewise.
func (t providerTx) nearUser(subject string) *provider.User {
	n := t.copies(ofUser)
	if n == nil {
		return nil
	}
	v, ok := n.get(nearRow{ofUser, subject})
	if !ok || !n.stands(nearRow{of: ofUsers}, v.(*nearUser).all) {
		return nil
	}
	own := v.(*nearUser).User
	return &own
}

func (t providerTx) keepUser(u *provider.User) {
	if n := t.copies(ofUser); n != nil {
		users := nearRow{of: ofUsers}
		n.fill(&nearUser{*u, n.stand(users, t.began)}, t.began, nearRow{ofUser, u.Subject}, users)
	}
}
