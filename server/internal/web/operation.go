package web

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
)

// An operation is one call of the API, declared once: its route, what decodes
// its body and refuses other fields, its part of /openapi.json, of the page /api
// and of docs/reference/api.md are all made of it. Tests send its example, and
// bring about each of its refusals.
type operation struct {
	call    string // method and path: "POST /api/v1/signin"
	id      string
	summary string
	about   string
	session bool          // of a user or, where it says so, of a guest
	site    bool          // by the server of another site, by its name and secret
	scope   string        // with which an API key may make it; "" for none
	proof   time.Duration // of who asks, at most so old: [call.user] refuses others; 0 where none is asked for
	query   []parameter
	do      action
	example string // of the body, in JSON
	answers []answers
	refuses []*admit.Error // besides those that general tells of
}

// A parameter is one of the query, which [call.query] reads by this list.
type parameter struct {
	name, means string
	schema      *schema // nil for any text
}

// media are the types of an answer that is no JSON value, instead of its body.
type media []string

// answers is one of the good ends of an operation.
type answers struct {
	status int
	means  string
	body   any // a value of the type that is encoded, or media; nil for none
}

// An action is what an operation does, and what it reads its body into; nil
// where it does not look at it.
type action struct {
	body reflect.Type
	run  handler
}

// taking is the action of a call with a body of this type. A member without
// omitempty must be there for the call to be good: that is for the handler to
// say, in words that are about the field.
func taking[Body any](h func(*call, *Body) error) action {
	return action{reflect.TypeFor[Body](), func(c *call) error {
		var in Body
		if err := c.read(&in); err != nil {
			return err
		}
		return h(c, &in)
	}}
}

// bare is the action of a call without a body.
func bare(h handler) action { return action{run: h} }

// nothing is a body that may be left out.
type nothing struct{}

// demand says in the declaration what its proof means.
func (o *operation) demand() {
	if o.proof > 0 {
		o.refuses = append(slices.Clip(o.refuses), admit.ErrProof, account.ErrMustChange, account.ErrJWTShown)
		o.about = strings.TrimSpace(fmt.Sprintf("%s Asks for a proof that is at most %d minutes old.", o.about, o.proof/time.Minute))
	}
}

func (o *operation) method() string { m, _, _ := strings.Cut(o.call, " "); return m }
func (o *operation) path() string   { _, p, _ := strings.Cut(o.call, " "); return p }

// variableMeans tells what the parts of paths are that vary.
var variableMeans = map[string]string{
	"sid":   "The id of a session, no secret.",
	"list":  "The number of a status list.",
	"user":  "A user, by id or by what it signs in with.",
	"role":  "The name of a role.",
	"value": "What the user signs in with.",
	"id":    "The id of an entry of the activity.",
	"key":   "The id of an API key, no secret.",

	"factor": "The id of a factor, no secret.",
	"device": "The id of a trusted device, no secret.",
	"flow":   "What only who asked for the sign-in has.",

	"passkey": "The id of a passkey, no secret.",
}

var variable = regexp.MustCompile(`\{(\w+)\}`)

// variables are the names of the parts of the path that vary.
func (o *operation) variables() []string {
	var names []string
	for _, m := range variable.FindAllStringSubmatch(o.path(), -1) {
		names = append(names, m[1])
	}
	return names
}

// What any call of a sort may be refused with, by codes.
var (
	refusesAny     = []string{"method_not_allowed", "unknown_host", "https_required", "proxy_misconfigured", "untrusted_peer", "headers_too_large", "internal", "database_unavailable"}
	refusesBody    = []string{"malformed", "unknown_field", "too_large", "unsupported_content_type"}
	refusesUnsafe  = []string{"cross_site"}
	refusesKey     = []string{"api_key_refused", "insufficient_scope"}
	refusesSession = []string{"no_session", "session_ended", "session_expired", "ambiguous_session", "stale_claims", "jwt_expired", "jwt_invalid", "token_bound", "token_unbound", "invalid_dpop_proof", "dpop_proof_replayed", "use_dpop_nonce", "dpop_other_key", "session_store_unavailable", "session_busy"}
)

// general are the codes that every operation of this sort may be refused with.
func (o *operation) general() []string {
	all := slices.Clone(refusesAny)
	if o.do.body != nil {
		all = append(all, refusesBody...)
	}
	if o.method() != "GET" {
		all = append(all, refusesUnsafe...)
	}
	if strings.HasPrefix(o.path(), apiPrefix) {
		all = append(all, refusesKey...)
	}
	if o.session {
		all = append(all, refusesSession...)
	}
	return all
}

// refusals are all that the operation may be refused with, by status: its own,
// and those together with what is general.
func (o *operation) refusals() (own, all map[int][]problemText) {
	own, all = map[int][]problemText{}, map[int][]problemText{}
	add := func(to map[int][]problemText, code string) {
		t := textOf(code)
		to[t.Status] = append(to[t.Status], t)
	}
	for _, e := range o.refuses {
		add(own, e.Code())
		add(all, e.Code())
	}
	for _, code := range o.general() {
		add(all, code)
	}
	return own, all
}

// register makes the operations' routes.
func (s *server) register(all []operation) {
	paths := map[string]methods{}
	for _, o := range all {
		m := paths[o.path()]
		if m == nil {
			m = methods{}
			paths[o.path()] = m
		}
		if m[o.method()] != nil {
			panic(fmt.Sprintf("web: %s is declared twice", o.call))
		}
		m[o.method()] = func(c *call) error {
			c.parameters, c.proof = o.query, o.proof
			if err := c.byKey(&o); err != nil {
				return err
			}
			return o.do.run(c)
		}
	}
	// A user name may be "verify", which is a path of its own with other methods.
	for path, m := range paths {
		for general, other := range paths {
			if general == path || !covers(general, path) {
				continue
			}
			for method, h := range other {
				if m[method] == nil {
					m[method] = h
				}
			}
		}
	}
	for path, m := range paths {
		s.handle(path, (*call).failAPI, m)
	}
}

// covers reports whether a path without variables is one of those of a pattern.
func covers(pattern, path string) bool {
	if strings.Contains(path, "{") {
		return false
	}
	return slices.EqualFunc(strings.Split(pattern, "/"), strings.Split(path, "/"), func(p, part string) bool {
		return p == part || strings.HasPrefix(p, "{")
	})
}
