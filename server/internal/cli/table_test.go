package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestColumnsStandUnderEachOtherInAnyScript(t *testing.T) {
	var b strings.Builder
	err := table{{"NAME", "X"}, {"李小龙", "1"}, {"Ada", "2"}, {"e\u0301milie", "3"}, {"한국", "4"}, {"", "5"}, {"a\x1b[2J", "6"}}.write(&b)
	if err != nil {
		t.Fatal(err)
	}
	want := "NAME    X\n李小龙  1\nAda     2\ne\u0301milie  3\n한국    4\n-       5\na\uFFFD[2J   6\n"
	if b.String() != want {
		t.Errorf("the table is\n%s, want\n%s", b.String(), want)
	}
}

func TestATableOfAnyLengthIsWrittenAsItComes(t *testing.T) {
	var b strings.Builder
	s := newStream(&b, "N", "X")
	for i := range 100_000 {
		if err := s.row(fmt.Sprint(i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.rows) > 0 || b.Len() < 500_000 {
		t.Errorf("%d rows are held, %d bytes written", len(s.rows), b.Len())
	}
	if err := s.flush(); err != nil || strings.Count(b.String(), "\n") != 100_001 {
		t.Errorf("%d lines: %v", strings.Count(b.String(), "\n"), err)
	}
}

func TestATimeIsADateAnInstantOrHowLongAgo(t *testing.T) {
	now := time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"2026-01-31":                "2026-01-31T00:00:00Z",
		"2026-01-31T12:00:00+01:00": "2026-01-31T11:00:00Z",
		"2026-01-31 12:00:00 UTC":   "2026-01-31T12:00:00Z", // as the tables write it
		"90m":                       "2026-03-31T10:30:00Z",
		"7d":                        "2026-03-24T12:00:00Z",
	} {
		if at, ok := parseInstant(text, now); !ok || at.UTC().Format(time.RFC3339) != want {
			t.Errorf("parseInstant(%q) = %v, %v, want %s", text, at, ok, want)
		}
	}
	for _, text := range []string{"", "yesterday", "-1h", "d", "1.5d", "31.1.2026"} {
		if at, ok := parseInstant(text, now); ok {
			t.Errorf("parseInstant(%q) = %v", text, at)
		}
	}
}

func FuzzInstant(f *testing.F) {
	for _, text := range []string{"7d", "24h", "2026-01-31", "99999d", "1e9h"} {
		f.Add(text)
	}
	now := time.Now()
	f.Fuzz(func(t *testing.T, text string) {
		if at, ok := parseInstant(text, now); ok && at.IsZero() && !strings.HasPrefix(text, "0001") {
			t.Errorf("parseInstant(%q) is no time", text)
		}
	})
}
