package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
)

// jsonFlag gives cmd the flag --json.
func jsonFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "write JSON")
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// A table is lines of cells for people; the first line is its head.
type table [][]string

func (t table) write(w io.Writer) error {
	out := newStream(w, t[0]...)
	for _, cells := range t[1:] {
		out.row(cells...) // the writer keeps its error
	}
	return out.flush()
}

// printable replaces what a terminal would obey: names and devices are written
// by strangers, and an escape sequence in one is an attack on who lists them.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// say tells a person what was done.
func say(cmd *cobra.Command, format string, args ...any) {
	fmt.Fprintf(cmd.ErrOrStderr(), "admit: %s\n", printable(fmt.Sprintf(format, args...)))
}

// told tells what was done, unless it failed.
func told(cmd *cobra.Command, err error, format string, args ...any) error {
	if err == nil {
		say(cmd, format, args...)
	}
	return err
}

func several(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", many)
}

// bytesOf is a size for people.
func bytesOf(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", (n+1023)>>10)
}

// A progress counts on a terminal, once something takes longer than a second.
type progress struct {
	talk  io.Writer
	what  string
	next  time.Time
	shown bool
}

func newProgress(cmd *cobra.Command, what string) *progress {
	return &progress{talk: cmd.ErrOrStderr(), what: what, next: time.Now().Add(time.Second)}
}

func (p *progress) at(n int) {
	if now := time.Now(); now.After(p.next) {
		if _, ok := terminal(p.talk); ok {
			fmt.Fprintf(p.talk, "\r%d %s", n, p.what)
			p.shown = true
		}
		p.next = now.Add(200 * time.Millisecond)
	}
}

// done erases the count.
func (p *progress) done() {
	if p.shown {
		fmt.Fprint(p.talk, "\r\x1b[K")
	}
}
