// Package archive writes and reads the file that a backup is.
//
// It is a tar file whose first entry, manifest.json, names the others with their
// sizes and SHA-256; where it is encrypted, that inside an age file (age-encryption.org/v1).
// So tar, sha256sum and age can open one without this program. Most callers want
// [Write] and [Read].
package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/admit-auth/admit"
)

// Why a backup is refused.
var (
	ErrDamaged   = admit.Invalid.New("backup_damaged", "The backup is damaged, cut off, or none.").WithHint("take an older one")
	ErrFormat    = admit.Invalid.New("backup_newer", "The backup was made by a newer version of admit.").WithHint("restore it with that version")
	ErrEncrypted = admit.Invalid.New("backup_encrypted", "The backup is encrypted.").WithHint("name the key with --identity-file, or the passphrase with --passphrase-file")
	ErrPlain     = admit.Invalid.New("backup_not_encrypted", "The backup is not encrypted, though a key was given.").WithHint("leave the key out, if you trust where the file was")
	ErrKey       = admit.Invalid.New("backup_key_wrong", "This key or passphrase does not open the backup.")
	ErrRecipient = admit.Invalid.New("recipient_malformed", "This is no recipient of age.").WithHint("age-keygen makes a key and shows its recipient, which begins with age1")
	ErrIdentity  = admit.Invalid.New("identity_malformed", "This is no identity file of age.").WithHint("it is the file that age-keygen wrote")
)

// Format is the form of the archive that this program writes.
const Format = 1

// A Manifest says what is in a backup.
type Manifest struct {
	Format  int       `json:"format"`
	TakenAt time.Time `json:"taken_at"` // all that was acknowledged before is in it
	Schema  int       `json:"schema"`   // of the database
	Oldest  int       `json:"oldest"`   // schema that a program must know at least
	Program string    `json:"program"`  // version that wrote it
	Parts   []Part    `json:"parts"`
}

// A Part is a file in a backup.
type Part struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Sum describes a part by its content.
func Sum(name string, content io.Reader) (Part, error) {
	h := sha256.New()
	n, err := io.Copy(h, content)
	if err != nil {
		return Part{}, fmt.Errorf("read %s: %w", name, err)
	}
	return Part{name, n, hex.EncodeToString(h.Sum(nil))}, nil
}

// Recipients are who can open a backup; the zero value is everybody.
type Recipients struct{ of []age.Recipient }

// Identities open backups.
type Identities struct{ of []age.Identity }

// ParseRecipients reads recipients of age, one a line.
func ParseRecipients(text string) (Recipients, error) {
	of, err := age.ParseRecipients(strings.NewReader(text))
	if err != nil {
		return Recipients{}, ErrRecipient // err may quote a secret key that was taken for a public one
	}
	return Recipients{of}, nil
}

// ParseIdentities reads a file that age-keygen wrote.
func ParseIdentities(text admit.Secret) (Identities, error) {
	of, err := age.ParseIdentities(strings.NewReader(text.Reveal()))
	if err != nil {
		return Identities{}, ErrIdentity
	}
	return Identities{of}, nil
}

// ToPassphrase lets whoever knows a passphrase open a backup. It takes a second
// and 256 MiB, as does each guess.
func ToPassphrase(p admit.Secret) (Recipients, error) {
	r, err := age.NewScryptRecipient(p.Reveal())
	if err != nil {
		return Recipients{}, err
	}
	return Recipients{[]age.Recipient{r}}, nil
}

// FromPassphrase opens what ToPassphrase closed.
func FromPassphrase(p admit.Secret) (Identities, error) {
	i, err := age.NewScryptIdentity(p.Reveal())
	if err != nil {
		return Identities{}, err
	}
	return Identities{[]age.Identity{i}}, nil
}

// Encrypted reports whether the backup is for some only.
func (r Recipients) Encrypted() bool { return len(r.of) > 0 }

const (
	manifestName = "manifest.json"
	maxManifest  = 64 << 10
	maxParts     = 16
	encrypted    = "age-encryption.org/v1\n" // how such a file begins
)

// Write writes a backup of the manifest's parts, which open returns by name.
func Write(w io.Writer, m Manifest, to Recipients, open func(name string) (io.ReadCloser, error)) (err error) {
	if to.Encrypted() {
		sealed, err := age.Encrypt(w, to.of...)
		if err != nil {
			return fmt.Errorf("encrypt the backup: %w", err)
		}
		if err := write(sealed, m, open); err != nil {
			return err
		}
		return sealed.Close()
	}
	return write(w, m, open)
}

func write(w io.Writer, m Manifest, open func(name string) (io.ReadCloser, error)) error {
	out := tar.NewWriter(w)
	head := func(name string, size int64) error {
		return out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: m.TakenAt.Truncate(time.Second)})
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := head(manifestName, int64(len(text))); err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	if _, err := out.Write(text); err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	for _, p := range m.Parts {
		if err := head(p.Name, p.Size); err != nil {
			return fmt.Errorf("write the backup: %w", err)
		}
		r, err := open(p.Name)
		if err != nil {
			return fmt.Errorf("write the backup: %w", err)
		}
		_, err = io.Copy(out, r)
		r.Close()
		if err != nil {
			return fmt.Errorf("write the backup: %w", err)
		}
	}
	return out.Close()
}

// Read reads a backup, and gives each part to the writer that create returns for
// its name, in order. Names are those that known reports; any other is refused.
// Nothing of what was written may be used unless Read returns nil.
func Read(r io.Reader, from Identities, known func(name string) bool, create func(name string) (io.WriteCloser, error)) (Manifest, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	begin, _ := in.Peek(len(encrypted))
	sealed := string(begin) == encrypted
	switch {
	case sealed && len(from.of) == 0:
		return Manifest{}, ErrEncrypted
	case !sealed && len(from.of) > 0:
		// Who can put a file where backups are could otherwise put one of his own.
		return Manifest{}, ErrPlain
	case !sealed:
		return read(in, known, create)
	}
	plain, err := age.Decrypt(in, from.of...)
	if _, wrong := errors.AsType[*age.NoIdentityMatchError](err); wrong {
		return Manifest{}, ErrKey
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return read(plain, known, create)
}

func read(r io.Reader, known func(name string) bool, create func(name string) (io.WriteCloser, error)) (m Manifest, err error) {
	in := tar.NewReader(r)
	if err := next(in, manifestName, -1); err != nil {
		return m, err
	}
	text, err := io.ReadAll(io.LimitReader(in, maxManifest+1))
	if err != nil || len(text) > maxManifest {
		return m, fmt.Errorf("its manifest cannot be read: %w", ErrDamaged)
	}
	if m, err = parseManifest(text, known); err != nil {
		return Manifest{}, err
	}
	for _, p := range m.Parts {
		if err := extract(in, p, create); err != nil {
			return Manifest{}, err
		}
	}
	// To the very end, so that age has seen that nothing was cut off.
	if _, err := in.Next(); err != io.EOF {
		return Manifest{}, fmt.Errorf("there is more than its manifest says: %w", ErrDamaged)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return m, nil
}

// next goes to the entry that must come now; of any size where that is -1.
func next(in *tar.Reader, name string, size int64) error {
	h, err := in.Next()
	if err != nil {
		return fmt.Errorf("%s is missing: %w", name, ErrDamaged)
	}
	if h.Typeflag != tar.TypeReg || h.Name != name || size >= 0 && h.Size != size {
		return fmt.Errorf("%s is not what its manifest says: %w", name, ErrDamaged)
	}
	return nil
}

func parseManifest(text []byte, known func(name string) bool) (m Manifest, err error) {
	var form struct{ Format int }
	if json.Unmarshal(text, &form) != nil || form.Format < 1 {
		return m, fmt.Errorf("its manifest cannot be read: %w", ErrDamaged)
	}
	if form.Format > Format {
		return m, ErrFormat
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if d.Decode(&m) != nil || len(m.Parts) > maxParts {
		return m, fmt.Errorf("its manifest cannot be read: %w", ErrDamaged)
	}
	seen := map[string]bool{}
	for _, p := range m.Parts {
		if !known(p.Name) || seen[p.Name] || p.Size < 0 {
			return m, fmt.Errorf("its manifest names %q: %w", p.Name, ErrDamaged)
		}
		seen[p.Name] = true
	}
	return m, nil
}

func extract(in *tar.Reader, p Part, create func(name string) (io.WriteCloser, error)) error {
	if err := next(in, p.Name, p.Size); err != nil {
		return err
	}
	w, err := create(p.Name)
	if err != nil {
		return err
	}
	got, err := Sum(p.Name, io.TeeReader(source{in}, w))
	if closed := w.Close(); err == nil {
		err = closed
	}
	switch {
	case err != nil:
		return err
	case got != p:
		return fmt.Errorf("%s is not what its manifest says: %w", p.Name, ErrDamaged)
	}
	return nil
}

// source tells an archive that cannot be read from a disk that cannot be
// written.
type source struct{ io.Reader }

func (s source) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return n, err
}
