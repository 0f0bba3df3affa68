package memcachestore

import (
	"context"
	"errors"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/session"
)

func TestOptionsThatCannotBeRightAreRefused(t *testing.T) {
	one := []string{"127.0.0.1:11211"}
	for name, c := range map[string]struct {
		servers []string
		o       *Options
	}{
		"no server":                              {nil, nil},
		"a prefix with a space":                  {one, &Options{Prefix: "a b"}},
		"a prefix with a line's end":             {one, &Options{Prefix: "a\r\n"}},
		"a prefix that is not ASCII":             {one, &Options{Prefix: "é:"}},
		"a prefix too long for the longest key":  {one, &Options{Prefix: strings.Repeat("p", 51)}},
		"a timeout that is over before it began": {one, &Options{Timeout: -1}},
		"fewer connections than none":            {one, &Options{Connections: -1}},
	} {
		if _, err := New(c.servers, c.o); admit.KindOf(err) != admit.Invalid {
			t.Errorf("New with %s: %v, want an error of kind Invalid", name, err)
		}
	}
}

func TestExpiriesFollowMemcachedsRules(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 999e6, time.UTC)
	const day = 24 * time.Hour
	for _, c := range []struct {
		name    string
		expires time.Time
		want    int32
	}{
		{"what is over goes at once", now.Add(-time.Millisecond), -1},
		{"the year 1970 is over, and 0 would be never", time.UnixMilli(0), -1},
		{"small times are no seconds from now", time.Unix(100, 0), -1},
		{"now is over soon", now, 2},
		{"a second begun is a second", now.Add(time.Millisecond), 2},
		{"seconds count from now", now.Add(time.Hour), 3602},
		{"up to 30 days", now.Add(30*day - 2*time.Second), 30 * 24 * 3600},
		{"past them it is the time", now.Add(30*day - time.Second), int32(now.Add(30*day).Unix()) + 1},
		{"a year", now.Add(365 * day), int32(now.Add(365*day).Unix()) + 2},
		{"the last second that memcached counts", time.Unix(math.MaxInt32-2, 0), math.MaxInt32},
		{"after it is never", time.Unix(math.MaxInt32-1, 0), 0},
		{"the year 9999 is never", time.UnixMilli(maxExpires), 0},
	} {
		if got := exptime(c.expires, now); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func FuzzRecord(f *testing.F) {
	for _, seed := range []string{"", string(record(session.Item{Value: "v", Subject: "alice", Version: 7, Expires: time.UnixMilli(99)})),
		"000000000000001 253402300799999 005 alicevalue", "000000000000001 253402300799999 999 alicevalue", strings.Repeat("9", 99)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, r string) {
		it, ok := item(r)
		if ok && it.Expires.UnixMilli() <= maxExpires && string(record(it)) != r {
			t.Errorf("item(%q) = %+v, which is kept as %q", r, it, record(it))
		}
	})
}

func TestACallerWhoLeavesIsNotKept(t *testing.T) {
	// A server that takes connections and never answers.
	silent := listen(t, nil)
	s := open(t, &Options{Timeout: time.Minute}, silent)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	begun := time.Now()
	if _, err := s.Get(ctx, "k"); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: %v, want that the context was cancelled", err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("Get took %v", took)
	}
}

func TestAKeyThatNoRecordCanHaveIsNotThereAndIsNotSent(t *testing.T) {
	sent := errors.New("a connection was made")
	s := open(t, &Options{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, sent }}, "127.0.0.1:11211")
	for _, key := range []string{"", "a b", "k\r\nflush_all", "k\x00", strings.Repeat("k", 1000)} {
		if _, err := s.Get(t.Context(), key); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("Get(%q): %v, want ErrNotFound", key, err)
		}
		if err := s.Touch(t.Context(), key, 1, time.Now()); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("Touch(%q): %v, want ErrNotFound", key, err)
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete(%q): %v, want no error", key, err)
		}
	}
}

func TestConnectionsAreThoseOfDial(t *testing.T) {
	srv := start(t)
	var networks, addresses []string
	s := open(t, &Options{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		networks, addresses = append(networks, network), append(addresses, address)
		return new(net.Dialer).DialContext(ctx, "unix", srv.addr) // as one that leads through TLS
	}}, "cache.example.org:11211")
	for range 3 {
		if _, err := s.Get(t.Context(), "k"); !errors.Is(err, session.ErrNotFound) {
			t.Fatal(err)
		}
	}
	if !slices.Equal(networks, []string{"tcp"}) || !slices.Equal(addresses, []string{"cache.example.org:11211"}) {
		t.Errorf("dialled %q %q, want once", networks, addresses)
	}
}

func TestACallThatFindsNoConnectionFreeWaitsNoLongerThanTheTimeout(t *testing.T) {
	s := open(t, &Options{Timeout: 200 * time.Millisecond, Connections: 1}, listen(t, nil))
	ctx, leave := context.WithCancel(t.Context())
	first := make(chan error)
	go func() { _, err := s.Get(ctx, "k"); first <- err }()
	begun := time.Now()
	if _, err := s.Get(t.Context(), "k"); admit.KindOf(err) != admit.Unavailable {
		t.Errorf("Get: %v, want unavailable", err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("Get took %v", took)
	}
	leave()
	<-first
}
