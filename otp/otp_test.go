package otp_test

import (
	"encoding/base32"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/otp"
)

func key(t *testing.T, secret string, o *otp.Options) *otp.Key {
	t.Helper()
	k, err := otp.New([]byte(secret), o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// secretOf is the secret of the tests of RFC 6238, appendix B, which are as long
// as each hash: erratum 2866 says so.
func secretOf(n int) string { return strings.Repeat("1234567890", 7)[:n] }

func TestCodesByACounterAreThoseOfRFC4226(t *testing.T) {
	k := key(t, secretOf(20), nil)
	want := []string{"755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"}
	for counter, code := range want {
		if got := k.HOTP(uint64(counter)); got != code {
			t.Errorf("HOTP(%d) = %s, want %s", counter, got, code)
		}
	}
}

func TestCodesByTimeAreThoseOfRFC6238(t *testing.T) {
	for _, v := range []struct {
		unix                 int64
		sha1, sha256, sha512 string
	}{
		{59, "94287082", "46119246", "90693936"},
		{1111111109, "07081804", "68084774", "25091201"},
		{1111111111, "14050471", "67062674", "99943326"},
		{1234567890, "89005924", "91819424", "93441116"},
		{2000000000, "69279037", "90698825", "38618901"},
		{20000000000, "65353130", "77737706", "47863826"},
	} {
		at := time.Unix(v.unix, 0)
		for algorithm, want := range map[otp.Algorithm]string{otp.SHA1: v.sha1, otp.SHA256: v.sha256, otp.SHA512: v.sha512} {
			n := map[otp.Algorithm]int{otp.SHA1: 20, otp.SHA256: 32, otp.SHA512: 64}[algorithm]
			if got := key(t, secretOf(n), &otp.Options{Algorithm: algorithm, Digits: 8}).At(at); got != want {
				t.Errorf("%s at %d = %s, want %s", algorithm, v.unix, got, want)
			}
		}
	}
}

func TestACodeIsGoodForOneStepBeforeAndOneAfter(t *testing.T) {
	k := key(t, secretOf(20), nil)
	now := time.Unix(1_700_000_010, 0)
	for _, tt := range []struct {
		name string
		at   time.Duration
		ok   bool
	}{
		{"two steps ago", -60 * time.Second, false},
		{"the step before", -30 * time.Second, true},
		{"now", 0, true},
		{"the step after", 30 * time.Second, true},
		{"two steps ahead", 60 * time.Second, false},
	} {
		step, ok := k.Check(k.At(now.Add(tt.at)), 0, now)
		if ok != tt.ok {
			t.Errorf("the code of %s: %t", tt.name, ok)
		}
		if ok && step != now.Add(tt.at).Unix()/30 {
			t.Errorf("the code of %s is of step %d", tt.name, step)
		}
	}
}

func TestACodeCountsOnceWithAllBeforeIt(t *testing.T) {
	k := key(t, secretOf(20), nil)
	now := time.Unix(1_700_000_010, 0)
	step, ok := k.Check(k.At(now), 0, now)
	if !ok {
		t.Fatal("the first use was refused")
	}
	for _, d := range []time.Duration{0, -30 * time.Second} {
		if _, ok := k.Check(k.At(now.Add(d)), step, now); ok {
			t.Errorf("the code of %v counted after step %d", d, step)
		}
	}
	if _, ok := k.Check(k.At(now.Add(30*time.Second)), step, now); !ok {
		t.Error("the next code was refused")
	}
}

func TestWhatIsNoCodeIsRefused(t *testing.T) {
	k := key(t, secretOf(20), nil)
	now := time.Unix(1_700_000_010, 0)
	for _, code := range []string{"", "0", "00000", "0000000", k.At(now) + " ", "１２３４５６", k.At(now)[:5]} {
		if _, ok := k.Check(code, 0, now); ok {
			t.Errorf("%q counted", code)
		}
	}
}

func TestAKeyThatIsTooWeakIsNotMade(t *testing.T) {
	for name, err := range map[string]error{
		"a short secret": second(otp.New(make([]byte, 15), nil)),
		"a long secret":  second(otp.New(make([]byte, 129), nil)),
		"a short text":   second(otp.Parse("GEZDGNBV", nil)),
		"no base32":      second(otp.Parse(strings.Repeat("1", 32), nil)),
	} {
		if !errors.Is(err, otp.ErrSecret) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, o := range map[string]otp.Options{
		"five digits": {Digits: 5}, "seven digits": {Digits: 7}, "MD5": {Algorithm: "MD5"},
		"a second": {Period: time.Second}, "half a second more": {Period: 30500 * time.Millisecond}, "an hour": {Period: time.Hour},
	} {
		if _, err := otp.New(make([]byte, 20), &o); !errors.Is(err, otp.ErrOptions) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second(_ *otp.Key, err error) error { return err }

func TestASecretIsReadAsPeopleWriteIt(t *testing.T) {
	k := key(t, secretOf(20), nil)
	text := k.Secret().Reveal()
	for _, spelled := range []string{text, strings.ToLower(text), text[:4] + " " + text[4:8] + "-" + text[8:], text + "="} {
		same, err := otp.Parse(spelled, nil)
		if err != nil || same.HOTP(1) != k.HOTP(1) {
			t.Errorf("Parse(%q): %v", spelled, err)
		}
	}
}

func TestTheURINamesTheAccountAndWhatDiffers(t *testing.T) {
	k := key(t, secretOf(20), nil)
	got := k.URI("Example: Co", "ann@example.org").Reveal()
	if want := "otpauth://totp/Example%20%20Co:ann%40example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Example%20%20Co"; got != want {
		t.Errorf("URI = %s, want %s", got, want)
	}
	u, err := url.Parse(key(t, secretOf(32), &otp.Options{Algorithm: otp.SHA256, Digits: 8, Period: time.Minute}).URI("a&b", "c/d").Reveal())
	if err != nil {
		t.Fatal(err)
	}
	if q := u.Query(); u.Path != "/a&b:c/d" || q.Get("algorithm") != "SHA256" || q.Get("digits") != "8" || q.Get("period") != "60" || q.Get("issuer") != "a&b" {
		t.Errorf("URI = %s", u)
	}
}

func TestAKeyPrintsNoSecret(t *testing.T) {
	k := key(t, secretOf(20), nil)
	for _, text := range []string{fmt.Sprint(k), fmt.Sprintf("%v %+v %#v", k, k, k), fmt.Sprint(k.Secret(), k.URI("a", "b"))} {
		if strings.Contains(text, k.Secret().Reveal()) || strings.Contains(text, secretOf(20)) {
			t.Errorf("printed %s", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "gezd gnbv gy3t qojq gezd gnbv gy3t qojq", "", "=", strings.Repeat("A", 300), "GEZDGNBVGY3TQOJQGEZDGNBVGZ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		k, err := otp.Parse(s, nil)
		if err != nil {
			return
		}
		want := strings.NewReplacer(" ", "", "-", "").Replace(strings.ToUpper(s))
		if got := k.Secret().Reveal(); got != strings.TrimRight(want, "=") {
			t.Errorf("Parse(%q) gives %q", s, got)
		}
		if b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(k.Secret().Reveal()); err != nil || string(b) != string(k.Bytes()) {
			t.Errorf("%q is not its bytes", s)
		}
	})
}

// The foreign generator is oathtool, of Debian's package of the same name.
func TestCodesAreThoseOfOathtool(t *testing.T) {
	tool, err := exec.LookPath("oathtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("make test SETUP=1 installs oathtool")
	}
	for _, algorithm := range []otp.Algorithm{otp.SHA1, otp.SHA256, otp.SHA512} {
		for _, digits := range []int{6, 8} {
			k, err := otp.Generate(&otp.Options{Algorithm: algorithm, Digits: digits})
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range []string{"1970-01-01 00:00:59 UTC", "2026-11-26 08:00:00 UTC", "2103-07-19 13:37:29 UTC"} {
				when, err := time.Parse("2006-01-02 15:04:05 MST", at)
				if err != nil {
					t.Fatal(err)
				}
				out, err := exec.Command(tool, "--totp="+string(algorithm), "--digits", fmt.Sprint(digits), "--now", at, "--base32", k.Secret().Reveal()).CombinedOutput()
				if err != nil {
					t.Fatalf("oathtool: %v\n%s", err, out)
				}
				if got, want := k.At(when), strings.TrimSpace(string(out)); got != want {
					t.Errorf("%s, %d digits, at %s: %s, oathtool says %s", algorithm, digits, at, got, want)
				}
			}
		}
	}
}
