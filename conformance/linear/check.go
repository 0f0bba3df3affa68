// Package linear makes random histories of sessions that several processes serve
// over one store, kills them in between, and says whether the answers are those of
// sessions that live one by one: no acknowledged update is lost, nothing that was
// acknowledged as ended lives again, and nobody gets what is another's.
//
// A package that tests a store calls [Serve] in TestMain and [Check] in a test.
// Histories are made of a seed, which is printed; ADMIT_LINEAR_SEED takes it again.
// Processes are not repeated by that, only what clients ask for. ADMIT_LINEAR=10m
// goes on for so long, where a few histories are enough otherwise.
package linear

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit/session"
)

// A Store is where the sessions of a check are.
type Store struct {
	Name  string // of its Open, in Serve
	Place string
	// Durability says what a crash may do. Where it is MayForget, sessions may be
	// gone after it; where it is SurvivesNothing, they are the process's and there
	// is one.
	Durability session.Durability
	// Alone is true where one process has the store for itself.
	Alone bool
	// Evicts is true where sessions may be gone at any time.
	Evicts bool
	// SeenEarly is true where others may see a change before it is durable, so that
	// a crash may undo what they saw, as long as nobody was answered.
	SeenEarly bool
	// Crash kills the store's process and starts it again. Nil where it has none.
	Crash func()
	// Pause stops the store's process for a while and lets it go on. Nil where it
	// cannot.
	Pause func(time.Duration)
}

const (
	users       = 4 // at once, each of which is a history
	clients     = 5 // of one user, at once
	callsEach   = 10
	fewRounds   = 3
	callTimeout = 12 * time.Second // a store has 10 s to say that it cannot
)

// Check makes histories over a store, with crashes between, and fails where one
// cannot have been.
func Check(t testing.TB, s Store) {
	if faults := check(t, s); len(faults) > 0 {
		t.Error(strings.Join(faults, "\n"))
	}
}

// command starts a worker over the store.
func (s Store) command() *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), workerEnv+"="+s.Name+" "+s.Place)
	return cmd
}

func check(t testing.TB, s Store) (faults []string) {
	t.Helper()
	count := 3
	if s.Alone || s.Durability == session.SurvivesNothing {
		count = 1
	}
	c := start(t, count, s.command)
	c.mayForget, c.bequest = s.Evicts, true
	seed := seed(t)
	until := time.Now()
	if long, err := time.ParseDuration(os.Getenv("ADMIT_LINEAR")); err == nil {
		until = until.Add(long)
	}
	calls, undecided, crashes := 0, 0, 0
	for round := 0; len(faults) == 0 && (round < fewRounds || time.Now().Before(until)); round++ {
		random := rand.New(rand.NewPCG(seed, uint64(round)))
		c.begun, c.forgot, c.undone = time.Now(), atomic.Int64{}, atomic.Int64{}
		crash := s.Crash
		if round%3 == 2 {
			crash = nil // the store is paused, if it can be
		}
		histories := c.round(random, users, func(stop <-chan struct{}) {
			switch {
			case s.Durability == session.SurvivesNothing:
				crashes += c.chaos(random, stop, nil, func() { c.note(&c.forgot) })
			case crash == nil && s.Pause != nil:
				pause := time.Duration(random.IntN(400)) * time.Millisecond
				crashes += c.chaos(random, stop, func() { s.Pause(pause) }, nil)
			case crash != nil && s.Durability == session.MayForget:
				crashes += c.chaos(random, stop, func() { c.note(&c.forgot); crash() }, nil)
			case crash != nil && s.SeenEarly:
				crashes += c.chaos(random, stop, func() { c.note(&c.undone); crash() }, nil)
			default:
				crashes += c.chaos(random, stop, crash, nil)
			}
		})
		for _, h := range histories {
			calls += len(h.ops)
			yes, decided := linearizable(h.ops)
			switch {
			case h.mixed > 0:
				faults = append(faults, fmt.Sprintf("round %d: %d answers were of another session", round, h.mixed))
			case !decided:
				undecided++
			case !yes:
				faults = append(faults, fmt.Sprintf("round %d: this cannot have happened one by one:\n%s", round, show(h.ops)))
			}
		}
	}
	t.Logf("seed %d: %d calls, %d crashes, %d histories undecided, %d wrong", seed, calls, crashes, undecided, len(faults))
	if len(faults) == 0 && calls < 200 || crashes == 0 {
		t.Errorf("nothing was shown by %d calls and %d crashes", calls, crashes)
	}
	return faults
}

func seed(t testing.TB) uint64 {
	if text := os.Getenv("ADMIT_LINEAR_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("ADMIT_LINEAR_SEED: %v", err)
		}
		return n
	}
	return rand.Uint64()
}

// A cluster is some workers that serve the same sessions.
type cluster struct {
	t         testing.TB
	workers   []*worker
	begun     time.Time
	mayForget bool         // at any time
	jar       bool         // a client sends what it was last told to, as a browser does
	bequest   bool         // sessions have users, can be renewed, and all of a user's end at once
	forgot    atomic.Int64 // when a crash may first have made the store forget, since begun; 0 for never
	undone    atomic.Int64 // when one may first have undone what was seen
	client    http.Client
}

// note notes that something may have happened from now on.
func (c *cluster) note(at *atomic.Int64) { at.CompareAndSwap(0, int64(time.Since(c.begun))+1) }

// start starts so many workers, and ends them with the test.
func start(t testing.TB, count int, command func() *exec.Cmd) *cluster {
	t.Helper()
	c := &cluster{t: t, workers: make([]*worker, count)}
	c.client = http.Client{Timeout: callTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	for i := range c.workers {
		w := &worker{command: command}
		c.workers[i] = w
		t.Cleanup(w.kill)
		if err := w.start(); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// chaos kills, until stop: workers at random moments, and whatever crash does once in
// between.
func (c *cluster) chaos(random *rand.Rand, stop <-chan struct{}, crash, killed func()) (crashes int) {
	for n := 0; n < 3; n++ {
		select {
		case <-stop:
			return crashes
		case <-time.After(time.Duration(10+random.IntN(50)) * time.Millisecond):
		}
		crashes++
		if n == 1 && crash != nil {
			crash()
			continue
		}
		w := c.workers[random.IntN(len(c.workers))]
		if killed != nil {
			killed()
		}
		w.kill()
		var err error
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if err = w.start(); err == nil {
				break
			}
		}
		if err != nil {
			c.t.Error(err)
			return crashes
		}
	}
	return crashes
}

// A history is what one user's clients did.
type history struct {
	c      *cluster
	user   string
	mu     sync.Mutex
	begun  int                 // sessions, of those that may be; guarded by mu
	cookie [maxSessions]string // of each that somebody knows; guarded by mu
	ops    []op                // guarded by mu
	mixed  int                 // guarded by mu
}

// round makes histories of so many users at once.
func (c *cluster) round(random *rand.Rand, users int, chaos func(stop <-chan struct{})) []*history {
	all := make([]*history, users)
	var work, crashes sync.WaitGroup
	for i := range all {
		h := &history{c: c, user: fmt.Sprintf("user-%016x", random.Uint64())}
		all[i] = h
		for n := range clients {
			mine := rand.New(rand.NewPCG(random.Uint64(), random.Uint64()))
			work.Go(func() {
				for range callsEach {
					h.call(n, mine)
				}
			})
		}
	}
	stop := make(chan struct{})
	crashes.Go(func() { chaos(stop) })
	work.Wait()
	close(stop)
	crashes.Wait()
	// What was acknowledged is there, at every worker.
	for _, h := range all {
		for _, w := range c.workers {
			for i := range h.cookie {
				if h.cookie[i] != "" {
					h.settle(w, i)
				}
			}
		}
	}
	return all
}

// settle reads a session until there is an answer.
func (h *history) settle(w *worker, i int) {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if o, _ := h.send(w, op{kind: read, client: clients, session: i}, h.cookie[i], nil); o.answer != unknown {
			h.note(o)
			return
		}
	}
	h.c.t.Errorf("session %d of %s cannot be read", i, h.user)
}

// call makes one call at random and notes what came of it.
func (h *history) call(client int, random *rand.Rand) {
	w := h.c.workers[random.IntN(len(h.c.workers))]
	// All that is random is drawn first, so that a seed gives one schedule.
	dice, pick, guest := random.IntN(100), random.IntN(1<<20), random.IntN(3) == 0
	wait, think := time.Duration(random.IntN(8))*time.Millisecond, time.Duration(random.IntN(15))*time.Millisecond
	o := op{client: client, session: -1}
	h.mu.Lock()
	var known []int
	for i, c := range h.cookie {
		if c != "" {
			known = append(known, i)
		}
	}
	room := h.begun < maxSessions
	switch {
	case len(known) == 0 && room || dice < 10 && room:
		o.kind, o.guest = begin, guest && h.c.bequest
	case dice < 58:
		o.kind = update
	case dice < 84:
		o.kind = read
	case dice < 90:
		o.kind = end
	case dice < 93 && h.c.bequest:
		o.kind = endAll
	case room && h.c.bequest:
		o.kind = renew
	default:
		o.kind = update
	}
	cookie, query := "", url.Values{"wait": {wait.String()}, "user": {h.user}}
	switch {
	case o.kind == begin:
		o.session = h.begun
		h.begun++
	case o.kind == endAll:
		o.session = 0
	case len(known) == 0: // nobody knows any
		h.mu.Unlock()
		return
	default:
		// Mostly the last ones, for those before have ended.
		o.session = known[len(known)-1-min(pick%3, len(known)-1)]
		cookie = h.cookie[o.session]
	}
	if o.kind == renew {
		o.next = h.begun
		h.begun++
	}
	h.mu.Unlock()
	name := h.name(o.session)
	if o.kind == renew {
		name = h.name(o.next)
	}
	query.Set("name", name)
	if o.guest {
		query.Set("user", "")
	}
	o, fresh := h.send(w, o, cookie, query)
	h.note(o)
	if fresh != "" && o.answer == done {
		h.mu.Lock()
		switch {
		case o.kind == renew:
			h.cookie[o.next] = fresh
		case o.kind == begin || h.c.jar:
			h.cookie[o.session] = fresh
		}
		h.mu.Unlock()
	}
	if o.answer == unknown {
		think += time.Duration(50+pick%200) * time.Millisecond // not all calls in one outage
	}
	time.Sleep(think)
}

// name is what a session of the history says that it is.
func (h *history) name(session int) string { return fmt.Sprint(h.user, "/", session) }

func (h *history) note(o op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, o)
}

// send makes a call and returns it with its answer, and the cookie that was set.
func (h *history) send(w *worker, o op, cookie string, query url.Values) (_ op, fresh string) {
	path := [...]string{"/begin", "/update", "/read", "/end", "/endall", "/renew"}[o.kind]
	r, err := http.NewRequest("POST", w.address()+path+"?"+query.Encode(), nil)
	if err != nil {
		panic(err)
	}
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	o.call = time.Since(h.c.begun)
	res, err := h.c.client.Do(r)
	var body []byte
	if err == nil {
		body, err = io.ReadAll(res.Body)
		res.Body.Close()
	}
	o.ret = time.Since(h.c.begun)
	since := func(at *atomic.Int64) bool { t := at.Load(); return t != 0 && int64(o.ret) >= t }
	o.forgets, o.undoes = h.c.mayForget || since(&h.c.forgot), since(&h.c.undone)
	if err != nil {
		return o, ""
	}
	switch res.StatusCode {
	case http.StatusUnauthorized:
		o.answer = none
		if o.kind == end {
			o.answer = done // there is none, which was asked for
		}
	case http.StatusOK:
		var d data
		if json.Unmarshal(body, &d) != nil {
			return o, ""
		}
		o.answer, o.n = done, d.N
		want := h.name(o.session)
		if o.kind == renew {
			want = h.name(o.next)
		}
		if o.kind != end && o.kind != endAll && d.Name != want {
			h.mu.Lock()
			h.mixed++
			h.mu.Unlock()
		}
		for _, c := range res.Cookies() {
			if c.MaxAge >= 0 && c.Value != "" {
				fresh = c.Name + "=" + c.Value
			}
		}
	}
	return o, fresh
}
