package admit_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestNoLineOfTheASVSIsMissing(t *testing.T) {
	text, err := os.ReadFile("testdata/asvs-5.0.json")
	if err != nil {
		t.Fatal(err)
	}
	var levels map[string]int
	if err := json.Unmarshal(text, &levels); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("docs/security/asvs.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\| (V\d+\.\d+\.\d+) \| L(\d) \| (.*) \|$`).FindAllStringSubmatch(string(page), -1) {
		if lines[m[1]] != "" {
			t.Errorf("%s stands twice", m[1])
		}
		if fmt.Sprint(levels[m[1]]) != m[2] {
			t.Errorf("%s is said to be of level %s, and is of %d", m[1], m[2], levels[m[1]])
		}
		lines[m[1]] = m[3]
	}
	n := 0
	for id, level := range levels {
		if level > 2 {
			continue
		}
		n++
		line := lines[id]
		// TestTheDocumentationNamesOnlyTestsAndFilesThatExist looks for what is named.
		shown := named.MatchString(line) || strings.Contains(line, "](#")
		reason := regexp.MustCompile(`^not (applicable|yet): .{10}`).MatchString(line)
		if !shown && !reason {
			t.Errorf("%s has neither a test nor a reason: %q", id, line)
		}
		for _, m := range regexp.MustCompile(`\]\(#([a-z-]+)\)`).FindAllStringSubmatch(line, -1) {
			if heading := strings.ReplaceAll(m[1], "-", " "); !strings.Contains(strings.ToLower(string(page)), "### "+heading+"\n") {
				t.Errorf("%s leads to #%s, which is nowhere", id, m[1])
			}
		}
	}
	if n < 100 || len(lines) != n {
		t.Errorf("%d requirements of levels 1 and 2, and %d lines", n, len(lines))
	}
}
