package memcachestore

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

// The client alone is what any program with it pays for a read.
func BenchmarkReads(b *testing.B) {
	s := start(b)
	store := open(b, nil, s.addr)
	if _, err := store.Add(b.Context(), "k", hour("a value of 200 bytes, more or less; a value of 200 bytes, more or less; a value of 200 bytes, more or less")); err != nil {
		b.Fatal(err)
	}
	m := manager(b, store)
	r, _ := signIn(b, m, "alice")
	client := memcache.New(s.addr)
	client.Timeout = 2 * time.Second
	client.MaxIdleConns = 64
	for _, c := range []struct {
		name string
		call func() error
	}{
		{"gomemcache Get", func() error { _, err := client.Get("admit:k"); return err }},
		{"Store.Get", func() error { _, err := store.Get(b.Context(), "k"); return err }},
		{"Manager.Load", func() error { _, err := m.Load(r); return err }},
		{"Manager.Update", func() error {
			_, err := m.Update(httptest.NewRecorder(), r, func(v *visit) error { v.Count++; return nil })
			return err
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.call(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
