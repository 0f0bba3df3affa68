package provider

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/admit-auth/admit/jose"
)

// A page is an answer that is ready, with the headers that it has.
type page struct {
	text               []byte
	media, cache, etag []string
	length             []string // which spares net/http the form of unknown length
}

// How long others may keep what is published. Keys come and go with an overlap of more.
var (
	documentAge = []string{"public, max-age=3600"}
	keysAge     = []string{"public, max-age=300"}
)

func newPage(media string, age []string, text []byte) page {
	sum := sha256.Sum256(text)
	return page{text: text, media: []string{media}, length: []string{strconv.Itoa(len(text))}, cache: age, etag: []string{`"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}}
}

func (a *page) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h["Cache-Control"], h["Etag"], h["X-Content-Type-Options"] = a.cache, a.etag, noSniff
	if names := r.Header["If-None-Match"]; len(names) > 0 && strings.Contains(strings.Join(names, ","), a.etag[0]) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h["Content-Type"], h["Content-Length"] = a.media, a.length
	w.Write(a.text)
}

// described is the document, and with which algorithms.
type described struct {
	signs [3]bool // of signingAlgorithms
	page
}

// published is the key set, and which one that was.
type published struct {
	set *jose.KeySet
	page
}

// metadata tells clients what there is here, and where (OpenID Connect Discovery 1.0,
// RFC 8414). It is made once, and again when another algorithm has got a key.
func (p *Provider) metadata(w http.ResponseWriter, r *http.Request) {
	// Keys may be made when somebody asks for them: then they are there.
	if _, err := p.o.Keys.Published(r.Context()); err != nil {
		p.refuse(w, r, err)
		return
	}
	var signs [3]bool
	for i, alg := range signingAlgorithms {
		signs[i] = p.o.Keys.Signing(alg) != nil
	}
	d := p.described.Load()
	if d == nil || d.signs != signs {
		text, err := json.Marshal(p.describe(signs))
		if err != nil {
			p.refuse(w, r, err)
			return
		}
		d = &described{signs, newPage("application/json", documentAge, text)}
		p.described.Store(d)
	}
	d.serve(w, r)
}

// A document is the metadata. What is not in it is not here, but where silence would
// mean the contrary: of request_uri_parameter_supported the default is true.
type document struct {
	Issuer        string `json:"issuer"`
	Authorization string `json:"authorization_endpoint"`
	Token         string `json:"token_endpoint"`
	Device        string `json:"device_authorization_endpoint,omitempty"`
	Introspection string `json:"introspection_endpoint"`
	Revocation    string `json:"revocation_endpoint"`
	UserInfo      string `json:"userinfo_endpoint"`
	Registration  string `json:"registration_endpoint,omitempty"`
	Keys          string `json:"jwks_uri"`
	Pushed        string `json:"pushed_authorization_request_endpoint"`
	EndSession    string `json:"end_session_endpoint"`

	Scopes        []string         `json:"scopes_supported"`
	Responses     []string         `json:"response_types_supported"`
	ResponseModes []string         `json:"response_modes_supported"`
	Grants        []GrantType      `json:"grant_types_supported"`
	Subjects      []string         `json:"subject_types_supported"`
	ACRs          []string         `json:"acr_values_supported,omitempty"`
	Prompts       []string         `json:"prompt_values_supported"`
	Locales       []string         `json:"ui_locales_supported,omitempty"`
	IDTokenSigns  []jose.Algorithm `json:"id_token_signing_alg_values_supported"`

	TokenAuth       []AuthMethod     `json:"token_endpoint_auth_methods_supported"`
	TokenSigns      []jose.Algorithm `json:"token_endpoint_auth_signing_alg_values_supported"`
	RevocationAuth  []AuthMethod     `json:"revocation_endpoint_auth_methods_supported"`
	RevocationSigns []jose.Algorithm `json:"revocation_endpoint_auth_signing_alg_values_supported"`
	InspectionAuth  []AuthMethod     `json:"introspection_endpoint_auth_methods_supported"`
	InspectionSigns []jose.Algorithm `json:"introspection_endpoint_auth_signing_alg_values_supported"`
	Inspections     []jose.Algorithm `json:"introspection_signing_alg_values_supported"`

	ProofSigns []jose.Algorithm `json:"dpop_signing_alg_values_supported"`

	Challenges   []string `json:"code_challenge_methods_supported"`
	IssInAnswers bool     `json:"authorization_response_iss_parameter_supported"`
	ClaimTypes   []string `json:"claim_types_supported"`
	Claims       []string `json:"claims_supported"`
	ClaimsParam  bool     `json:"claims_parameter_supported"`
	Request      bool     `json:"request_parameter_supported"`
	RequestURI   bool     `json:"request_uri_parameter_supported"` // of addresses elsewhere
	MustPush     bool     `json:"require_pushed_authorization_requests"`

	RequestSigns []jose.Algorithm `json:"request_object_signing_alg_values_supported"`

	Backchannel        bool `json:"backchannel_logout_supported"`
	BackchannelSession bool `json:"backchannel_logout_session_supported"`

	Frontchannel        bool `json:"frontchannel_logout_supported"`
	FrontchannelSession bool `json:"frontchannel_logout_session_supported"`
}

func (p *Provider) describe(signs [3]bool) *document {
	at := p.o.Issuer + p.o.Path
	proved := []AuthMethod{SecretBasic, SecretPost, PrivateKeyJWT}
	any := append(slices.Clone(proved), NoAuth)
	d := &document{
		Issuer: p.o.Issuer, Authorization: at + "/authorize", Token: at + "/token", Introspection: at + "/introspect",
		Revocation: at + "/revoke", UserInfo: at + "/userinfo", Keys: at + "/jwks", Pushed: at + "/par", EndSession: at + "/logout",

		Scopes: p.allScopes(), Responses: []string{"code"}, ResponseModes: []string{"query", "form_post"},
		Grants:   []GrantType{AuthorizationCode, RefreshToken, ClientCredentials, TokenExchange},
		Subjects: []string{"public", "pairwise"}, ACRs: p.o.ACRs, Locales: p.o.Locales,
		Prompts:      []string{"none", "login", "consent", "select_account"},
		IDTokenSigns: []jose.Algorithm{},

		TokenAuth: any, TokenSigns: assertionAlgorithms, RevocationAuth: any, RevocationSigns: assertionAlgorithms,
		InspectionAuth: proved, InspectionSigns: assertionAlgorithms,

		ProofSigns: p.proofs.Algorithms(),
		Challenges: []string{"S256"}, IssInAnswers: true,
		ClaimTypes: []string{"normal"}, ClaimsParam: true,
		Request: true, RequestSigns: assertionAlgorithms,
		Backchannel: true, BackchannelSession: true, Frontchannel: true, FrontchannelSession: true,
	}
	if p.o.DevicePage != "" {
		d.Device, d.Grants = at+"/device", append(d.Grants, DeviceCode)
	}
	if p.o.Registration != nil {
		d.Registration = at + "/register"
	}
	for i, alg := range signingAlgorithms {
		if signs[i] {
			d.IDTokenSigns = append(d.IDTokenSigns, alg)
		}
	}
	d.Inspections = d.IDTokenSigns // and of what else is signed for a client
	claims := map[string]bool{"sub": true, "iss": true, "aud": true, "exp": true, "iat": true, "auth_time": true, "acr": true, "amr": true, "azp": true, "nonce": true, "sid": true, "at_hash": true}
	for _, scope := range d.Scopes {
		for _, name := range claimsOf(scope, p.o.Scopes) {
			claims[name] = true
		}
	}
	d.Claims = slices.Sorted(maps.Keys(claims))
	return d
}

// jwks publishes the keys that verify what is signed here (RFC 7517 section 5).
func (p *Provider) jwks(w http.ResponseWriter, r *http.Request) {
	set, err := p.o.Keys.Published(r.Context())
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	k := p.published.Load()
	if k == nil || k.set != set {
		text, err := json.Marshal(set)
		if err != nil {
			p.refuse(w, r, err)
			return
		}
		k = &published{set, newPage("application/jwk-set+json", keysAge, text)}
		p.published.Store(k)
	}
	k.serve(w, r)
}
