package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/archive"
	"github.com/admit-auth/admit/server/internal/db"
	"github.com/admit-auth/admit/server/internal/keyring"
)

// ErrNotEmpty refuses to restore over what is there.
var ErrNotEmpty = admit.Conflict.New("data_not_empty", "There is a database or there are keys in the data folder already.").WithHint("name an empty folder with --data, or move what is there aside with --force")

// RestoreOptions say how a backup is opened and what becomes of it.
type RestoreOptions struct {
	Identities   admit.Secret // of age, as age-keygen writes them
	Passphrase   admit.Secret // in place of Identities
	KeepSessions bool         // those that ended after the backup live again
	Force        bool         // move aside what is in the folder
}

// A RestoreReport tells of a data folder that was restored.
type RestoreReport struct {
	Data          string    `json:"data"`
	TakenAt       time.Time `json:"taken_at"` // what was acknowledged later is not there
	Schema        int       `json:"schema"`
	SessionsEnded int       `json:"sessions_ended"`
	SessionsKept  int       `json:"sessions_kept"`
	MovedAside    string    `json:"moved_aside,omitempty"` // where what was there is
}

// Names inside the data folder while a backup is restored, in this order.
const (
	restoreNew     = ".restore-new"     // is being written; worth nothing
	restoreChecked = ".restore-checked" // is whole: what was there is moved aside
	restorePlacing = ".restore-placing" // what was there is gone: it takes its place
	asideName      = "aside"            // where, inside of them, the name of that folder is kept
)

// Restore puts a backup into the data folder, on which no server may run. All
// of it is checked before anything that is there is touched. Whenever it is cut
// off, the folder is afterwards, once Restore or a server has opened it again,
// as it was or as it should become, and nothing between.
//
// The database begins a new epoch: whoever followed its news begins anew. It
// gets new signing keys: what was taken back after the backup would live again.
func Restore(ctx context.Context, cfg Config, in io.Reader, o RestoreOptions) (r RestoreReport, err error) {
	if cfg.Database != "" {
		return r, ErrElsewhere
	}
	ids, err := o.identities()
	if err != nil {
		return r, err
	}
	s := &Server{cfg: cfg}
	defer s.Close()
	if err := s.takeFolder(); err != nil {
		return r, err
	}
	used, err := inUse(cfg.Data)
	if err != nil {
		return r, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	if len(used) > 0 && !o.Force {
		return r, fmt.Errorf("%s: %w", used[0], ErrNotEmpty)
	}
	r, err = restore(ctx, cfg.Data, untilDone{ctx, io.NopCloser(in)}, ids, o.KeepSessions, len(used) > 0)
	if err != nil {
		os.RemoveAll(filepath.Join(cfg.Data, restoreNew))
		switch {
		case ctx.Err() != nil:
			err = ErrCut
		case isFull(err) || errors.Is(err, db.ErrFull):
			err = fmt.Errorf("%w: %w", ErrNoRoom, err)
		}
	}
	return r, err
}

// Renew makes a PostgreSQL database that its own tools have put back, from a dump
// or to an earlier time, one of its own: what Restore does to one in a file. Until
// then what was ended after the backup lives again, so no server may run on it.
func Renew(ctx context.Context, cfg Config, keepSessions bool) (r RestoreReport, err error) {
	d, err := db.Open(ctx, cfg.database())
	if err != nil {
		return r, err
	}
	defer d.Close()
	if !d.Shared() {
		return r, fmt.Errorf("no database is named: %w", db.ErrUnavailable.WithHint("name it with --database; a data folder is restored from a backup"))
	}
	now := time.Now()
	n, err := d.Renew(ctx, keepSessions, now)
	if err != nil {
		return r, err
	}
	r = RestoreReport{TakenAt: now, Schema: d.Schema().Version}
	if keepSessions {
		r.SessionsKept = n
	} else {
		r.SessionsEnded = n
	}
	return r, keyring.Forget(ctx, d, now)
}

func (o RestoreOptions) identities() (archive.Identities, error) {
	switch {
	case !o.Passphrase.IsZero():
		return archive.FromPassphrase(o.Passphrase)
	case !o.Identities.IsZero():
		return archive.ParseIdentities(o.Identities)
	}
	return archive.Identities{}, nil
}

// inUse returns the names in a data folder that a restored one would replace.
func inUse(data string) (names []string, err error) {
	for _, name := range []string{databaseName, databaseName + "-wal", databaseName + "-shm", databaseName + "-journal", keysName} {
		_, err := os.Lstat(filepath.Join(data, name))
		if err == nil {
			names = append(names, name)
		} else if !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	return names, nil
}

func restore(ctx context.Context, data string, in io.Reader, ids archive.Identities, keepSessions, aside bool) (r RestoreReport, err error) {
	dir := filepath.Join(data, restoreNew)
	if err := os.RemoveAll(dir); err != nil {
		return r, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return r, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	m, err := archive.Read(in, ids, isPart, func(name string) (io.WriteCloser, error) {
		return os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	})
	if err != nil {
		return r, err
	}
	now := time.Now()
	r = RestoreReport{Data: data, TakenAt: m.TakenAt, Schema: m.Schema}
	n, err := prepare(ctx, dir, keepSessions, now)
	if err != nil {
		return r, err
	}
	if keepSessions {
		r.SessionsKept = n
	} else {
		r.SessionsEnded = n
	}
	if aside {
		name := "before-restore-" + now.UTC().Format("20060102T150405.000Z")
		r.MovedAside = filepath.Join(data, name)
		if err := os.WriteFile(filepath.Join(dir, asideName), []byte(name), 0o600); err != nil {
			return r, err
		}
	}
	if err := settleFolder(dir, data); err != nil {
		return r, err
	}
	// From here on it happens, whoever finishes it.
	if err := os.Rename(dir, filepath.Join(data, restoreChecked)); err != nil {
		return r, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	if err := syncFolder(data); err != nil {
		return r, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	return r, finishRestore(data)
}

// prepare checks what was extracted as a start of the server does, and makes it
// a database of its own.
func prepare(ctx context.Context, dir string, keepSessions bool, now time.Time) (sessions int, err error) {
	file := filepath.Join(dir, databaseName)
	if _, err := os.Stat(file); err != nil {
		return 0, fmt.Errorf("it holds no database: %w", archive.ErrDamaged)
	}
	if _, err := keysFile(dir); err != nil {
		return 0, fmt.Errorf("its keys cannot be read: %w", archive.ErrDamaged)
	}
	d, err := db.Open(ctx, file)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	if err := d.Check(ctx); err != nil {
		return 0, err
	}
	if sessions, err = d.Renew(ctx, keepSessions, now); err != nil {
		return 0, err
	}
	if err := keyring.Forget(ctx, d, now); err != nil {
		return 0, err
	}
	return sessions, d.Close()
}

// settleFolder puts all files of a folder on disk.
func settleFolder(dir, like string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		file := filepath.Join(dir, e.Name())
		f, err := os.OpenFile(file, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close(), ownLike(file, like)); err != nil {
			return err
		}
	}
	return syncFolder(dir)
}

// finishRestore does what is left of a restore that was cut off. Each step can
// be done again. It needs the lock of the folder.
func finishRestore(data string) error {
	checked, placing := filepath.Join(data, restoreChecked), filepath.Join(data, restorePlacing)
	if _, err := os.Stat(checked); err == nil {
		if err := moveAside(data, checked); err != nil {
			return fmt.Errorf("%w: %w", ErrFolder, err)
		}
		if err := errors.Join(os.Rename(checked, placing), syncFolder(data)); err != nil {
			return fmt.Errorf("%w: %w", ErrFolder, err)
		}
	}
	entries, err := os.ReadDir(placing)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFolder, err)
	}
	for _, e := range entries {
		if e.Name() == asideName {
			continue
		}
		if err := os.Rename(filepath.Join(placing, e.Name()), filepath.Join(data, e.Name())); err != nil {
			return fmt.Errorf("%w: %w", ErrFolder, err)
		}
	}
	if err := errors.Join(syncFolder(data), os.RemoveAll(placing)); err != nil {
		return fmt.Errorf("%w: %w", ErrFolder, err)
	}
	return nil
}

// moveAside moves what the restored files would replace into the folder that is
// named in the restored one.
func moveAside(data, checked string) error {
	names, err := inUse(data)
	if err != nil || len(names) == 0 {
		return err
	}
	text, err := os.ReadFile(filepath.Join(checked, asideName))
	if err != nil {
		return err
	}
	to := filepath.Join(data, filepath.Base(strings.TrimSpace(string(text))))
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	if err := ownLike(to, data); err != nil {
		return err
	}
	for _, name := range names {
		if err := os.Rename(filepath.Join(data, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return errors.Join(syncFolder(to), syncFolder(data))
}

// syncFolder puts the names in a folder on disk.
func syncFolder(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil && runtime.GOOS != "windows" {
		return err
	}
	return nil
}
