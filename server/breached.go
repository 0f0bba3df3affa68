package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/password"
)

// ErrBreachedList is why a list of breached passwords is not taken.
var ErrBreachedList = admit.Invalid.New("list_malformed", "This is no list of breached passwords.").WithHint("one SHA-1 in hex a line, in ascending order, as Have I Been Pwned gives them")

// breachedName is a file in the data folder: the first 8 bytes of each SHA-1,
// in order. A list of a thousand million takes 8 GB, and one lookup in
// 2·10¹⁰ is wrong.
const (
	breachedName = "breached"
	breachedSize = 8
)

// PasswordPolicy returns what a new password may be: the list that
// ImportBreached has put into the data folder is asked too.
func (c Config) PasswordPolicy() password.Policy {
	file := filepath.Join(c.Data, breachedName)
	return password.Policy{MinLength: c.PasswordMinLength, Breached: func(_ context.Context, pw admit.Secret) (bool, error) {
		return isBreached(file, pw)
	}}
}

// isBreached looks a password up. The file is opened each time, so that a
// running server asks the list that was imported last; its pages stay in the
// system's memory.
func isBreached(file string, pw admit.Secret) (found bool, err error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	// SHA-1 is only the list's way to name a password.
	sum := sha1.Sum([]byte(pw.Reveal()))
	want := sum[:breachedSize]
	sort.Find(int(info.Size()/breachedSize), func(i int) int {
		var at [breachedSize]byte
		if _, bad := f.ReadAt(at[:], int64(i)*breachedSize); bad != nil {
			err = bad
		}
		order := bytes.Compare(want, at[:])
		found = found || order == 0
		return order
	})
	return found, err
}

// ImportBreached puts a list of breached passwords into a data folder, in place
// of the one before, and returns how many there are: one SHA-1 in hex a line,
// in ascending order, perhaps with a colon and a count. Count is told how many
// were read.
func ImportBreached(data string, list io.Reader, count func(n int)) (n int, err error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	f, err := os.CreateTemp(data, ".new-*") // mode 0600
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	out := bufio.NewWriter(f)
	var last uint64
	lines := bufio.NewScanner(list)
	for ; lines.Scan(); n++ {
		text, _, _ := bytes.Cut(bytes.TrimSpace(lines.Bytes()), []byte(":"))
		var sum [sha1.Size]byte
		if len(text) != hex.EncodedLen(len(sum)) {
			return 0, fmt.Errorf("line %d: %w", n+1, ErrBreachedList)
		}
		if _, err := hex.Decode(sum[:], text); err != nil {
			return 0, fmt.Errorf("line %d: %w", n+1, ErrBreachedList)
		}
		at := binary.BigEndian.Uint64(sum[:])
		if at < last {
			return 0, fmt.Errorf("line %d is out of order: %w", n+1, ErrBreachedList)
		}
		last = at
		out.Write(sum[:breachedSize]) // Flush has the error
		count(n + 1)
	}
	if err := lines.Err(); err != nil {
		return 0, fmt.Errorf("line %d: %w: %w", n+1, ErrBreachedList, err)
	}
	if n == 0 {
		return 0, ErrBreachedList
	}
	err = errors.Join(out.Flush(), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(data, breachedName))
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	return n, nil
}
