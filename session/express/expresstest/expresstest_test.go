package expresstest

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/express"
)

// memory is a place in this process, as Express's MemoryStore would be one if it
// were compared and swapped. Wrong is a way to get it wrong.
type memory struct {
	wrong string
	mu    *sync.Mutex
	all   map[string]express.Record
}

func (m memory) in(ctx context.Context) (unlock func(), err error) {
	if err := ctx.Err(); err != nil && m.wrong != "outlives its context" {
		return nil, err
	}
	m.mu.Lock()
	return m.mu.Unlock, nil
}

func (m memory) live(sid string) (express.Record, error) {
	rec, there := m.all[sid]
	if !there || !time.Now().Before(rec.Until) && m.wrong != "keeps for ever" {
		return express.Record{}, session.ErrNotFound
	}
	return rec, nil
}

func until(rec express.Record) express.Record {
	if rec.Until.IsZero() {
		rec.Until = time.Now().Add(24 * time.Hour)
	}
	return rec
}

func (m memory) Get(ctx context.Context, sid string) (express.Record, error) {
	unlock, err := m.in(ctx)
	if err != nil {
		return express.Record{}, err
	}
	defer unlock()
	rec, err := m.live(sid)
	if m.wrong == "keeps for ever" {
		rec.Until = time.Time{}
		rec.JSON = strings.Replace(rec.JSON, `"expires":"2`, `"expires":"9`, 1)
	}
	if m.wrong == "spells anew" {
		rec.JSON = strings.Replace(rec.JSON, "1.0", "1", 1)
	}
	return rec, err
}

func (m memory) Add(ctx context.Context, sid string, rec express.Record) (express.Record, error) {
	unlock, err := m.in(ctx)
	if err != nil {
		return express.Record{}, err
	}
	defer unlock()
	if _, err := m.live(sid); err == nil && m.wrong != "adds over" {
		return express.Record{}, session.ErrConflict
	}
	m.all[sid] = until(rec)
	return m.all[sid], nil
}

func (m memory) Swap(ctx context.Context, sid string, old, next express.Record) (express.Record, error) {
	unlock, err := m.in(ctx)
	if err != nil {
		return express.Record{}, err
	}
	defer unlock()
	rec, err := m.live(sid)
	switch {
	case err != nil && m.wrong == "sets": // as all of Express's stores do
	case err != nil:
		return express.Record{}, err
	case rec.JSON != old.JSON && m.wrong != "sets" && m.wrong != "swaps what is another":
		return express.Record{}, session.ErrConflict
	}
	m.all[sid] = until(next)
	return m.all[sid], nil
}

func (m memory) Touch(ctx context.Context, sid string, old express.Record, at time.Time) error {
	unlock, err := m.in(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	rec, err := m.live(sid)
	switch {
	case err != nil && m.wrong == "touches into being":
		rec = old
	case err != nil:
		return err
	}
	if m.wrong != "touches nothing" {
		rec.Until = at
	}
	m.all[sid] = until(rec)
	return nil
}

func (m memory) Delete(ctx context.Context, sid string, old express.Record) error {
	unlock, err := m.in(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	rec, err := m.live(sid)
	switch {
	case old == (express.Record{}), m.wrong == "deletes what is another":
	case err != nil:
		return err
	case rec.JSON != old.JSON:
		return session.ErrConflict
	}
	if m.wrong != "deletes nothing" {
		delete(m.all, sid)
	}
	return nil
}

var wrong = flag.String("wrong", "", "how to get it wrong")

func TestTheSuiteTakesWhatKeepsItsPromises(t *testing.T) {
	m := memory{*wrong, new(sync.Mutex), map[string]express.Record{}}
	Run(t, func(testing.TB) express.Store { return m })
}

func TestTheSuiteCatchesWhatDoesNot(t *testing.T) {
	if *wrong != "" {
		t.Skip("one at a time")
	}
	var wg sync.WaitGroup // not t.Parallel, which runs as many as there are cores: they sleep
	for _, how := range []string{
		"outlives its context", "keeps for ever", "spells anew", "adds over", "sets", "swaps what is another",
		"touches into being", "touches nothing", "deletes what is another", "deletes nothing",
	} {
		wg.Go(func() {
			out, err := exec.CommandContext(t.Context(), os.Args[0], "-test.run=TestTheSuiteTakes", "-wrong="+how).CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL") || strings.Contains(string(out), "panic:") {
				t.Errorf("one that %s was not caught: %v\n%s", how, err, out)
			}
		})
	}
	wg.Wait()
}
