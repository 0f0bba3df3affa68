package server

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestLinesOfTheLogAreHeldForATenthOfASecondAndNeverLostInAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		w := &logWriter{to: &out}
		shows := func(want string) {
			t.Helper()
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			if out.String() != want {
				t.Errorf("written is %q, want %q", &out, want)
			}
		}
		w.Write([]byte("before\n"))
		shows("before\n")
		ctx, stop := context.WithCancel(t.Context())
		go w.run(ctx)
		synctest.Wait()
		w.Write([]byte("one\n"))
		w.Write([]byte("two\n"))
		shows("before\n")
		time.Sleep(flushEvery)
		shows("before\none\ntwo\n")
		w.Write([]byte("last\n"))
		stop()
		shows("before\none\ntwo\nlast\n")
		w.Write([]byte("after\n"))
		shows("before\none\ntwo\nlast\nafter\n")
		out.Reset()

		ctx, stop = context.WithCancel(t.Context())
		defer stop()
		go w.run(ctx)
		synctest.Wait()
		w.Write(bytes.Repeat([]byte("x"), maxHeld))
		if out.Len() != maxHeld {
			t.Errorf("%d bytes of a full buffer are written", out.Len())
		}
	})
}
