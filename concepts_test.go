package admit_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	proof   = regexp.MustCompile("`((?:Test|Fuzz|Example)_?\\w+)`")
	snippet = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")
	program = regexp.MustCompile(`\]\((\.\./\.\./[^)#]+\.(?:go|txt|txtar))\)`)
)

// matches returns the first group of every match, sorted and each once.
func matches(re *regexp.Regexp, text string) []string {
	found := map[string]bool{}
	for _, m := range re.FindAllStringSubmatch(text, -1) {
		found[m[1]] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// flat is a text without the white space that begins and ends its lines.
func flat(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

// The pages of the concepts make claims. Each names what proves it, in a file
// that the page links to. What they show of programs is compiled and run: it
// stands in such a file. Both languages prove the same.
func TestThePagesOfTheConceptsLeadToTheirProofsInBothLanguages(t *testing.T) {
	const dir, chinese = "docs/concepts/", ".zh-CN.md"
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
	pages, err := filepath.Glob(dir + "*.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, path := range pages {
		text, page := read(path), filepath.Base(path)
		name, zh := strings.CutSuffix(page, chinese)
		contents := "README" + chinese
		if !zh {
			name, contents = strings.TrimSuffix(page, ".md"), "README.md"
		}
		if name != "README" && !strings.Contains(read(dir+contents), "("+page+")") {
			t.Errorf("%s is not in the contents", page)
		}
		proofs, programs := matches(proof, text), matches(program, text)
		shown := snippet.FindAllStringSubmatch(text, -1)
		if len(proofs) == 0 {
			t.Errorf("%s proves nothing", page)
		}
		n += len(proofs)

		code := ""
		for _, target := range programs {
			code += "\n" + flat(read(dir+target))
		}
		for _, p := range proofs {
			if !strings.Contains(code, "\nfunc "+p+"(") {
				t.Errorf("%s: no file that it links to has %s", page, p)
			}
		}
		for _, s := range shown {
			if !strings.Contains(code, flat(s[1])) {
				t.Errorf("%s: no file that it links to has this:\n%s", page, s[1])
			}
		}

		other := dir + name + chinese
		if zh {
			other = dir + name + ".md"
		}
		twin := read(other)
		if got := matches(proof, twin); !slices.Equal(got, proofs) {
			t.Errorf("%s names %q,\n%s %q", page, proofs, other, got)
		}
		if got := matches(program, twin); !slices.Equal(got, programs) {
			t.Errorf("%s links to %q,\n%s to %q", page, programs, other, got)
		}
		if got := snippet.FindAllStringSubmatch(twin, -1); len(got) != len(shown) {
			t.Errorf("%s shows %d programs, %s %d", page, len(shown), other, len(got))
		}
	}
	if n < 200 {
		t.Errorf("%d proofs are named: are the pages found?", n)
	}
}
