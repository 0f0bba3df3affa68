package breached

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/admit-auth/admit"
)

// list writes n prefixes, spread evenly and always the same, as a list.
func list(n int, seed uint64) (prefixes []uint64, text string) {
	r := rand.New(rand.NewPCG(seed, 0))
	for range n {
		prefixes = append(prefixes, r.Uint64())
	}
	slices.Sort(prefixes)
	var b strings.Builder
	for i, p := range prefixes {
		fmt.Fprintf(&b, "%016X%024X:%d\r\n", p, i, i%10+1)
	}
	return prefixes, b.String()
}

func build(t testing.TB, text string, o Options) (file string, built Built) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "filter")
	built, err := Build(context.Background(), file, strings.NewReader(text), o)
	if err != nil {
		t.Fatal(err)
	}
	return file, built
}

func has(t testing.TB, file string, prefix uint64) bool {
	t.Helper()
	found, err := Has(file, prefix)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestAFilterHasAllOfItsListAndHardlyAnythingElse(t *testing.T) {
	for _, n := range []int{1, 2, 199, 1000, sample - 1, sample, 300_000} {
		prefixes, text := list(n, uint64(n))
		file, built := build(t, text, Options{})
		if built.Passwords != uint64(n) || built.Lines != uint64(n) {
			t.Errorf("of %d passwords %d are kept", n, built.Passwords)
		}
		for i := 0; i < n; i += n/3000 + 1 {
			if !has(t, file, prefixes[i]) {
				t.Fatalf("of %d passwords the one at %d is not found", n, i)
			}
		}
		r := rand.New(rand.NewPCG(1, 2))
		wrong := 0
		for range 4000 {
			if has(t, file, r.Uint64()) {
				wrong++
			}
		}
		if wrong > 1 || built.Wrong > 1.0/(1<<20) {
			t.Errorf("of %d passwords %d that are none are found in 4,000; it says %.2g", n, wrong, built.Wrong)
		}
		if perPassword := float64(built.Bytes) / float64(n); n > 10_000 && perPassword > 2.85 {
			t.Errorf("%d passwords take %.2f bytes each", n, perPassword)
		}
	}
}

func TestPasswordsAreFoundByTheirSHA1(t *testing.T) {
	var lines []string
	for i := range 300 {
		lines = append(lines, fmt.Sprintf("%X:%d\n", sha1.Sum(fmt.Appendf(nil, "walk %d", i)), i+1))
	}
	slices.Sort(lines)
	file, built := build(t, strings.Join(lines, ""), Options{MinCount: 101})
	if built.Passwords != 200 || built.MinCount != 101 {
		t.Errorf("built %+v; want 200 passwords that were seen 101 times", built)
	}
	for i := range 300 {
		if got := has(t, file, Prefix(admit.NewSecret(fmt.Sprintf("walk %d", i)))); got != (i >= 100) {
			t.Errorf("walk %d, seen %d times: %t", i, i+1, got)
		}
	}
}

func TestWhatIsNoListIsRefusedAndLeavesTheFilterThatWas(t *testing.T) {
	_, text := list(1000, 1)
	file, _ := build(t, text, Options{})
	for name, test := range map[string]struct {
		text string
		err  error
	}{
		"nothing":            {"", ErrList},
		"words":              {"password\n", ErrList},
		"a digest too short": {text + "AB\n", ErrList},
		"no hex":             {strings.Repeat("Z", 40), ErrList},
		"out of order":       {text + text, ErrList},
		"NTLM":               {strings.Repeat("0123456789ABCDEF", 2) + ":5\n", ErrNTLM},
		"gzip":               {"\x1f\x8b\x08\x00", ErrPacked},
		"7z":                 {"7z\xbc\xaf\x27\x1c", ErrPacked},
		"a count of words":   {strings.Repeat("A", 40) + ":many\n", ErrList},
		"all in one place":   {clustered(), ErrList},
	} {
		if _, err := Build(t.Context(), file, strings.NewReader(test.text), Options{}); !errors.Is(err, test.err) {
			t.Errorf("%s: %v, want %v", name, err, test.err)
		}
	}
	if s, err := Look(file); err != nil || s.Passwords != 1000 {
		t.Errorf("the filter is %+v, %v", s, err)
	}
}

// clustered is spread evenly at first, and then stands in one place.
func clustered() string {
	_, even := list(sample, 3)
	var b strings.Builder
	b.WriteString(even)
	for i := range 600_000 {
		fmt.Fprintf(&b, "FFFF%06X%030d\n", i*27, 0)
	}
	return b.String()
}

var errKilled = errors.New("killed")

// A dying reader ends like a process that is killed.
type dying struct {
	io.Reader
	left int
}

func (d *dying) Read(p []byte) (int, error) {
	if d.left <= 0 {
		return 0, errKilled
	}
	n, err := d.Reader.Read(p[:min(len(p), d.left, 50_000)])
	d.left -= n
	return n, err
}

func TestAListThatIsBrokenOffGoesOnToTheSameFilter(t *testing.T) {
	_, text := list(200_000, 9)
	want, _ := build(t, text, Options{})
	whole, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	for _, seekable := range []bool{true, false} {
		file := filepath.Join(t.TempDir(), "filter")
		again := int64(0)
		for _, left := range []int{5 << 20, 8 << 20, 1 << 30} {
			in := strings.NewReader(text)
			var from io.Reader = &dying{in, left}
			if seekable && left == 1<<30 {
				from = in
			}
			b := eager(t, file, from)
			built, err := b()
			if left < 1<<30 && !errors.Is(err, errKilled) || left == 1<<30 && err != nil {
				t.Fatalf("after %d bytes: %v", left, err)
			}
			again = built.Before
		}
		got, err := os.ReadFile(file)
		if err != nil || again == 0 || string(got) != string(whole) {
			t.Errorf("seekable %t: it went on at %d, and the filter is the same: %t, %v", seekable, again, string(got) == string(whole), err)
		}
		if files, _ := filepath.Glob(file + ".*"); len(files) > 0 {
			t.Errorf("%v are left", files)
		}
	}
}

// eager is Build that makes a mark after each bucket.
func eager(t *testing.T, file string, list io.Reader) func() (Built, error) {
	return func() (Built, error) { return buildEvery(t.Context(), file, list, Options{}, 0) }
}

func TestAnotherListBeginsAnew(t *testing.T) {
	_, one := list(200_000, 9)
	prefixes, other := list(200_000, 10)
	file := filepath.Join(t.TempDir(), "filter")
	if _, err := eager(t, file, &dying{strings.NewReader(one), 5 << 20})(); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	// The same beginning, and then another end.
	mixed := one[:len(one)/4] + other[3*len(other)/4:]
	mixed = mixed[:strings.LastIndex(mixed, "\n")+1]
	if _, err := Build(t.Context(), file, io.MultiReader(strings.NewReader(mixed)), Options{}); !errors.Is(err, ErrOther) {
		t.Errorf("a stream that differs from what was read: %v", err)
	}
	for _, text := range []string{mixed, other} {
		built, err := Build(t.Context(), file, strings.NewReader(text), Options{})
		if err != nil && text == other || built.Before != 0 {
			t.Errorf("it went on at %d, %v", built.Before, err)
		}
	}
	if !has(t, file, prefixes[0]) || !has(t, file, prefixes[len(prefixes)-1]) {
		t.Error("the other list is not in the filter")
	}
}

func TestADamagedFilterIsNoFilter(t *testing.T) {
	_, text := list(1000, 1)
	file, _ := build(t, text, Options{})
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"nothing":         {},
		"another header":  append([]byte("something else .."), good[17:]...),
		"a changed size":  append(append(slices.Clone(good[:24]), 0, 0, 0, 0, 0, 0, 0, 1), good[32:]...),
		"cut short":       good[:len(good)-9],
		"only its header": good[:headerSize],
	} {
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Look(file); !errors.Is(err, ErrFilter) {
			t.Errorf("%s: Look: %v", name, err)
		}
		if _, err := Has(file, 1<<63); !errors.Is(err, ErrFilter) && name != "cut short" {
			t.Errorf("%s: Has: %v", name, err)
		}
	}
	if _, err := Has(file+"-none", 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
}

func FuzzBuild(f *testing.F) {
	_, text := list(3, 1)
	f.Add(text)
	f.Add("\n:\n")
	f.Add(strings.Repeat("0", 40) + "\n" + strings.Repeat("0", 40))
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(t.TempDir(), "filter")
		if _, err := Build(t.Context(), file, strings.NewReader(text), Options{}); err != nil {
			return
		}
		for line := range strings.Lines(text) {
			prefix, _, err := parseLine([]byte(line))
			if err != nil || !has(t, file, prefix) {
				t.Errorf("%q is not found: %v", line, err)
			}
		}
	})
}

func FuzzContains(f *testing.F) {
	f.Add([]byte{0x55, 0xff, 0}, uint8(3), uint64(7))
	f.Fuzz(func(t *testing.T, codes []byte, rice uint8, want uint64) {
		contains(codes, rice%64, want) // it ends, and does not fall over
	})
}

func BenchmarkHas(b *testing.B) {
	_, text := list(1_000_000, 5)
	file, _ := build(b, text, Options{})
	r := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		has(b, file, r.Uint64())
	}
}

// BenchmarkBuild reads lines that are made as they are read.
func BenchmarkBuild(b *testing.B) {
	n := 2_000_000
	_, text := list(n, 5)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		build(b, text, Options{})
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}
