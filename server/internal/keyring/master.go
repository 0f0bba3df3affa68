package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/admit-auth/admit"
)

// Why keys cannot be opened.
var (
	ErrMasterForm    = admit.Invalid.New("master_key_malformed", "A master key is base64 of at least 32 random bytes, one a line.").WithHint("make one: (umask 077; admit cookie keygen > master.key)")
	ErrMasterMissing = admit.Unavailable.New("master_key_missing", "The keys are sealed, and no master key was given.").WithHint("give the one that sealed them, with --master-key-file, --master-key-command or ADMIT_MASTER_KEY")
	ErrMasterWrong   = admit.Unavailable.New("master_key_wrong", "The keys are sealed with another master key.").WithHint("give the one that sealed them; a file may hold several, the one to seal with first. If it is lost for good: admit key reset")
	ErrNoMaster      = admit.Invalid.New("no_master_key", "There is no master key to seal with.").WithHint("name one with --new-master-key-file, or with --no-master-key leave the keys unsealed")
	ErrDamaged       = admit.Unavailable.New("keys_damaged", "A key in the database was altered.").WithHint("restore a backup, or do without the keys: admit key reset")
)

// A MasterKey seals the other keys where they are kept. It comes from outside,
// so that who has a copy of the database has no key.
type MasterKey struct {
	id   string
	aead cipher.AEAD
}

// ParseMasterKeys reads master keys: base64 of at least 32 bytes a line. The
// first seals, each of them opens. Blank lines and lines that begin with # are
// passed over. Errors never quote the text.
func ParseMasterKeys(text string) ([]*MasterKey, error) {
	secrets, err := parseLines(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMasterForm, err)
	}
	var keys []*MasterKey
	for _, secret := range secrets {
		block, err := aes.NewCipher(derive(secret, "admit master key seal", 32))
		if err != nil {
			panic(err) // 32 bytes are always a key
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			panic(err) // AES has the block size of GCM
		}
		keys = append(keys, &MasterKey{hex.EncodeToString(derive(secret, "admit master key id", 4)), aead})
	}
	return keys, nil
}

// ID tells master keys apart. It is no secret.
func (m *MasterKey) ID() string { return m.id }

// String is the id.
func (m *MasterKey) String() string { return "keyring.MasterKey(" + m.id + ")" }

// GoString is String: what is inside is never shown.
func (m *MasterKey) GoString() string { return m.String() }

// parseLines reads secrets as package cookie writes them, at least one.
func parseLines(text string) (secrets [][]byte, err error) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		secret, err := base64.StdEncoding.Strict().DecodeString(line)
		switch {
		case err != nil:
			return nil, fmt.Errorf("line %d is not base64", n)
		case len(secret) < 32:
			return nil, fmt.Errorf("line %d has %d bytes", n, len(secret))
		}
		secrets = append(secrets, secret)
	}
	if len(secrets) == 0 {
		return nil, fmt.Errorf("there is none")
	}
	return secrets, nil
}

// derive is HKDF-SHA256 (RFC 5869). It panics only if asked for too much.
func derive(secret []byte, purpose string, n int) []byte {
	b, err := hkdf.Key(sha256.New, secret, nil, purpose, n)
	if err != nil {
		panic(err)
	}
	return b
}

// A box is a secret as it is kept: "plain.<base64url>" or, from a master key,
// "gcm.<id of it>.<base64url of nonce and AES-256-GCM>".
type box struct {
	master string // "" where it stands unsealed
	bytes  []byte
}

func (b box) String() string {
	text := base64.RawURLEncoding.EncodeToString(b.bytes)
	if b.master == "" {
		return "plain." + text
	}
	return "gcm." + b.master + "." + text
}

func parseBox(text string) (b box, err error) {
	form, rest, _ := strings.Cut(text, ".")
	if form == "gcm" {
		b.master, rest, _ = strings.Cut(rest, ".")
	}
	b.bytes, err = base64.RawURLEncoding.DecodeString(rest)
	if err != nil || len(b.bytes) == 0 || b.String() != text {
		return box{}, ErrDamaged // without the text: it may be a key
	}
	return b, nil
}

// about is what a sealed secret is bound to, so that no row passes for another:
// lengths stand in front.
func about(id, purpose string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(id)))
	return append(append(b, id...), purpose...)
}

// seal boxes a secret with the first of the master keys, if there is one.
func seal(masters []*MasterKey, id, purpose string, secret []byte) box {
	if len(masters) == 0 {
		return box{bytes: secret}
	}
	m := masters[0]
	nonce := make([]byte, m.aead.NonceSize())
	rand.Read(nonce)
	return box{m.id, m.aead.Seal(nonce, nonce, secret, about(id, purpose))}
}

// open returns what is in a box.
func open(masters []*MasterKey, id, purpose string, b box) ([]byte, error) {
	if b.master == "" {
		return b.bytes, nil
	}
	if len(masters) == 0 {
		return nil, ErrMasterMissing
	}
	for _, m := range masters {
		if m.id != b.master {
			continue
		}
		if n := m.aead.NonceSize(); len(b.bytes) > n {
			if secret, err := m.aead.Open(nil, b.bytes[:n], b.bytes[n:], about(id, purpose)); err == nil {
				return secret, nil
			}
		}
		return nil, fmt.Errorf("key %s: %w", id, ErrDamaged)
	}
	return nil, fmt.Errorf("key %s, which %s sealed, and not %s: %w", id, b.master, masters[0].id, ErrMasterWrong)
}
