package db

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// Snapshot copies the database in a file, which servers may be using, to a new
// file, and checks the copy. All that was acknowledged before the time that it
// returns is in it. It keeps no writer waiting. Tell, unless nil, hears of the
// bytes that were copied.
//
// It copies the file and then the write-ahead log, and lets SQLite put them
// together as after a crash. A reader that is open meanwhile makes that sound:
// no checkpoint goes past it, so whatever is missing from the copy of the file
// is in the copy of the log. The log comes last, so the copy is of the end and
// not of the begin.
func Snapshot(ctx context.Context, file, to string, tell func(done, total int64)) (taken time.Time, err error) {
	keepLocks()
	from, err := os.Open(file)
	if err != nil {
		return taken, fmt.Errorf("copy the database: %w", err)
	}
	// Closed after SQLite has closed it: see keepLocks.
	defer from.Close()
	how := "_pragma=query_only(1)"
	if _, err := os.Stat(file + "-shm"); errors.Is(err, os.ErrNotExist) && readOnly(file) {
		// Nobody uses it, and nobody can: SQLite wants to write even to read.
		how = "immutable=1"
	}
	reader, err := open(file, how)
	if err != nil {
		return taken, err
	}
	defer reader.Close()
	tx, err := reader.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return taken, classify(err)
	}
	defer tx.Rollback()
	var tables int // the first read, not BEGIN, is what holds checkpoints up
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return taken, classify(err)
	}
	c := copier{ctx: ctx, tell: tell}
	for _, f := range []string{file, file + "-wal"} {
		if info, err := os.Stat(f); err == nil {
			c.total += info.Size()
		}
	}
	if err := c.copy(from, to); err != nil {
		return taken, err
	}
	// The log may begin anew once: the next write does that where all of it was
	// in the file already. What was read of the old one is then worth nothing.
	for begun := c.done; ; c.done = begun {
		taken = time.Now()
		again, err := c.copyLog(file+"-wal", to+"-wal")
		if err != nil {
			return taken, err
		}
		if !again {
			break
		}
	}
	if err := tx.Rollback(); err != nil {
		return taken, classify(err)
	}
	if err := reader.Close(); err != nil {
		return taken, classify(err)
	}
	return taken, settle(ctx, to)
}

// readOnly reports whether the file is on a disk that takes no writes.
func readOnly(file string) bool {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err == nil {
		f.Close() // nobody has locks to lose yet: there is no -shm
	}
	return errors.Is(err, syscall.EROFS)
}

// settle puts a copy and its log together, in one file, and checks it.
func settle(ctx context.Context, file string) error {
	db, err := open(file)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	mode, err := texts(ctx, db, "PRAGMA journal_mode=DELETE")
	if err != nil {
		return err
	}
	if len(mode) != 1 || mode[0] != "delete" {
		return fmt.Errorf("the log cannot be put into the copy: %w", ErrUnavailable)
	}
	if err := integrity(ctx, db); err != nil {
		return err
	}
	return classify(db.Close())
}

// A copier copies files and counts.
type copier struct {
	ctx         context.Context
	tell        func(done, total int64)
	done, total int64
}

// Read in pieces, so that ctx is heard.
const piece = 1 << 20

func (c *copier) copy(from io.Reader, to string) error {
	w, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("copy the database: %w", err)
	}
	defer w.Close()
	buf := make([]byte, piece)
	for {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return fmt.Errorf("copy the database: %w", err)
			}
			c.done += int64(n)
			if c.tell != nil {
				c.tell(c.done, max(c.done, c.total))
			}
		}
		if errors.Is(err, io.EOF) {
			return w.Close()
		}
		if err != nil {
			return fmt.Errorf("copy the database: %w", err)
		}
	}
}

// copyLog copies the write-ahead log, and reports whether it was begun anew
// meanwhile: then its header, which holds a salt, is another.
func (c *copier) copyLog(from, to string) (again bool, err error) {
	f, err := os.Open(from)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // a database that is in no use, or in another mode
	}
	if err != nil {
		return false, fmt.Errorf("copy the database: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, fmt.Errorf("copy the database: %w", err)
	}
	var before, after [32]byte
	n, _ := f.ReadAt(before[:], 0)
	if err := c.copy(io.NewSectionReader(f, 0, info.Size()), to); err != nil {
		return false, err
	}
	m, _ := f.ReadAt(after[:], 0)
	return n > 0 && !bytes.Equal(before[:n], after[:m]), nil
}
