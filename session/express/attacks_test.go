package express

import (
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// Mallory has a copy of Alice's cookie, and keeps requests coming so that one always
// waits for the one before. Each is told what that one knew of the session. Alice signs
// out: no request of his that begins after that may see the session again.
func TestAttackASignOutIsOutrunByRequestsThatWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFake()
		m := manager(t, store, &Options{Cookie: Attributes{MaxAge: time.Hour}, TouchAfter: time.Hour / 2})
		sid := begun(t, m, "n", 1)
		type outcome struct {
			s   *Session
			err error
		}
		// begin begins an update that goes on when it is told to.
		begin := func(fn func(*Data) error) (goOn chan struct{}, done chan outcome) {
			goOn, done = make(chan struct{}), make(chan outcome, 1)
			go func() {
				s, err := m.Update(httptest.NewRecorder(), with(m, sid), func(d *Data) error {
					<-goOn
					return fn(d)
				})
				done <- outcome{s, err}
			}()
			synctest.Wait()
			return goOn, done
		}
		look := func(*Data) error { return nil }

		one, done1 := begin(count)
		two, done2 := begin(look) // while Alice is signed in
		close(one)
		<-done1
		synctest.Wait() // two has its turn
		if err := m.End(httptest.NewRecorder(), with(m, sid)); err != nil {
			t.Fatal(err)
		}
		last, before := two, done2
		for range 3 {
			next, done := begin(look)
			close(last)
			<-before
			synctest.Wait()
			last, before = next, done
		}
		close(last)
		if o := <-before; o.err == nil && o.s.ID != "" {
			t.Errorf("after the sign-out he sees %s", o.s.JSON())
		}
	})
}
