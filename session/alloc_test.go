package session

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestALoadWithItsDataCostsThreeAllocations(t *testing.T) {
	type data struct {
		Count int       `json:"count"`
		Since time.Time `json:"since"`
	}
	m, err := New[data](NewMemory(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	if _, err := m.StartWith(w, httptest.NewRequest("GET", "https://example.org/", nil), "alice", nil, func(d *data) {
		*d = data{1, time.Now()}
	}); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "https://example.org/", nil)
	for _, c := range w.Result().Cookies() {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, err := m.Load(r); err != nil || s.Data.Count != 1 {
			t.Errorf("Load: %v, %v", s, err)
		}
	}))
	if n := testing.AllocsPerRun(1000, func() { h.ServeHTTP(w, r) }); n > 3 {
		t.Errorf("Handler and Load allocate %v times, want 3", n)
	}
}

func TestASealedCheckCostsThreeAllocations(t *testing.T) {
	m := newSealed(t, NewMemory(nil), newKeys(t), nil)
	b := &browser{t: t}
	b.start(m, "alice", &StartOptions{AMR: []string{"pwd"}, Device: Device{Name: "Firefox on Linux", Address: "192.0.2.7"}})
	r := b.request()
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := m.Check(r); err != nil {
			t.Fatal(err)
		}
	}); n > 3 {
		t.Errorf("Check allocates %v times, want 3", n)
	}
}
