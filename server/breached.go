package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/password"
	"github.com/admit-auth/admit/server/internal/breached"
)

// breachedName is a filter of breached passwords in the data folder, which is asked
// where no other one is configured.
const breachedName = "breached.filter"

// BreachedFilter is the file of the filter that new passwords are looked up in.
func (c Config) BreachedFilter() string {
	return cmp.Or(c.BreachedFile, filepath.Join(c.Data, breachedName))
}

// PasswordPolicy returns what a new password may be: the filter that ImportBreached
// made is asked too, and then whoever is asked over the network.
func (c Config) PasswordPolicy() password.Policy {
	lists := &breachedLists{log: slog.New(slog.DiscardHandler)}
	lists.use(c)
	return password.Policy{MinLength: c.PasswordMinLength, Breached: lists.has}
}

// breachedLists are asked about each new password, and can be changed meanwhile.
type breachedLists struct {
	log  *slog.Logger
	now  atomic.Pointer[breachedNow]
	told sync.Map // failures that were logged; an outage is told once
}

type breachedNow struct {
	file string
	urls *ranges // nil where nobody is asked
}

func (l *breachedLists) use(c Config) {
	now := &breachedNow{file: c.BreachedFilter()}
	if c.BreachedURL != "" {
		now.urls = newRanges(c.BreachedURL)
		if was := l.now.Load(); was != nil && was.urls != nil && was.urls.base == now.urls.base {
			now.urls = was.urls // with what it knows of an outage
		}
	}
	l.now.Store(now)
	l.told.Clear()
	if _, err := breached.Look(now.file); err != nil && (c.BreachedFile != "" || !errors.Is(err, fs.ErrNotExist)) {
		l.complain(context.Background(), err)
	}
}

// has implements password.Policy.Breached. What cannot be asked refuses nobody: the
// commonest passwords have been looked up, and a sign-up must not fail because
// somebody else's service does.
func (l *breachedLists) has(ctx context.Context, pw admit.Secret) (bool, error) {
	now := l.now.Load()
	found, err := breached.Has(now.file, breached.Prefix(pw))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // there is none, which use has told
	}
	if !found && now.urls != nil {
		var failed error
		found, failed = now.urls.has(ctx, pw)
		err = errors.Join(err, failed)
	}
	if err != nil {
		l.complain(ctx, err)
	}
	return found, err
}

func (l *breachedLists) complain(ctx context.Context, err error) {
	if errors.Is(err, errRangesRest) {
		return
	}
	if _, before := l.told.LoadOrStore(err.Error(), true); !before {
		l.log.WarnContext(ctx, "breached passwords cannot be looked up, and are not refused", slog.Any("error", err))
	}
}

// A BreachedImport is what ImportBreached has made.
type BreachedImport struct {
	Passwords uint64  // that are refused from now on
	Bytes     int64   // of the filter
	Wrong     float64 // how often another password is refused by mistake
	Before    int64   // bytes of the list that an earlier run had read
}

// BreachedOptions say how a list is taken.
type BreachedOptions struct {
	MinCount uint64                       // leave out what was seen less often
	Progress func(lines int, bytes int64) // may be nil
}

// ImportBreached makes a filter of a list of breached passwords, in place of the one
// before: one SHA-1 in hex a line, in ascending order, perhaps with a colon and a
// count. Broken off, it goes on with the same list.
func (c Config) ImportBreached(ctx context.Context, list io.Reader, o BreachedOptions) (BreachedImport, error) {
	file := c.BreachedFilter()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return BreachedImport{}, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	b, err := breached.Build(ctx, file, list, breached.Options(o))
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		err = fmt.Errorf("%w: %w", ErrFolder, err)
	}
	return BreachedImport{b.Passwords, b.Bytes, b.Wrong, b.Before}, err
}
