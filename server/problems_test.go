package server_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/problem"
)

var update = flag.Bool("update", false, "write what is made of the source anew")

// A sentinel is a refusal that stands in the source.
type sentinel struct {
	Code     string `json:"code"`
	Kind     string `json:"kind"`
	Status   int    `json:"status"`
	Text     string `json:"text"`
	Hint     string `json:"hint,omitempty"`
	Terminal bool   `json:"terminal,omitempty"`
	at       string
}

var kindNames = map[string]admit.Kind{
	"Internal": admit.Internal, "Invalid": admit.Invalid, "Unauthenticated": admit.Unauthenticated, "Forbidden": admit.Forbidden,
	"NotFound": admit.NotFound, "Conflict": admit.Conflict, "RateLimited": admit.RateLimited, "Unavailable": admit.Unavailable,
}

// sentinels returns every admit.Kind.New of the library and of this module.
func sentinels(t *testing.T) []sentinel {
	t.Helper()
	var all []sentinel
	files := token.NewFileSet()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if name := d.Name(); slices.Contains([]string{"bench", "conformance", "examples", "testdata", "docs", "node_modules"}, name) || len(name) > 2 && name[0] == '.' {
				return fs.SkipDir
			}
			return nil
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		terminal := filepath.Dir(path) == filepath.Join("..", "server") || strings.Contains(path, filepath.Join("internal", "cli"))
		hints := map[ast.Expr]string{}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			to, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if to.Sel.Name == "WithHint" {
				hints[to.X] = literal(call.Args[0])
				return true
			}
			if to.Sel.Name != "New" || len(call.Args) != 2 {
				return true
			}
			name, ok := kindOf(to.X, f.Name.Name)
			k, known := kindNames[name]
			if !ok || !known {
				return true
			}
			s := sentinel{
				Code: literal(call.Args[0]), Kind: name, Text: literal(call.Args[1]), Hint: hints[call], Terminal: terminal,
				at: files.Position(call.Pos()).String(),
			}
			if s.Code == "" || s.Text == "" {
				t.Errorf("%s: a code and a sentence are written out, so that they can be listed", s.at)
			}
			s.Status = problem.Of(k.New(s.Code, s.Text)).Status
			all = append(all, s)
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 60 {
		t.Fatalf("%d sentinels found", len(all))
	}
	return all
}

// kindOf returns the name of a kind of package admit: admit.Invalid, or Invalid
// in the package itself.
func kindOf(e ast.Expr, in string) (name string, ok bool) {
	if id, is := e.(*ast.Ident); is && in == "admit" {
		return id.Name, true
	}
	kind, is := e.(*ast.SelectorExpr)
	if !is {
		return "", false
	}
	pkg, is := kind.X.(*ast.Ident)
	return kind.Sel.Name, is && pkg.Name == "admit"
}

// literal returns the text of string literals, also added up.
func literal(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, _ := strconv.Unquote(e.Value) // not text: ""
		return text
	case *ast.BinaryExpr:
		a, b := literal(e.X), literal(e.Y)
		if a == "" || b == "" {
			return ""
		}
		return a + b
	}
	return ""
}

// codes returns the sentinels by code, and fails where two share a code and say
// different things: a code would not tell what happened.
func codes(t *testing.T) []sentinel {
	t.Helper()
	byCode := map[string]sentinel{}
	for _, s := range sentinels(t) {
		if was, there := byCode[s.Code]; there && (was.Kind != s.Kind || was.Text != s.Text || was.Hint != s.Hint) {
			t.Errorf("%s: %s says %q (%s), and at %s %q (%s)", s.at, s.Code, s.Text, s.Kind, was.at, was.Text, was.Kind)
		} else if there {
			s.Terminal = s.Terminal && was.Terminal
		}
		byCode[s.Code] = s
	}
	var all []sentinel
	for _, s := range byCode {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b sentinel) int { return strings.Compare(a.Code, b.Code) })
	return all
}

// made holds a file against what it is made to, or writes it.
func made(t *testing.T, name string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != string(want) {
		t.Errorf("%s is stale (%v): go test -run TestEveryCodeIsListedAndSaysOneThing -update .", name, err)
	}
}

func TestEveryCodeIsListedAndSaysOneThing(t *testing.T) {
	all := codes(t)
	var list strings.Builder
	list.WriteString("[\n")
	for i, s := range all {
		line, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		list.Write(line)
		if i < len(all)-1 {
			list.WriteByte(',')
		}
		list.WriteByte('\n')
	}
	list.WriteString("]\n")
	made(t, "internal/web/problems.json", []byte(list.String()))

	var page strings.Builder
	page.WriteString(`<!-- Made from the source: cd server && go test -run TestEveryCodeIsListedAndSaysOneThing -update . -->

# Codes

Every refusal has a code that does not change, and says one thing: on a page, in an answer of [the API](api.md), at the terminal. The
sentences may change. A server explains each code at ` + "`/problems/CODE`" + `, where the ` + "`type`" + ` of its answers leads.

## In answers

429 and 503 come with ` + "`Retry-After`" + `. A part that is away is never told as 401: a client may throw its session away on 401, and only then;
not on ` + "`proof_needed`" + `, which says how to go on.

| status | code | kind | what it says | what to do |
|---|---|---|---|---|
`)
	row := func(s sentinel) {
		if !s.Terminal {
			fmt.Fprintf(&page, "| %d ", s.Status)
		}
		fmt.Fprintf(&page, "| `%s` | %s | %s | %s |\n", s.Code, kindNames[s.Kind].Error(), s.Text, s.Hint)
	}
	answers := slices.DeleteFunc(slices.Clone(all), func(s sentinel) bool { return s.Terminal })
	slices.SortStableFunc(answers, func(a, b sentinel) int { return a.Status - b.Status })
	for _, s := range answers {
		row(s)
	}
	page.WriteString("\n## At the terminal only\n\n| code | kind | what it says | what to do |\n|---|---|---|---|\n")
	for _, s := range all {
		if s.Terminal {
			row(s)
		}
	}
	made(t, "../docs/reference/problems.md", []byte(page.String()))
}
