package password

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	{"PBKDF2 in the PHC string format", pw, "$pbkdf2-sha256$i=1200$MDEyMzQ1Njc4OWFiY2RlZg$3aRoxDNXfeTP2VzdjNZZX6w/gR74GJcvKN4E2OjPows", "pbkdf2-sha256"},
	{"PBKDF2 in the PHC string format with its length", pw, "$pbkdf2-sha256$i=1200,l=32$MDEyMzQ1Njc4OWFiY2RlZg$3aRoxDNXfeTP2VzdjNZZX6w/gR74GJcvKN4E2OjPows", "pbkdf2-sha256"},
	{"PBKDF2 of Django", pw, "pbkdf2_sha256$1200$seasalt$i+47mvbIzGAF431Cv6q+Omte+wuOp1eLaGAYDDpUXEA=", "pbkdf2-sha256"},
	{"PBKDF2 with SHA-1 of Django", pw, "pbkdf2_sha1$1200$seasalt$cCN4pVXsXs9EaDIHyJB1fA15vJw=", "pbkdf2-sha1"},
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
	one, err := h.Hash(t.Context(), secret, Stranger)
	if err != nil {
		t.Fatal(err)
	}
	two, err := h.Hash(t.Context(), secret, Stranger)
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

func TestArgon2idIsComputedWhereTheProgramSays(t *testing.T) {
	asked := 0
	beside := newHasher(t, &Options{Argon2id: func(password, salt []byte, passes, memoryKiB uint32, lanes uint8, size uint32) []byte {
		asked++
		return Argon2id(password, salt, passes, memoryKiB, lanes, size)
	}})
	here := newHasher(t, nil)
	for _, who := range []struct{ hashes, verifies *Hasher }{{beside, here}, {here, beside}} {
		hash, err := who.hashes.Hash(t.Context(), admit.NewSecret("a long passphrase"), Stranger)
		if err != nil {
			t.Fatal(err)
		}
		if ok, upgrade, err := who.verifies.Verify(t.Context(), admit.NewSecret("a long passphrase"), hash, Stranger); !ok || upgrade || err != nil {
			t.Errorf("Verify = %t, upgrade %t, %v", ok, upgrade, err)
		}
	}
	if err := beside.VerifyDummy(t.Context(), admit.NewSecret("x"), Stranger); err != nil || asked != 3 {
		t.Errorf("it was asked %d times, want 3; %v", asked, err)
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

func TestANULDoesNotEndAPassword(t *testing.T) {
	h := newHasher(t, nil)
	ours, err := h.Hash(t.Context(), admit.NewSecret("U*U\x00secret"), Stranger)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ password, hash string }{
		"our own": {"U*U", ours},
		"bcrypt":  {"U*U\x00secret", stored[2].hash},
	} {
		if ok, _, err := h.Verify(t.Context(), admit.NewSecret(test.password), test.hash, Stranger); ok || err != nil {
			t.Errorf("%s: what is before the NUL is enough: %t, %v", name, ok, err)
		}
	}
}

func TestWhatIsNoHashIsRefusedBeforeAnyWork(t *testing.T) {
	h := newHasher(t, nil)
	for name, hash := range map[string]string{
		"nothing":                         "",
		"plain text":                      "correct horse battery staple",
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
		"bcrypt with a signed cost":       "$2a$+5$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
		"PBKDF2 with another length":      "$pbkdf2-sha256$i=1200,l=20$MDEyMzQ1Njc4OWFiY2RlZg$3aRoxDNXfeTP2VzdjNZZX6w/gR74GJcvKN4E2OjPows",
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

// The work is told by the memory that it takes: each kind here takes another
// amount, and nothing else of that size is allocated meanwhile. (Time would
// tell the same, but not on a busy machine.)
func TestEveryRefusalCostsTheSameWork(t *testing.T) {
	const (
		salt    = "MDEyMzQ1Njc4OWFiY2RlZg"
		key     = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
		argon2i = "$argon2i$v=19$m=8192,t=1,p=1$" + salt + "$" + key
		scrypt  = "$scrypt$ln=12,r=8,p=1$" + salt + "$" + key
		beyond  = "$scrypt$ln=11,r=8,p=1$" + salt + "$" + key
	)
	h := newHasher(t, nil)
	ours, err := h.Hash(t.Context(), admit.NewSecret(pw), Stranger)
	if err != nil {
		t.Fatal(err)
	}
	for _, hash := range []string{argon2i, argon2i, scrypt, ours, "no hash"} {
		h.Expect(hash)
	}
	if len(h.foreign) != 2 { // ours is no foreign one
		t.Fatalf("%d kinds are expected; want 2", len(h.foreign))
	}
	mebibytes := func(f func() error) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := f()
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		return (after.TotalAlloc - before.TotalAlloc + 1<<19) >> 20
	}
	wrong := admit.NewSecret("wrong")
	const want = 19 + 8 + 4
	if got := mebibytes(func() error { return h.VerifyDummy(t.Context(), wrong, Stranger) }); got != want {
		t.Errorf("an unknown user takes %d MiB, want %d", got, want)
	}
	for name, hash := range map[string]string{"our own": ours, "Argon2i": argon2i, "scrypt": scrypt} {
		got := mebibytes(func() error {
			ok, _, err := h.Verify(t.Context(), wrong, hash, Stranger)
			if ok {
				t.Errorf("%s: a wrong password is right", name)
			}
			return err
		})
		if got != want {
			t.Errorf("a wrong password against %s takes %d MiB, an unknown user %d", name, got, want)
		}
	}
	for i := range 2 * maxForeign {
		h.Expect(strings.Replace(beyond, "r=8", fmt.Sprintf("r=%d", i+9), 1))
	}
	if len(h.foreign) != maxForeign {
		t.Errorf("%d kinds are expected after too many, want %d", len(h.foreign), maxForeign)
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
		for i := range 2 { // while the strangers' queue is full
			if err := h.enter(ctx, Known); err != nil || time.Since(begun) != 0 {
				t.Errorf("known browser %d: %v after %v; want a slot at once", i, err, time.Since(begun))
			}
		}
		work.Wait()
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

func TestStatsTellWhoWaitsAndWhoWasRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHasher(t, &Options{Slots: 1, Queue: 1, Wait: time.Second})
		if err := h.enter(t.Context(), Known); err != nil {
			t.Fatal(err)
		}
		go func() {
			if err := h.enter(t.Context(), Stranger); err != nil {
				t.Errorf("in its turn: %v", err)
			}
		}()
		synctest.Wait()
		if err := h.enter(t.Context(), Stranger); !errors.Is(err, ErrBusy) {
			t.Errorf("with a full queue: %v", err)
		}
		if got, want := h.Stats(), (Stats{Slots: 1, Busy: 1, Waiting: 1, Hashed: 1, Refused: 1}); got != want {
			t.Errorf("Stats = %+v, want %+v", got, want)
		}
		time.Sleep(500 * time.Millisecond)
		h.leave(Known)
		synctest.Wait()
		if got, want := h.Stats(), (Stats{Slots: 1, Busy: 1, Hashed: 2, Waited: 500 * time.Millisecond, Refused: 1}); got != want {
			t.Errorf("Stats = %+v, want %+v", got, want)
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
	if n := (len(common) - commonIndex) / commonEntry; n != 17_950 {
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
	if wrong > 20 { // 0.4 are expected
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

// spellings are the ways to write a hash, one for each form of its scheme.
func spellings(h Hash) []string {
	n, salt, key := h.params, b64.EncodeToString(h.salt), b64.EncodeToString(h.key)
	switch h.scheme {
	case "argon2id", "argon2i":
		return []string{fmt.Sprintf("$%s$v=19$m=%d,t=%d,p=%d$%s$%s", h.scheme, n[0], n[1], n[2], salt, key)}
	case "scrypt":
		return []string{
			fmt.Sprintf("$scrypt$ln=%d,r=%d,p=%d$%s$%s", n[0], n[1], n[2], salt, key),
			fmt.Sprintf("scrypt$%d$%s$%d$%d$%s", 1<<n[0], h.salt, n[1], n[2], base64.StdEncoding.EncodeToString(h.key)),
		}
	case "argon2d":
		return []string{fmt.Sprintf("$argon2d$v=19$m=%d,t=%d,p=%d$%s$%s", n[0], n[1], n[2], salt, key)}
	case wrappedScheme:
		return []string{fmt.Sprintf("$%s$v=19$m=%d,t=%d,p=%d$%s$%s%s", wrappedScheme, n[0], n[1], n[2], salt, key, h.inner.setting())}
	case "firebase-scrypt":
		return []string{fmt.Sprintf("$firebase-scrypt$ln=%d,r=%d,p=%d$%s$%s$%s$%s", n[0], n[1], n[2], salt, b64.EncodeToString(h.more[0]), b64.EncodeToString(h.more[1]), key)}
	case "bcrypt", "bcrypt-sha256", "wordpress-bcrypt":
		plain := fmt.Sprintf("%s%02d%s", h.key[:4], n[0], h.key[6:])
		return map[string][]string{"bcrypt": {plain, "bcrypt$" + plain}, "bcrypt-sha256": {"bcrypt_sha256$" + plain}, "wordpress-bcrypt": {"$wp" + plain}}[h.scheme]
	case "md5-crypt", "apr1":
		return []string{fmt.Sprintf("$%s$%s$%s", map[string]string{"md5-crypt": "1", "apr1": "apr1"}[h.scheme], h.salt, h.key)}
	case "sha256-crypt", "sha512-crypt":
		number := map[string]int{"sha256-crypt": 5, "sha512-crypt": 6}[h.scheme]
		all := []string{fmt.Sprintf("$%d$rounds=%d$%s$%s", number, n[0], h.salt, h.key)}
		if n[0] == shaRounds {
			all = append(all, fmt.Sprintf("$%d$%s$%s", number, h.salt, h.key))
		}
		return all
	case "phpass":
		rest := fmt.Sprintf("%c%s%s", cryptAlphabet[n[0]], h.salt, h.key)
		return []string{"$P$" + rest, "$H$" + rest}
	}
	if d := digestOf(h.scheme); d != nil {
		name, ldap := strings.ToUpper(d.name), base64.StdEncoding.EncodeToString(append(slices.Clone(h.key), h.salt...))
		if name == "SHA1" {
			name = "SHA"
		}
		all := []string{fmt.Sprintf("$%s$%s$%s$%s", h.scheme, orders[n[0]], salt, key)}
		switch {
		case n[0] == saltFirst:
		case len(h.salt) == 0:
			all = append(all, fmt.Sprintf("{%s}%s", name, ldap))
		default:
			all = append(all, fmt.Sprintf("{S%s}%s", name, ldap))
		}
		return all
	}
	all := []string{
		fmt.Sprintf("$%s$i=%d$%s$%s", h.scheme, n[0], salt, key),
		fmt.Sprintf("$%s$i=%d,l=%d$%s$%s", h.scheme, n[0], len(h.key), salt, key),
		fmt.Sprintf("pbkdf2_%s$%d$%s$%s", strings.TrimPrefix(h.scheme, "pbkdf2-"), n[0], h.salt, base64.StdEncoding.EncodeToString(h.key)),
		fmt.Sprintf("$%s$%d$%s$%s", h.scheme, n[0], ab64.EncodeToString(h.salt), ab64.EncodeToString(h.key)),
	}
	for _, s := range all { // passlib's name for SHA-1
		if rest, ok := strings.CutPrefix(s, "$pbkdf2-sha1$"); ok {
			all = append(all, "$pbkdf2$"+rest)
		}
	}
	return all
}

func FuzzParse(f *testing.F) {
	for _, s := range stored {
		f.Add(s.hash)
	}
	for _, s := range append(slow, fast...) {
		f.Add(s.hash)
	}
	f.Add(dummyHash)
	f.Add("$argon2id-over$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA$1$abcd$")
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
		short := text // without what LDAP and Django write before
		for _, before := range []string{"{CRYPT}", "{ARGON2}"} {
			short = strings.TrimPrefix(short, before)
		}
		if rest, ok := strings.CutPrefix(text, "argon2$"); ok {
			short = "$" + rest
		}
		if again := spellings(h); !slices.Contains(again, short) {
			t.Errorf("%q is read as one of %q", text, again)
		}
		if h.fast() {
			inner, err := Parse("$argon2id-over$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA" + h.setting())
			if err != nil || string(inner.inner.salt) != string(h.salt) || inner.inner.params != h.params || inner.inner.scheme != h.scheme || len(inner.inner.key) != len(h.key) {
				t.Errorf("%q cannot be wrapped: its setting is %q, %v", text, h.setting(), err)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	h := newHasher(b, nil)
	hash, err := h.Hash(b.Context(), admit.NewSecret(pw), Known)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if ok, _, err := h.Verify(b.Context(), admit.NewSecret(pw), hash, Stranger); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

// The heap that a flood holds, for each slot.
func BenchmarkFlood(b *testing.B) {
	for _, slots := range []int{1, 4, 8} {
		b.Run(fmt.Sprintf("slots=%d", slots), func(b *testing.B) {
			debug.FreeOSMemory()
			h := newHasher(b, &Options{Slots: slots, Queue: 1000, Wait: time.Minute})
			var peak atomic.Uint64
			b.SetParallelism(100)
			b.RunParallel(func(run *testing.PB) {
				for run.Next() {
					if err := h.VerifyDummy(b.Context(), admit.NewSecret(pw), Known); err != nil {
						b.Error(err)
					}
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					held := m.HeapSys - m.HeapReleased
					for old := peak.Load(); held > old && !peak.CompareAndSwap(old, held); old = peak.Load() {
					}
				}
			})
			b.ReportMetric(float64(peak.Load()>>20)/float64(slots), "MiB/slot")
		})
	}
}
