package server

import (
	"context"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

// A logWriter writes lines to standard error: each at once or, while run works,
// many together. A system call for each line would be a tenth of what a session
// check costs (2 of 25 µs). A process that is killed loses the lines of the last
// tenth of a second; what must not be lost is in the audit.
type logWriter struct {
	to io.Writer

	mu   sync.Mutex
	held []byte // guarded by mu
	hold bool   // guarded by mu
}

const (
	flushEvery = 100 * time.Millisecond
	maxHeld    = 32 << 10 // bytes
)

// Write implements io.Writer for whole lines.
func (w *logWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = append(w.held, line...)
	if w.hold && len(w.held) < maxHeld {
		return len(line), nil
	}
	return len(line), w.flush()
}

// flush writes what is held. The caller holds mu.
func (w *logWriter) flush() error {
	if len(w.held) == 0 {
		return nil
	}
	_, err := w.to.Write(w.held)
	w.held = w.held[:0]
	return err
}

// run lets Write hold lines back, for flushEvery at most, until ctx ends.
func (w *logWriter) run(ctx context.Context) {
	set := func(hold bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.hold = hold
		_ = w.flush() // there is nowhere to tell it
	}
	defer set(false)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		set(true)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// logger writes where and how the configuration says.
func (cfg Config) logger() (*slog.Logger, *logWriter) {
	w := &logWriter{to: os.Stderr}
	if cfg.Log != nil {
		return cfg.Log, w
	}
	o := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o)), w
	}
	return slog.New(slog.NewTextHandler(w, o)), w
}
