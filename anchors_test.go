package admit_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)

// anchor is how GitHub names a heading: in small letters, without punctuation.
func anchor(heading string) string {
	heading = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(heading, "$1")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(heading))
}

func TestLinksIntoAPageLeadToAHeading(t *testing.T) {
	anchors := map[string]map[string]bool{}
	texts := map[string]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || len(path) > 1 && d.Name()[0] == '.'):
			return fs.SkipDir
		case !strings.HasSuffix(path, ".md"):
			return nil
		}
		text, err := os.ReadFile(path)
		texts[path] = fenced.ReplaceAllString(string(text), "")
		anchors[path] = map[string]bool{}
		for _, m := range heading.FindAllStringSubmatch(texts[path], -1) {
			anchors[path][anchor(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for page, text := range texts {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(text, ""), -1) {
			file, name, ok := strings.Cut(m[1]+m[2], "#")
			if !ok || strings.Contains(file, ":") {
				continue
			}
			to := page
			if file != "" {
				to = filepath.Join(filepath.Dir(page), file)
			}
			if anchors[to] == nil {
				continue // no page, or none that is there: see the test of files
			}
			n++
			if !anchors[to][name] {
				t.Errorf("%s: %s has no heading %q", page, to, name)
			}
		}
	}
	if n < 10 {
		t.Errorf("%d links into pages: is the documentation found?", n)
	}
}
