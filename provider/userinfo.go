package provider

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/admit-auth/admit"
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
	text, err := bearerOf(w, r)
	if err != nil {
		return nil, err
	}
	l, err := p.lookUp(r.Context(), text, now)
	switch {
	case err != nil:
		return nil, err
	// Whoever stole it has no key.
	case l.JKT != "":
		return nil, because(ErrInvalidToken, "This token counts only with a proof of the key that it is bound to.")
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

// bearerOf returns the access token of a request (RFC 6750 section 2). It stands in one
// place: of two, one reader would look at the one and another at the other. An address
// is no place for it, for addresses are logged.
func bearerOf(w http.ResponseWriter, r *http.Request) (string, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || query.Has("access_token") {
		return "", because(ErrInvalidRequest, "An access token must not stand in the address.")
	}
	headers := r.Header["Authorization"]
	if len(headers) > 1 {
		return "", because(ErrInvalidRequest, "There are two Authorization headers.")
	}
	text := ""
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.Method == http.MethodPost && media == "application/x-www-form-urlencoded" {
		f, err := posted(w, r)
		if err != nil {
			return "", err
		}
		text = f.get("access_token")
	}
	if len(headers) == 0 {
		if text == "" {
			return "", errNoToken
		}
		return text, nil
	}
	if text != "" {
		return "", because(ErrInvalidRequest, "The access token is there twice.")
	}
	scheme, text, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", errNoToken
	}
	if text = strings.Trim(text, " "); !isB64Token(text) {
		return "", because(ErrInvalidRequest, "The header Authorization has no token of the form of RFC 6750.")
	}
	return text, nil
}

// isB64Token reports whether a text is a b64token (RFC 6750 section 2.1).
func isB64Token(text string) bool {
	body := strings.TrimRight(text, "=")
	return body != "" && len(text) <= maxParam && !strings.ContainsFunc(body, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-._~+/", c)
	})
}

// refuseBearer refuses a request with an access token (RFC 6750 section 3).
func (p *Provider) refuseBearer(w http.ResponseWriter, r *http.Request, err error) {
	p.tellRefusal(r, err)
	a, status := answerOf(err)
	tells := `Bearer realm="userinfo"`
	switch e, _ := errors.AsType[*admit.Error](err); {
	case e == errNoToken:
		w.Header().Set("WWW-Authenticate", tells)
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusUnauthorized)
		return
	case e == ErrInvalidToken:
		status = http.StatusUnauthorized
	case e == ErrInsufficientScope:
		status = http.StatusForbidden
	case status >= http.StatusInternalServerError:
		refuse(w, err)
		return
	}
	tells += `, error="` + a.Error + `", error_description="` + a.Description + `"`
	if status == http.StatusForbidden {
		tells += `, scope="` + scopeOpenID + `"`
	}
	w.Header().Set("WWW-Authenticate", tells)
	write(w, status, a)
}
