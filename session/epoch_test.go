package session

import (
	"strings"
	"testing"

	"github.com/admit-auth/admit/token"
)

func FuzzEpochKey(f *testing.F) {
	for _, s := range []string{"", "alice", "#", "#0", "e:", "a b", "José", "a\x00", "\xff", strings.Repeat("s", 198), strings.Repeat("s", 199)} {
		f.Add(s, s+"x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		key := EpochKey(a)
		if err := CheckRecord(key, Item{}); err != nil {
			t.Errorf("EpochKey(%q) is no key: %v", a, err)
		}
		if a != b && key == EpochKey(b) {
			t.Errorf("subjects %q and %q share the key %q", a, b, key)
		}
		if !strings.HasPrefix(key, epochPrefix) {
			t.Errorf("EpochKey(%q) = %q, which may be a session's", a, key)
		}
	})
}

func FuzzParseEpoch(f *testing.F) {
	for _, s := range []string{
		"", "0", "1", "007", "+1", "-1", "1_000", "281474976710655", "281474976710656", "18446744073709551617", "1764086400000", "2 1",
		"2 1 0123456789012345678901", "2  0123456789012345678901", "2 1 0123456789012345678901 ", "2 1 zzzzzzzzzzzzzzzzzzzzzz", "2 1 0000000000000000000000",
		"2 1", "1 2", "2 2", "2 0", "2 1 0", "3 2 1 0123456789012345678901", "3 2 1 1 0123456789012345678901", "3 2 0123456789012345678901", "3 0123456789012345678901",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := ParseEpoch(s)
		if e != (Epoch{}) && ParseEpoch(e.String()) != e {
			t.Errorf("ParseEpoch(%q) = %v, which reads as %v", s, e, ParseEpoch(e.String()))
		}
		if e != (Epoch{}) && e.String() != s && strings.TrimLeft(s, "0") == s && !strings.Contains(s, " 0") {
			t.Errorf("ParseEpoch(%q) = %v", s, e)
		}
	})
}

func TestAnEpochSparesTheSessionThatWasGoodBefore(t *testing.T) {
	here, there := token.New(token.Session).Selector(), token.New(token.Session).Selector()
	first := Epoch{N: 100}
	for _, test := range []struct {
		name                string
		epoch               Epoch
		begun               uint64 // both sessions' epoch
		hereLives, thereToo bool
	}{
		{"nothing was raised", first, 100, true, true},
		{"there is no epoch", Epoch{}, 100, false, false},
		{"all are ended", first.Next(""), 100, false, false},
		{"one is spared", first.Next(here), 100, true, false},
		{"one is spared three times", first.Next(here).Next(here).Next(here), 100, true, false},
		{"the spared one is ended by the next", first.Next(here).Next(""), 100, false, false},
		{"sparing another ends it", first.Next(here).Next(there), 100, false, false},
		{"what was ended before is not revived by sparing it", first.Next("").Next(here), 100, false, false},
		{"nor by sparing it twice", first.Next("").Next(here).Next(here), 100, false, false},
		{"nor where another was spared in between", first.Next(here).Next(there).Next(here), 100, false, false},
		{"what is no sid spares none", first.Next("nonsense"), 100, false, false},
		{"a later session lives", first.Next(here).Next(here), 102, true, true},
		{"a session of a later epoch was forgotten", first, 101, false, false},
		{"also where it was spared", first.Next(here), 102, false, false},
		{"claims change", first.NextClaims(), 100, true, true},
		{"claims change three times", first.NextClaims().NextClaims().NextClaims(), 100, true, true},
		{"all are ended after claims changed", first.NextClaims().Next(""), 100, false, false},
		{"one is spared after claims changed", first.NextClaims().Next(here), 100, true, false},
		{"claims change after one was spared", first.Next(here).NextClaims(), 100, true, false},
		{"claims change after all were ended", first.Next("").NextClaims(), 100, false, false},
		{"one is spared, claims change, and it is spared again", first.Next(here).NextClaims().Next(here), 100, true, false},
		{"sparing revives nobody after claims changed", first.Next(here).NextClaims().Next(there), 100, false, false},
	} {
		if claims := test.epoch.NextClaims(); claims.N != test.epoch.N+1 {
			t.Errorf("%s: %v is followed by %v", test.name, test.epoch, claims)
		}
		for sid, want := range map[string]bool{here: test.hereLives, there: test.thereToo} {
			if got := test.epoch.alive(sid, test.begun); got != want {
				t.Errorf("%s: %v: alive = %t, want %t", test.name, test.epoch, got, want)
			}
		}
		if test.epoch != (Epoch{}) && ParseEpoch(test.epoch.String()) != test.epoch {
			t.Errorf("%s: %v reads as %v", test.name, test.epoch, ParseEpoch(test.epoch.String()))
		}
	}
}
