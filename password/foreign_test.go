package password

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/admit-auth/admit"
)

// slow and fast are hashes of other programs, made once by the programs named:
// passlib 1.7.4, whois' mkpasswd, OpenSSL, OpenLDAP's slappasswd, Apache's
// htpasswd, PHP 8.2, Django 3.2, the reference argon2, and the README of
// github.com/firebase/scrypt. fast ones are insecure.
var slow = []struct{ name, password, hash, scheme string }{
	{"scrypt of Firebase", "user1password", "$firebase-scrypt$ln=14,r=8,p=1$42xEC+ixf3L2lw$Bw$jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ", "firebase-scrypt"},
	{"SHA-512-crypt of mkpasswd, with rounds", pw, "$6$rounds=1500$saltsaltsalt$MZ1b20SbzO3QJ4H6qzMlOocckHtLKmIhYr9TnExdlxCZjQr2CDub/y6X074kIcCfsfbi.EKoEI/qqg8bPEV.71", "sha512-crypt"},
	{"SHA-512-crypt of OpenSSL", pw, "$6$saltsalt$gWEz/JkrCLrLlzKX4zCjZxzOK2FIXYlpEw62Gn.ow.rxOh/VDxo3m3/7LbRMWJ/mualEsT5Bsoun1FdIfBywU0", "sha512-crypt"},
	{"SHA-512-crypt of passlib", pw, "$6$saltstring$I6mDhSKBRxEN0dJXBK8VOcUlNfy7yKN0QBx0dgiaUqLwfh8AIsKqvW9VjD9ThENoxXDDBnJLQ//PPZY2uXEHb/", "sha512-crypt"},
	{"SHA-512-crypt of the specification", "Hello world!", "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1", "sha512-crypt"},
	{"SHA-256-crypt of OpenSSL", pw, "$5$saltsalt$4iRpkprDN5khw3bmEjbvfpuaFNFV.SGSLKFE5Ib0Xb7", "sha256-crypt"},
	{"SHA-256-crypt of passlib, with rounds", pw, "$5$rounds=77777$short$3Ba1dgDQVhmNVzIUkr4Ng8bmf3aAi.gJVi92zclb6X0", "sha256-crypt"},
	{"SHA-512-crypt of slappasswd", pw, "{CRYPT}$6$46l64fqY$mx4if/ozShoO/xH5Ud02adHxMwzmgwl6EQQwajXQA7sPqW.Fad.FlIqTq5wFEWb5r95eiZCyYmUd8T44661qV0", "sha512-crypt"},
	{"Argon2i of slappasswd", pw, "{ARGON2}$argon2i$v=19$m=4096,t=3,p=1$jtfQFgXQNRx/Sj8YJfu54Q$ezeejRZEHVgtZET5delJdhV2NfhnmLeP6u2I4guFmKU", "argon2i"},
	{"Argon2d of the reference implementation", pw, "$argon2d$v=19$m=1024,t=2,p=1$c29tZXNhbHQxMg$lm1lmh4cagOJbmTyVOcJZ6dc6Y6IZncJO+J+7Sw78Dc", "argon2d"},
	{"Argon2d of it with four lanes", pw, "$argon2d$v=19$m=256,t=3,p=4$c29tZXNhbHQxMg$cWJOiRhVTI4teAFVDNH0eSv0LsgRT2G/", "argon2d"},
	{"Argon2d of passlib", pw, "$argon2d$v=19$m=1024,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$bBk5AfmH5bx9DLV1GB/22Q", "argon2d"},
	{"WordPress 6.8", pw, "$wp$2y$05$QPgCnU8nC/tkDA4xmsI/luNG1sPATtSLfI076QkOQ9j.Fo9tDeO4u", "wordpress-bcrypt"},
	{"WordPress 6.8, which trims", pw + " ", "$wp$2y$05$QPgCnU8nC/tkDA4xmsI/luNG1sPATtSLfI076QkOQ9j.Fo9tDeO4u", "wordpress-bcrypt"},
	{"bcrypt of PHP", pw, "$2y$05$9p9KeT8m3Owz8aZ5SVQht.yWyFwFxNyjXfz8I3nMozmbx6Rx2d4Pa", "bcrypt"},
	{"bcrypt of htpasswd", pw, "$2y$05$ta1Vr/y3bd0Z6dEGx6FxX.ufL1SZYIVNRSAOXvuZhYtntJ84atBQ6", "bcrypt"},
	{"bcrypt of Django", pw, "bcrypt$$2y$05$9p9KeT8m3Owz8aZ5SVQht.yWyFwFxNyjXfz8I3nMozmbx6Rx2d4Pa", "bcrypt"},
	{"scrypt of Django's form, by Python's hashlib", pw, "scrypt$1024$seasalt$8$5$n1yMHNfOHgq7MM7DK3VV6n0oGcMFOFcsq6DBgG5SUrZn9xSft6AzzTGOtgoxzkZT6bnTPPjr4ReHYRPsRD4GPA==", "scrypt"},
	{"bcrypt over SHA-256 of Django", pw, "bcrypt_sha256$$2b$05$dfw1HtyaW6tAmzqPNplM9.DGuSFLCRzyp/AgZVrzpKj9OKed5dJOe", "bcrypt-sha256"},
	{"Argon2id of Django", pw, "argon2$argon2id$v=19$m=1024,t=2,p=2$c2Vhc2FsdHNlYXNhbHQ$4FgW/zSKmU1W/z808iMbGw", "argon2id"},
}

var fast = []struct{ name, password, hash, scheme string }{
	{"MD5-crypt of mkpasswd", pw, "$1$saltsalt$wE3E6b65HwY0HA6v/RXQj0", "md5-crypt"},
	{"MD5-crypt of OpenSSL", pw, "$1$abcd$2BcIHiC/blwotMXFGx53G/", "md5-crypt"},
	{"apr1 of htpasswd", pw, "$apr1$NGZszj3/$nYPIEoLjlWinCxCI5TH/E.", "apr1"},
	{"apr1 of OpenSSL", pw, "$apr1$abcd$aYvTzDOfOIRhOQ00R7fRf.", "apr1"},
	{"phpass of WordPress, by passlib", pw, "$P$BsaltsaltN.WZflsa5pl4qEQuzgZtM1", "phpass"},
	{"phpass of phpBB", pw, "$H$BsaltsaltN.WZflsa5pl4qEQuzgZtM1", "phpass"},
	{"{SSHA} of slappasswd", pw, "{SSHA}BtgiA89tD6I9jGh++BnVrZXXUbHtcaaH", "insecure-sha1"},
	{"{SSHA} of passlib", pw, "{SSHA}vmlnURMydl5t4rGUSDyihhpmBilzYWx0c2FsdA==", "insecure-sha1"},
	{"{SSHA256} of slappasswd", pw, "{SSHA256}vR1kdqrhb4c0hhrOzknlAICuqMJVUy7Lo+3POwaGRVBQOiiLb+5dxw==", "insecure-sha256"},
	{"{SSHA384} of slappasswd", pw, "{SSHA384}tiaAliLChnCTy1KCjmrP1LT/BmEULFL2UWYKAtJX+Hw4qKTrum1VxI89gQ058nwh3xTx8t1pErQ=", "insecure-sha384"},
	{"{SSHA512} of slappasswd", pw, "{SSHA512}L100GoFCfUhu5YtMA68pwE5oFh9yTEejTAhIyLuQmjU9iJtNtTaiihI8GunW2UDkpxX3tCiiTCv1KyCWCCiXHJsZEV02M2ow", "insecure-sha512"},
	{"{SMD5} of slappasswd", pw, "{SMD5}0NQLaPIe0v4Zzsd7myZhAtoaJFM=", "insecure-md5"},
	{"{MD5} of slappasswd", pw, "{MD5}Z0P1w8/qfy17lcNl5ZMoCA==", "insecure-md5"},
	{"{SHA} of htpasswd", pw, "{SHA}pohjQkisi6BAxHvpz/Pta7SdSTU=", "insecure-sha1"},
	{"MD5 of PHP, the salt first", pw, "$insecure-md5$o=sp$c2FsdA$YkunYdWNOMsOSb8H93FFgw", "insecure-md5"},
	{"MD5 without a salt", pw, "$insecure-md5$o=ps$$Z0P1w8/qfy17lcNl5ZMoCA", "insecure-md5"},
}

func TestHashesOfManyPrograms(t *testing.T) {
	h := newHasher(t, nil)
	for _, test := range slow {
		ok, upgrade, err := h.Verify(t.Context(), admit.NewSecret(test.password), test.hash, Stranger)
		if !ok || !upgrade || err != nil {
			t.Errorf("%s: Verify = %t, upgrade %t, %v; want true, true", test.name, ok, upgrade, err)
		}
		if ok, _, err := h.Verify(t.Context(), admit.NewSecret(test.password+"x"), test.hash, Stranger); ok || err != nil {
			t.Errorf("%s: a wrong password: %t, %v", test.name, ok, err)
		}
		if scheme, ok := Identify(test.hash); scheme != test.scheme || !ok || Insecure(test.hash) {
			t.Errorf("%s: Identify = %q, %t; want %q", test.name, scheme, ok, test.scheme)
		}
	}
}

func TestInsecureHashesAreTakenWhereThatIsSpelledOrTheyAreWrapped(t *testing.T) {
	careful, lax := newHasher(t, nil), newHasher(t, &Options{InsecureHashes: true})
	for _, test := range fast {
		right, wrong := admit.NewSecret(test.password), admit.NewSecret(test.password+"x")
		if ok, _, err := careful.Verify(t.Context(), right, test.hash, Stranger); ok || !errors.Is(err, ErrInsecure) {
			t.Errorf("%s: without the option: %t, %v", test.name, ok, err)
		}
		if scheme, ok := Identify(test.hash); scheme != test.scheme || !ok || !Insecure(test.hash) {
			t.Errorf("%s: Identify = %q, %t; want %q", test.name, scheme, ok, test.scheme)
		}
		wrapped, err := careful.Wrap(t.Context(), test.hash, Known)
		if err != nil {
			t.Errorf("%s: Wrap: %v", test.name, err)
			continue
		}
		if h, _ := Parse(test.hash); Insecure(wrapped) || strings.Contains(wrapped, string(h.key)) || strings.Contains(wrapped, b64.EncodeToString(h.key)) {
			t.Errorf("%s: the old hash shows in %s", test.name, wrapped)
		}
		for _, as := range []struct {
			hasher *Hasher
			hash   string
		}{{lax, test.hash}, {careful, wrapped}} {
			if ok, upgrade, err := as.hasher.Verify(t.Context(), right, as.hash, Stranger); !ok || !upgrade || err != nil {
				t.Errorf("%s: %s: Verify = %t, upgrade %t, %v", test.name, as.hash, ok, upgrade, err)
			}
			if ok, _, err := as.hasher.Verify(t.Context(), wrong, as.hash, Stranger); ok || err != nil {
				t.Errorf("%s: %s: a wrong password: %t, %v", test.name, as.hash, ok, err)
			}
		}
	}
	for _, hash := range []string{slow[1].hash, "no hash", dummyHash} {
		if _, err := careful.Wrap(t.Context(), hash, Known); !errors.Is(err, ErrFormat) {
			t.Errorf("Wrap(%q): %v", hash, err)
		}
	}
}

func TestForeignHashesThatAskTooMuchOrAreSpelledOtherwiseAreRefused(t *testing.T) {
	for name, hash := range map[string]string{
		"SHA-crypt with rounds beyond":               "$6$rounds=1000001$saltsalt$" + strings.Repeat(".", 86),
		"SHA-crypt with rounds below":                "$6$rounds=999$saltsalt$" + strings.Repeat(".", 86),
		"SHA-crypt with a long salt":                 "$6$saltsaltsaltsaltx$" + strings.Repeat(".", 86),
		"SHA-crypt with bits of no use":              "$6$saltsalt$" + strings.Repeat(".", 85) + "z",
		"phpass with rounds beyond":                  "$P$Nsaltsalt" + strings.Repeat(".", 22), // 2^25
		"phpass with few rounds":                     "$P$3saltsalt" + strings.Repeat(".", 22),
		"MD5-crypt with a long salt":                 "$1$saltsaltx$" + strings.Repeat(".", 22),
		"Firebase with too much memory":              "$firebase-scrypt$ln=30,r=8,p=1$42xEC+ixf3L2lw$Bw$jxspr8Ki0RYycVU8zykbdA$lSrfV15cpx95/sZS2W9c9A",
		"Firebase with a key unlike its signer":      "$firebase-scrypt$ln=14,r=8,p=1$42xEC+ixf3L2lw$Bw$jxspr8Ki0RYycVU8zykbdA$lSrfV15cpx95/sZS2W9c9Kp6i/I",
		"scrypt of Django with too much memory":      "scrypt$1048576$seasalt$8$5$" + strings.Repeat("A", 43) + "=",
		"scrypt of Django with N that is no power":   "scrypt$1000$seasalt$8$5$" + strings.Repeat("A", 43) + "=",
		"WordPress with a cost beyond":               "$wp$2y$31$QPgCnU8nC/tkDA4xmsI/luNG1sPATtSLfI076QkOQ9j.Fo9tDeO4u",
		"{SSHA} without a salt":                      "{SSHA}pohjQkisi6BAxHvpz/Pta7SdSTU=",
		"{SHA} with one":                             "{SHA}BtgiA89tD6I9jGh++BnVrZXXUbHtcaaH",
		"{ssha} in small letters":                    "{ssha}BtgiA89tD6I9jGh++BnVrZXXUbHtcaaH",
		"{CRYPT} of traditional DES":                 "{CRYPT}abJnggxhB/yWI",
		"{CRYPT} in {CRYPT}":                         "{CRYPT}{CRYPT}$1$abcd$2BcIHiC/blwotMXFGx53G/",
		"an unknown digest":                          "$insecure-md4$o=sp$c2FsdA$YkunYdWNOMsOSb8H93FFgw",
		"a digest of another size":                   "$insecure-sha1$o=sp$c2FsdA$YkunYdWNOMsOSb8H93FFgw",
		"no salt, spelled as if it stood first":      "$insecure-md5$o=sp$$Z0P1w8/qfy17lcNl5ZMoCA",
		"a slow hash that is wrapped":                "$argon2id-over$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA$6$saltsalt$",
		"a wrapped one with the key":                 "$argon2id-over$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA$1$abcd$2BcIHiC/blwotMXFGx53G/",
		"a wrapped one with too much memory":         "$argon2id-over$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA$1$abcd$",
		"a plain password that begins like a scheme": "scrypt of the old church",
	} {
		if scheme, ok := Identify(hash); ok {
			t.Errorf("%s: %s is taken as %s", name, hash, scheme)
		}
	}
}

// Work is counted, for time tells little on a busy machine.
func TestARefusalCostsTheSameWorkWhateverFormAUserHas(t *testing.T) {
	h := newHasher(t, &Options{InsecureHashes: true})
	var hashes []string
	hashes = append(hashes,
		dummyHash,
		"$6$rounds=1400$anotherlongsalts$mn4KFZ8hVY5f8dTtfilNafUBtKN7YkA77OVNOUIldj48ciH5Ay/5wo7AqYsvbo0wJR3t42iOEDbZeLZZROrR./",
		"$argon2i$v=19$m=1024,t=2,p=1$VHNNdlFTQzhCN1g1ZXNCSA$e+vQQGDfqS9mfOh0IdzVaL1zrrRcbGIPYq2Y1XVchNQ",
		"$2a$04$"+strings.Repeat("C", 21)+"."+strings.Repeat("A", 31),
		"$2a$06$"+strings.Repeat("C", 21)+"."+strings.Repeat("A", 31),
		"pbkdf2_sha256$10000$seasalt$i+47mvbIzGAF431Cv6q+Omte+wuOp1eLaGAYDDpUXEA=",
		"pbkdf2_sha256$36000$seasalt$i+47mvbIzGAF431Cv6q+Omte+wuOp1eLaGAYDDpUXEA=",
		"$P$5saltsaltN.WZflsa5pl4qEQuzgZtM1",
		"$P$BsaltsaltN.WZflsa5pl4qEQuzgZtM1",
		"$apr1$abcd$aYvTzDOfOIRhOQ00R7fRf.",
		"{SSHA}BtgiA89tD6I9jGh++BnVrZXXUbHtcaaH",
	)
	wrapped, err := h.Wrap(t.Context(), "$P$BsaltsaltN.WZflsa5pl4qEQuzgZtM1", Known)
	if err != nil {
		t.Fatal(err)
	}
	for _, hash := range append(hashes, wrapped) {
		h.Expect(hash)
	}
	done := map[string]int{}
	h.tally = func(kind string, amount int) { done[kind] += amount }
	wrong := admit.NewSecret("wrong")
	if err := h.VerifyDummy(t.Context(), wrong, Stranger); err != nil {
		t.Fatal(err)
	}
	want := maps.Clone(done)
	if want["bcrypt"] != 1<<6 || want["pbkdf2-sha256"] != 36_000 || want["phpass"] != 1<<13 || want["argon2id[19456 2 1]"] != 1 || len(want) != 7 {
		t.Errorf("an unknown user costs %v", want)
	}
	for _, hash := range append(hashes, wrapped) {
		clear(done)
		if ok, _, err := h.Verify(t.Context(), wrong, hash, Stranger); ok || err != nil {
			t.Fatalf("%s: %t, %v", hash, ok, err)
		}
		if !maps.Equal(done, want) {
			t.Errorf("a wrong password against %s costs %v, an unknown user %v", hash, done, want)
		}
	}
}

func TestAVeryLongPasswordCostsNoMoreInCrypt(t *testing.T) {
	h := newHasher(t, nil)
	long := strings.Repeat("x", maxCryptPassword)
	hash := "$6$saltsalt$" + string(sha512Crypt([]byte(long), []byte("saltsalt"), shaRounds))
	for password, want := range map[string]bool{long: true, long + "x": false} {
		if ok, _, err := h.Verify(t.Context(), admit.NewSecret(password), hash, Stranger); ok != want || err != nil {
			t.Errorf("%d bytes: %t, %v; want %t", len(password), ok, err, want)
		}
	}
}

func BenchmarkForeign(b *testing.B) {
	h := newHasher(b, &Options{InsecureHashes: true})
	for _, test := range append(slow, fast...) {
		b.Run(fmt.Sprintf("%s=%.12s", test.scheme, test.hash), func(b *testing.B) {
			stored, err := Parse(test.hash)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				h.matches(&stored, test.password)
			}
		})
	}
}
