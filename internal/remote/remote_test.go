package remote

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestOnlyHTTPSAndThisMachineAreSafe(t *testing.T) {
	for at, want := range map[string]struct{ usually, allowed bool }{
		"https://a.example/x":      {true, true},
		"http://a.example/x":       {false, true},
		"http://localhost:80/x":    {true, true},
		"http://127.0.0.2/x":       {true, true},
		"http://[::1]:9/x":         {true, true},
		"http://10.0.0.1/x":        {false, true},
		"http://localhost.evil/x":  {false, true},
		"https://u:p@a.example/x":  {false, false},
		"file://localhost/etc":     {false, false},
		"https:a.example":          {false, false},
		"a.example":                {false, false},
		"":                         {false, false},
		"http://127.0.0.1.evil/":   {false, true},
		"https://a.example\n/x":    {false, false},
		"http://localhost@evil/":   {false, false},
		"http://[::ffff:7f00:1]/x": {true, true},
	} {
		if got := Safe(at, false); got != want.usually {
			t.Errorf("Safe(%q, false) = %v", at, got)
		}
		if got := Safe(at, true); got != want.allowed {
			t.Errorf("Safe(%q, true) = %v", at, got)
		}
	}
}

func TestAFetchServesAllWhoWaitAndOutlivesWhoBeganIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f Flight
		fetches := 0
		away := errors.New("away")
		fetch := func(ctx context.Context) (time.Duration, error) {
			fetches++
			time.Sleep(time.Second)
			return time.Minute, errors.Join(ctx.Err(), away)
		}
		first, hangUp := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if err := f.Do(first, false, fetch); !errors.Is(err, context.Canceled) {
				t.Errorf("who hung up: %v", err)
			}
		})
		synctest.Wait()
		for range 3 {
			all.Go(func() {
				if err := f.Do(t.Context(), true, fetch); err.Error() != away.Error() {
					t.Errorf("who waited: %v", err)
				}
			})
		}
		if err := f.Do(t.Context(), false, fetch); err != nil {
			t.Errorf("who would not wait: %v", err)
		}
		hangUp()
		all.Wait()
		if err := f.Do(t.Context(), true, fetch); err == nil || fetches != 1 {
			t.Errorf("in the pause: %v after %d fetches", err, fetches)
		}
		if err := f.Hurry(t.Context()); err != nil {
			t.Error(err)
		}
		if _ = f.Do(t.Context(), true, fetch); fetches != 2 {
			t.Errorf("%d fetches after the pause was ended", fetches)
		}
	})
}
