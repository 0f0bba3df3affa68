package web

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/admit-auth/admit/problem"
)

const apiDescription = `Who is asking, and may they? Sign-up, sign-in and sessions.

Bodies are JSON in UTF-8, at most 64 KiB, and fields that are not described here are refused. Times are RFC 3339 in UTC. A session is presented as the cookie that sign-in sets, or, with ` + "`as: \"token\"`, as `Authorization: Bearer adm_s_…`" + `; a request with that header is judged by it alone. Requests that change something and carry no such header must come from a page of this origin or from no browser.

Refusals are ` + "`application/problem+json` (RFC 9457) with a stable `code`" + `; their type leads to a page about it.`

// The parts of an OpenAPI 3.1 document that we fill in.
type (
	openAPI struct {
		OpenAPI    string                          `json:"openapi"`
		Info       map[string]string               `json:"info"`
		Servers    []map[string]string             `json:"servers"`
		Paths      map[string]map[string]*openCall `json:"paths"`
		Components map[string]any                  `json:"components"`
	}
	openCall struct {
		ID          string                 `json:"operationId"`
		Summary     string                 `json:"summary"`
		Description string                 `json:"description,omitempty"`
		Security    []map[string][]string  `json:"security,omitempty"`
		Parameters  []openParameter        `json:"parameters,omitempty"`
		Body        *openBody              `json:"requestBody,omitempty"`
		Responses   map[string]*openAnswer `json:"responses"`
		Codes       []string               `json:"x-problem-codes,omitempty"` // of its own
	}
	openParameter struct {
		Name        string  `json:"name"`
		In          string  `json:"in"`
		Description string  `json:"description,omitempty"`
		Required    bool    `json:"required"`
		Schema      *schema `json:"schema"`
	}
	openBody struct {
		Required bool                   `json:"required,omitempty"`
		Content  map[string]openContent `json:"content"`
	}
	openAnswer struct {
		Ref         string                 `json:"$ref,omitempty"`
		Description string                 `json:"description,omitempty"`
		Content     map[string]openContent `json:"content,omitempty"`
	}
	openContent struct {
		Schema  *schema         `json:"schema"`
		Example json.RawMessage `json:"example,omitempty"`
	}
)

// describe returns the description of the operations, and the schemas that it
// speaks of. Cookie is the name of the session's.
func describe(all []operation, publicURL, cookie string) (*openAPI, schemas) {
	known, general := schemas{}, map[int][]problemText{}
	doc := &openAPI{
		OpenAPI: "3.1.0",
		Info:    map[string]string{"title": "admit", "version": "1", "description": apiDescription},
		Servers: []map[string]string{{"url": publicURL}},
		Paths:   map[string]map[string]*openCall{},
	}
	for _, o := range all {
		c := &openCall{ID: o.id, Summary: o.summary, Description: o.told(), Responses: map[string]*openAnswer{}}
		if o.session {
			c.Security = []map[string][]string{{"cookie": {}}, {"token": {}}}
			if o.scope != "" {
				c.Security = append(c.Security, map[string][]string{"api_key": {o.scope}})
			}
		}
		if o.site {
			c.Security = []map[string][]string{{"site": {}}}
		}
		for _, name := range o.variables() {
			c.Parameters = append(c.Parameters, openParameter{name, "path", variableMeans[name], true, &schema{Type: "string"}})
		}
		for _, p := range o.query {
			c.Parameters = append(c.Parameters, openParameter{p.name, "query", p.means, false, cmp.Or(p.schema, &schema{Type: "string"})})
		}
		if o.do.body != nil {
			s := known.of(o.do.body)
			c.Body = &openBody{
				Required: len(known.resolve(s).Required) > 0,
				Content:  map[string]openContent{"application/json": {s, json.RawMessage(o.example)}},
			}
		}
		for _, a := range o.answers {
			answer := &openAnswer{Description: a.means}
			if kinds, ok := a.body.(media); ok {
				answer.Content = map[string]openContent{}
				for _, kind := range kinds {
					answer.Content[kind] = openContent{Schema: &schema{Type: "string"}}
				}
			} else if a.body != nil {
				answer.Content = map[string]openContent{"application/json": {Schema: known.ofValue(a.body)}}
			}
			status := strconv.Itoa(a.status)
			if other := c.Responses[status]; other != nil { // its state says which it is
				answer = other.or(answer)
			}
			c.Responses[status] = answer
		}
		for _, e := range o.refuses {
			c.Codes = append(c.Codes, e.Code())
		}
		own, all := o.refusals()
		for status, list := range all {
			answer := &openAnswer{Ref: fmt.Sprintf("#/components/responses/Refused%d", status)}
			if len(own[status]) > 0 {
				answer = refused(list)
			}
			c.Responses[strconv.Itoa(status)] = answer
			for _, t := range list {
				if !slices.Contains(own[status], t) && !slices.Contains(general[status], t) {
					general[status] = append(general[status], t)
				}
			}
		}
		if doc.Paths[o.path()] == nil {
			doc.Paths[o.path()] = map[string]*openCall{}
		}
		doc.Paths[o.path()][strings.ToLower(o.method())] = c
	}
	known.ofValue(problem.Problem{})
	of := known["Problem"]
	of.Required = append(of.Required, "request_id") // the server always gives one
	for i, m := range of.Properties {
		of.Properties[i].Description = problemMembers[m.Name]
	}
	answers := map[string]*openAnswer{}
	for status, list := range general {
		answers[fmt.Sprintf("Refused%d", status)] = refused(list)
	}
	doc.Components = map[string]any{
		"securitySchemes": map[string]any{
			"cookie":  map[string]string{"type": "apiKey", "in": "cookie", "name": cookie},
			"token":   map[string]string{"type": "http", "scheme": "bearer", "bearerFormat": "adm_s_… or a JWT"},
			"site":    map[string]string{"type": "http", "scheme": "basic"},
			"api_key": map[string]string{"type": "http", "scheme": "bearer", "bearerFormat": "adm_k_…"},
		},
		"responses": answers,
		"schemas":   known,
	}
	return doc, known
}

// or is an answer that is one of two, in JSON.
func (a *openAnswer) or(b *openAnswer) *openAnswer {
	const kind = "application/json"
	either := &schema{OneOf: []*schema{a.Content[kind].Schema, b.Content[kind].Schema}}
	return &openAnswer{Description: a.Description + "; or: " + b.Description, Content: map[string]openContent{kind: {Schema: either}}}
}

// problemMembers tells what the members of a problem are.
var problemMembers = map[string]string{
	"type":       "The address of a page about the code.",
	"title":      "What the status means.",
	"detail":     "What happened, in a sentence.",
	"code":       "Stable, for programs.",
	"hint":       "What to do next.",
	"reason":     "Of `session_ended`: why.",
	"errors":     "The fields that are at fault.",
	"request_id": "Under which the server's log knows this request.",
}

// refused is the answer with one of these problems, which share a status.
func refused(list []problemText) *openAnswer {
	code := &schema{Type: "string"}
	var says []string
	for _, t := range list {
		code.Enum = append(code.Enum, t.Code)
		says = append(says, fmt.Sprintf("`%s`: %s", t.Code, t.Text))
	}
	exact := &schema{Type: "object", Properties: members{{Name: "code", schema: code}}}
	return &openAnswer{
		Description: strings.Join(says, " "),
		Content:     map[string]openContent{"application/problem+json": {Schema: &schema{AllOf: []*schema{{Ref: schemaPath + "Problem"}, exact}}}},
	}
}

// Description returns the OpenAPI document of a server at this address whose
// session's cookie has this name.
func Description(publicURL, cookie string) ([]byte, error) {
	doc, _ := describe(operations(), publicURL, cookie)
	return json.Marshal(doc)
}

// openAPI answers with the description.
func (c *call) openAPI() error {
	text, err := Description(c.PublicURL, c.CookieName("admit"))
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, text)
}
