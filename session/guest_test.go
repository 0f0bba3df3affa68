package session_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/admit-auth/admit/session"
)

// A basket is what a guest fills: how many there are of each thing.
type basket struct{ Items map[string]int }

// add is the rule of a shop: what is in both baskets is there as often as in the
// fuller one, for who chose it twice wants it once.
func add(guest basket, user *basket) {
	items := maps.Clone(user.Items)
	if items == nil {
		items = map[string]int{}
	}
	for thing, n := range guest.Items {
		items[thing] = max(n, items[thing])
	}
	user.Items = items
}

func baskets(t testing.TB) *session.Manager[basket] {
	t.Helper()
	m, err := session.New[basket](session.NewMemory(nil), &session.Options{Bearer: true})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// holding is a request with the token of a session.
func holding(s *session.Session[basket]) *http.Request {
	r := httptest.NewRequest("POST", "https://shop.example/", nil)
	if s != nil {
		r.Header.Set("Authorization", "Bearer "+s.Token.Reveal())
	}
	return r
}

// starts begins a session that holds these things, by a token.
func starts(t testing.TB, m *session.Manager[basket], subject string, items map[string]int) *session.Session[basket] {
	t.Helper()
	s, err := m.StartWith(httptest.NewRecorder(), holding(nil), subject, &session.StartOptions{Bearer: true}, func(b *basket) { b.Items = items })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWhatAGuestDidIsMergedByTheRuleOfTheProgram(t *testing.T) {
	m := baskets(t)
	kept := basket{map[string]int{"tea": 1, "cup": 2}} // in the program's own database
	for _, tt := range []struct {
		name   string
		before *session.Session[basket]
		want   string
	}{
		{"a guest's basket and the kept one are merged", starts(t, m, "", map[string]int{"tea": 3, "pot": 1}), "map[cup:2 pot:1 tea:3]"},
		{"without a guest there is the kept one", nil, "map[cup:2 tea:1]"},
		{"who signs in again is not given the guest's twice", starts(t, m, "ann", map[string]int{"tea": 9}), "map[cup:2 tea:1]"},
		{"another user's session is no guest's", starts(t, m, "bob", map[string]int{"tea": 9}), "map[cup:2 tea:1]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := m.StartMerging(httptest.NewRecorder(), holding(tt.before), "ann", &session.StartOptions{Bearer: true}, func(guest basket, user *basket) {
				*user = kept
				add(guest, user)
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(s.Data.Items); got != tt.want || s.Subject != "ann" {
				t.Errorf("%s holds %s, want %s", s.Subject, got, tt.want)
			}
			if again, err := m.Load(holding(s)); err != nil || fmt.Sprint(again.Data.Items) != tt.want {
				t.Errorf("it is kept as %v, %v", again, err)
			}
		})
	}
}

func TestTheOwnSessionIsWhatTheRuleAddsToWhereNothingElseIsKept(t *testing.T) {
	m := baskets(t)
	s, err := m.StartMerging(httptest.NewRecorder(), holding(starts(t, m, "ann", map[string]int{"tea": 2})), "ann", &session.StartOptions{Bearer: true}, add)
	if err != nil || fmt.Sprint(s.Data.Items) != "map[tea:2]" {
		t.Errorf("%v, %v", s, err)
	}
}

func TestOfSignInsAtOnceOneGetsWhatTheGuestDid(t *testing.T) {
	m := baskets(t)
	guest := starts(t, m, "", map[string]int{"tea": 1})
	var wg sync.WaitGroup
	var mu sync.Mutex
	merged := 0
	for range 20 {
		wg.Go(func() {
			_, err := m.StartMerging(httptest.NewRecorder(), holding(guest), "ann", &session.StartOptions{Bearer: true}, func(guest basket, user *basket) {
				mu.Lock()
				defer mu.Unlock()
				merged += guest.Items["tea"]
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if merged != 1 {
		t.Errorf("merged %d times, want once", merged)
	}
}

func TestStartMergingNeedsASubjectAndARule(t *testing.T) {
	m := baskets(t)
	if _, err := m.StartMerging(httptest.NewRecorder(), holding(nil), "", nil, add); err == nil {
		t.Error("a guest is merged into nobody")
	}
	if _, err := m.StartMerging(httptest.NewRecorder(), holding(nil), "ann", nil, nil); err == nil {
		t.Error("there is no rule")
	}
}

// A shop whose guests have baskets, and whose users have one on every device.
func ExampleManager_StartMerging() {
	type Basket struct{ Items map[string]int }
	sessions, err := session.New[Basket](session.NewMemory(nil), nil)
	if err != nil {
		panic(err)
	}
	kept := map[string]map[string]int{"ann": {"tea": 1, "cup": 2}} // in your database

	signIn := func(w http.ResponseWriter, r *http.Request, user string) (*session.Session[Basket], error) {
		return sessions.StartMerging(w, r, user, nil, func(guest Basket, b *Basket) {
			b.Items = map[string]int{}
			maps.Copy(b.Items, kept[user])
			for thing, n := range guest.Items {
				b.Items[thing] = max(n, b.Items[thing])
			}
		})
	}

	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "https://shop.example/basket", nil)
	if _, err := sessions.Update(w, r, func(b *Basket) error { b.Items = map[string]int{"tea": 3}; return nil }); err != nil {
		panic(err)
	}
	r = httptest.NewRequest("POST", "https://shop.example/signin", nil)
	r.AddCookie(w.Result().Cookies()[0])
	s, err := signIn(httptest.NewRecorder(), r, "ann")
	if err != nil {
		panic(err)
	}
	fmt.Println(s.Data.Items)
	// Output: map[cup:2 tea:3]
}
