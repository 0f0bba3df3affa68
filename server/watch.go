package server

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/admit-auth/admit/server/internal/db"
)

// A server looks after itself: every few seconds it looks at what fails without
// anybody asking, and says so in the log when it begins and when it is over, not
// for each request. Metrics and readiness tell what was seen last, so that who
// asks often makes no work.

const (
	lookEvery = 5 * time.Second
	// A disk is low with less free than this, or a tenth of a smaller disk.
	lowSpace = 1 << 30
	// mailStuckAfter is past every short retry of a mail server that is up.
	mailStuckAfter = 5 * time.Minute
	// certificateSoon is when a renewal, begun at a third of 90 days, has failed
	// for half of its time.
	certificateSoon = 14 * 24 * time.Hour
	// clockSlack is more than a clock that is slewed, at 0.05 %, gains between
	// two looks.
	clockSlack = 2 * time.Second
	// refusingFor is how long it stands that people were refused.
	refusingFor = time.Minute
)

// A condition is something that an operator should know while it stands.
type condition uint8

const (
	databaseUnavailable condition = iota
	diskFull
	diskReadOnly
	diskFailing
	diskLow
	mailStuck
	certificateExpiring
	passwordsRefused
	redisUnavailable
	numConditions
)

// conditions are how they are told, as stable codes and as sentences.
var conditions = [numConditions]struct {
	code, says string
	level      slog.Level
}{
	databaseUnavailable: {"database_unavailable", "the database does not answer", slog.LevelError},
	diskFull:            {"disk_full", "the disk of the data folder is full: nobody can sign in, up or out", slog.LevelError},
	diskReadOnly:        {"disk_read_only", "the data folder cannot be written to: nobody can sign in, up or out", slog.LevelError},
	diskFailing:         {"disk_failing", "writing to the data folder fails", slog.LevelError},
	diskLow:             {"disk_low", "the disk of the data folder is nearly full", slog.LevelWarn},
	mailStuck:           {"mail_stuck", "mail waits in the outbox for too long", slog.LevelError},
	certificateExpiring: {"certificate_expiring", "the certificate expires soon, or has expired, and was not renewed", slog.LevelError},
	passwordsRefused:    {"passwords_refused", "more people sign in than passwords can be hashed: some are told to wait", slog.LevelWarn},
	redisUnavailable:    {"redis_unavailable", "Redis is not used: sessions are looked up in the database", slog.LevelWarn},
}

// A space is the room on a disk.
type space struct {
	free, size uint64 // bytes that this user may still write, and that there are
	readOnly   bool
}

func (s space) low() bool { return s.size > 0 && s.free < min(lowSpace, s.size/10) }

// A view is what a look has seen.
type view struct {
	space    space
	waiting  int           // messages
	oldest   time.Duration // how long the oldest of them waits
	records  int64         // of sessions
	standing [numConditions]bool
}

// A watch remembers from look to look. All but last is of the one goroutine that
// looks.
type watch struct {
	last  atomic.Pointer[view]
	jumps [2]atomic.Int64 // of the clock: forward, back

	looked    time.Time // when
	since     [numConditions]time.Time
	failed    uint64 // writes, at the last look
	refused   uint64 // hashes, at the last look
	refusedAt time.Time
	countAt   time.Time // when records are counted next
}

// lookAround looks until ctx ends.
func (s *Server) lookAround(ctx context.Context) {
	again(ctx, 0, func(now time.Time) time.Duration {
		s.look(ctx, now)
		return lookEvery
	})
}

// look looks once.
func (s *Server) look(ctx context.Context, now time.Time) {
	w := &s.watch
	v := &view{}
	if last := w.last.Load(); last != nil {
		*v = *last
	}
	details := [numConditions][]slog.Attr{}
	s.lookAtClock(ctx, now)
	bounded, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	if !s.db.Shared() { // its disk is not the data folder's
		s.lookAtDisk(bounded, v, &details)
	}
	waiting, since, err := s.db.Outbox(bounded)
	if ctx.Err() != nil {
		return // it is us who end
	}
	v.standing[databaseUnavailable] = err != nil
	if err != nil {
		details[databaseUnavailable] = []slog.Attr{slog.Any("error", err)}
	} else {
		v.waiting, v.oldest = waiting, 0
		if waiting > 0 {
			v.oldest = max(0, now.Sub(since))
		}
		v.standing[mailStuck] = v.oldest > mailStuckAfter
		details[mailStuck] = []slog.Attr{slog.Int("waiting", waiting), slog.Duration("oldest", v.oldest.Round(time.Second))}
	}
	if s.metrics != nil && now.After(w.countAt) {
		if n, err := s.db.SessionRecords(bounded, now); err == nil {
			v.records = n
		}
		// A count of millions takes a second: never more than 1 % of the time.
		w.countAt = now.Add(100 * time.Since(now))
	}
	if s.certificate != nil {
		expires := s.certificate()
		v.standing[certificateExpiring] = expires.Sub(now) < certificateSoon
		details[certificateExpiring] = []slog.Attr{slog.Time("expires", expires)}
	}
	stats := s.passwords.Stats()
	if stats.Refused > w.refused {
		w.refusedAt = now
	}
	v.standing[passwordsRefused] = !w.refusedAt.IsZero() && now.Sub(w.refusedAt) < refusingFor
	details[passwordsRefused] = []slog.Attr{slog.Int64("refused", int64(stats.Refused-w.refused)), slog.Int("waiting", stats.Waiting), slog.Int("slots", stats.Slots)}
	w.refused = stats.Refused

	if s.copies != nil {
		r := s.copies.Stats()
		v.standing[redisUnavailable] = r.Down()
		if r.Why != nil { // what is over has none
			details[redisUnavailable] = []slog.Attr{slog.Any("error", r.Why)}
		}
	}
	for c := range numConditions {
		s.tell(ctx, c, v.standing[c], details[c], now)
	}
	w.last.Store(v)
}

// tell logs a condition that begins or is over.
func (s *Server) tell(ctx context.Context, c condition, stands bool, details []slog.Attr, now time.Time) {
	since := &s.watch.since[c]
	if stands == !since.IsZero() {
		return
	}
	is, level := conditions[c], slog.LevelInfo
	what := append([]slog.Attr{slog.String("condition", is.code)}, details...)
	says := "over: " + is.says
	if stands {
		*since, level, says = now, is.level, is.says
	} else {
		what = append(what, slog.Duration("stood", now.Sub(*since).Round(time.Second)))
		*since = time.Time{}
	}
	s.log.LogAttrs(ctx, level, says, what...)
}

// lookAtClock compares how far the wall clock and the monotonic one have come
// since the last look. A machine that slept looks as if its clock had jumped:
// for sessions it is the same.
func (s *Server) lookAtClock(ctx context.Context, now time.Time) {
	w := &s.watch
	was := w.looked
	w.looked = now
	if was.IsZero() {
		return
	}
	jump := now.Round(0).Sub(was.Round(0)) - now.Sub(was)
	switch {
	case jump > clockSlack:
		w.jumps[0].Add(1)
		s.log.LogAttrs(ctx, slog.LevelError, "the clock jumped forward: sessions that would have ended by then have ended", slog.String("condition", "clock_jumped"), slog.Duration("by", jump.Round(time.Second)))
	case jump < -clockSlack:
		w.jumps[1].Add(1)
		s.log.LogAttrs(ctx, slog.LevelError, "the clock was set back: sessions live longer by as much", slog.String("condition", "clock_jumped"), slog.Duration("by", jump.Round(time.Second)))
	}
}

// lookAtDisk reads the room on the disk, and tries it where there may be none.
func (s *Server) lookAtDisk(ctx context.Context, v *view, details *[numConditions][]slog.Attr) {
	w := &s.watch
	room, err := readSpace(s.cfg.Data)
	if err == nil {
		v.space = room
	}
	stored, stats := s.stored.Stats(), s.db.Stats()
	failed := stored.Failed + stats.Failed
	suspect := failed != w.failed || room.readOnly || room.low() ||
		v.standing[diskFull] || v.standing[diskReadOnly] || v.standing[diskFailing]
	w.failed = failed
	err = nil
	if suspect {
		if err = tryDisk(s.cfg.Data); err == nil {
			err = s.db.TryWrite(ctx)
		}
	}
	full := isFull(err) || errors.Is(err, db.ErrFull)
	readOnly := errors.Is(err, syscall.EROFS) || errors.Is(err, os.ErrPermission)
	v.standing[diskFull], v.standing[diskReadOnly] = full, readOnly
	v.standing[diskFailing] = err != nil && !full && !readOnly
	v.standing[diskLow] = room.low() && err == nil
	left := []slog.Attr{slog.Uint64("free_bytes", room.free), slog.Uint64("size_bytes", room.size)}
	details[diskFull], details[diskLow] = left, left
	if err != nil {
		why := []slog.Attr{slog.Any("error", err)}
		details[diskReadOnly], details[diskFailing] = why, why
	}
}

// tryDisk writes as much as a small transaction does, for what a disk says of
// its room is not always true: of quotas it says nothing.
func tryDisk(dir string) error {
	f, err := os.CreateTemp(dir, ".room-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(make([]byte, 64<<10))
	return errors.Join(err, f.Sync(), f.Close())
}
