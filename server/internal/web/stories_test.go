package web

import (
	"bytes"
	"context"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template/parse"

	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/password"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/db"
	"github.com/admit-auth/admit/server/internal/limit"
	"github.com/admit-auth/admit/session"
)

// newEdge returns a handler that is not in development.
func newEdge(t testing.TB, theme *Theme) (*Edge, error) {
	t.Helper()
	store, err := db.Open(context.Background(), filepath.Join(t.TempDir(), "admit.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	keys, err := cookie.ParseKeys(cookie.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	passwords, err := password.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	accounts, err := account.New(store, account.Options{
		Passwords: passwords, Limiter: limit.New(), Keys: keys, CanMail: true, CanText: true, PublicURL: "https://id.example.org", Signing: newSigning(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := session.New[Data](session.NewMemory(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	return New(Options{
		Accounts: accounts, Sessions: sessions, Keys: keys, PublicURL: "https://id.example.org", Theme: theme,
		CookieName: func(name string) string { return "__Host-" + name },
		Log:        slog.New(slog.NewTextHandler(io.Discard, nil)), Ready: func(context.Context) error { return nil },
	})
}

// tell returns a story as browsers get it.
func tell(t testing.TB, e *Edge, v *views, s story, lang string) string {
	t.Helper()
	c := e.teller(v, lang, httptest.NewRequest("GET", "/dev/stories/"+s.name, nil))
	c.strict = true
	var b bytes.Buffer
	if err := c.render(&b, s.page(c)); err != nil {
		t.Fatalf("%s in %s: %v", s.name, lang, err)
	}
	return b.String()
}

func TestEveryStoryLooksAsItDid(t *testing.T) {
	e, err := newEdge(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	digest := regexp.MustCompile(`(/static/\w+)-[0-9a-f]{16}`)
	kept := map[string]bool{}
	for _, s := range stories {
		for _, l := range languages {
			got := digest.ReplaceAllString(tell(t, e, e.look, s, l.Tag), "$1")
			file := filepath.Join("testdata", "stories", s.name+"."+l.Tag+".html")
			kept[file] = true
			if *update {
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil || string(want) != got {
				t.Errorf("%s is not what the page is now (%v): look at it, then go test ./internal/web -run Story -update", file, err)
			}
		}
	}
	files, _ := filepath.Glob("testdata/stories/*")
	for _, file := range files {
		if kept[file] {
			continue
		}
		if *update {
			os.Remove(file)
		} else {
			t.Errorf("%s is of no story", file)
		}
	}
}

// Each branch of each template gets a call that notes that a story came by.
func TestEveryStateOfEveryTemplateHasAStory(t *testing.T) {
	e, err := newEdge(t, &Theme{Links: []Link{{URL: "/help", Text: map[string]string{"en": "Help", "zh-CN": "帮助"}}}, CSS: []byte("/**/")})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	funcs := template.FuncMap{"seen": func(id string) string { seen[id] = true; return "" }}
	v := e.look
	names, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		t.Fatal(err)
	}
	all := template.New("").Funcs(v.phrasesIn("en")).Funcs(funcs)
	where := map[string]string{} // branches, and a few words of each
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		builtins := map[string]any{"and": 1, "or": 1, "not": 1, "eq": 1, "ne": 1, "lt": 1, "gt": 1, "len": 1, "index": 1, "printf": 1}
		for fn := range v.phrasesIn("en") {
			builtins[fn] = 1
		}
		trees, err := parse.Parse(name, string(text), "", "", builtins)
		if err != nil {
			t.Fatal(err)
		}
		for define, tree := range trees {
			if define == name || tree.Root == nil {
				continue
			}
			note(tree, tree.Root, where)
			if _, err := all.AddParseTree(define, tree); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(where) < 50 {
		t.Fatalf("%d branches found", len(where))
	}
	plain, err := newViews(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []*views{v, plain} {
		of.templates["en"] = all
		for _, s := range stories {
			tell(t, e, of, s, "en")
		}
	}
	for id, words := range where {
		if !seen[id] && !strings.HasPrefix(words, "else of .Form in templates/frame.html") { // with changes the dot there; a form is never without one
			t.Errorf("no story shows %s", words)
		}
	}
}

// note puts a call into each list of a template's nodes that may not be shown.
func note(tree *parse.Tree, list *parse.ListNode, where map[string]string) {
	branch := func(of string, l *parse.ListNode, always bool) *parse.ListNode {
		if l == nil {
			if !always {
				return nil
			}
			l = &parse.ListNode{NodeType: parse.NodeList}
		}
		note(tree, l, where)
		id := fmt.Sprintf("b%d", len(where))
		where[id] = fmt.Sprintf("%s in %s %q: %.60s", of, tree.ParseName, tree.Name, l.String())
		calls, err := parse.Parse("n", `{{seen "`+id+`"}}`, "", "", map[string]any{"seen": 1})
		if err != nil {
			panic(err)
		}
		l.Nodes = append(l.Nodes, calls["n"].Root.Nodes...)
		return l
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.IfNode:
			n.List, n.ElseList = branch("if "+n.Pipe.String(), n.List, true), branch("else of "+n.Pipe.String(), n.ElseList, inText(n.List))
		case *parse.WithNode:
			n.List, n.ElseList = branch("with "+n.Pipe.String(), n.List, true), branch("else of "+n.Pipe.String(), n.ElseList, inText(n.List))
		case *parse.RangeNode:
			n.List, n.ElseList = branch("range "+n.Pipe.String(), n.List, true), branch("else of "+n.Pipe.String(), n.ElseList, false)
		}
	}
}

// inText reports whether a branch shows something, so that its absence is a
// state too: not the attributes of a tag, where a call would stand in a name.
func inText(l *parse.ListNode) bool { return strings.Contains(l.String(), "<") }

func TestEveryPageHasAStory(t *testing.T) {
	e, err := newEdge(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, s := range stories {
		c := e.teller(e.look, "en", httptest.NewRequest("GET", "/", nil))
		told[s.page(c).Name] = true
	}
	text := sources(t, "*.go")
	pages := regexp.MustCompile(`c\.(?:page|member)\("(\w+)"\)|&page\{Name: "(\w+)"`).FindAllStringSubmatch(text, -1)
	if len(pages) < 10 {
		t.Fatalf("%d pages found", len(pages))
	}
	for _, m := range pages {
		if name := m[1] + m[2]; !told[name] {
			t.Errorf("the page %s has no story", name)
		}
	}
	names := map[string]bool{}
	for _, s := range stories {
		if names[s.name] {
			t.Errorf("two stories are named %s", s.name)
		}
		names[s.name] = true
	}
}

func TestEveryFaultHasAWayOn(t *testing.T) {
	e, err := newEdge(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	for status := 400; status < 600; status++ {
		c := e.teller(e.look, "en", httptest.NewRequest("GET", "/account?secret=1", nil))
		ways := c.waysOn(status)
		if len(ways) == 0 || slices.ContainsFunc(ways, func(l link) bool { return l.Text == "" || strings.Contains(l.URL, "secret") }) {
			t.Errorf("the ways on from %d are %v", status, ways)
		}
	}
}

func TestTheFirstViewIsSmall(t *testing.T) {
	e, err := newEdge(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest("GET", "https://id.example.org/signin", nil))
	if w.Code != 200 {
		t.Fatalf("/signin: %d", w.Code)
	}
	sum := w.Body.Len()
	for _, m := range regexp.MustCompile(`/static/[^"]+`).FindAllString(w.Body.String(), -1) {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest("GET", "https://id.example.org"+m, nil))
		if w.Code != 200 {
			t.Errorf("%s: %d", m, w.Code)
		}
		sum += w.Body.Len()
	}
	if sum > 60_000 {
		t.Errorf("the first view is %d bytes", sum)
	}
}

func BenchmarkPage(b *testing.B) {
	e, err := newEdge(b, nil)
	if err != nil {
		b.Fatal(err)
	}
	r := httptest.NewRequest("GET", "https://id.example.org/signin", nil)
	b.ReportAllocs()
	for b.Loop() {
		e.ServeHTTP(discard{http.Header{}}, r)
	}
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// signing is one key that signs access tokens.
type signing struct {
	key *jose.Key
	set *jose.KeySet
}

func newSigning(t testing.TB) *signing {
	t.Helper()
	key, err := jose.GenerateKey(jose.ES256, "")
	if err != nil {
		t.Fatal(err)
	}
	return &signing{key, jose.NewKeySet(key)}
}

func (s *signing) Signing() *jose.Key { return s.key }

func (s *signing) KeySet(context.Context, string) (*jose.KeySet, error) { return s.set, nil }

func TestOnlyWhoOpenedALinkIsToldOfTheAdministrators(t *testing.T) {
	e, err := newEdge(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stories {
		opened := s.name == "fault-gone"
		if told := strings.Contains(tell(t, e, e.look, s, "en"), "administrator&#39;s link"); told != opened {
			t.Errorf("%s: told is %t", s.name, told)
		}
	}
}
