package memcachestore

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/admit-auth/admit/session/express"
	"github.com/admit-auth/admit/session/express/expresstest"
)

func openExpress(t testing.TB, addr string, o *ExpressOptions) *Express {
	t.Helper()
	e, err := NewExpress(addr, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func TestMemcachedKeepsExpressRecords(t *testing.T) {
	s := start(t)
	expresstest.Run(t, func(t testing.TB) express.Store { return openExpress(t, s.addr, nil) })
}

// lines returns the answer to a get, line by line.
func (s *memcached) lines(t *testing.T, key string) []string {
	t.Helper()
	c, err := net.Dial("unix", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(c, "get %s\r\n", key)
	var all []string
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.TrimSuffix(line, "\r\n"))
		if line == "END\r\n" {
			return all
		}
	}
}

func TestARecordIsWhatConnectMemcachedWrites(t *testing.T) {
	s := start(t)
	const text = `{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},"isVisit":1}`
	if _, err := openExpress(t, s.addr, &ExpressOptions{Prefix: "app:"}).Add(t.Context(), "abc", express.Record{JSON: text}); err != nil {
		t.Fatal(err)
	}
	want := []string{fmt.Sprintf("VALUE app:abc 2 %d", len(text)), text, "END"}
	if got := s.lines(t, "app:abc"); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q, want %q", got, want)
	}
}

// A cookie of two months is new with every request in Express, for memcached takes
// its age for a date.
func TestASessionMayLiveForLongerThanThirtyDays(t *testing.T) {
	e := openExpress(t, start(t).addr, nil)
	if _, err := e.Add(t.Context(), "abc", express.Record{JSON: `{"cookie":{}}`, Until: time.Now().AddDate(0, 2, 0)}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Get(t.Context(), "abc"); err != nil {
		t.Error(err)
	}
}

func TestAPausedMemcachedIsUnavailableToExpressSessions(t *testing.T) {
	s := start(t)
	expresstest.Outage(t, openExpress(t, s.addr, &ExpressOptions{Timeout: 300 * time.Millisecond}), func() func() {
		s.pause()
		return func() { s.cmd.Process.Signal(syscall.SIGCONT) }
	})
}

// What is kept is read as it was, and has no line break that npm's client would
// split it at.
func FuzzLineBreaksOfJSON(f *testing.F) {
	for _, s := range []string{`{"a":1}`, "{\r\n}", `"\\"`, "[\n\n1\r]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) {
			return
		}
		kept := escaped.Replace(text)
		if got := unescaped.Replace(kept); got != text {
			t.Errorf("%q comes back as %q", text, got)
		}
		if strings.Contains(kept, "\r\n") {
			t.Errorf("%q is kept as %q", text, kept)
		}
	})
}
