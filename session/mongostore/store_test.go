package mongostore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/mongostore/mongotest"
)

const ns = "admit_test.sessions"

func hour(value string) session.Item {
	return session.Item{Value: value, Subject: "alice", Expires: time.Now().Add(time.Hour)}
}

func TestOptionsThatCannotBeRightAreRefused(t *testing.T) {
	coll := connect(t, mongotest.Start(t).URI()).Database("a").Collection("b")
	if _, err := New(t.Context(), nil, nil); admit.KindOf(err) != admit.Invalid {
		t.Errorf("New without a collection: %v, want an error of kind Invalid", err)
	}
	if _, err := New(t.Context(), coll, &Options{Timeout: -1}); admit.KindOf(err) != admit.Invalid {
		t.Errorf("New with a timeout that is over: %v, want an error of kind Invalid", err)
	}
}

// calls are every method of a store.
func calls(s *Store, version uint64) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Get":    func(ctx context.Context) error { _, err := s.Get(ctx, "k"); return err },
		"Add":    func(ctx context.Context) error { _, err := s.Add(ctx, "new", hour("v")); return err },
		"Swap":   func(ctx context.Context) error { _, err := s.Swap(ctx, "k", version, hour("v")); return err },
		"Touch":  func(ctx context.Context) error { return s.Touch(ctx, "k", version, time.Now()) },
		"Delete": func(ctx context.Context) error { return s.Delete(ctx, "none") },
		"List":   func(ctx context.Context) error { _, err := s.List(ctx, "alice", "", 10); return err },
	}
}

// The client of this program has weaker ways, which other collections may want.
func TestWritesAreOnTheDisksOfAMajorityAndReadsSeeOnlySuchWhateverTheClientSays(t *testing.T) {
	srv := mongotest.Start(t)
	client := connect(t, srv.URI()+"&w=0&readConcernLevel=local&readPreference=secondary")
	coll := client.Database("admit_test").Collection("sessions", options.Collection().
		SetWriteConcern(writeconcern.W1()).SetReadPreference(readpref.Nearest()))
	s, err := New(t.Context(), coll, nil)
	if err != nil {
		t.Fatal(err)
	}
	version, err := s.Add(t.Context(), "k", hour("v"))
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range calls(s, version) {
		if err := call(t.Context()); err != nil && !errors.Is(err, session.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"insert", "update", "delete"} {
		concern, _ := field(srv.Last(name), "writeConcern").(bson.D)
		if field(concern, "w") != "majority" || field(concern, "j") != true {
			t.Errorf("%s is sent with write concern %v", name, concern)
		}
	}
	if concern, _ := field(srv.Last("find"), "readConcern").(bson.D); field(concern, "level") != "majority" {
		t.Errorf("find is sent with read concern %v", concern)
	}
	if d := s.Durability(); d != session.SurvivesMachine {
		t.Errorf("durability %d, want SurvivesMachine", d)
	}
}

func field(doc bson.D, key string) any {
	for _, e := range doc {
		if e.Key == key {
			return e.Value
		}
	}
	return nil
}

func TestTheIndexesAreThoseThatCleaningAndListingNeed(t *testing.T) {
	srv := mongotest.Start(t)
	open(t, connect(t, srv.URI()), "sessions", nil)
	open(t, connect(t, srv.URI()), "sessions", nil) // the second process makes none
	var got []string
	for _, index := range srv.Indexes(ns) {
		text := fmt.Sprint(field(index, "key"))
		if after := field(index, "expireAfterSeconds"); after != nil {
			text += fmt.Sprint(" after ", after)
		}
		got = append(got, text)
	}
	if want := `[{"expires":{"$numberInt":"1"}} after 0 {"subject":{"$numberInt":"1"},"_id":{"$numberInt":"1"}}]`; fmt.Sprint(got) != want {
		t.Errorf("indexes %v, want %s", got, want)
	}
}

func TestWhatHasExpiredIsRemovedWithoutASweep(t *testing.T) {
	srv := mongotest.Start(t)
	s := open(t, connect(t, srv.URI()), "sessions", nil)
	for i := range 10 {
		it := hour("v")
		if i > 0 {
			it.Expires = time.Now().Add(time.Millisecond)
		}
		if _, err := s.Add(t.Context(), fmt.Sprint("k", i), it); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(10 * time.Second); srv.Len(ns) != 1; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d records are left, want 1", srv.Len(ns))
		}
	}
	if _, ok := any(s).(session.Sweeper); ok {
		t.Error("the store wants to be swept")
	}
}

func TestAnOutageIsAnsweredInTimeAndEndsByItself(t *testing.T) {
	srv := mongotest.Start(t)
	const timeout = time.Second
	s := open(t, connect(t, srv.URI()), "sessions", &Options{Timeout: timeout})
	version, err := s.Add(t.Context(), "k", hour("v"))
	if err != nil {
		t.Fatal(err)
	}
	away := func(how string) {
		t.Helper()
		var wg sync.WaitGroup
		for name, call := range calls(s, version+1) {
			for range 5 {
				wg.Go(func() {
					begun := time.Now()
					err := call(t.Context())
					if admit.KindOf(err) != admit.Unavailable {
						t.Errorf("%s of a server that is %s: %v, want unavailable", name, how, err)
					}
					if took := time.Since(begun); took > timeout+5*time.Second {
						t.Errorf("%s of a server that is %s took %v", name, how, took)
					}
				})
			}
		}
		wg.Wait()
	}
	back := func(how string) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			it, err := s.Get(t.Context(), "k")
			if err == nil && it.Value == "v" {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("Get of a server that was %s: %q, %v", how, it.Value, err)
			}
		}
	}
	thaw := srv.Freeze()
	away("paused")
	thaw()
	back("paused")
	srv.Delay.Store(int64(3 * timeout))
	away("slow")
	srv.Delay.Store(0)
	back("slow")
	srv.Stop()
	away("stopped")
	srv.Resume()
	back("stopped")
}

func TestACallerWhoLeavesIsNotKept(t *testing.T) {
	srv := mongotest.Start(t)
	s := open(t, connect(t, srv.URI()), "sessions", &Options{Timeout: time.Minute})
	defer srv.Freeze()()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	begun := time.Now()
	if _, err := s.Get(ctx, "k"); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: %v, want that the context was cancelled", err)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("Get took %v", took)
	}
}

// Sign-ins and endings by two processes on one collection.
func TestProcessesShareSessionsAndTheirEndings(t *testing.T) {
	srv := mongotest.Start(t)
	type visit struct{ Count int }
	var managers []*session.Manager[visit]
	for range 2 {
		m, err := session.New[visit](open(t, connect(t, srv.URI()), "sessions", nil), nil)
		if err != nil {
			t.Fatal(err)
		}
		managers = append(managers, m)
	}
	here, there := managers[0], managers[1]
	r, w := httptest.NewRequest(http.MethodGet, "https://example.org/", nil), httptest.NewRecorder()
	if _, err := here.Start(w, r, "alice", nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range w.Result().Cookies() {
		r.AddCookie(c)
	}
	if l, err := there.List(t.Context(), "alice"); len(l) != 1 || err != nil {
		t.Errorf("List: %v, %v, want one session", l, err)
	}
	if err := there.EndAll(t.Context(), "alice", "", "sign_out_everywhere"); err != nil {
		t.Fatal(err)
	}
	if _, err := here.Load(r); !errors.Is(err, session.ErrEnded) {
		t.Errorf("Load: %v, want ErrEnded", err)
	}
}
