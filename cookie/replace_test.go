package cookie_test

import (
	"sync"
	"testing"
	"time"

	"github.com/admit-auth/admit/cookie"
)

func ring(t testing.TB, lines ...string) *cookie.Keys {
	t.Helper()
	text := ""
	for _, line := range lines {
		text += line + "\n"
	}
	k, err := cookie.ParseKeys(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAReplacedRingIsUsedFromTheNextCallOn(t *testing.T) {
	now := time.Now()
	one, two := cookie.GenerateKey(), cookie.GenerateKey()
	k := ring(t, one)
	sealed := string(k.Seal(nil, "c", []byte("v"), now))
	if head := k.IDs()[0]; sealed[:4] != head {
		t.Errorf("a value begins with %q, want the id %q", sealed[:4], head)
	}

	k.Replace(ring(t, two, one))
	value, old, err := k.Open(nil, "c", sealed, 0, now)
	if err != nil || !old || string(value) != "v" {
		t.Errorf("with a new key in front: %q, old %v, %v", value, old, err)
	}
	again := string(k.Seal(nil, "c", []byte("v"), now))
	if again[:4] != k.IDs()[0] || again[:4] == sealed[:4] {
		t.Errorf("sealed with %q, want the new key %q", again[:4], k.IDs()[0])
	}

	k.Replace(ring(t, two))
	if _, _, err := k.Open(nil, "c", sealed, 0, now); err != cookie.ErrTampered {
		t.Errorf("a key that was taken away opens: %v", err)
	}
	if _, old, err := k.Open(nil, "c", again, 0, now); err != nil || old {
		t.Errorf("the key that stays: old %v, %v", old, err)
	}
}

func TestARingIsReplacedWhileItIsUsed(t *testing.T) {
	now := time.Now()
	lines := []string{cookie.GenerateKey()}
	k := ring(t, lines...)
	first := string(k.Seal(nil, "c", []byte("v"), now))
	signed := string(k.Sign(nil, "c", []byte("v"), now))
	stop := make(chan struct{})
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, _, err := k.Open(nil, "c", first, 0, now); err != nil {
					t.Errorf("Open: %v", err)
					return
				}
				if _, _, err := k.Verify(nil, "c", signed, 0, now); err != nil {
					t.Errorf("Verify: %v", err)
					return
				}
				mine := string(k.Seal(nil, "c", []byte("v"), now))
				if _, _, err := k.Open(nil, "c", mine, 0, now); err != nil {
					t.Errorf("Open what was just sealed: %v", err)
					return
				}
			}
		})
	}
	for range 50 {
		lines = append([]string{cookie.GenerateKey()}, lines...)
		k.Replace(ring(t, lines...))
	}
	close(stop)
	work.Wait()
}
