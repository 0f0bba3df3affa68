package keyring

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
)

var (
	long  = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	other = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{8}, 48))
)

func TestAMasterKeyIsBase64OfEnoughBytes(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		keys       int // 0: refused
	}{
		{"one key", long + "\n", 1},
		{"no line feed at the end", long, 1},
		{"lines of Windows", long + "\r\n" + other + "\r\n", 2},
		{"the new one above the old one", "# new\n" + other + "\n\n# old\n" + long + "\n", 2},
		{"nothing", "", 0},
		{"only a comment", "# " + long, 0},
		{"31 bytes", base64.StdEncoding.EncodeToString(make([]byte, 31)), 0},
		{"hexadecimal", strings.Repeat("0f", 31), 0},
		{"a good one and a short one", long + "\nAAAA\n", 0},
		{"no base64", strings.Repeat("ü", 40), 0},
		{"no padding", strings.TrimRight(long, "="), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			keys, err := ParseMasterKeys(tt.text)
			if len(keys) != tt.keys || (err == nil) != (tt.keys > 0) {
				t.Fatalf("%d keys, %v; want %d", len(keys), err, tt.keys)
			}
			if err == nil {
				return
			}
			if !errors.Is(err, ErrMasterForm) {
				t.Errorf("%v, want ErrMasterForm", err)
			}
			for line := range strings.Lines(tt.text) {
				if line = strings.TrimSpace(line); len(line) > 8 && strings.Contains(err.Error(), line) {
					t.Errorf("the error quotes the key: %v", err)
				}
			}
		})
	}
}

func TestAMasterKeyNeverPrints(t *testing.T) {
	keys, err := ParseMasterKeys(long)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		text := fmt.Sprintf(verb, keys[0])
		if text != "keyring.MasterKey("+keys[0].ID()+")" {
			t.Errorf("%s prints %s", verb, text)
		}
	}
}

func FuzzParseMasterKeys(f *testing.F) {
	for _, text := range []string{"", long, long + "\n" + other, "#\n" + long, "AAAA", long + "\r", strings.Repeat(long, 2), "\x00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := ParseMasterKeys(text)
		if err != nil {
			if keys != nil || !errors.Is(err, ErrMasterForm) {
				t.Fatalf("%d keys, %v", len(keys), err)
			}
			return
		}
		for _, m := range keys {
			b := seal([]*MasterKey{m}, "id", "purpose", []byte("secret"))
			if got, err := open(keys, "id", "purpose", b); err != nil || string(got) != "secret" {
				t.Fatalf("sealed and opened: %q, %v", got, err)
			}
		}
	})
}

func FuzzParseBox(f *testing.F) {
	masters, err := ParseMasterKeys(long)
	if err != nil {
		f.Fatal(err)
	}
	sealed := seal(masters, "id", "purpose", []byte("secret")).String()
	for _, text := range []string{"", "plain.", "plain.AAAA", "plain.AA\nAA", "plain.AB", "gcm..AAAA", "gcm.1234.AAAA", "gcm.1234", "box.AAAA", sealed, sealed + "A", strings.ToUpper(sealed)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := parseBox(text)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		if b.String() != text {
			t.Fatalf("%q is read and written as %q", text, b.String())
		}
		secret, err := open(masters, "id", "purpose", b)
		if err == nil && b.master != "" && text != sealed && string(secret) != "secret" {
			t.Fatalf("%q opens as %q", text, secret)
		}
	})
}

func TestASealedSecretIsBoundToItsIDAndPurpose(t *testing.T) {
	masters, err := ParseMasterKeys(long)
	if err != nil {
		t.Fatal(err)
	}
	b := seal(masters, "ab", "c", []byte("secret"))
	for _, tt := range []struct{ name, id, purpose string }{
		{"another id", "aa", "c"},
		{"another purpose", "ab", "signing"},
		{"the same letters, parted elsewhere", "a", "bc"},
	} {
		if _, err := open(masters, tt.id, tt.purpose, b); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	for i := range b.bytes {
		bad := box{b.master, bytes.Clone(b.bytes)}
		bad.bytes[i] ^= 1
		if _, err := open(masters, "ab", "c", bad); !errors.Is(err, ErrDamaged) {
			t.Fatalf("with byte %d changed: %v", i, err)
		}
	}
}
