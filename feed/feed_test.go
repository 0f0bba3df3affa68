package feed_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit/feed"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.FixedZone("", 3600))

func TestParseID(t *testing.T) {
	for _, text := range []string{"5f3a9c0e1b2d4f60-1042", "0000000000000001-0", "ffffffffffffffff-18446744073709551615"} {
		id, err := feed.ParseID(text)
		if err != nil || id.String() != text {
			t.Errorf("ParseID(%q) = %v, %v", text, id, err)
		}
	}
	for name, text := range map[string]string{
		"empty": "", "no number": "5f3a9c0e1b2d4f60-", "no hyphen": "5f3a9c0e1b2d4f601042", "capitals": "5F3A9C0E1B2D4F60-1",
		"a leading zero": "5f3a9c0e1b2d4f60-01", "a sign": "5f3a9c0e1b2d4f60-+1", "an epoch of zero": "0000000000000000-1",
		"a number too large": "5f3a9c0e1b2d4f60-18446744073709551616", "a short epoch": "5f3a-1", "space": " 5f3a9c0e1b2d4f60-1", "an underscore": "5f3a9c0e1b2d4f60-1_0",
	} {
		if id, err := feed.ParseID(text); !errors.Is(err, feed.ErrMalformed) || !id.IsZero() {
			t.Errorf("%s: ParseID(%q) = %v, %v, want ErrMalformed", name, text, id, err)
		}
	}
	if _, err := (feed.ID{}).MarshalText(); err == nil {
		t.Error("the zero ID has a text")
	}
}

func TestFollows(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b feed.ID
		want bool
	}{
		{"a later number follows", feed.ID{Epoch: 1, Seq: 2}, feed.ID{Epoch: 1, Seq: 1}, true},
		{"the same does not", feed.ID{Epoch: 1, Seq: 1}, feed.ID{Epoch: 1, Seq: 1}, false},
		{"an earlier does not", feed.ID{Epoch: 1, Seq: 1}, feed.ID{Epoch: 1, Seq: 2}, false},
		{"epochs have no order", feed.ID{Epoch: 2, Seq: 2}, feed.ID{Epoch: 1, Seq: 1}, false},
	} {
		if got := c.a.Follows(c.b); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestADigestIsOfKindAndTarget(t *testing.T) {
	// printf sid:abc | sha256sum, the first 16 bytes in base64url
	d := feed.DigestOf(feed.Session, "abc")
	if d.String() != "PrhMx_p6uNRnSEY-QUQomg" {
		t.Errorf("the digest is %v", d)
	}
	if feed.DigestOf(feed.Grant, "abc") == d || feed.DigestOf(feed.Session, "abd") == d {
		t.Error("digests collide")
	}
	var back feed.Digest
	if err := back.UnmarshalText([]byte(d.String())); err != nil || back != d || len(d.String()) != 22 {
		t.Errorf("UnmarshalText(%v) = %v, %v", d, back, err)
	}
	text := d.String()
	for name, bad := range map[string]string{"stray bits": text[:21] + "_", "short": text[:21], "long": text + "A", "a line break": text[:20] + "\n" + text[21:], "a plus": "+" + text[1:]} {
		if bad != text && back.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%s: UnmarshalText(%q) succeeds", name, bad)
		}
	}
}

func TestStampSetsWhatTheSinkSets(t *testing.T) {
	until := now.Add(time.Hour)
	audiences := []string{"a"}
	in := feed.SessionEnded("s", "u", "signed_out", until)
	in.Audiences, in.Digest = audiences, feed.DigestOf(feed.Key, "x")
	e, err := in.Stamp(feed.ID{Epoch: 1, Seq: 1}, now)
	if err != nil {
		t.Fatal(err)
	}
	audiences[0] = "changed"
	if e.Audiences[0] != "a" {
		t.Error("the audiences are shared with the caller")
	}
	if e.At.Nanosecond() != 678_000_000 || e.At.Location() != time.UTC {
		t.Errorf("At %v, want to the millisecond in UTC, rounded down", e.At)
	}
	if e.Until.Nanosecond() != 679_000_000 || e.Until.Before(until) {
		t.Errorf("Until %v, want to the millisecond, rounded up", e.Until)
	}
	if e.Digest != feed.DigestOf(feed.Session, "s") {
		t.Error("the digest is not the target's")
	}
	exact := in
	exact.Until = now.Truncate(time.Millisecond)
	if e, err := exact.Stamp(feed.ID{Epoch: 1, Seq: 1}, now); err != nil || !e.Until.Equal(exact.Until) {
		t.Errorf("Until %v, %v: a whole millisecond is not rounded", e.Until, err)
	}
}

func TestStampRefusesWhatCannotBeTold(t *testing.T) {
	good := feed.SessionEnded("s", "u", "r", now.Add(time.Hour))
	for name, change := range map[string]func(*feed.Event, *feed.ID){
		"no kind":              func(e *feed.Event, _ *feed.ID) { e.Kind = 0 },
		"an unknown kind":      func(e *feed.Event, _ *feed.ID) { e.Kind = feed.Everyone + 1 },
		"no target":            func(e *feed.Event, _ *feed.ID) { e.Target = "" },
		"a number of zero":     func(_ *feed.Event, id *feed.ID) { id.Seq = 0 },
		"no epoch and number":  func(_ *feed.Event, id *feed.ID) { *id = feed.ID{} },
		"no end":               func(e *feed.Event, _ *feed.ID) { e.Until = time.Time{} },
		"an end past RFC 3339": func(e *feed.Event, _ *feed.ID) { e.Until = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"a session's epoch":    func(e *feed.Event, _ *feed.ID) { e.SEV = 1 },
		"a raise to zero":      func(e *feed.Event, _ *feed.ID) { e.Kind = feed.Subject },
		"everyone's target":    func(e *feed.Event, _ *feed.ID) { e.Kind, e.SEV = feed.Everyone, 1 },
		"a long target":        func(e *feed.Event, _ *feed.ID) { e.Target = strings.Repeat("a", feed.MaxText+1) },
		"a subject not UTF-8":  func(e *feed.Event, _ *feed.ID) { e.Subject = "\xff" },
		"a long reason":        func(e *feed.Event, _ *feed.ID) { e.Reason = strings.Repeat("a", feed.MaxText+1) },
		"an empty audience":    func(e *feed.Event, _ *feed.ID) { e.Audiences = []string{"a", ""} },
		"an audience not UTF8": func(e *feed.Event, _ *feed.ID) { e.Audiences = []string{"\xff"} },
	} {
		e, id := good, feed.ID{Epoch: 1, Seq: 1}
		change(&e, &id)
		if got, err := e.Stamp(id, now); err == nil {
			t.Errorf("%s: Stamp takes it as %+v", name, got)
		}
	}
}

func TestForTellsOnlyWhatConcernsAnAudience(t *testing.T) {
	mine, others, all := feed.SessionEnded("m", "u", "r", now.Add(1)), feed.SessionEnded("o", "u", "r", now.Add(1)), feed.KeyEnded("k", "r", now.Add(1))
	mine.Audiences, others.Audiences = []string{"x", "me"}, []string{"other"}
	var n feed.News
	for i, e := range []feed.Event{mine, others, all} {
		e, err := e.Stamp(feed.ID{Epoch: 1, Seq: uint64(i) + 1}, now)
		if err != nil {
			t.Fatal(err)
		}
		n.Events, n.Head, n.At = append(n.Events, e), e.ID, e.At
	}
	got := n.For("me")
	if len(got.Events) != 2 || got.Head != n.Head || len(n.Events) != 3 || n.Events[0].Target != "m" {
		t.Fatalf("For = %+v of %+v", got, n)
	}
	text, _ := json.Marshal(got)
	for _, secret := range []string{`"m"`, `"u"`, `"k"`, "audiences", "target", "subject"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("For tells %s: %s", secret, text)
		}
	}
	if got.Events[0].Digest != feed.DigestOf(feed.Session, "m") || got.Events[0].Reason != "r" {
		t.Errorf("For leaves out the digest or the reason: %+v", got.Events[0])
	}
	if back, err := feed.ParseNews(text); err != nil || !reflect.DeepEqual(back, got) {
		t.Errorf("ParseNews = %+v, %v, want %+v", back, err, got)
	}
	if nobody := n.For(); len(nobody.Events) != 1 {
		t.Errorf("without audiences %d events, want the one for everyone's", len(nobody.Events))
	}
}

func TestParseNewsRefusesWhatNoFeedSays(t *testing.T) {
	const e = `{"id":"0000000000000001-%","at":"2026-01-02T03:04:05Z","kind":"sid","target":"s","digest":"DIGEST","until":"2026-01-02T04:04:05Z"}`
	event := func(seq string, changes ...string) string {
		s := strings.Replace(strings.Replace(e, "%", seq, 1), "DIGEST", feed.DigestOf(feed.Session, "s").String(), 1)
		return strings.NewReplacer(changes...).Replace(s)
	}
	news := func(events ...string) string {
		return `{"head":"0000000000000001-5","at":"2026-01-02T03:04:05.678Z","events":[` + strings.Join(events, ",") + `],"later":1}`
	}
	if n, err := feed.ParseNews([]byte(news(event("3"), event("5")))); err != nil || len(n.Events) != 2 {
		t.Fatalf("ParseNews of good news: %+v, %v", n, err)
	}
	for name, text := range map[string]string{
		"no object":                    `1`,
		"null":                         `null`,
		"no head":                      `{"at":"2026-01-02T03:04:05Z"}`,
		"no time":                      `{"head":"0000000000000001-5"}`,
		"a time finer than the wire's": `{"head":"0000000000000001-5","at":"2026-01-02T03:04:05.6789Z"}`,
		"two values":                   news() + news(),
		"events out of order":          news(event("3"), event("2")),
		"an event twice":               news(event("3"), event("3")),
		"an event beyond the head":     news(event("6")),
		"an event with the number 0":   news(event("0")),
		"an event of another epoch":    news(event("3", "0000000000000001", "0000000000000002")),
		"an unknown kind":              news(event("3", `"sid"`, `"device"`)),
		"no kind":                      news(event("3", `"kind":"sid",`, ``)),
		"another target's digest":      news(event("3", `"target":"s"`, `"target":"t"`)),
		"no end":                       news(event("3", `,"until":"2026-01-02T04:04:05Z"`, ``)),
	} {
		if n, err := feed.ParseNews([]byte(text)); !errors.Is(err, feed.ErrMalformed) {
			t.Errorf("%s: ParseNews(%s) = %+v, %v, want ErrMalformed", name, text, n, err)
		}
	}
}

// In a bubble the time of every beat is known to the nanosecond.
func TestLogBeatsEachSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := feed.NewLog(nil)
		began := time.Now()
		var heard []time.Duration
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		err := l.Follow(ctx, feed.ID{}, func(n feed.News) error {
			if !n.At.Equal(time.Now()) {
				t.Errorf("the time is %v at %v", n.At, time.Now())
			}
			heard = append(heard, time.Since(began))
			return nil
		})
		if want := []time.Duration{0, feed.Heartbeat, 2 * feed.Heartbeat, 3 * feed.Heartbeat}; !reflect.DeepEqual(heard, want) || err != context.DeadlineExceeded {
			t.Errorf("heard at %v, %v, want %v", heard, err, want)
		}
	})
}

func TestLogForgetsWhatNoLongerMatters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := feed.NewLog(&feed.LogOptions{Recent: 4})
		add := func(n int, ttl time.Duration) {
			for range n {
				if err := l.Append(t.Context(), time.Now(), feed.TokenEnded("t", "", "", time.Now().Add(ttl))); err != nil {
					t.Fatal(err)
				}
			}
		}
		add(100, time.Minute)
		add(10, time.Hour)
		if n := l.Snapshot(time.Now()); len(n.Events) != 110 || !n.Reset || n.Head.Seq != 110 || n.Events[0].ID.Seq != 1 || n.Events[109].ID.Seq != 110 {
			t.Errorf("a snapshot of %d events up to %v, want 110", len(n.Events), n.Head)
		}
		time.Sleep(time.Minute)
		add(8, time.Hour)
		if n := l.Snapshot(time.Now()); len(n.Events) != 18 || n.Head.Seq != 118 {
			t.Errorf("a snapshot of %d events up to %v, want 18", len(n.Events), n.Head)
		}
	})
}

func TestLogKeepsAtLeastTheRecentEvents(t *testing.T) {
	l := feed.NewLog(&feed.LogOptions{Recent: 4})
	for i := range 50 {
		head := l.Snapshot(now).Head
		var events []feed.Event
		for range 1 + i%4 {
			events = append(events, feed.TokenEnded("t", "", "", now.Add(time.Hour)))
		}
		if err := l.Append(t.Context(), now, events...); err != nil {
			t.Fatal(err)
		}
		stop := errors.New("stop")
		l.Follow(t.Context(), head, func(n feed.News) error {
			if n.Reset || len(n.Events) != len(events) {
				t.Errorf("%d behind: reset %v with %d events", len(events), n.Reset, len(n.Events))
			}
			return stop
		})
	}
}

func FuzzParseID(f *testing.F) {
	for _, s := range []string{"5f3a9c0e1b2d4f60-1042", "0000000000000000-1", "5F3a9c0e1b2d4f60-01", "-", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if id, err := feed.ParseID(text); err == nil && id.String() != text {
			t.Errorf("ParseID(%q) = %v", text, id)
		} else if err != nil && !errors.Is(err, feed.ErrMalformed) {
			t.Errorf("ParseID(%q): %v", text, err)
		}
	})
}

func FuzzParseNews(f *testing.F) {
	l := feed.NewLog(nil)
	e := feed.SessionEnded("s", "u", "r", now.Add(time.Hour))
	e.Audiences = []string{"a"}
	if err := l.Append(f.Context(), now, e, feed.EveryoneRaised(3, "x", now.Add(time.Hour))); err != nil {
		f.Fatal(err)
	}
	for _, n := range []feed.News{l.Snapshot(now), l.Snapshot(now).For("a"), feed.NewLog(nil).Snapshot(now)} {
		text, err := json.Marshal(n)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"head":"5f3a9c0e1b2d4f60-1","at":"2026-01-02T03:04:05+01:00","events":[]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		n, err := feed.ParseNews(text)
		if err != nil {
			if !errors.Is(err, feed.ErrMalformed) {
				t.Errorf("ParseNews(%q): %v", text, err)
			}
			return
		}
		again, err := json.Marshal(n)
		if err != nil {
			t.Fatalf("Marshal of ParseNews(%q): %v", text, err)
		}
		back, err := feed.ParseNews(again)
		if err != nil || !reflect.DeepEqual(back, n) {
			t.Errorf("ParseNews(%s) = %+v, %v, want %+v", again, back, err, n)
		}
		for _, e := range n.Events {
			text, _ := json.Marshal(e)
			if back, err := feed.ParseEvent(text); err != nil || !reflect.DeepEqual(back, e) {
				t.Errorf("ParseEvent(%s) = %+v, %v", text, back, err)
			}
		}
	})
}

func TestALogKeepsNoneOfTheRequestThatAnEventWasCutFrom(t *testing.T) {
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	log := feed.NewLog(nil)
	before := heap()
	for range 64 {
		header := strings.Repeat("x", 1<<20)
		if err := log.Append(t.Context(), now, feed.SessionEnded(header[:22], header[22:44], header[44:54], now.Add(time.Hour))); err != nil {
			t.Fatal(err)
		}
	}
	if kept := heap() - before; kept > 16<<20 {
		t.Errorf("64 events keep %d MB", kept>>20)
	}
	runtime.KeepAlive(log)
}
