package server

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
)

func TestLinesOfTheLogAreHeldForATenthOfASecondAndNeverLostInAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		w := &logWriter{to: &out}
		shows := func(want string) {
			t.Helper()
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			if out.String() != want {
				t.Errorf("written is %q, want %q", &out, want)
			}
		}
		w.Write([]byte("before\n"))
		shows("before\n")
		ctx, stop := context.WithCancel(t.Context())
		go w.run(ctx)
		synctest.Wait()
		w.Write([]byte("one\n"))
		w.Write([]byte("two\n"))
		shows("before\n")
		time.Sleep(flushEvery)
		shows("before\none\ntwo\n")
		w.Write([]byte("last\n"))
		stop()
		shows("before\none\ntwo\nlast\n")
		w.Write([]byte("after\n"))
		shows("before\none\ntwo\nlast\nafter\n")
		out.Reset()

		ctx, stop = context.WithCancel(t.Context())
		defer stop()
		go w.run(ctx)
		synctest.Wait()
		w.Write(bytes.Repeat([]byte("x"), maxHeld))
		if out.Len() != maxHeld {
			t.Errorf("%d bytes of a full buffer are written", out.Len())
		}
	})
}

func TestALineIsWhatTheStandardLibraryWrites(t *testing.T) {
	at := time.Date(2026, 11, 25, 17, 30, 0, 123456789, time.FixedZone("", 3600))
	for name, attrs := range map[string][]slog.Attr{
		"nothing":          nil,
		"plain":            {slog.String("sid", "0nzdM4Iu"), slog.Int("status", 200), slog.Duration("took", 93083*time.Nanosecond)},
		"negative":         {slog.Int("n", -1), slog.Duration("took", -time.Second)},
		"empty":            {slog.String("empty", "")},
		"spaces":           {slog.String("route", "GET /api/v1/session")},
		"an equals sign":   {slog.String("a", "b=c")},
		"quotes":           {slog.String("a", `say "hello"`)},
		"a backslash":      {slog.String("a", `c:\temp and more`)},
		"a line break":     {slog.String("a", "one\nlevel=ERROR msg=forged")},
		"a control":        {slog.String("a", "\x1b[31m")},
		"a delete":         {slog.String("a", "\x7f")},
		"other scripts":    {slog.String("name", "张伟"), slog.String("name", "José Ø")},
		"what is no text":  {slog.String("a", "\xff\xfe")},
		"other kinds":      {slog.Bool("ok", true), slog.Float64("f", 1.5), slog.Any("error", io.EOF), slog.Time("at", at)},
		"a group":          {slog.Group("g", slog.Int("a", 1), slog.String("b", "c d"))},
		"plain, then not":  {slog.String("a", "plain"), slog.Bool("ok", true), slog.String("b", "plain")},
		"a secret":         {slog.Any("secret", admit.NewSecret("hunter2"))},
		"more than inline": {slog.Int("a", 1), slog.Int("b", 2), slog.Int("c", 3), slog.Int("d", 4), slog.Int("e", 5), slog.String("f", "g h")},
	} {
		for _, level := range []slog.Level{slog.LevelInfo, slog.LevelError, slog.LevelWarn + 1} {
			for _, msg := range []string{"request", "GET /healthz", "", "a \"b\""} {
				r := slog.NewRecord(at, level, msg, 0)
				r.AddAttrs(attrs...)
				var want, got bytes.Buffer
				if err := slog.NewTextHandler(&want, nil).Handle(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				w := &logWriter{to: &got}
				h := &textHandler{Handler: slog.NewTextHandler(w, nil), to: w}
				if err := h.Handle(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				if got.String() != want.String() {
					t.Errorf("%s, %q:\n got %q\nwant %q", name, msg, got.String(), want.String())
				}
			}
		}
	}
}
