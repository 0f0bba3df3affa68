package authn

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
)

// wellKnown is what goes between the host and the path of a resource (RFC 9728 section 3).
const wellKnown = "/.well-known/oauth-protected-resource"

// A Resource is a service as it tells clients about itself (RFC 9728): who gives tokens
// for it, and which scopes they may have. It is the handler of that document:
//
//	api, err := authn.NewResource("https://api.example.org", "https://id.example.org", nil)
//	mux.Handle(api.Path(), api)
//	who := authn.New(tokens).For(api)
//
// A client that knows nothing but the service's address finds the rest from its first
// refusal on.
type Resource struct {
	url, path string
	text      []byte
}

// ResourceOptions are what else a Resource tells.
type ResourceOptions struct {
	Scopes        []string
	Name          string // for people
	Documentation string // its address, for developers
	// Issuers are more that give tokens for it.
	Issuers []string
	// DPoP are the algorithms of the proofs that it takes, such as ES256 (RFC 9449).
	DPoP []string
}

// NewResource returns the resource with an id: an https URL, to which clients compare
// the document letter by letter, and which is the audience of tokens for it. Plain http
// is taken on loopback addresses.
func NewResource(id, issuer string, o *ResourceOptions) (*Resource, error) {
	if o == nil {
		o = &ResourceOptions{}
	}
	at, err := parsePlace(id)
	if err != nil {
		return nil, fmt.Errorf("authn: the resource %q: %w", id, err)
	}
	issuers := append([]string{issuer}, o.Issuers...)
	for _, issuer := range issuers {
		if _, err := parsePlace(issuer); err != nil {
			return nil, fmt.Errorf("authn: the issuer %q: %w", issuer, err)
		}
	}
	if slices.ContainsFunc(o.Scopes, func(s string) bool { return s == "" || strings.ContainsFunc(s, unquotable) }) {
		return nil, fmt.Errorf("authn: the scopes %q", o.Scopes)
	}
	r := &Resource{path: wellKnown}
	if at.Path != "/" { // a slash after the host alone goes
		r.path += at.Path
	}
	r.url = at.Scheme + "://" + at.Host + r.path
	r.text, err = json.Marshal(struct {
		Resource string   `json:"resource"`
		Issuers  []string `json:"authorization_servers"`
		Scopes   []string `json:"scopes_supported,omitempty"`
		Methods  []string `json:"bearer_methods_supported"`
		Name     string   `json:"resource_name,omitempty"`
		About    string   `json:"resource_documentation,omitempty"`
		DPoP     []string `json:"dpop_signing_alg_values_supported,omitempty"`
	}{id, issuers, o.Scopes, []string{"header"}, o.Name, o.Documentation, o.DPoP})
	return r, err
}

// parsePlace takes URLs that have one spelling, in a challenge and in a pattern of
// http.ServeMux too.
func parsePlace(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, err
	case u.Host == "" || u.User != nil || u.Host != strings.ToLower(u.Host) || u.String() != text ||
		strings.ContainsAny(text, "?#%{}") || strings.ContainsFunc(text, unquotable):
		return nil, errors.New("it is not of the form https://api.example.org/v1")
	case strings.TrimSuffix(u.Path, "/") != strings.TrimSuffix(path.Clean("/"+u.Path), "/"):
		return nil, errors.New("its path is not a clean one")
	case u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()):
		return u, nil
	}
	return nil, errors.New("it is not https")
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// Path is where the document is on the service's host: the path of the resource stands
// behind the well-known one.
func (s *Resource) Path() string { return s.path }

// URL is where clients find the document.
func (s *Resource) URL() string { return s.url }

// ServeHTTP answers with the document, at its path and nowhere else: what it says of one
// resource must not be taken for another's.
func (s *Resource) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	switch {
	case r.URL.Path != s.path:
		http.NotFound(w, r)
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "public, max-age=3600")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Access-Control-Allow-Origin", "*") // for clients that are pages: it is no secret
	w.Write(s.text)
}

// For returns an authenticator that does the same, and whose refusals tell clients where
// the resource describes itself (RFC 9728 section 5.1): its own, and those of RequireRole
// and RequireProof behind it.
func (a *Authenticator) For(s *Resource) *Authenticator {
	of := *a
	of.resource = s
	return &of
}

type resourceKey struct{}

// pointed adds to a challenge where the resource describes itself.
func (s *Resource) pointed(challenge string) string {
	sep := ", "
	if !strings.Contains(challenge, " ") { // nothing but a scheme
		sep = " "
	}
	return challenge + sep + `resource_metadata="` + s.url + `"`
}
