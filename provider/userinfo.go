package provider

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/dpop"
	"github.com/admit-auth/admit/jose"
)

// errNoToken is of a request that shows no access token at all: it is told nothing but
// how to (RFC 6750 section 3.1).
var errNoToken = admit.Unauthenticated.New("no_token", "There is no access token.")

// userinfo tells a client about who has let it in (OpenID Connect Core section 5.3).
func (p *Provider) userinfo(w http.ResponseWriter, r *http.Request) {
	told, err := p.tell(w, r)
	if err != nil {
		p.refuseBearer(w, r, err)
		return
	}
	write(w, http.StatusOK, told)
}

func (p *Provider) tell(w http.ResponseWriter, r *http.Request) (map[string]any, error) {
	now := p.now()
	p.tellNonce(w, r, now)
	text, proves, err := bearerOf(w, r)
	if err != nil {
		return nil, err
	}
	l, err := p.lookUp(r.Context(), text, now)
	if err == nil {
		err = p.present(r, text, proves, l, now)
	}
	switch {
	case err != nil:
		return nil, err
	case l.user == nil || !slices.Contains(l.Scopes, scopeOpenID):
		return nil, ErrInsufficientScope
	// A service that was sent a token must not find out with it whose it is.
	case !slices.Contains(l.Audience, p.o.Issuer) && !slices.Contains(l.Audience, p.o.Issuer+p.o.Path+"/userinfo"):
		return nil, because(ErrInvalidToken, "This token is for another resource.")
	}
	var wish map[string]*ClaimWish
	if l.grant.Asked.Claims != nil {
		wish = l.grant.Asked.Claims.UserInfo
	}
	told := claimsFor(l.user, l.Scopes, wish, p.o.Scopes)
	told["sub"] = p.subject(l.client, l.Subject)
	return told, nil
}

// bearerOf returns the access token of a request (RFC 6750 section 2), and whether it is
// presented with a proof. It stands in one place: of two, one reader would look at the one
// and another at the other. An address is no place for it, for addresses are logged.
func bearerOf(w http.ResponseWriter, r *http.Request) (text string, proves bool, err error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || query.Has("access_token") {
		return "", false, because(ErrInvalidRequest, "An access token must not stand in the address.")
	}
	headers := r.Header["Authorization"]
	if len(headers) > 1 {
		return "", false, because(ErrInvalidRequest, "There are two Authorization headers.")
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.Method == http.MethodPost && media == "application/x-www-form-urlencoded" {
		f, err := posted(w, r)
		if err != nil {
			return "", false, err
		}
		text = f.get("access_token")
	}
	if len(headers) == 0 {
		if text == "" {
			return "", false, errNoToken
		}
		return text, false, nil
	}
	if text != "" {
		return "", false, because(ErrInvalidRequest, "The access token is there twice.")
	}
	scheme, text, _ := strings.Cut(headers[0], " ")
	proves = strings.EqualFold(scheme, "DPoP")
	if !proves && !strings.EqualFold(scheme, "Bearer") {
		return "", false, errNoToken
	}
	if text = strings.Trim(text, " "); !isB64Token(text) {
		return "", false, because(ErrInvalidRequest, "The header Authorization has no token of the form of RFC 6750.")
	}
	return text, proves, nil
}

// isB64Token reports whether a text is a b64token (RFC 6750 section 2.1).
func isB64Token(text string) bool {
	body := strings.TrimRight(text, "=")
	return body != "" && len(text) <= maxParam && !strings.ContainsFunc(body, func(c rune) bool {
		return needsEscape(c) && c != '+' && c != '/'
	})
}

// refuseBearer refuses a request with an access token (RFC 6750 section 3, RFC 9449
// section 7.1). It says what is wrong by the scheme that the token should have come by.
func (p *Provider) refuseBearer(w http.ResponseWriter, r *http.Request, err error) {
	p.tellRefusal(r, err)
	a, status := answerOf(err)
	bearer := `Bearer realm="userinfo", resource_metadata="` + p.resourceAt() + `"`
	algs := `algs="` + listed(p.proofs.Algorithms()) + `"`
	switch e, _ := errors.AsType[*admit.Error](err); {
	case e == errNoToken:
		w.Header()["Www-Authenticate"] = []string{bearer, "DPoP " + algs}
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusUnauthorized)
		return
	case e == ErrInvalidToken, e == dpop.ErrProof, e == dpop.ErrNonce:
		status = http.StatusUnauthorized
	case e == ErrInsufficientScope:
		status = http.StatusForbidden
	case status >= http.StatusInternalServerError:
		refuse(w, err)
		return
	}
	why := `error="` + a.Error + `", error_description="` + a.Description + `"`
	if status == http.StatusForbidden {
		why += `, scope="` + scopeOpenID + `"`
	}
	tells := []string{bearer + ", " + why, "DPoP " + algs}
	if strings.EqualFold(schemeOf(r), "DPoP") || errors.Is(err, errDowngrade) {
		tells = []string{"DPoP " + why + ", " + algs}
	}
	w.Header()["Www-Authenticate"] = tells
	write(w, status, a)
}

func listed(algs []jose.Algorithm) string {
	var b strings.Builder
	for i, alg := range algs {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(string(alg))
	}
	return b.String()
}
