package provider

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"github.com/admit-auth/admit/jose"
)

const (
	// objectType keeps what else a client signs, such as its assertions, from being taken
	// for a request (RFC 9101 section 10.8).
	objectType = "oauth-authz-req+jwt"
	// maxObjectLife bounds for how long an id must be remembered.
	maxObjectLife = time.Hour
	objectLeeway  = 30 * time.Second
)

// signsRequests reports whether the client can sign requests: with the keys that it
// proves itself by.
func (c *Client) signsRequests() bool { return c.Keys != nil || c.KeysURI != "" }

// An objectClaims is what an object says.
type objectClaims struct {
	audience string
	all      map[string]json.RawMessage
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *objectClaims) UnmarshalJSON(text []byte) error {
	if err := json.Unmarshal(text, &o.all); err != nil {
		return err
	}
	var a assertion // whose aud is read as narrowly
	err := json.Unmarshal(text, &a)
	o.audience = a.audience
	return err
}

func newObjects() (*jose.Verifier[objectClaims], error) {
	return jose.NewVerifier(contextKeys{}, jose.Expected{Algorithms: assertionAlgorithms, Type: objectType}, &jose.VerifierOptions[objectClaims]{
		Leeway: objectLeeway,
		// unwrap looks at them, more narrowly.
		InsecureAnyIssuer: true, InsecureAnyAudience: true,
	})
}

// unwrap puts the parameters that a client has signed in the place of a request. It counts
// as it did when the request came: a person may take longer to sign in than it is good.
func (p *Provider) unwrap(ctx context.Context, q *request, c *Client) error {
	keys, err := p.keysFor(c)
	if err != nil {
		return err
	}
	o, err := p.objects.VerifyAt(context.WithValue(ctx, keysOf{}, keys), q.get("request"), q.at())
	bad := func(why string) error { return because(ErrInvalidRequestObject, why) }
	switch {
	case err != nil:
		return uncounted(err, ErrInvalidRequestObject, "The request object")
	case !c.mayProve(o.Header.Algorithm):
		return bad("The request object is signed with an algorithm that this client may not use.")
	case o.Issuer != c.ID || jsonString(o.Data.all["client_id"]) != c.ID:
		return bad("The request object's iss and client_id are not both the client_id of the request.")
	case o.Data.audience != p.o.Issuer:
		return bad("The request object's aud is not the issuer, as one string and no list.")
	case o.Expires.Sub(q.at()) > maxObjectLife:
		return bad("The request object expires later than in an hour.")
	case o.Data.all["request"] != nil || o.Data.all["request_uri"] != nil:
		return bad("There is a request or a request_uri in the request object.")
	}
	values, ok := parameters(o.Data.all)
	if !ok {
		return bad("A resource in the request object is no text.")
	}
	text := values.Encode()
	if q.form, err = parseForm(text); err != nil {
		return bad(err.Error())
	}
	q.signed = true
	if o.ID != "" {
		// A person whom it has led here a moment before it expires may be at a page for long.
		q.once = c.onceObject(o.ID, o.Expires.Add(objectLeeway+flowLife))
	}
	return nil
}

// onceObject is by what a request object is good once.
func (c *Client) onceObject(jti string, until time.Time) once {
	return c.once("request_object", jti, until, errObjectUsed)
}

// reread puts into a request what a client has signed, and reports whether it could. It
// verifies nothing: it is for an object in a flow of ours, which was verified before that
// was sealed, and for a page that cannot wait for keys that are elsewhere.
func (q *request) reread(c *Client) bool {
	_, rest, _ := strings.Cut(q.get("request"), ".")
	payload, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(payload)
	var claims map[string]json.RawMessage
	if err != nil || json.Unmarshal(text, &claims) != nil {
		return false
	}
	values, ok := parameters(claims)
	if !ok {
		return false
	}
	if q.form, err = parseForm(values.Encode()); err != nil {
		return false
	}
	if jti := jsonString(claims["jti"]); jti != "" {
		q.once = c.onceObject(jti, time.Time{})
	}
	return true
}

// parameters are the claims of an object as a form has them: a JSON value of another kind
// is its text, such as claims, max_age and authorization_details.
func parameters(claims map[string]json.RawMessage) (url.Values, bool) {
	v := url.Values{}
	for name, raw := range claims {
		switch name {
		case "iss", "sub", "aud", "exp", "nbf", "iat", "jti":
			continue
		}
		var s string
		var list []string
		switch {
		case string(raw) == "null":
		case name == "resource" && raw[0] == '[':
			if json.Unmarshal(raw, &list) != nil {
				return nil, false
			}
			v[name] = list
		case json.Unmarshal(raw, &s) == nil:
			v.Set(name, s)
		default:
			v.Set(name, string(raw))
		}
	}
	return v, true
}

func jsonString(raw json.RawMessage) (s string) {
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

var errObjectUsed = because(ErrInvalidRequestObject, "The request object was used before. Begin again where you came from.")
