package archive_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/archive"
)

var content = map[string]string{"keys": "c2VjcmV0\n", "admit.db": strings.Repeat("SQLite format 3\x00", 9000)}

func isPart(name string) bool { return content[name] != "" }

func manifest(t testing.TB) archive.Manifest {
	t.Helper()
	m := archive.Manifest{Format: archive.Format, TakenAt: time.Date(2026, 11, 25, 20, 0, 0, 5, time.UTC), Schema: 5, Oldest: 1, Program: "v1.2.3"}
	for _, name := range []string{"keys", "admit.db"} {
		p, err := archive.Sum(name, strings.NewReader(content[name]))
		if err != nil {
			t.Fatal(err)
		}
		m.Parts = append(m.Parts, p)
	}
	return m
}

func write(t testing.TB, m archive.Manifest, to archive.Recipients) []byte {
	t.Helper()
	var b bytes.Buffer
	err := archive.Write(&b, m, to, func(name string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content[name])), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type file struct{ bytes.Buffer }

func (*file) Close() error { return nil }

func read(b []byte, from archive.Identities) (archive.Manifest, map[string]string, error) {
	files := map[string]*file{}
	m, err := archive.Read(bytes.NewReader(b), from, isPart, func(name string) (io.WriteCloser, error) {
		files[name] = &file{}
		return files[name], nil
	})
	got := map[string]string{}
	for name, f := range files {
		got[name] = f.String()
	}
	return m, got, err
}

func keyPair(t testing.TB) (archive.Recipients, archive.Identities) {
	t.Helper()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	to, err := archive.ParseRecipients("# comment\n" + key.Recipient().String() + "\n")
	if err != nil {
		t.Fatal(err)
	}
	from, err := archive.ParseIdentities(admit.NewSecret(key.String() + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return to, from
}

func TestABackupIsReadAsItWasWritten(t *testing.T) {
	to, from := keyPair(t)
	for _, tt := range []struct {
		name string
		to   archive.Recipients
		from archive.Identities
	}{
		{"open to all", archive.Recipients{}, archive.Identities{}},
		{"encrypted for a recipient", to, from},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := manifest(t)
			b := write(t, m, tt.to)
			got, files, err := read(b, tt.from)
			if err != nil {
				t.Fatal(err)
			}
			if got.TakenAt != m.TakenAt || got.Schema != 5 || !maps.Equal(files, content) {
				t.Errorf("read %+v and %d files", got, len(files))
			}
			if encrypted := !bytes.Contains(b, []byte("SQLite format")); encrypted != tt.to.Encrypted() {
				t.Errorf("encrypted is %v", encrypted)
			}
		})
	}
}

func TestABackupThatWasTouchedOrCutOffIsRefused(t *testing.T) {
	to, from := keyPair(t)
	plain, sealed := write(t, manifest(t), archive.Recipients{}), write(t, manifest(t), to)
	for _, tt := range []struct {
		name string
		b    []byte
		from archive.Identities
	}{{"plain", plain, archive.Identities{}}, {"encrypted", sealed, from}} {
		for _, n := range []int{0, 1, 100, 511, 512, 1000, 1024, 2000, 5000, len(tt.b) - 70_000, len(tt.b) - 1500} {
			if _, _, err := read(tt.b[:n], tt.from); admit.KindOf(err) != admit.Invalid {
				t.Errorf("%s, cut off after %d bytes: %v", tt.name, n, err)
			}
		}
		for n := 0; n < len(tt.b); n += 1 + len(tt.b)/300 {
			b := bytes.Clone(tt.b)
			b[n] ^= 0x10
			// What is changed may be padding that tar ignores: then nothing was lost.
			if _, files, err := read(b, tt.from); err == nil && !maps.Equal(files, content) {
				t.Errorf("%s, byte %d changed: read all the same", tt.name, n)
			}
		}
	}
	if _, _, err := read(sealed[:len(sealed)-1], from); admit.KindOf(err) != admit.Invalid {
		t.Errorf("the last byte is missing: %v", err)
	}
}

func TestWhoHasNotTheKeyIsToldSo(t *testing.T) {
	to, from := keyPair(t)
	_, other := keyPair(t)
	plain, sealed := write(t, manifest(t), archive.Recipients{}), write(t, manifest(t), to)
	for _, tt := range []struct {
		name string
		b    []byte
		from archive.Identities
		want error
	}{
		{"no key", sealed, archive.Identities{}, archive.ErrEncrypted},
		{"another's key", sealed, other, archive.ErrKey},
		{"a file that somebody else put there, unencrypted", plain, from, archive.ErrPlain},
	} {
		if _, _, err := read(tt.b, tt.from); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if _, err := archive.ParseRecipients("AGE-SECRET-KEY-1QQQQ"); err == nil || strings.Contains(err.Error(), "QQQ") {
		t.Errorf("a secret key as recipient: %v", err)
	}
}

func TestAManifestCannotNameWhatItLikes(t *testing.T) {
	good := manifest(t)
	for name, change := range map[string]func(*archive.Manifest){
		"a path out of the folder": func(m *archive.Manifest) { m.Parts[0].Name = "../keys" },
		"a file that is no part":   func(m *archive.Manifest) { m.Parts[0].Name = "lock" },
		"a part twice":             func(m *archive.Manifest) { m.Parts[1] = m.Parts[0] },
		"another size":             func(m *archive.Manifest) { m.Parts[0].Size++ },
		"another sum":              func(m *archive.Manifest) { m.Parts[0].SHA256 = m.Parts[1].SHA256 },
	} {
		m := good
		m.Parts = append([]archive.Part{}, good.Parts...)
		change(&m)
		// Written by hand, as Write would notice.
		b := bytes.Clone(write(t, good, archive.Recipients{}))
		b = remanifest(t, b, m)
		if _, _, err := read(b, archive.Identities{}); admit.KindOf(err) != admit.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	newer := good
	newer.Format = archive.Format + 1
	if _, _, err := read(remanifest(t, write(t, good, archive.Recipients{}), newer), archive.Identities{}); !errors.Is(err, archive.ErrFormat) {
		t.Errorf("a newer format: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	small := manifest(f)
	small.Parts = small.Parts[:1] // the other is large
	f.Add(write(f, small, archive.Recipients{}))
	f.Add([]byte("age-encryption.org/v1\n-> X25519 x\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, files, err := read(b, archive.Identities{})
		if err != nil {
			if admit.KindOf(err) != admit.Invalid {
				t.Errorf("not refused as invalid: %v", err)
			}
			return
		}
		for _, p := range m.Parts {
			sum, err := archive.Sum(p.Name, strings.NewReader(files[p.Name]))
			if err != nil || sum != p {
				t.Errorf("part %s was read as %+v, the manifest says %+v", p.Name, sum, p)
			}
		}
	})
}
