package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math/big"
	"strings"
	"testing"
)

func TestATokenHasOneSpellingAndOneKind(t *testing.T) {
	for _, kind := range []Kind{Session, Refresh, Access, APIKey, ClientSecret, OneTime} {
		tok := New(kind)
		text := tok.Reveal()
		if len(text) != Len || !strings.HasPrefix(text, "adm_"+string(rune(kind))+"_") {
			t.Fatalf("Reveal = %d bytes, prefix %.6q", len(text), text)
		}
		got, err := Parse(kind, text)
		if err != nil || got != tok || !got.Matches(tok.Digest()) || SelectorText(text) != tok.Selector().String() {
			t.Fatalf("Parse(%v) = %v, %v", kind, got, err)
		}
		if sel, err := ParseSelector(tok.Selector().String()); err != nil || sel != tok.Selector() {
			t.Errorf("ParseSelector: %v, %v", sel, err)
		}
		for _, other := range []Kind{Session, Refresh, Access, APIKey, ClientSecret, OneTime, 'x'} {
			if _, err := Parse(other, text); other != kind && !errors.Is(err, ErrMalformed) {
				t.Errorf("a token of kind %c is read as %c", kind, other)
			}
		}
		for i := range len(text) {
			for _, c := range "0zZ-\n" {
				if bad := text[:i] + string(c) + text[i+1:]; bad != text {
					if _, err := Parse(kind, bad); !errors.Is(err, ErrMalformed) {
						t.Errorf("byte %d altered to %q is accepted", i, c)
					}
				}
			}
			if _, err := Parse(kind, text[:i]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%d bytes of it are accepted", i)
			}
		}
	}
}

func TestTheChecksumIsCRC32(t *testing.T) {
	if s := "adm_s_x"; checksum(s) != crc32.ChecksumIEEE([]byte(s)) {
		t.Error("checksum is not CRC-32")
	}
}

func TestTheDigestIsBoundToKindSelectorAndVerifier(t *testing.T) {
	a := New(Session)
	b := a
	b.kind = Access
	c := a
	c.selector[0] ^= 1
	for what, other := range map[string]Token{"kind": b, "selector": c, "verifier": a.WithNewVerifier()} {
		if other.Matches(a.Digest()) {
			t.Errorf("another %s has the same digest", what)
		}
	}
}

func TestBase62AgreesWithBigIntegers(t *testing.T) {
	for range 2000 {
		tok := New(Session)
		var b [wordLen]byte
		word(tok.selector[:]).encode62(b[:])
		want := new(big.Int).SetBytes(tok.selector[:]).Text(62) // big's digits are 0-9a-zA-Z
		swap := strings.Map(func(r rune) rune {
			switch {
			case 'a' <= r && r <= 'z':
				return r - 'a' + 'A'
			case 'A' <= r && r <= 'Z':
				return r - 'A' + 'a'
			}
			return r
		}, want)
		if got := strings.TrimLeft(string(b[:]), "0"); got != swap {
			t.Fatalf("encode62(%x) = %s, want %s", tok.selector, got, swap)
		}
	}
	if _, ok := decode62(strings.Repeat("z", wordLen)); ok {
		t.Error("more than 128 bits are accepted")
	}
}

func TestATokenDoesNotPrint(t *testing.T) {
	tok := New(APIKey)
	secret := tok.Reveal()[prefixLen+wordLen:]
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "token", tok)
	js, _ := json.Marshal(tok)
	for _, out := range []string{fmt.Sprint(tok), fmt.Sprintf("%+v %#v %s %q", tok, tok, tok, tok), log.String(), string(js)} {
		if strings.Contains(out, secret[:wordLen]) || strings.Contains(out, fmt.Sprint(tok.verifier[:])) {
			t.Errorf("it prints: %s", out)
		}
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	text := New(Session).Reveal()
	if n := testing.AllocsPerRun(1000, func() { Parse(Session, text) }); n != 0 {
		t.Errorf("Parse allocates %v times", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(New(Session).Reveal())
	f.Add("adm_s_")
	f.Fuzz(func(t *testing.T, text string) {
		if tok, err := Parse(Session, text); err == nil && tok.Reveal() != text {
			t.Errorf("%q has another spelling", text)
		}
	})
}

func ExampleParse() {
	made := New(APIKey)
	digest := made.Digest() // the record keeps this and made.Selector()

	presented, err := Parse(APIKey, made.Reveal())
	fmt.Println(err, presented.Matches(digest))
	// Output: <nil> true
}

func BenchmarkParse(b *testing.B) {
	text := New(Session).Reveal()
	b.ReportAllocs()
	for b.Loop() {
		Parse(Session, text)
	}
}
