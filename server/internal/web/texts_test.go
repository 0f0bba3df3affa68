package web

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// sources returns the text of the files that match.
func sources(t *testing.T, patterns ...string) string {
	t.Helper()
	var all strings.Builder
	for _, pattern := range patterns {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("no files are %s: %v", pattern, err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(b)
		}
	}
	return all.String()
}

func TestEveryPhraseStandsInBothLanguagesWithTheSamePlaces(t *testing.T) {
	verbs := regexp.MustCompile(`%(\[\d\])?[a-z]`)
	for name, p := range merged(phrases, events, reasons) {
		if p.en == "" || p.zh == "" {
			t.Errorf("%s lacks a language", name)
		}
		en, zh := verbs.FindAllString(p.en, -1), verbs.FindAllString(p.zh, -1)
		if len(en) != len(zh) {
			t.Errorf("%s: %q and %q do not take the same", name, p.en, p.zh)
			continue
		}
		for i := range en {
			if en[i] != zh[i] && !strings.Contains(en[i], "[") {
				t.Errorf("%s: %q and %q take things in another order", name, p.en, p.zh)
			}
		}
		han := regexp.MustCompile(`\p{Han}`)
		words := regexp.MustCompile(`\p{L}`).MatchString(verbs.ReplaceAllString(p.zh, ""))
		if han.MatchString(p.en) || words && !han.MatchString(p.zh) {
			t.Errorf("%s: %q and %q are in the wrong language", name, p.en, p.zh)
		}
	}
}

func merged(all ...map[string]phrase) map[string]phrase {
	out := map[string]phrase{}
	for _, each := range all {
		for name, p := range each {
			out[name] = p
		}
	}
	return out
}

func TestEveryPhraseIsThereAndUsed(t *testing.T) {
	text := sources(t, "*.go", "templates/*.html")
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?:say\(|say |say\(m\.lang, |newPassword\("\w+", )"([a-z.]+)"`).FindAllStringSubmatch(text, -1) {
		used[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`c\.done\("(\w+)"`).FindAllStringSubmatch(text, -1) {
		used["done."+m[1]] = true
	}
	for _, m := range regexp.MustCompile(`c\.(?:page|member)\("(\w+)"\)`).FindAllStringSubmatch(text, -1) {
		used[m[1]+".title"] = true
	}
	for name := range used {
		if _, ok := phrases[name]; !ok && !strings.HasSuffix(name, ".") {
			t.Errorf("the pages say %s, which is no phrase", name)
		}
	}
	for name := range phrases {
		if !used[name] && !strings.HasPrefix(name, "status.") {
			t.Errorf("nothing says %s", name)
		}
	}
}

// One without would end in a panic, and be 500 to who brought it about.
func TestEveryStatusOfARefusalHasATitle(t *testing.T) {
	named := map[string]int{}
	for status := 400; status < 600; status++ {
		named[strings.ReplaceAll(http.StatusText(status), " ", "")] = status
	}
	all := regexp.MustCompile(`http\.Status(\w+),`).FindAllStringSubmatch(sources(t, "../../../problem/problem.go"), -1)
	if len(all) < 10 {
		t.Fatalf("%d statuses found", len(all))
	}
	for _, m := range all {
		status := named[m[1]]
		if _, ok := phrases["status."+strconv.Itoa(status)]; !ok {
			t.Errorf("no page is titled for status %d, %s", status, m[1])
		}
	}
}

// Not for people who use a browser: refusals of the library to its programs,
// and of the operator's commands.
var unseen = map[string]bool{
	"cannot_list": true, "no_guard": true, "record_not_found": true, "record_changed": true, "record_too_large": true, "record_not_text": true,
	"hash_malformed": true, "id_malformed": true, "role_malformed": true, "unknown_field": true, "as_unsupported": true,
	"bad_theme": true, "bad_message_template": true, "external_id_malformed": true, "already_there": true, "two_users": true, "factor_malformed": true, "import_moved": true,
	"hash_insecure": true, "cookie_unsupported": true, "signed_in": true, "not_ready": true, "jwt_cookie_unsupported": true, "unknown_status_list": true,
	"unknown_client": true, "client_taken": true, "client_ending": true, "client_without_secret": true, "too_many_secrets": true, "overlap_malformed": true,
}

func TestEveryRefusalStandsInChinese(t *testing.T) {
	const phrased = "password_too_short" // says how many it wants
	text := sources(t, "*.go", "../account/*.go", "../../../session/*.go", "../../../password/*.go", "../../../problem/*.go")
	codes := regexp.MustCompile(`admit\.[A-Z]\w+\.New\("(\w+)"`).FindAllStringSubmatch(text, -1)
	if len(codes) < 30 {
		t.Fatalf("%d refusals found", len(codes))
	}
	for _, m := range codes {
		if r := refusals[m[1]]; r.Text == "" && !unseen[m[1]] && m[1] != phrased {
			t.Errorf("%s is not said in Chinese", m[1])
		}
	}
}

func TestEveryEventOfTheAuditHasAName(t *testing.T) {
	text := sources(t, "*.go", "../account/*.go")
	found := regexp.MustCompile(`Event: +"(\w+)"`).FindAllStringSubmatch(text, -1)
	found = append(found, regexp.MustCompile(`s\.change\(ctx, \w+, by, "(\w+)"`).FindAllStringSubmatch(text, -1)...)
	found = append(found, regexp.MustCompile(`(?:\.mark\(|\.own\(ctx, a, |\.factorChanged\(tx, a, user, )"(\w+)"`).FindAllStringSubmatch(text, -1)...)
	found = append(found, regexp.MustCompile(`\.Record\((?:c\.)?now, [\w."]+, "(\w+)"`).FindAllStringSubmatch(text, -1)...)
	if len(found) < 20 {
		t.Fatalf("%d events found", len(found))
	}
	for _, m := range found {
		if _, ok := events[m[1]]; !ok {
			t.Errorf("the event %s has no name", m[1])
		}
	}
}

func TestEveryReasonThatEndsASessionIsTold(t *testing.T) {
	text := sources(t, "*.go", "../account/own.go", "../../*.go")
	found := regexp.MustCompile(`(?:EndAll|EndSID|EndAny|EndEveryone)\(.*"(\w+)"\)`).FindAllStringSubmatch(text, -1)
	found = append(found, regexp.MustCompile(`return "(\w+)", nil`).FindAllStringSubmatch(text, -1)...)
	if len(found) < 8 {
		t.Fatalf("%d reasons found", len(found))
	}
	for _, m := range found {
		// What overtook a session is told as what happened: the password changed.
		if _, ok := reasons[m[1]]; !ok && m[1] != "overtaken" {
			t.Errorf("a session may end because of %s, which is not told", m[1])
		}
	}
}

func TestTemplatesHoldNoScriptAndNoStyle(t *testing.T) {
	text := sources(t, "templates/*.html")
	for _, ours := range []string{`<script src="{{.Script}}" defer></script>`, `<script src="{{.PasskeyScript}}" defer></script>`} { // from files of ours
		if strings.Count(text, ours) != 1 {
			t.Error("the frame lacks a script")
		}
		text = strings.Replace(text, ours, "", 1)
	}
	for _, bad := range []string{"<script", "<style", "style=", "javascript:", "onclick", "http://", "https://"} {
		if strings.Contains(text, bad) {
			t.Errorf("a template has %q", bad)
		}
	}
	if _, err := fs.Stat(files, "static/admit.css"); err != nil {
		t.Error(err)
	}
}
