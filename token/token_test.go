package token

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math"
	"strings"
	"testing"
)

func TestATokenHasOneSpellingAndOneKind(t *testing.T) {
	for _, kind := range []Kind{Session, Refresh, Access, APIKey, ClientSecret, OneTime, Invite, Registration} {
		tok := New(kind)
		text := tok.Reveal()
		if len(text) != Len || !strings.HasPrefix(text, "adm_"+string(rune(kind))+"_") {
			t.Fatalf("Reveal = %d bytes, prefix %.6q", len(text), text)
		}
		got, err := Parse(kind, text)
		if err != nil || got != tok || !got.Matches(tok.Digest()) || got.Kind() != kind {
			t.Fatalf("Parse(%v) = %v, %v", kind, got, err)
		}
		if sel := tok.Selector(); !IsSelector(sel) || IsSelector(sel[1:]) || IsSelector(sel+"0") || IsSelector("-"+sel[1:]) {
			t.Errorf("IsSelector is wrong about %q", sel)
		}
		for _, other := range []Kind{Session, Refresh, Access, APIKey, ClientSecret, OneTime, Invite, Registration, 'x'} {
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
	text := New(Session).Reveal()
	for n := range len(text) {
		if checksum(text[:n]) != crc32.ChecksumIEEE([]byte(text[:n])) {
			t.Errorf("the checksum of %q is not CRC-32", text[:n])
		}
	}
}

func TestTheDigestIsBoundToKindSelectorAndVerifier(t *testing.T) {
	a := New(Session)
	for what, other := range map[string]Token{
		"kind":     {"adm_a_" + a.text[prefixLen:]},
		"selector": {a.text[:prefixLen] + New(Session).Selector() + a.text[prefixLen+wordLen:]},
		"verifier": a.WithNewVerifier(),
	} {
		if other.text == a.text || other.Matches(a.Digest()) {
			t.Errorf("another %s has the same digest", what)
		}
	}
	sum := sha256.Sum256([]byte(a.Reveal()[:50]))
	if d := a.Digest(); string(d[:]) != string(sum[:16]) {
		t.Error("the digest is not that of the text")
	}
	if b := a.WithNewVerifier(); b.Selector() != a.Selector() || b.Kind() != a.Kind() {
		t.Errorf("a new verifier: %v, of %v", b, a)
	}
}

// Two characters that are equally likely differ in number by more than this
// once in many millions of runs: six standard deviations.
func TestEveryCharacterIsAsLikely(t *testing.T) {
	const n = 20_000
	seen := map[byte]int{}
	for range n {
		for _, c := range appendWord(nil) {
			seen[c]++
		}
	}
	mean := float64(n*wordLen) / 62
	for i := range len(digits) {
		if got := float64(seen[digits[i]]); math.Abs(got-mean) > 6*math.Sqrt(mean) {
			t.Errorf("%c was there %v times, want about %v", digits[i], got, mean)
		}
	}
	if len(seen) != 62 {
		t.Errorf("%d characters, want 62", len(seen))
	}
}

func TestATokenDoesNotPrint(t *testing.T) {
	tok := New(APIKey)
	secret := tok.Reveal()[prefixLen+wordLen : bodyLen]
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "token", tok)
	js, _ := json.Marshal(tok)
	for _, out := range []string{fmt.Sprint(tok), fmt.Sprintf("%+v %#v %s %q", tok, tok, tok, tok), log.String(), string(js)} {
		if strings.Contains(out, secret) {
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

// A session's id is public, its secret is not: each is to hold 128 bits (ASVS
// 7.2.3), so that neither is guessed nor drawn twice.
func TestATokenHoldsTwice128Bits(t *testing.T) {
	if bits := wordLen * math.Log2(float64(len(digits))); bits < 128 {
		t.Errorf("a word holds %.1f bits", bits)
	}
	const n = 10_000
	selectors, verifiers := map[string]bool{}, map[string]bool{}
	for range n {
		tok := New(Session)
		selectors[tok.Selector()] = true
		verifiers[tok.Reveal()[len("adm_s_")+wordLen:][:wordLen]] = true
	}
	if len(selectors) != n || len(verifiers) != n {
		t.Errorf("of %d tokens %d selectors and %d verifiers differ", n, len(selectors), len(verifiers))
	}
}

func TestATokenFromASeedIsAlwaysTheSameAndAsGoodAsARandomOne(t *testing.T) {
	random := New(Refresh)
	seen := map[string]bool{}
	for i := range 1000 {
		seed := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		made := random.WithVerifier(seed)
		if made != random.WithVerifier(seed) {
			t.Fatalf("seed %d gives two tokens", i)
		}
		parsed, err := Parse(Refresh, made.Reveal())
		if err != nil || parsed != made || parsed.Selector() != random.Selector() || seen[made.Reveal()] {
			t.Fatalf("seed %d gives %q: %v", i, made.Reveal(), err)
		}
		seen[made.Reveal()] = true
	}
	// The verifier is the seed modulo 62^22, the last digit first.
	if got, want := random.WithVerifier([32]byte{31: 63}).Reveal()[28:50], "1100000000000000000000"; got != want {
		t.Errorf("the verifier of 63 is %q, want %q", got, want)
	}
}
