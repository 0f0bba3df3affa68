package server

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/password"
)

// breachedList writes passwords as a list of breached ones.
func breachedList(passwords ...string) string {
	var lines []string
	for i, pw := range passwords {
		lines = append(lines, fmt.Sprintf("%X:%d\r\n", sha1.Sum([]byte(pw)), i))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func TestABreachedPasswordIsRefusedOnceItsListIsImported(t *testing.T) {
	cfg := Config{Data: filepath.Join(t.TempDir(), "data")}
	policy := cfg.PasswordPolicy() // of before, as a running server has it
	check := func(pw string) error { return policy.Check(t.Context(), admit.NewSecret(pw)) }
	var all []string
	for i := range 300 {
		all = append(all, fmt.Sprintf("a long walk by the sea %d", i))
	}
	if err := check(all[0]); err != nil {
		t.Fatalf("without a list: %v", err)
	}
	made, err := cfg.ImportBreached(t.Context(), strings.NewReader(breachedList(all...)), BreachedOptions{})
	if made.Passwords != 300 || err != nil {
		t.Fatalf("imported %+v, %v", made, err)
	}
	for _, pw := range all {
		if err := check(pw); !errors.Is(err, password.ErrBreached) {
			t.Errorf("%q: got %v", pw, err)
		}
	}
	for i := range 300 {
		if err := check(fmt.Sprintf("another walk by the sea %d", i)); err != nil {
			t.Errorf("a password that is in no list: %v", err)
		}
	}
	elsewhere := Config{Data: t.TempDir(), BreachedFile: filepath.Join(cfg.Data, breachedName)}
	if err := elsewhere.PasswordPolicy().Check(t.Context(), admit.NewSecret(all[7])); !errors.Is(err, password.ErrBreached) {
		t.Errorf("with a file that is named: %v", err)
	}
}

// A rangeService is one that knows breached passwords.
type rangeService struct {
	*httptest.Server
	asked  atomic.Int64
	broken atomic.Bool
}

func newRangeService(t *testing.T, passwords ...string) *rangeService {
	s := &rangeService{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		prefix, ok := strings.CutPrefix(r.URL.Path, "/range/")
		if !ok || len(prefix) != rangeDigits || r.Header.Get("Add-Padding") != "true" {
			t.Errorf("asked for %s, %v", r.URL, r.Header)
		}
		if s.broken.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		for _, pw := range passwords {
			if name := fmt.Sprintf("%X", sha1.Sum([]byte(pw))); strings.HasPrefix(name, prefix) {
				fmt.Fprintf(w, "%s:3\r\n", name[rangeDigits:])
			}
		}
		// What pads: among it the password that nobody has had stolen.
		pads := fmt.Sprintf("%X", sha1.Sum([]byte("a long swim in the lake")))
		fmt.Fprintf(w, "%s:0\r\n", pads[rangeDigits:])
		fmt.Fprintf(w, "%s:0", strings.Repeat("0", 35))
	}))
	t.Cleanup(s.Close)
	return s
}

func TestAServiceForBreachedPasswordsIsToldFiveDigits(t *testing.T) {
	s := newRangeService(t, "a long walk by the sea", "another")
	var told strings.Builder
	lists := &breachedLists{log: slog.New(slog.NewTextHandler(&told, nil))}
	lists.use(Config{Data: t.TempDir(), BreachedURL: s.URL + "/range/"})
	for pw, want := range map[string]bool{"a long walk by the sea": true, "a long swim in the lake": false} {
		if found, err := lists.has(t.Context(), admit.NewSecret(pw)); found != want || err != nil {
			t.Errorf("%q: %t, %v; want %t", pw, found, err, want)
		}
	}
	if told.Len() > 0 {
		t.Errorf("it complains: %s", &told)
	}
}

func TestAServiceThatIsAwayRefusesNobodyAndIsLeftAloneForAWhile(t *testing.T) {
	s := newRangeService(t, "a long walk by the sea")
	var told strings.Builder
	lists := &breachedLists{log: slog.New(slog.NewTextHandler(&told, nil))}
	cfg := Config{Data: t.TempDir(), BreachedURL: s.URL + "/range"}
	lists.use(cfg)
	s.broken.Store(true)
	for range 5 {
		if err := (password.Policy{Breached: lists.has}).Check(t.Context(), admit.NewSecret("a long walk by the sea")); err != nil {
			t.Errorf("while it is away: %v", err)
		}
	}
	if n := s.asked.Load(); n != 1 || strings.Count(told.String(), "level=WARN") != 1 {
		t.Errorf("it was asked %d times, want once; the log says\n%s", n, &told)
	}
	s.broken.Store(false)
	lists.use(cfg) // a reload does not forget the outage
	lists.now.Load().urls.until = time.Now().Add(-time.Second)
	if found, err := lists.has(t.Context(), admit.NewSecret("a long walk by the sea")); !found || err != nil {
		t.Errorf("when it is back: %t, %v", found, err)
	}
}

func TestAnAnswerThatIsNoneIsAFailure(t *testing.T) {
	rest := strings.Repeat("A", 35)
	for _, test := range []struct {
		answer      string
		found, fail bool
	}{
		{rest + ":3", true, false},
		{strings.ToLower(rest) + ":3\r\n", true, false},
		{rest + ":0\r\n", false, false},
		{strings.Repeat("B", 35) + ":7\r\n", false, false},
		{"", false, false},
		{"<html>", false, true},
		{rest, false, true},
	} {
		found, err := inRange(strings.NewReader(test.answer), rest)
		if found != test.found || (err != nil) != test.fail {
			t.Errorf("%q: %t, %v", test.answer, found, err)
		}
	}
}

func TestAServiceThatDoesNotAnswerIsWaitedForTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRanges("https://range.example.org")
		r.client.Transport = silent{}
		begun := time.Now()
		if _, err := r.has(t.Context(), admit.NewSecret("x")); err == nil || time.Since(begun) != rangeTimeout {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		if _, err := r.has(t.Context(), admit.NewSecret("x")); !errors.Is(err, errRangesRest) {
			t.Errorf("at once again: %v", err)
		}
		time.Sleep(rangeRest)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := r.has(ctx, admit.NewSecret("x")); !errors.Is(err, context.DeadlineExceeded) || !r.until.Before(time.Now()) {
			t.Errorf("who gives up: %v, and it rests until %v", err, r.until)
		}
	})
}

type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func FuzzInRange(f *testing.F) {
	f.Add(strings.Repeat("A", 35) + ":3\r\n")
	f.Fuzz(func(t *testing.T, answer string) {
		if found, err := inRange(strings.NewReader(answer), strings.Repeat("A", 35)); found && err == nil && !strings.Contains(strings.ToUpper(answer), strings.Repeat("A", 35)) {
			t.Errorf("found in %q", answer)
		}
	})
}
