package password

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
)

const pw = "passwörd and more"

// stored are hashes of other programs: of the reference implementations'
// documents, and of Python's hashlib.
var stored = []struct {
	name, password, hash, scheme string
}{
	{"Argon2id of the reference implementation", "password", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "argon2id"},
	{"Argon2i of the reference implementation", "password", "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA", "argon2i"},
	{"bcrypt of crypt_blowfish", "U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "bcrypt"},
	{"bcrypt of PHP, whose version has another letter", "U*U", "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "bcrypt"},
	{"scrypt of passlib", pw, "$scrypt$ln=10,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$PLQQvt2YP9bQO4FpeX6/vQHLyedkzLacnMxwRxTEBEw", "scrypt"},
	{"PBKDF2 with SHA-1 of passlib", pw, "$pbkdf2$1200$MDEyMzQ1Njc4OWFiY2RlZg$dmwj0pyA6zxdViEig.nmmi0.lKA", "pbkdf2-sha1"},
	{"PBKDF2 with SHA-256 of passlib", pw, "$pbkdf2-sha256$1200$MDEyMzQ1Njc4OWFiY2RlZg$3aRoxDNXfeTP2VzdjNZZX6w/gR74GJcvKN4E2OjPows", "pbkdf2-sha256"},
	{"PBKDF2 with SHA-512 of passlib", pw, "$pbkdf2-sha512$1200$MDEyMzQ1Njc4OWFiY2RlZg$P3xVwlYCxMAFa9Hj.2A9By8cTgNT8hizNmfttIUiBnGgB1EtxTOO0NQIe1FQt9xMFbJA0i2HRLue8IJP5Np7vw", "pbkdf2-sha512"},
	{"PBKDF2 of Django", pw, "pbkdf2_sha256$1200$seasalt$i+47mvbIzGAF431Cv6q+Omte+wuOp1eLaGAYDDpUXEA=", "pbkdf2-sha256"},
}

func newHasher(t testing.TB, o *Options) *Hasher {
	t.Helper()
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHashesOfOtherPrograms(t *testing.T) {
	h := newHasher(t, nil)
	for _, test := range stored {
		ok, upgrade, err := h.Verify(t.Context(), admit.NewSecret(test.password), test.hash, Stranger)
		if !ok || !upgrade || err != nil {
			t.Errorf("%s: Verify = %t, upgrade %t, %v; want true, true", test.name, ok, upgrade, err)
		}
		if ok, _, err := h.Verify(t.Context(), admit.NewSecret(test.password+"x"), test.hash, Stranger); ok || err != nil {
			t.Errorf("%s: a wrong password: %t, %v", test.name, ok, err)
		}
		if scheme, ok := Identify(test.hash); scheme != test.scheme || !ok {
			t.Errorf("%s: Identify = %q, %t; want %q", test.name, scheme, ok, test.scheme)
		}
	}
}

func TestANewHashIsArgon2idWithAFreshSaltAndNeedsNoUpgrade(t *testing.T) {
	h := newHasher(t, nil)
	secret := admit.NewSecret(strings.Repeat("long passphrase ", 60))
	one, err := h.Hash(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	two, err := h.Hash(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	if one == two || !strings.HasPrefix(one, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("Hash = %q, then %q", one, two)
	}
	if ok, upgrade, err := h.Verify(t.Context(), secret, one, Stranger); !ok || upgrade || err != nil {
		t.Errorf("Verify = %t, upgrade %t, %v", ok, upgrade, err)
	}
	// What bcrypt would not have read counts.
	short := admit.NewSecret(strings.Repeat("long passphrase ", 60)[:72])
	if ok, _, _ := h.Verify(t.Context(), short, one, Stranger); ok {
		t.Error("the first 72 bytes of a password match")
	}
}

func TestBcryptReads72BytesAndNoMore(t *testing.T) {
	h := newHasher(t, nil)
	// crypt_blowfish: 72 times 0xaa and anything after it.
	const hash = "$2a$05$/OK.fbVrR/bpIqNJ5ianF.swQOIzjOiJ9GHEPuhEkvqrUyvWhEMx6"
	long := strings.Repeat("\xaa", 72)
	for _, password := range []string{long, long + "chars after 72 are ignored as usual"} {
		if ok, upgrade, err := h.Verify(t.Context(), admit.NewSecret(password), hash, Stranger); !ok || !upgrade || err != nil {
			t.Errorf("%d bytes: Verify = %t, upgrade %t, %v", len(password), ok, upgrade, err)
		}
	}
	if ok, _, _ := h.Verify(t.Context(), admit.NewSecret(long[:71]), hash, Stranger); ok {
		t.Error("71 bytes match what 72 made")
	}
}

func TestWhatIsNoHashIsRefusedBeforeAnyWork(t *testing.T) {
	h := newHasher(t, nil)
	for name, hash := range map[string]string{
		"nothing":                         "",
		"plain text":                      "correct horse battery staple",
		"MD5":                             "$1$O3JMY.Tw$AdLnLjQ/5jXF9.MTp3gHv/",
		"an unknown scheme":               "$argon3id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"another version":                 "$argon2id$v=16$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"more memory than is safe":        "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"more passes than are safe":       "$argon2id$v=19$m=65536,t=2000,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"more lanes than are safe":        "$argon2id$v=19$m=65536,t=2,p=255$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"less memory than its lanes need": "$argon2id$v=19$m=8,t=2,p=4$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"parameters in another order":     "$argon2id$v=19$t=2,m=65536,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"a number with a leading zero":    "$argon2id$v=19$m=065536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"a line break in the key":         "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8Ar\nZWb2GRPPc",
		"a key of one byte":               "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CQ",
		"bcrypt with a cost beyond":       "$2a$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
		"bcrypt cut short":                "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe",
		"scrypt with too much memory":     "$scrypt$ln=17,r=64,p=1$MDEyMzQ1Njc4OWFiY2RlZg$PLQQvt2YP9bQO4FpeX6/vQHLyedkzLacnMxwRxTEBEw",
		"PBKDF2 with too many iterations": "$pbkdf2-sha256$50000000$MDEyMzQ1Njc4OWFiY2RlZg$3aRoxDNXfeTP2VzdjNZZX6w/gR74GJcvKN4E2OjPows",
		"Django with an unknown hash":     "pbkdf2_md5$1200$seasalt$i+47mvbIzGAF431Cv6q+Omte+wuOp1eLaGAYDDpUXEA=",
		"a book":                          "$argon2id$" + strings.Repeat("a", 10_000),
	} {
		if _, _, err := h.Verify(t.Context(), admit.NewSecret(pw), hash, Stranger); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, want ErrFormat", name, err)
		}
	}
}

func TestEveryRefusalCostsTheSameWork(t *testing.T) {
	h := newHasher(t, nil)
	ours, err := h.Hash(t.Context(), admit.NewSecret(pw))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stored {
		if s.scheme == "bcrypt" || s.scheme == "scrypt" {
			h.Expect(s.hash)
			h.Expect(s.hash) // known already
		}
	}
	h.Expect(ours)
	h.Expect("no hash")
	wrong := admit.NewSecret("wrong")
	// The kinds of hashes that each refusal computes, in order.
	work := func(hash string) []string {
		var kinds []string
		if hash != "" {
			p, err := Parse(hash)
			if err != nil {
				t.Fatal(err)
			}
			kinds = append(kinds, p.kind())
			if ok, _, err := h.Verify(t.Context(), wrong, hash, Stranger); ok || err != nil {
				t.Fatalf("Verify = %t, %v", ok, err)
			}
		}
		h.each(strings.Join(kinds, ""), func(p *Hash) { kinds = append(kinds, p.kind()) })
		slices.Sort(kinds)
		return kinds
	}
	want := work("")
	if len(want) != 3 {
		t.Fatalf("a refusal computes %v; want our own kind, bcrypt and scrypt", want)
	}
	for name, hash := range map[string]string{"our own": ours, "bcrypt": stored[2].hash, "scrypt": stored[4].hash} {
		if got := work(hash); !slices.Equal(got, want) {
			t.Errorf("a wrong password against %s computes %v, an unknown user %v", name, got, want)
		}
	}
}

func TestAFloodOfStrangersIsToldToRetryAndLeavesHalfToKnownBrowsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHasher(t, &Options{Slots: 4, Queue: 6, Wait: time.Second})
		ctx := context.Background()
		for i := range 2 { // these run
			if err := h.enter(ctx, Stranger); err != nil {
				t.Fatalf("stranger %d: %v", i, err)
			}
		}
		begun := time.Now()
		var work sync.WaitGroup
		for range 6 { // these wait until their time is up
			work.Go(func() {
				err := h.enter(ctx, Stranger)
				retry, ok := errors.AsType[*admit.RetryError](err)
				if !errors.Is(err, ErrBusy) || !ok || retry.After <= 0 || time.Since(begun) != time.Second {
					t.Errorf("after %v: %v", time.Since(begun), err)
				}
			})
		}
		synctest.Wait()
		if err := h.enter(ctx, Stranger); !errors.Is(err, ErrBusy) || time.Since(begun) != 0 {
			t.Errorf("one more than may wait: %v after %v; want ErrBusy at once", err, time.Since(begun))
		}
		work.Wait()
		for i := range 2 {
			if err := h.enter(ctx, Known); err != nil {
				t.Errorf("known browser %d: %v", i, err)
			}
		}
		if err := h.enter(ctx, Known); !errors.Is(err, ErrBusy) {
			t.Errorf("a fifth hash: %v", err)
		}
		h.leave(Stranger)
		if err := h.enter(ctx, Stranger); err != nil {
			t.Errorf("after one has left: %v", err)
		}
	})
}

func TestWhoeverGivesUpLeavesThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHasher(t, &Options{Slots: 1, Queue: 1})
		if err := h.enter(context.Background(), Known); err != nil {
			t.Fatal(err)
		}
		for _, prio := range []Priority{Known, Stranger} {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			if err := h.enter(ctx, prio); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("priority %d: %v", prio, err)
			}
			cancel()
		}
		h.leave(Known)
		if err := h.enter(context.Background(), Stranger); err != nil {
			t.Errorf("the place is free: %v", err)
		}
	})
}

func TestPolicy(t *testing.T) {
	full := func(_ context.Context, pw admit.Secret) (bool, error) {
		return pw.Reveal() == "in the full list", nil
	}
	down := func(context.Context, admit.Secret) (bool, error) { return true, errors.New("down") }
	for _, test := range []struct {
		name     string
		policy   Policy
		password string
		err      error
	}{
		{"seven characters are too few", Policy{}, "tr0ub4d", ErrTooShort},
		{"eight are enough", Policy{}, "tr0ub4dq", nil},
		{"characters are counted, not bytes", Policy{}, "密码密码密码密", ErrTooShort},
		{"eight of any script are enough", Policy{}, "蓝色的河流过山谷", nil},
		{"NIST's setting asks for fifteen", Policy{MinLength: MinLengthAlone}, "fourteen chars", ErrTooShort},
		{"NIST's setting takes fifteen", Policy{MinLength: MinLengthAlone}, "fifteen chars ..", nil},
		{"a setting below eight is eight", Policy{MinLength: 1}, "tr0ub4d", ErrTooShort},
		{"a thousand characters are fine", Policy{}, strings.Repeat("蓝", 1000), nil},
		{"more are not", Policy{}, strings.Repeat("蓝", 1001), ErrTooLong},
		{"only small letters are fine", Policy{}, "all small letters here", nil},
		{"one of the commonest is refused", Policy{}, "password1", ErrBreached},
		{"in any case of its letters", Policy{}, "PassWord1", ErrBreached},
		{"one of a full list is refused", Policy{Breached: full}, "in the full list", ErrBreached},
		{"a full list that is away refuses nobody", Policy{Breached: down}, "some good words", nil},
		{"one's own name is refused", Policy{}, "Ann.Example", ErrYourName},
		{"one's own address is refused", Policy{}, "ann@example.org", ErrYourName},
		{"what is before the @ is a name too", Policy{}, "annexample-ann", ErrYourName},
		{"what is no text is refused", Policy{}, "\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8", ErrNotText},
	} {
		err := test.policy.Check(t.Context(), admit.NewSecret(test.password), "ann.example", "ann@example.org", "annexample-ann@example.org")
		if !errors.Is(err, test.err) {
			t.Errorf("%s: %v, want %v", test.name, err, test.err)
		}
	}
}

func TestTheBuiltInListHasWhatIsTriedFirst(t *testing.T) {
	if n := (len(common) - commonIndex) / commonEntry; n != 50_000 {
		t.Errorf("%d entries", n)
	}
	for _, pw := range []string{"password", "12345678", "qwertyuiop", "iloveyou", "Trustno1", "1QAZ2wsx"} {
		if !Common(pw) {
			t.Errorf("Common(%q) = false", pw)
		}
	}
	wrong := 0
	for i := range 100_000 {
		if Common(fmt.Sprintf("a sentence nobody has used %d", i)) {
			wrong++
		}
	}
	if wrong > 20 { // 1.2 are expected
		t.Errorf("%d of 100,000 passwords are refused by mistake", wrong)
	}
}

func TestAHashPrintsNothingOfItself(t *testing.T) {
	h, err := Parse(stored[0].hash)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, h); got != "argon2id" {
			t.Errorf("%s prints %q", verb, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range stored {
		f.Add(s.hash)
	}
	f.Add(dummyHash)
	f.Fuzz(func(t *testing.T, text string) {
		h, err := Parse(text)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Errorf("Parse(%q) = %v", text, err)
			}
			return
		}
		if h.text != text || h.scheme == "" || h.params[0] <= 0 {
			t.Errorf("Parse(%q) = %q %v", text, h.scheme, h.params)
		}
		if h.scheme == "argon2id" || h.scheme == "argon2i" {
			again := fmt.Sprintf("$%s$v=19$m=%d,t=%d,p=%d$%s$%s", h.scheme, h.params[0], h.params[1], h.params[2], b64.EncodeToString(h.salt), b64.EncodeToString(h.key))
			if again != text {
				t.Errorf("%q has the second spelling %q", again, text)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	h := newHasher(b, nil)
	hash, err := h.Hash(b.Context(), admit.NewSecret(pw))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if ok, _, err := h.Verify(b.Context(), admit.NewSecret(pw), hash, Stranger); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
