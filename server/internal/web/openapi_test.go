package web

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/admit-auth/admit/problem"
)

var update = flag.Bool("update", false, "write the reference of the API anew")

// read decodes a body as the call does.
func (o *operation) read(body string) error {
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return problem.Read(r, reflect.New(o.do.body).Interface())
}

func TestWhatACallReadsIsWhatIsDescribed(t *testing.T) {
	all := operations()
	_, known := describe(all, "https://id.example.org", "__Host-admit")
	samples := map[string]string{"string": `"x"`, "boolean": "true", "integer": "1", "array": "[]", "object": "{}", "": "{}"}
	bodies := 0
	for _, o := range all {
		if o.do.body == nil {
			continue
		}
		bodies++
		of := known.resolve(known.of(o.do.body))
		described := map[string]bool{}
		for _, m := range of.Properties {
			described[m.Name] = true
			if err := o.read(fmt.Sprintf(`{%q: %s}`, m.Name, samples[m.Type])); err != nil {
				t.Errorf("%s: %s is described and refused: %v", o.call, m.Name, err)
			}
			if err := o.read(fmt.Sprintf(`{%q: %s}`, strings.ToUpper(m.Name), samples[m.Type])); !errors.Is(err, problem.ErrUnknown) {
				t.Errorf("%s: %s in capitals is not refused: %v", o.call, m.Name, err)
			}
		}
		for _, f := range reflect.VisibleFields(o.do.body) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" {
				name = f.Name
			}
			if f.IsExported() && !f.Anonymous && !described[name] && o.read(fmt.Sprintf(`{%q: null}`, name)) == nil {
				t.Errorf("%s: %s is read and not described", o.call, name)
			}
		}
		if err := o.read(o.example); err != nil {
			t.Errorf("%s: its example is refused: %v", o.call, err)
		}
		var example map[string]any
		if err := json.Unmarshal([]byte(o.example), &example); err != nil {
			t.Errorf("%s: its example is no object: %v", o.call, err)
		}
		for _, name := range of.Required {
			if _, ok := example[name]; !ok {
				t.Errorf("%s: its example lacks %s", o.call, name)
			}
		}
	}
	if bodies < 5 {
		t.Errorf("%d calls have a body", bodies)
	}
}

func TestEveryDeclarationIsWhole(t *testing.T) {
	ids := map[string]bool{}
	for _, o := range operations() {
		if o.id == "" || ids[o.id] || o.summary == "" || len(o.answers) == 0 || o.do.run == nil {
			t.Errorf("%s is not declared well", o.call)
		}
		ids[o.id] = true
		for _, e := range o.refuses {
			if textOf(e.Code()).Text != e.Error() {
				t.Errorf("%s: %s is not in problems.json", o.call, e.Code())
			}
		}
		for _, code := range o.general() {
			if textOf(code).Text == "" {
				t.Errorf("%s: %s is not in problems.json", o.call, code)
			}
		}
	}
	for code := range moreOf {
		if textOf(code).Text == "" {
			t.Errorf("more is said of %s, which is no code", code)
		}
	}
	for code := range refusals {
		if textOf(code).Text == "" {
			t.Errorf("%s is said in Chinese and is no code", code)
		}
	}
}

func TestReferenceOfTheAPIIsExact(t *testing.T) {
	const file = "../../../docs/reference/api.md"
	want := newManual(operations()).markdown()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("docs/reference/api.md is stale (%v): cd server && go test ./internal/web -run TestReferenceOfTheAPI -update", err)
	}
}

// markdown is the reference page.
func (m manual) markdown() string {
	var b strings.Builder
	b.WriteString(`<!-- Made from the program: cd server && go test ./internal/web -run TestReferenceOfTheAPI -update -->

# The JSON API

` + "`GET /openapi.json`" + ` describes it for programs (OpenAPI 3.1), and a running server shows this page at ` + "`/api`" + `. All three and the server's routes are made of one declaration of each call.

- A body is ` + "`application/json`" + ` in UTF-8, at most 64 KiB; a field that is not listed here is refused. Where no field is needed, a body may be left out.
- Times are RFC 3339 in UTC.
- A session is presented as the **cookie** that the answer sets or, with ` + "`\"as\": \"token\"`, as `Authorization: Bearer adm_s_…`. A request with an `Authorization`" + ` header is judged by that alone.
- With ` + "`\"as\": \"jwt\"`" + ` it is presented as a **JWT** that is good for five minutes and is [refreshed](../how-to/sign-in-from-an-app.md).
- A list gives ` + "`next` where there is more: the parameter `after`" + ` of the next call. A parameter that is not listed here is refused.
- The calls of administrators, under ` + "`/api/v1/admin/`, need the role `admin`. What they change is in the audit, in the same transaction, with who did it and the `reason`" + ` that was given.
- Each answer is ` + "`Cache-Control: no-store`. Each refusal is `application/problem+json`" + ` (RFC 9457) with a [code](problems.md).
- A request that changes something must come from a page of this origin (` + "`Sec-Fetch-Site`, `Origin`) or from no browser, or carry `Authorization: Bearer`. Pages of the exact origins in the setting `cors_origins`" + ` may use the API by CORS with tokens in that header; cookies are neither read nor set for them, and credentials are not allowed.

` + "```console\n$ curl -s localhost:8080/api/v1/signup --json '{\"identifier\":\"ann\",\"password\":\"correct horse battery\",\"as\":\"token\"}'\n" +
		`{"state":"signed_in","session":{"sid":"…","current":true,…},"user":{"id":"…",…},"token":"adm_s_…"}` + "\n" +
		"$ curl -s localhost:8080/api/v1/session -H 'Authorization: Bearer adm_s_…'\n" + `{"session":{…},"user":{…}}` + "\n```\n\n## Calls\n")
	list := func(all []manualMember) {
		b.WriteString("| field | | |\n|---|---|---|\n")
		for _, f := range all {
			what := f.Type
			if f.Optional {
				what += ", optional"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, what, f.Doc)
		}
	}
	for _, c := range m.Calls {
		fmt.Fprintf(&b, "\n### %s\n\n`%s`", c.Summary, c.Call)
		if c.Session {
			b.WriteString(", with a session")
		}
		b.WriteString("\n")
		if c.About != "" {
			b.WriteString("\n" + c.About + "\n")
		}
		if len(c.Query) > 0 {
			b.WriteString("\nIn the query:\n\n")
			list(c.Query)
		}
		if len(c.Members) > 0 {
			b.WriteString("\n")
			list(c.Members)
			fmt.Fprintf(&b, "\n```json\n%s\n```\n", c.Example)
		}
		b.WriteString("\n")
		for _, a := range c.Answers {
			fmt.Fprintf(&b, "- %d %s", a.Status, a.Means)
			if a.Object != "" {
				fmt.Fprintf(&b, ": [%s](#%s)", a.Object, strings.ToLower(a.Object))
			}
			b.WriteString("\n")
		}
		for _, r := range c.Refusals {
			fmt.Fprintf(&b, "- %d `%s`\n", r.Status, r.Code)
		}
	}
	b.WriteString("\nAny call may be refused with ")
	code := func(codes []string) string { return "`" + strings.Join(codes, "`, `") + "`" }
	fmt.Fprintf(&b, "%s; one with a body with %s; one that changes something with %s; one that needs a session with %s.\n",
		code(refusesAny), code(refusesBody), code(refusesUnsafe), code(refusesSession))
	b.WriteString("\n## Objects\n")
	for _, o := range m.Objects {
		fmt.Fprintf(&b, "\n### %s\n\n", o.Name)
		list(o.Members)
	}
	return b.String()
}
