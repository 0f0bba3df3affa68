package express

import (
	"context"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/admit-auth/admit/session"
)

// A fake is a Store in memory that tells what it was asked, in Express's words.
// Its methods named as Express's stores do as those: they ask nobody.
type fake struct {
	mu      sync.Mutex
	records map[string]Record
	calls   []string
	between func(op, sid string) // runs before a change, as another server may
	down    error
}

func newFake() *fake { return &fake{records: map[string]Record{}} }

func (f *fake) enter(op, word, sid string) error {
	f.mu.Lock()
	between := f.between
	f.mu.Unlock()
	if between != nil {
		between(op, sid)
	}
	f.mu.Lock()
	f.calls = append(f.calls, word)
	return f.down
}

func (f *fake) told() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := strings.Join(f.calls, " ")
	f.calls = nil
	return s
}

func (f *fake) Get(_ context.Context, sid string) (Record, error) {
	err := f.enter("get", "get", sid)
	defer f.mu.Unlock()
	if err != nil {
		return Record{}, err
	}
	rec, ok := f.records[sid]
	if !ok || !rec.Until.IsZero() && !time.Now().Before(rec.Until) {
		return Record{}, session.ErrNotFound
	}
	return rec, nil
}

func (f *fake) Add(_ context.Context, sid string, rec Record) (Record, error) {
	err := f.enter("add", "set", sid)
	defer f.mu.Unlock()
	if err != nil {
		return Record{}, err
	}
	if _, ok := f.records[sid]; ok {
		return Record{}, session.ErrConflict
	}
	f.records[sid] = rec
	return rec, nil
}

// still reports whether a record is as it was read. The mutex is held.
func (f *fake) still(sid string, old Record) error {
	switch now, ok := f.records[sid]; {
	case !ok:
		return session.ErrNotFound
	case now.JSON != old.JSON:
		return session.ErrConflict
	}
	return nil
}

func (f *fake) Swap(_ context.Context, sid string, old, next Record) (Record, error) {
	err := f.enter("swap", "set", sid)
	defer f.mu.Unlock()
	if err == nil {
		err = f.still(sid, old)
	}
	if err != nil {
		return Record{}, err
	}
	f.records[sid] = next
	return next, nil
}

func (f *fake) Touch(_ context.Context, sid string, old Record, until time.Time) error {
	err := f.enter("touch", "touch", sid)
	defer f.mu.Unlock()
	if err == nil {
		err = f.still(sid, old)
	}
	if err == nil {
		old.Until = until
		f.records[sid] = old
	}
	return err
}

func (f *fake) Delete(_ context.Context, sid string, old Record) error {
	err := f.enter("delete", "destroy", sid)
	defer f.mu.Unlock()
	if err == nil && old != (Record{}) {
		err = f.still(sid, old)
	}
	if err == nil {
		delete(f.records, sid)
	}
	return err
}

// set is what an Express server does: it writes.
func (f *fake) set(sid, json string, until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.records[sid] = Record{JSON: json, Until: until}
}

// destroy is what an Express server does.
func (f *fake) destroy(sid string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.records, sid)
}

func (f *fake) json(sid string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.records[sid].JSON
}

func (f *fake) all() map[string]Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.records)
}
