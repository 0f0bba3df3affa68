package web

import (
	"errors"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func TestAThemeShowsItsNameItsTextsAndItsTemplates(t *testing.T) {
	e, err := newEdge(t, &Theme{
		Name: "Example", Accent: "#4338ca", Logo: []byte("<svg/>"), LogoKind: "image/svg+xml", CSS: []byte("body{}"),
		Links:     []Link{{URL: "https://example.org/help", Text: map[string]string{"en": "Help", "zh-CN": "帮助"}}},
		Texts:     []Text{{"en", "signin.title", "Come in", "en.yaml:1"}},
		Templates: []Source{{"bottom.html", `{{define "bottom"}}</main><footer>by Example</footer></body></html>{{end}}`}},
	})
	if err != nil {
		t.Fatal(err)
	}
	page := get(t, e, "/signin")
	for _, want := range []string{"<title>Come in · Example</title>", "<h1>Come in</h1>", "<footer>by Example</footer>", "/static/logo-", "/static/theme-"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s:\n%s", want, page)
		}
	}
	css := get(t, e, regexp.MustCompile(`/static/theme-\w+\.css`).FindString(page))
	if !strings.Contains(css, "--accent:#4338ca") || !strings.HasSuffix(css, "body{}") {
		t.Errorf("theme.css is %q", css)
	}
}

func get(t *testing.T, e *Edge, path string) string {
	t.Helper()
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest("GET", "https://id.example.org"+path, nil))
	if w.Code != 200 {
		t.Fatalf("%s: %d", path, w.Code)
	}
	return w.Body.String()
}

func TestAThemeThatIsNoGoodIsRefused(t *testing.T) {
	source := func(text string) *Theme { return &Theme{Templates: []Source{{"x/signin.html", text}}} }
	for _, tt := range []struct {
		name  string
		theme *Theme
		says  string
	}{
		{"an accent that nobody can read", &Theme{Accent: "#f2b84b", Where: "theme.yaml:2"}, "theme.yaml:2: "},
		{"an accent that is no colour", &Theme{Accent: "green"}, "no colour"},
		{"a dark accent that nobody can read", &Theme{Accent: "#0b6e63", AccentDark: "#0b6e63"}, "accent_dark"},
		{"a text that is not ours", &Theme{Texts: []Text{{"en", "sigin.title", "Come in", "en.yaml:7"}}}, "en.yaml:7: "},
		{"a text without its place", &Theme{Texts: []Text{{"en", "home.hello", "Hello", "en.yaml:8"}}}, `"You are signed in as %s."`},
		{"a template that does not parse", source("\n{{define \"signin\"}}{{if}}{{end}}"), "x/signin.html:2"},
		{"a template that calls what is not there", source("\n\n{{define \"signin\"}}{{.Nothing}}{{end}}"), "x/signin.html:3"},
		{"a template that says what is not there", source(`{{define "signin"}}{{say "nothing"}}{{end}}`), "no phrase nothing"},
		{"a sign-in without a password", source(`{{define "signin"}}<form method="post" action="/signin"><input name="identifier"></form>{{end}}`), `without name="password"`},
		{"a script that html/template cannot make safe", source(`{{define "signin"}}<a href="{{if .Form}}"{{end}}>{{end}}`), "x/signin.html:1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := newEdge(t, tt.theme); !errors.Is(err, ErrTheme) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("New: %v, want it to say %q", err, tt.says)
			}
		})
	}
}

// What no story shows may still go wrong with what is real.
func TestAPageThatAThemeCannotShowIsOurs(t *testing.T) {
	e, err := newEdge(t, &Theme{Templates: []Source{{"x.html", `{{define "signin"}}{{template "top" .}}{{template "form" .}}{{if eq .Path "/signin"}}{{.Nothing}}{{end}}{{end}}`}}})
	if err != nil {
		t.Fatal(err)
	}
	if page := get(t, e, "/signin"); !strings.Contains(page, "<h1>Sign in</h1>") || strings.Count(page, "<!doctype") != 1 {
		t.Errorf("the page is\n%s", page)
	}
}

func TestFilesOfTheThemeBeforeAreStillThere(t *testing.T) {
	e, err := newEdge(t, &Theme{CSS: []byte("a{}")})
	if err != nil {
		t.Fatal(err)
	}
	css := regexp.MustCompile(`/static/theme-\w+\.css`).FindString(get(t, e, "/signin"))
	o := e.Options
	o.Theme, o.Before = &Theme{CSS: []byte("b{}")}, e
	if e, err = New(o); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(get(t, e, "/signin"), css) {
		t.Error("the page asks for the file of the theme before")
	}
	if got := get(t, e, css); got != "a{}" {
		t.Errorf("%s is %q", css, got)
	}
}

func TestColoursAreComparedAsWCAGSays(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want float64
	}{{"#000000", "#ffffff", 21}, {"#777777", "#ffffff", 4.48}, {"#0b6e63", "#f5f2eb", 5.5}} {
		a, _ := parseColour(tt.a)
		b, _ := parseColour(tt.b)
		if got := contrast(a, b); got < tt.want-.05 || got > tt.want+.05 {
			t.Errorf("%s on %s is %.2f, want %.2f", tt.a, tt.b, got, tt.want)
		}
	}
}

func FuzzColour(f *testing.F) {
	f.Add("#0b6e63")
	f.Add("#0B6E6")
	f.Add("#+1+2+3")
	f.Fuzz(func(t *testing.T, text string) {
		c, ok := parseColour(text)
		if ok && !strings.EqualFold(c.String(), text) {
			t.Errorf("%q is read as %s", text, c)
		}
	})
}
