package provider

import (
	"context"
	"net/http"
	"time"
)

func (p *Provider) token(w http.ResponseWriter, r *http.Request)      { http.NotFound(w, r) }
func (p *Provider) introspect(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }
func (p *Provider) revoke(w http.ResponseWriter, r *http.Request)     { http.NotFound(w, r) }
func (p *Provider) userinfo(w http.ResponseWriter, r *http.Request)   { http.NotFound(w, r) }
func (p *Provider) jwks(w http.ResponseWriter, r *http.Request)       { http.NotFound(w, r) }
func (p *Provider) logout(w http.ResponseWriter, r *http.Request)     { http.NotFound(w, r) }
func (p *Provider) metadata(w http.ResponseWriter, r *http.Request)   { http.NotFound(w, r) }

func (p *Provider) subject(c *Client, subject string) string {
	if c.Sector != "" {
		return c.Sector + "/" + subject
	}
	return subject
}

func (p *Provider) hint(ctx context.Context, text string, now time.Time) (sub, sid, aud string, expired bool, err error) {
	return "", "", "", false, ErrInvalidToken
}

type tokens struct{}

func newTokens(*Options) (*tokens, error) { return nil, nil }

var standardClaims = map[string][]string{
	"openid":         nil,
	"offline_access": nil,
	"profile": {
		"name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "profile",
		"picture", "website", "gender", "birthdate", "zoneinfo", "locale", "updated_at",
	},
	"email":   {"email", "email_verified"},
	"address": {"address"},
	"phone":   {"phone_number", "phone_number_verified"},
}

func claimsOf(scope string, extra map[string][]string) []string {
	if all, standard := standardClaims[scope]; standard {
		return all
	}
	return extra[scope]
}
