package jose

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// What the reader accepts, encoding/json accepts too, and both read the same
// members.
func FuzzObject(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"a":1}`, `{"a":"x\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"}`, `{"a":[1,-0.5e+3,true,false,null,{}],"b":{"c":[]}}`, ` { "a" : 1 , "b" : 2 } `,
		`{"a":1,"A":2}`, `{"ſ":1,"s":2}`, `{"\u0061":1,"a":2}`, `{"a":01}`, `{"a":1,}`, `{"a":"\ud800"}`, "{\"a\":\"\xff\"}", `{"a":1}}`, `[1]`, `{"k":1,"K":2}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var o object
		if err := o.open(s); err != nil {
			return
		}
		got := map[string]string{}
		for {
			name, raw, ok, err := o.next()
			if err != nil {
				return
			}
			if !ok {
				break
			}
			for known := range got {
				if strings.EqualFold(known, name) {
					t.Fatalf("%q and %q", known, name)
				}
			}
			got[name] = raw
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal([]byte(s), &want); err != nil {
			t.Fatalf("encoding/json refuses %q: %v", s, err)
		}
		if len(got) != len(want) {
			t.Fatalf("%d members, encoding/json has %d", len(got), len(want))
		}
		for name, raw := range got {
			if string(want[name]) != raw {
				t.Fatalf("%q is %s, encoding/json has %s", name, raw, want[name])
			}
			if text, ok := stringValue(raw); ok {
				var same string
				if err := json.Unmarshal([]byte(raw), &same); err != nil || same != text {
					t.Fatalf("%s is %q, encoding/json has %q, %v", raw, text, same, err)
				}
			}
		}
	})
}

// What appendString writes, encoding/json and the reader read back.
func FuzzString(f *testing.F) {
	for _, s := range []string{"", "a", "\"\\/", "\x00\x1f\x7f", "é\u2028😀", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, ok := appendString(nil, s)
		if ok != utf8.ValidString(s) {
			t.Fatalf("%q: %t", s, ok)
		}
		if !ok {
			return
		}
		var back string
		if err := json.Unmarshal(b, &back); err != nil || back != s {
			t.Fatalf("%q is written %s, read %q, %v", s, b, back, err)
		}
		if own, ok := stringValue(string(b)); !ok || own != s {
			t.Fatalf("%q is written %s, read %q", s, b, own)
		}
	})
}

// No text makes a verifier or a decrypter panic, and none is accepted that was
// not signed.
func FuzzToken(f *testing.F) {
	k, err := NewKey(HS256, "k", []byte("a key that nobody can guess, ever"))
	if err != nil {
		f.Fatal(err)
	}
	v := newVerifier(f, k, nil)
	d, err := NewDecrypter(NewKeySet(newKey(f, A128KW, random(16))), []Algorithm{A128KW}, encryptions, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("..")
	f.Add("....")
	f.Add(forger{[]byte("another")}.sign(usual, `{"sub":"a"}`))
	f.Add(encode64([]byte(`{"alg":"A128KW","enc":"A128GCM"}`)) + "." + encode64(make([]byte, 24)) + ".AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := v.Verify(t.Context(), s); err == nil || c.Subject != "" {
			t.Fatalf("%q is accepted", s)
		}
		if b, _, err := d.Decrypt(t.Context(), s); err == nil {
			t.Fatalf("%q is decrypted: %q", s, b)
		}
	})
}

// A header and claims that anybody may have signed never make one panic, and
// what is accepted is what encoding/json reads.
func FuzzSigned(f *testing.F) {
	secret := []byte("a key that nobody can guess, ever")
	k, err := NewKey(HS256, "k", secret)
	if err != nil {
		f.Fatal(err)
	}
	v := newVerifier(f, k, &VerifierOptions[access]{InsecureAnyAudience: true, InsecureAnyIssuer: true, InsecureNoExpiry: true})
	f.Add(usual, `{"sub":"alice","sid":"s","roles":["a"],"level":1,"plan":{"name":"x"},"exp":4102444800,"aud":["a","b"]}`)
	f.Add(`{"alg":"HS256","typ":"application/AT+JWT"}`, `{"scope":"\u00e9","iat":1.5}`)
	f.Fuzz(func(t *testing.T, header, payload string) {
		c, err := v.Verify(t.Context(), forger{secret}.sign(header, payload))
		if err != nil {
			return
		}
		var other struct {
			Sub    string
			Scope  string
			SID    string
			Level  int
			Jti    string
			Issuer string `json:"iss"`
		}
		if err := json.Unmarshal([]byte(payload), &other); err != nil {
			t.Fatalf("encoding/json refuses %q: %v", payload, err)
		}
		if other.Sub != c.Subject || other.Scope != c.Data.Scope || other.SID != c.Data.SID || other.Level != c.Data.Level || other.Jti != c.ID || other.Issuer != c.Issuer {
			t.Fatalf("%+v, encoding/json reads %+v", c, other)
		}
	})
}

// A key that is read is written as it was, and read again.
func FuzzKey(f *testing.F) {
	for _, alg := range []Algorithm{HS256, ES256, EdDSA, ECDHES} {
		k, err := GenerateKey(alg, "k")
		if err != nil {
			f.Fatal(err)
		}
		secret, _ := k.Reveal()
		f.Add(secret.Reveal())
	}
	f.Add(`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"EC"}]}`)
	f.Fuzz(func(t *testing.T, s string) {
		ParseKeySet([]byte(s))
		if k, err := ParsePublicKey([]byte(s)); err == nil && k.IsPrivate() {
			t.Fatalf("%s is taken for public", s)
		}
		k, err := ParseKey([]byte(s))
		if err != nil {
			return
		}
		secret, err := k.Reveal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseKey([]byte(secret.Reveal()))
		if err != nil || again.Thumbprint() != k.Thumbprint() || again.ID() != k.ID() || again.Algorithm() != k.Algorithm() {
			t.Fatalf("%s is written %s: %v", s, secret.Reveal(), err)
		}
	})
}

// What plain finds eight bytes at a time is what each byte says.
func FuzzPlain(f *testing.F) {
	f.Add("abcdefg\x1fhij")
	f.Add("\x00\x80\xff \x1f")
	f.Fuzz(func(t *testing.T, s string) {
		want := true
		for _, c := range []byte(s) {
			want = want && c >= ' ' && c != '\\' && c < utf8.RuneSelf
		}
		if got := plain(s); got != want {
			t.Errorf("plain(%q) = %t", s, got)
		}
	})
}

// What decode64 takes, it would write just so.
func FuzzBase64(f *testing.F) {
	for _, s := range []string{"", "\n", "AA", "AAA", "AAAA", "AAAA\n", "AA\nAA", "A\r\nA", "AB", "AAA=", "+/", "-_-_", "\n\n\n\nAAAA", "AAAAA"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if b, ok := decode64(nil, []byte(s)); ok && encode64(b) != s {
			t.Fatalf("%q is taken for %x", s, b)
		} else if ok != (base64.RawURLEncoding.EncodeToString(b) == s) {
			t.Fatalf("%q is refused, though it is the spelling of %x", s, b)
		}
	})
}
