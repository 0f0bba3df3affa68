package session

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestUseKeepsASessionAliveAsHandlerDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, NewMemory(nil), nil)
		b := &browser{t: t}
		b.start(m, "ann", &StartOptions{Persistent: true})
		for range 3 {
			time.Sleep(50 * time.Minute)
			renewed := false
			b.do(func(w http.ResponseWriter, r *http.Request) {
				s, err := m.Use(w, r)
				if err != nil || s.Subject != "ann" || !s.LastSeenAt.Equal(time.Now()) {
					t.Fatalf("Use = %+v, %v", s, err)
				}
				renewed = len(w.Header()["Set-Cookie"]) == 1
			})
			if !renewed {
				t.Error("a persistent cookie was not renewed")
			}
		}
	})
}
