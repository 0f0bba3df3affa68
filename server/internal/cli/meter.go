package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// A meter tells how far something long is: on a terminal in one line that changes,
// once it takes longer than a second, and elsewhere in a line each ten seconds.
type meter struct {
	talk     io.Writer
	what     string
	size     int64 // in bytes, of all; 0 where that is not known
	terminal bool

	begun, next time.Time
	from        int64 // bytes that were done before this run, or -1
	shown       bool
}

func newMeter(cmd *cobra.Command, what string, size int64) *meter {
	m := &meter{talk: cmd.ErrOrStderr(), what: what, size: size, begun: time.Now(), from: -1}
	_, m.terminal = terminal(m.talk)
	m.next = m.begun.Add(m.every(time.Second))
	return m
}

func (m *meter) every(d time.Duration) time.Duration {
	if m.terminal {
		return d
	}
	return 10 * time.Second
}

// at is told how many are done in this run, and how many bytes in all runs.
func (m *meter) at(n int, bytes int64) {
	now := time.Now()
	if m.from < 0 {
		m.from = 0
		if n > 0 && m.size > 0 && bytes > 0 {
			m.from = bytes // the first piece counts for little
		}
	}
	if now.Before(m.next) {
		return
	}
	m.next = now.Add(m.every(200 * time.Millisecond))
	took := now.Sub(m.begun)
	text := fmt.Sprintf("%d %s, %.0f a second", n, m.what, float64(n)/took.Seconds())
	if m.size > 0 && bytes > m.from {
		left := time.Duration(float64(took) / float64(bytes-m.from) * float64(m.size-bytes))
		text += fmt.Sprintf(", %d %%, %s left", 100*bytes/m.size, left.Round(time.Second))
	}
	if !m.terminal {
		fmt.Fprintf(m.talk, "admit: %s\n", text)
		return
	}
	fmt.Fprintf(m.talk, "\r\x1b[K%s", text)
	m.shown = true
}

// done erases what stands there.
func (m *meter) done() {
	if m.shown {
		fmt.Fprint(m.talk, "\r\x1b[K")
		m.shown = false
	}
}
