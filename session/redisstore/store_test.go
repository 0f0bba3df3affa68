package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/session"
)

// What needs a server is tested on real ones in the module conformance.

func answering(t testing.TB, reply any, err error) *Store {
	t.Helper()
	s, fail := New(func(context.Context, ...string) (any, error) { return reply, err }, nil)
	if fail != nil {
		t.Fatal(fail)
	}
	return s
}

func TestOptionsThatCannotBeRightAreRefused(t *testing.T) {
	client := func(context.Context, ...string) (any, error) { return nil, nil }
	for name, c := range map[string]struct {
		client Client
		o      *Options
	}{
		"no client":                              {nil, nil},
		"a prefix that ends the script's text":   {client, &Options{Prefix: "a'"}},
		"a prefix with a backslash":              {client, &Options{Prefix: `a\`}},
		"a prefix with a space":                  {client, &Options{Prefix: "a b"}},
		"a prefix that is not ASCII":             {client, &Options{Prefix: "é:"}},
		"a timeout that is over before it began": {client, &Options{Timeout: -1}},
		"a durability that there is not":         {client, &Options{Durability: session.SurvivesMachine + 1}},
	} {
		if _, err := New(c.client, c.o); admit.KindOf(err) != admit.Invalid {
			t.Errorf("New with %s: %v, want an error of kind Invalid", name, err)
		}
		if _, err := NewCluster(c.client, c.o); admit.KindOf(err) != admit.Invalid {
			t.Errorf("NewCluster with %s: %v, want an error of kind Invalid", name, err)
		}
	}
}

func TestWhatIsNoAnswerIsUnavailable(t *testing.T) {
	whole := "000000000000001 253402300799999 0123456789abcdef 005 alicevalue"
	for name, reply := range map[string]any{
		"nothing": nil, "a number": int64(7), "text": "x", "a short record": whole[:52], "a record without its subject": whole[:56],
		"a version that is no number": "x" + whole[1:], "an error": errors.New("x"), "a list": []any{"x"}, "a list of nothing": []any{}, "a list with half an entry": []any{"", "k"},
		"a list of no records": []any{"", "k", "v"}, "a list of numbers": []any{"", int64(1), int64(2)},
	} {
		s := answering(t, reply, nil)
		_, get := s.Get(t.Context(), "k")
		_, _, check := s.GetWithEpoch(t.Context(), "k")
		_, add := s.Add(t.Context(), "k", session.Item{})
		_, list := s.List(t.Context(), "alice", "", 1)
		for call, err := range map[string]error{"Get": get, "GetWithEpoch": check, "Add": add, "Touch": s.Touch(t.Context(), "k", 1, time.Now()), "Delete": s.Delete(t.Context(), "k"), "List": list} {
			if admit.KindOf(err) != admit.Unavailable {
				t.Errorf("%s answered by %s: %v, want unavailable", call, name, err)
			}
		}
	}
}

func TestErrorsSayWhoseFaultItIs(t *testing.T) {
	broken := errors.New("connection reset")
	s := answering(t, nil, broken)
	if _, err := s.Get(t.Context(), "k"); !errors.Is(err, session.ErrUnavailable) || !errors.Is(err, broken) {
		t.Errorf("Get where the connection breaks: %v", err)
	}
	s = answering(t, nil, errors.New("OOM command not allowed when used memory > 'maxmemory'."))
	if _, err := s.Add(t.Context(), "k", session.Item{}); !errors.Is(err, session.ErrFull) {
		t.Errorf("Add where there is no memory: %v, want ErrFull", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s, _ = New(func(context.Context, ...string) (any, error) { cancel(); return nil, broken }, nil)
	if _, err := s.Get(ctx, "k"); !errors.Is(err, context.Canceled) || admit.KindOf(err) == admit.Unavailable {
		t.Errorf("Get of a caller who left: %v, want its context's error", err)
	}
}

func TestAClientIsGivenNoLongerThanTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(func(ctx context.Context, _ ...string) (any, error) { <-ctx.Done(); return nil, ctx.Err() }, nil)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if _, err := s.Get(t.Context(), "k"); admit.KindOf(err) != admit.Unavailable {
			t.Errorf("Get: %v, want unavailable", err)
		}
		if took := time.Since(begun); took != 2*time.Second {
			t.Errorf("Get took %v, want 2 s", took)
		}
	})
}

// A call that asks twice has no longer for it.
func TestTwoQuestionsShareTheTimeout(t *testing.T) {
	subject := strings.Repeat("a subject that makes no key ", 9)
	record := number(1) + " " + number(millis(time.Now().Add(time.Hour))) + " " + kept + " " + fmt.Sprint(len(subject)) + " " + subject
	var ends []time.Time
	s, err := New(func(ctx context.Context, args ...string) (any, error) {
		end, _ := ctx.Deadline()
		ends = append(ends, end)
		time.Sleep(time.Millisecond)
		if args[5] == "check" {
			return "0 " + record, nil
		}
		return "", nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if it, _, err := s.GetWithEpoch(t.Context(), "k"); err != nil || it.Subject != subject {
		t.Fatalf("GetWithEpoch: %+v, %v", it, err)
	}
	if len(ends) != 2 || ends[0].IsZero() || !ends[0].Equal(ends[1]) {
		t.Errorf("the questions may take until %v", ends)
	}
}

func TestTheScriptIsSentOnlyWhereItIsNotKnown(t *testing.T) {
	known := map[string]bool{}
	var sent []string
	s, err := New(func(_ context.Context, args ...string) (any, error) {
		sent = append(sent, strings.Join(append([]string{args[0]}, args[4:]...), " "))
		if args[0] == "EVAL" && len(args) > 4 {
			known["script"] = true
		} else if args[0] == "EVALSHA" && !known["script"] {
			return nil, errors.New("NOSCRIPT No matching script.")
		}
		return int64(1), nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"EVALSHA again delete", "EVAL", "EVAL new delete", "EVALSHA again delete"}; !slices.Equal(sent, want) {
		t.Errorf("sent %q, want %q", sent, want)
	}
}

// A replica would keep the script, and then nobody would notice that it takes over.
func TestWhoMayNotWriteIsNotGivenTheScript(t *testing.T) {
	s, err := New(func(_ context.Context, args ...string) (any, error) {
		if args[0] == "EVALSHA" {
			return nil, errors.New("NOSCRIPT No matching script.")
		}
		if len(args) > 4 {
			t.Errorf("it was sent %q", args[4:])
		}
		return nil, errors.New("READONLY You can't write against a read only replica.")
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "k"); admit.KindOf(err) != admit.Unavailable {
		t.Errorf("Get: %v, want unavailable", err)
	}
}

// The script of each prefix has a name of its own, for it is by an unknown
// script that a store hears of a restart.
func TestStoresOfTwoPrefixesDoNotShareTheScript(t *testing.T) {
	a, b := answering(t, nil, nil), answering(t, nil, nil)
	if a.sha != b.sha {
		t.Error("two processes have different scripts")
	}
	c, err := New(a.client, &Options{Prefix: "other:"})
	if err != nil || c.sha == a.sha {
		t.Errorf("two prefixes share a script: %v", err)
	}
}

func FuzzAnswers(f *testing.F) {
	whole := "000000000000001 253402300799999 0123456789abcdef 005 alicevalue"
	for _, seed := range []string{"", whole, "0 " + whole, "2 1 " + whole, "99999 " + whole, strings.Repeat("9", 99)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, r string) {
		if it, err := item(r); err == nil {
			if again := number(it.Version) + " " + number(uint64(it.Expires.UnixMilli())) + " "; !strings.HasPrefix(r, again) {
				t.Errorf("item(%q) = %+v", r, it)
			}
			if !strings.HasSuffix(r, it.Subject+it.Value) {
				t.Errorf("item(%q) has subject %q and value %q", r, it.Subject, it.Value)
			}
		}
		if epoch, record, err := splitEpoch(r); err == nil && !strings.HasSuffix(r, epoch+record) {
			t.Errorf("splitEpoch(%q) = %q, %q", r, epoch, record)
		}
	})
}
