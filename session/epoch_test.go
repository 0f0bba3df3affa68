package session

import (
	"strings"
	"testing"
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
	for _, s := range []string{"", "0", "1", "007", "+1", "-1", "1_000", "18446744073709551615", "18446744073709551616", "1764086400000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n := ParseEpoch(s); n != 0 && formatEpoch(n) != strings.TrimLeft(s, "0") {
			t.Errorf("ParseEpoch(%q) = %d", s, n)
		}
	})
}
