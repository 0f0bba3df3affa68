package web

import (
	"cmp"
	"html/template"
	"net/http"
	"slices"
	"strings"
)

// A manual is what the page /api and docs/reference/api.md are made of.
type manual struct {
	Calls   []manualCall
	Objects []manualObject
}

type manualCall struct {
	ID, Call, Summary, About string
	Session                  bool
	Query                    []manualMember
	Members                  []manualMember
	Example                  string
	Answers                  []manualAnswer
	Refusals                 []problemText
}

type manualMember struct {
	Name, Type, Doc string
	Optional        bool
}

type manualAnswer struct {
	Status int
	Means  string
	Object string // "" where there is no body
}

type manualObject struct {
	Name    string
	Members []manualMember
}

// newManual reads the operations.
func newManual(all []operation) manual {
	_, known := describe(all, "", "")
	var m manual
	shown := map[string]bool{} // bodies stand with their calls
	for _, o := range all {
		c := manualCall{
			ID: o.id, Call: o.call, Summary: o.summary, About: o.told(), Session: o.session, Example: o.example,
		}
		for _, p := range o.query {
			c.Query = append(c.Query, manualMember{p.name, cmp.Or(p.schema, &schema{Type: "string"}).kind(), p.means, true})
		}
		if o.do.body != nil {
			of := known.of(o.do.body)
			shown[of.name()] = true
			c.Members = known.manual(known.resolve(of))
		}
		for _, a := range o.answers {
			answer := manualAnswer{Status: a.status, Means: a.means}
			if kinds, ok := a.body.(media); ok {
				answer.Means += ", as " + strings.Join(kinds, " or ")
			} else if a.body != nil {
				answer.Object = known.ofValue(a.body).name()
			}
			c.Answers = append(c.Answers, answer)
		}
		for _, e := range o.refuses {
			c.Refusals = append(c.Refusals, textOf(e.Code()))
		}
		slices.SortStableFunc(c.Refusals, func(a, b problemText) int { return a.Status - b.Status })
		m.Calls = append(m.Calls, c)
	}
	for _, name := range known.names() {
		if !shown[name] {
			m.Objects = append(m.Objects, manualObject{name, known.manual(known[name])})
		}
	}
	return m
}

func (s schemas) manual(of *schema) []manualMember {
	var all []manualMember
	for _, m := range of.Properties {
		all = append(all, manualMember{m.Name, m.kind(), m.Description, m.optional})
	}
	return all
}

// kind says what a value is, in a word or two.
func (s *schema) kind() string {
	switch {
	case s.Ref != "":
		return s.name()
	case len(s.OneOf) > 0:
		return s.OneOf[0].kind() + " or null"
	case len(s.Enum) > 0:
		return `"` + strings.Join(s.Enum, `" or "`) + `"`
	case s.Type == "array":
		return "list of " + s.Items.kind()
	case s.Format == "date-time":
		return "time"
	case s.Type == "":
		return "anything"
	case s.Type == "string":
		return "text"
	}
	return s.Type
}

// apiPage shows the manual. It is written in English, for programmers.
func (c *call) apiPage() error {
	p := c.page("api")
	p.Data = newManual(operations())
	return c.show(http.StatusOK, p)
}

// marked turns `code` in a text of ours into HTML.
func marked(text string) template.HTML {
	var b strings.Builder
	for i, part := range strings.Split(text, "`") {
		part = template.HTMLEscapeString(part)
		if i%2 == 1 {
			part = "<code>" + part + "</code>"
		}
		b.WriteString(part)
	}
	return template.HTML(b.String())
}
