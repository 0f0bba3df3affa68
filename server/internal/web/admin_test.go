package web

import (
	"testing"

	"github.com/admit-auth/admit/server/internal/account"
)

func FuzzMark(f *testing.F) {
	for _, text := range []string{"", "1-2", "1700000000000-77", "-1-2", "1-", "01-2", "+1-2", "9223372036854775808-1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if m, ok := parseMark(text); ok && formatMark(m) != text {
			t.Errorf("parseMark(%q) = %v", text, m)
		}
	})
}

func TestAMarkReadsBackAsItWasWritten(t *testing.T) {
	m := account.Mark{At: 1700000000000, ID: 77}
	if got, ok := parseMark(formatMark(m)); !ok || got != m {
		t.Errorf("%v reads back as %v", m, got)
	}
	if _, ok := parseMark("0-0x"); ok {
		t.Error("a mark with something behind it is read")
	}
}

func TestACellThatASpreadsheetWouldRunIsText(t *testing.T) {
	for _, text := range []string{"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"} {
		if row := (Record{UserAgent: text}).Row(); row[9] != "'"+text {
			t.Errorf("%q is written as %q", text, row[9])
		}
	}
	// Where it is divided at semicolons, there are more cells.
	for text, want := range map[string]string{
		"x;=1+1; @SUM(A1)":                          "x;'=1+1; '@SUM(A1)",
		"Mozilla/5.0 (X11; Linux x86_64; rv:128.0)": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0)",
		"": "",
	} {
		if row := (Record{UserAgent: text}).Row(); row[9] != want {
			t.Errorf("%q is written as %q, want %q", text, row[9], want)
		}
	}
}
