package server_test

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
)

// themeOf writes the files of a theme.
func themeOf(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "theme")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	writeTheme(t, dir, files)
	return dir
}

func writeTheme(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAThemeIsReadAgainAndABrokenOneIsNot(t *testing.T) {
	dir := themeOf(t, map[string]string{
		"theme.yaml":            "name: Example\naccent: '#4338ca'\nlinks:\n  - {url: https://example.org/help, en: Help, zh-CN: 帮助}\n",
		"texts/zh-CN.yaml":      "signin.title: 请进\n",
		"templates/bottom.html": `{{define "bottom"}}</main><p>by us</p></body></html>{{end}}`,
		"logo.svg":              "<svg/>",
		"theme.css":             "main{}",
	})
	if errs := server.CheckConfig("", nil, map[string][]string{"theme": {dir}}); len(errs) > 0 {
		t.Errorf("CheckConfig: %v", errs)
	}
	themed := func(c *server.Config) { c.Theme = dir }
	s := newSite(t, themed)
	c := s.client()
	c.page("GET", "/signin", nil).want(200).says("Sign in · Example", "by us")
	c.page("GET", "/signin?lang=zh-CN", nil)
	c.page("GET", "/signin", nil).want(200).says("请进 · Example")
	css := regexp.MustCompile(`/static/theme-\w+\.css`).FindString(string(c.page("GET", "/signin", nil).body))

	writeTheme(t, dir, map[string]string{"theme.yaml": "name: Other\n"})
	if _, err := s.reread(themed); err != nil {
		t.Fatal(err)
	}
	c.page("GET", "/signin", nil).want(200).says("请进 · Other")
	c.page("GET", css, nil).want(200) // of pages that are open
	writeTheme(t, dir, map[string]string{"templates/bottom.html": `{{define "bottom"}}{{.Nothing}}{{end}}`})
	if _, err := s.reread(themed); !errors.Is(err, admit.Invalid) {
		t.Errorf("a reload with a broken template: %v", err)
	}
	c.page("GET", "/signin", nil).want(200).says("请进 · Other", "by us")
	c.page("POST", "/signup", url.Values{"identifier": {"ann"}, "password": {goodPassword}}).leads("/account")
}

func TestAThemeThatCannotBeUsedIsToldByItsFileAndLine(t *testing.T) {
	for _, tt := range []struct {
		name       string
		file, text string
		says       string
	}{
		{"a setting that is none", "theme.yaml", "name: A\ncolor: red\n", "theme.yaml:2: "},
		{"a setting twice", "theme.yaml", "name: A\nname: B\n", "theme.yaml:2: "},
		{"a setting of another kind", "theme.yaml", "name: [A]\n", "theme.yaml:1: "},
		{"no YAML", "theme.yaml", "name: [\n", "line 1"},
		{"a list", "theme.yaml", "- name\n", "theme.yaml:1: "},
		{"an accent that nobody can read", "theme.yaml", "\n\naccent: '#ffe000'\n", "theme.yaml:3: "},
		{"a link that is a script", "theme.yaml", "links:\n  - {url: 'javascript:alert(1)', en: Help, zh-CN: 帮助}\n", "theme.yaml:2: "},
		{"a link without Chinese", "theme.yaml", "links:\n  - {url: /help, en: Help}\n", "zh-CN"},
		{"a text that is none", "texts/en.yaml", "signin.title: A\nsignin.titel: B\n", "en.yaml:2: "},
		{"a text with one place too many", "texts/en.yaml", "signin.title: '%s'\n", "en.yaml:1: "},
		{"a language that is not ours", "texts/de.yaml", "signin.title: A\n", "de.yaml"},
		{"a template that is not closed", "templates/a.html", "{{define \"signin\"}}\n{{if .Form}}", "a.html:2"},
		{"a form that cannot be filled in", "templates/a.html", `{{define "signin"}}closed{{end}}`, "signin"},
		{"a file that is far too large", "theme.css", strings.Repeat("a", 2<<20), "theme.css"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := themeOf(t, map[string]string{tt.file: tt.text})
			_, err := server.New(t.Context(), server.Config{Data: t.TempDir(), Dev: true, Theme: dir})
			if !errors.Is(err, admit.Invalid) || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("New: %v, want it to say %q", err, tt.says)
			}
			told := server.CheckConfig("", nil, map[string][]string{"theme": {dir}})
			if len(told) != 1 || told[0].Error() != err.Error() {
				t.Errorf("CheckConfig: %v, want %v", told, err)
			}
		})
	}
	if _, err := server.New(t.Context(), server.Config{Data: t.TempDir(), Dev: true, Theme: filepath.Join(t.TempDir(), "none")}); !errors.Is(err, admit.Invalid) {
		t.Errorf("New with a folder that is not there: %v", err)
	}
}

func TestStoriesAreForWhoStartedTheServer(t *testing.T) {
	s := newSite(t)
	c := s.client()
	c.page("GET", "/dev/stories", nil).want(403)
	c.page("GET", "/dev/stories/signin", nil).want(403)
	c.page("GET", "/dev/inbox?key="+devKey, nil)
	c.page("GET", "/dev/stories", nil).want(200).says("/dev/stories/signin-ended")
	c.page("GET", "/dev/stories/signin-ended?dir=rtl", nil).want(200).says(`dir="rtl"`, "This session has been ended.", "look at your activity")
	c.page("GET", "/dev/stories/nothing", nil).want(404)
	newSite(t, func(c *server.Config) { c.Dev = false }).client().page("GET", "/dev/stories/signin", nil).want(404)
}

func TestTheSignInPageSaysWhyASessionIsThereNoMore(t *testing.T) {
	s := newSite(t)
	s.signedUp("ann")
	one, other := s.client(), s.client()
	in := url.Values{"identifier": {"ann"}, "password": {goodPassword}}
	one.page("POST", "/signin", in).leads("/account")
	other.page("POST", "/signin", in).leads("/account")
	other.page("POST", "/account/sessions", url.Values{"all": {"others"}})
	one.page("GET", "/account", nil).leads("/signin?return_to=%2Faccount")
	one.page("GET", "/signin?return_to=%2Faccount", nil).want(200).says(`role="status"`, "look at your activity and change your password")
}
