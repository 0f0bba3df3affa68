package server

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit/provider"
)

// Whoever writes another Origin into each request has no client read for it.
func TestAttackStrangersOriginsCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads, all := 0, []*provider.Client{}
		for i := range 2*fewClients + 1 {
			all = append(all, &provider.Client{ID: fmt.Sprintf("c%04d", i), RedirectURIs: []string{fmt.Sprintf("https://c%04d.example.net/callback", i)}})
		}
		o := origins{clients: func(_ context.Context, after string, limit int) (some []*provider.Client, err error) {
			reads++
			time.Sleep(time.Second)
			for _, c := range all {
				if c.ID > after && len(some) < limit {
					some = append(some, c)
				}
			}
			return some, nil
		}}
		has := func(origin string, want bool) {
			t.Helper()
			if ok, err := o.has(t.Context(), origin, time.Now()); err != nil || ok != want {
				t.Errorf("%s: %v, %v", origin, ok, err)
			}
		}
		has("https://c0400.example.net", true)
		for i := range 1000 {
			has(fmt.Sprintf("https://stranger%d.example.org", i), false)
		}
		if reads != 3 {
			t.Errorf("clients were read %d times", reads)
		}
		// Reading took three seconds, and so is done again only after a minute.
		all = append(all, &provider.Client{ID: "new", RedirectURIs: []string{"https://new.example.net/"}})
		time.Sleep(30 * time.Second)
		has("https://new.example.net", false)
		time.Sleep(31 * time.Second)
		has("https://new.example.net", true)
	})
}
