package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/archive"
	"github.com/admit-auth/admit/server/internal/db"
)

// Why there is no backup.
var (
	ErrNoDatabase = admit.NotFound.New("no_database", "There is no database in the data folder.").WithHint("name the folder with --data")
	ErrNoRoom     = admit.Unavailable.New("no_room", "There is not enough room on the disk.").WithHint("make room, or name another disk; nothing was changed")
	ErrTarget     = admit.Unavailable.New("backup_unwritable", "The backup cannot be written there.").WithHint("name another place with --to")
	ErrElsewhere  = admit.Invalid.New("database_elsewhere", "The database is in PostgreSQL, whose own tools make backups and put them back.").WithHint("pg_dump --format=custom --file=admit.dump URL makes one beside running servers; the runbook's page restore.md tells how to go back to it")
	ErrCut        = admit.Unavailable.New("interrupted", "It was interrupted, and nothing was changed.")
)

// BackupOptions say where a backup goes and who can read it.
type BackupOptions struct {
	File       string       // or a folder, which gets one named after the time
	Out        io.Writer    // in place of File
	Recipients string       // of age, one a line; none and no Passphrase: everybody
	Passphrase admit.Secret // in place of Recipients

	Tell func(done, total int64) // hears of the bytes that were copied; may be nil
}

// A BackupReport tells of a backup that is whole and on disk.
type BackupReport struct {
	File      string         `json:"file,omitempty"`
	TakenAt   time.Time      `json:"taken_at"` // all that was acknowledged before is in it
	Encrypted bool           `json:"encrypted"`
	Size      int64          `json:"size"`
	SHA256    string         `json:"sha256"`
	Schema    int            `json:"schema"`
	Parts     []archive.Part `json:"parts"`
}

// Backup writes all that is needed to go on elsewhere, while a server may be
// running on the data folder: it reads beside it and keeps nobody waiting. A
// master key is not in it.
//
// A program that has a Server open on the folder must not call it but on Linux:
// elsewhere it would take away the locks of that server (see db.Snapshot).
func Backup(ctx context.Context, cfg Config, o BackupOptions) (BackupReport, error) {
	r, err := backup(ctx, cfg, o)
	switch {
	case err == nil:
		noteBackup(ctx, cfg, r.TakenAt)
	case ctx.Err() != nil:
		err = ErrCut
	case isFull(err) || errors.Is(err, db.ErrFull):
		err = fmt.Errorf("%w: %w", ErrNoRoom, err)
	}
	return r, err
}

func backup(ctx context.Context, cfg Config, o BackupOptions) (r BackupReport, err error) {
	if cfg.Database != "" {
		return r, ErrElsewhere
	}
	to, err := o.recipients()
	if err != nil {
		return r, err
	}
	if _, err := os.Stat(filepath.Join(cfg.Data, databaseName)); err != nil {
		return r, fmt.Errorf("%w: %w", ErrNoDatabase, err)
	}
	file := o.File
	if info, err := os.Stat(file); err == nil && !info.IsDir() && !info.Mode().IsRegular() {
		return r, fmt.Errorf("%s is no file: %w", file, ErrTarget) // a rename would put one in the place of a device
	} else if err == nil && info.IsDir() {
		name := "admit-" + time.Now().UTC().Format("20060102T150405Z") + ".tar"
		if to.Encrypted() {
			name += ".age"
		}
		file = filepath.Join(file, name)
	}
	// What is to be encrypted is copied inside the data folder, where it is as
	// secret as it was; the rest where it goes, so that the server keeps its room.
	near := cfg.Data
	if o.Out == nil && !to.Encrypted() {
		near = filepath.Dir(file)
	}
	folders := []string{near}
	if o.Out == nil {
		folders = append(folders, filepath.Dir(file))
	}
	if err := roomFor(cfg.Data, folders); err != nil {
		return r, err
	}
	work, err := openScratch(near)
	if err != nil {
		return r, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	defer work.remove()
	m, err := gather(ctx, cfg.Data, work.dir, o.Tell)
	if err != nil {
		return r, err
	}
	open := func(name string) (io.ReadCloser, error) {
		f, err := os.Open(filepath.Join(work.dir, name))
		return untilDone{ctx, f}, err
	}
	r = BackupReport{File: file, TakenAt: m.TakenAt, Encrypted: to.Encrypted(), Schema: m.Schema, Parts: m.Parts}
	var sum archive.Part
	if o.Out != nil {
		r.File = ""
		sum, err = summed(o.Out, func(w io.Writer) error { return archive.Write(w, m, to, open) })
	} else {
		sum, err = publish(file, func(w io.Writer) error { return archive.Write(w, m, to, open) })
	}
	r.Size, r.SHA256 = sum.Size, sum.SHA256
	return r, err
}

func (o BackupOptions) recipients() (archive.Recipients, error) {
	switch {
	case !o.Passphrase.IsZero():
		return archive.ToPassphrase(o.Passphrase)
	case o.Recipients != "":
		return archive.ParseRecipients(o.Recipients)
	}
	return archive.Recipients{}, nil
}

// parts are the files that a backup may hold, the last of which must be there.
var parts = []string{keysName, databaseName}

func isPart(name string) bool { return name == keysName || name == databaseName }

// gather copies all parts into a folder and describes them.
func gather(ctx context.Context, data, dir string, tell func(done, total int64)) (m archive.Manifest, err error) {
	database := filepath.Join(dir, databaseName)
	m = archive.Manifest{Format: archive.Format, Program: Version()}
	if m.TakenAt, err = db.Snapshot(ctx, filepath.Join(data, databaseName), database, tell); err != nil {
		return m, err
	}
	m.TakenAt = m.TakenAt.UTC()
	// The keys last: a key is on disk before anything is sealed with it, so what
	// the copy holds can be opened.
	keys, err := os.ReadFile(filepath.Join(data, keysName))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, keysName), keys, 0o600)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return m, fmt.Errorf("copy the keys: %w", err)
	}
	schema, err := db.SchemaOf(ctx, database)
	if err != nil {
		return m, err
	}
	m.Schema, m.Oldest = schema.Version, schema.Oldest
	for _, name := range parts {
		f, err := os.Open(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return m, err
		}
		p, err := archive.Sum(name, f)
		f.Close()
		if err != nil {
			return m, err
		}
		m.Parts = append(m.Parts, p)
	}
	return m, nil
}

// summed calls write and describes what it wrote.
func summed(w io.Writer, write func(io.Writer) error) (archive.Part, error) {
	h, n := sha256.New(), &count{}
	err := write(io.MultiWriter(w, h, n))
	return archive.Part{Size: n.bytes, SHA256: hex.EncodeToString(h.Sum(nil))}, err
}

type count struct{ bytes int64 }

func (c *count) Write(b []byte) (int, error) {
	c.bytes += int64(len(b))
	return len(b), nil
}

// publish writes a file that is whole or not there, whatever happens: it gets
// its name when it is on disk and was read again as it was written.
func publish(file string, write func(io.Writer) error) (sum archive.Part, err error) {
	work, err := openScratch(filepath.Dir(file))
	if err != nil {
		return sum, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	defer work.remove()
	f, err := os.OpenFile(filepath.Join(work.dir, "backup"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return sum, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	defer f.Close()
	if sum, err = summed(f, write); err != nil {
		return sum, err
	}
	if err := f.Sync(); err != nil {
		return sum, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return sum, err
	}
	again, err := archive.Sum("", f)
	if err != nil {
		return sum, err
	}
	if again != sum {
		return sum, fmt.Errorf("what was read is not what was written: %w", ErrTarget)
	}
	if err := f.Close(); err != nil {
		return sum, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return sum, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	return sum, syncFolder(filepath.Dir(file))
}

// untilDone is a file that cannot be read further once ctx has ended.
type untilDone struct {
	ctx context.Context
	io.ReadCloser
}

func (u untilDone) Read(b []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.ReadCloser.Read(b)
}

// reserve is what a backup leaves free on the server's own disk, in bytes.
const reserve = 32 << 20

// roomFor refuses to begin a backup that would fill the disk of the server,
// which could not write until it is gone again. Each folder gets a copy of the
// database. Another disk may fill: that harms nobody.
func roomFor(data string, folders []string) error {
	var size, need uint64
	for _, name := range []string{databaseName, databaseName + "-wal"} {
		if info, err := os.Stat(filepath.Join(data, name)); err == nil {
			size += uint64(info.Size())
		}
	}
	for _, dir := range folders {
		if sameDisk(data, dir) {
			need += size
		}
	}
	if room, err := readSpace(data); err == nil && need > 0 && room.free < need+reserve {
		return fmt.Errorf("it takes %d MiB of the server's disk, and %d MiB are to be left: %w", need>>20, reserve>>20, ErrNoRoom)
	}
	return nil
}

// A scratch is a folder for a while, locked by who uses it. One that was left by
// a process that was killed is removed by the next that works there.
type scratch struct {
	dir  string
	lock *os.File
}

const scratchPrefix = ".admit-backup-"

func openScratch(parent string) (*scratch, error) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), scratchPrefix) || !e.IsDir() {
			continue // to open a pipe that somebody put there would wait for ever
		}
		old := &scratch{dir: filepath.Join(parent, e.Name())}
		if old.take() == nil {
			old.remove()
		}
	}
	for try := 0; ; try++ {
		dir, err := os.MkdirTemp(parent, scratchPrefix+"*") // mode 0700
		if err != nil {
			return nil, err
		}
		s := &scratch{dir: dir}
		// Somebody may have taken it for one that was left.
		if err = s.take(); err == nil || try == 5 {
			return s, err
		}
	}
}

// take locks the folder, where folders can be locked.
func (s *scratch) take() (err error) {
	if s.lock, err = os.Open(s.dir); err != nil {
		return err
	}
	if err := lockFolder(s.lock); err != nil {
		s.lock.Close()
		return err
	}
	_, err = os.Stat(s.dir)
	return err
}

func (s *scratch) remove() {
	if s.lock != nil {
		s.lock.Close()
	}
	os.RemoveAll(s.dir)
}

// noteBackup lets the running server know when it was last backed up. That the
// backup is good does not hang on it.
func noteBackup(ctx context.Context, cfg Config, taken time.Time) {
	o, err := connect(ctx, cfg)
	if o == nil || err != nil {
		return
	}
	defer o.Close()
	_, _ = ask[none](ctx, o, "note-backup", taken)
}
