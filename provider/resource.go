package provider

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/admit-auth/admit/jose"
)

// ownResource is what goes before the issuer's path (RFC 9728 section 3.1).
const ownResource = "/.well-known/oauth-protected-resource"

// resource tells of the one resource that the provider is itself: a token for the issuer
// opens the userinfo endpoint. What else is on its host takes no tokens of clients, and a
// document that said so would lead them to get some in vain.
func (p *Provider) resource(w http.ResponseWriter, r *http.Request) {
	text, err := json.Marshal(struct {
		Resource string   `json:"resource"` // as it stands in the tokens, and letter by letter (section 3.3)
		Issuers  []string `json:"authorization_servers"`
		Keys     string   `json:"jwks_uri"`
		Scopes   []string `json:"scopes_supported"`
		Methods  []string `json:"bearer_methods_supported"`

		ProofSigns []jose.Algorithm `json:"dpop_signing_alg_values_supported"`
	}{p.o.Issuer, []string{p.o.Issuer}, p.o.Issuer + p.o.Path + "/jwks", p.allScopes(), []string{"header", "body"}, p.proofs.Algorithms()})
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	about := newPage("application/json", documentAge, text)
	about.serve(w, r)
}

// resourceAt is where that document is.
func (p *Provider) resourceAt() string {
	path := strings.TrimSuffix(p.base, p.o.Path)
	return strings.TrimSuffix(p.o.Issuer, path) + ownResource + path
}
