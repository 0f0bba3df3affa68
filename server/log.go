package server

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A logWriter writes lines to standard error: each at once or, while run works,
// many together. A system call for each line would be a tenth of what a session
// check costs (2 of 25 µs). A process that is killed loses the lines of the last
// tenth of a second; what must not be lost is in the audit.
type logWriter struct {
	to    io.Writer
	level slog.LevelVar // of the lines that are made; Reload changes it

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
	return len(line), w.written()
}

// written passes on what is held, unless it may wait. The caller holds mu.
func (w *logWriter) written() error {
	if w.hold && len(w.held) < maxHeld {
		return nil
	}
	return w.flush()
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
	w.level.Set(cfg.LogLevel)
	o := &slog.HandlerOptions{Level: &w.level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o)), w
	}
	return slog.New(&textHandler{Handler: slog.NewTextHandler(w, o), to: w}), w
}

// A textHandler writes what its slog.TextHandler would, at half the cost where
// all is plain: the line of a request is a tenth of what a session check costs.
type textHandler struct {
	slog.Handler
	to *logWriter

	second int64          // guarded by to.mu; of the stamp, since 1970
	zone   *time.Location // guarded by to.mu; of the stamp
	stamp  []byte         // guarded by to.mu; how a line of that second begins
}

const stampForm = "time=2006-01-02T15:04:05.000Z07:00 level="

// appendStamp appends the beginning of a line. To write out a time is a third of what a
// line costs, so that is done once a second: but for the milliseconds the rest is the same.
// The caller holds to.mu.
func (h *textHandler) appendStamp(b []byte, t time.Time) []byte {
	if s, zone := t.Unix(), t.Location(); s != h.second || zone != h.zone {
		h.second, h.zone, h.stamp = s, zone, t.AppendFormat(h.stamp[:0], stampForm)
	}
	b = append(b, h.stamp...)
	at, ms := len(b)-len(h.stamp)+strings.Index(stampForm, "000"), t.Nanosecond()/1e6
	b[at], b[at+1], b[at+2] = '0'+byte(ms/100), '0'+byte(ms/10%10), '0'+byte(ms%10)
	return b
}

// Handle implements slog.Handler.
func (h *textHandler) Handle(ctx context.Context, r slog.Record) error {
	h.to.mu.Lock()
	start := len(h.to.held)
	b := h.appendStamp(h.to.held, r.Time)
	b = append(b, r.Level.String()...)
	b, ok := appendPlain(append(b, " msg="...), r.Message)
	add := func(text string) {
		var plain bool
		b, plain = appendPlain(b, text)
		ok = ok && plain
	}
	r.Attrs(func(a slog.Attr) bool {
		b = append(b, ' ')
		add(a.Key)
		b = append(b, '=')
		switch a.Value.Kind() {
		case slog.KindString:
			add(a.Value.String())
		case slog.KindInt64:
			b = strconv.AppendInt(b, a.Value.Int64(), 10)
		case slog.KindDuration:
			b = append(b, a.Value.Duration().String()...)
		default:
			ok = false
		}
		return ok
	})
	if !ok || r.Time.IsZero() {
		h.to.held = b[:start]
		h.to.mu.Unlock()
		return h.Handler.Handle(ctx, r)
	}
	defer h.to.mu.Unlock()
	h.to.held = append(b, '\n')
	return h.to.written()
}

// appendPlain appends text, in quotes where it has spaces, and reports whether
// that is all it needs.
func appendPlain(b []byte, text string) ([]byte, bool) {
	quotes := text == ""
	for i := range len(text) {
		switch c := text[i]; {
		case c == ' ' || c == '=':
			quotes = true
		case c < ' ' || c == '"' || c == '\\' || c >= 0x7f:
			return b, false
		}
	}
	if !quotes {
		return append(b, text...), true
	}
	return append(append(append(b, '"'), text...), '"'), true
}
