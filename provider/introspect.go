package provider

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/token"
)

// An inspection is what is told of a token (RFC 7662 section 2.2). Of one that does not
// count, or is none of the asker's business, it is nothing but active.
type inspection struct {
	Active   bool     `json:"active"`
	Scope    string   `json:"scope,omitempty"`
	ClientID string   `json:"client_id,omitempty"`
	Type     string   `json:"token_type,omitempty"`
	Issuer   string   `json:"iss,omitempty"`
	Subject  string   `json:"sub,omitempty"`
	Audience []string `json:"aud,omitempty"`
	Issued   int64    `json:"iat,omitempty"`
	Expires  int64    `json:"exp,omitempty"`
	ID       string   `json:"jti,omitempty"`
	GID      string   `json:"gid,omitempty"` // with jti and sev by which the feed tells that it has ended
	SEV      uint64   `json:"sev,omitempty"`

	AuthTime     int64                `json:"auth_time,omitempty"` // RFC 9470 section 6.2
	ACR          string               `json:"acr,omitempty"`
	AMR          []string             `json:"amr,omitempty"`
	Confirmation *access.Confirmation `json:"cnf,omitempty"`
	Act          *access.Actor        `json:"act,omitempty"` // RFC 8693 section 4.1
}

// introspect tells a client whether a token counts (RFC 7662).
func (p *Provider) introspect(w http.ResponseWriter, r *http.Request) {
	now := p.now()
	f, err := posted(w, r)
	if err == nil && f.get("token") == "" {
		err = because(ErrInvalidRequest, "The parameter token is missing.")
	}
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	found, asker, err := p.inspect(r, f, now)
	var signed string
	if err == nil && wantsSigned(r.Header.Values("Accept")) {
		signed, err = p.signInspection(found, asker, now)
	}
	switch {
	case err != nil:
		p.refuse(w, r, err)
	case signed != "":
		h := w.Header()
		h.Set("Content-Type", "application/"+inspectionType)
		h["Cache-Control"], h["X-Content-Type-Options"] = noStore, noSniff
		io.WriteString(w, signed)
	default:
		write(w, http.StatusOK, found)
	}
}

// appendTo implements byHand. A service may ask with each request of its own.
func (i *inspection) appendTo(b []byte) ([]byte, bool) {
	o := handwritten{text: strconv.AppendBool(append(b, `{"active":`...), i.Active), odd: i.Confirmation != nil || i.Act != nil}
	o.put("scope", i.Scope)
	o.put("client_id", i.ClientID)
	o.put("token_type", i.Type)
	o.put("iss", i.Issuer)
	o.put("sub", i.Subject)
	o.putAll("aud", i.Audience)
	o.putNumber("iat", i.Issued)
	o.putNumber("exp", i.Expires)
	o.put("jti", i.ID)
	o.put("gid", i.GID)
	o.putNumber("sev", int64(i.SEV))
	o.putNumber("auth_time", i.AuthTime)
	o.put("acr", i.ACR)
	o.putAll("amr", i.AMR)
	return o.end()
}

// inspectionType is that of a signed answer, in its header and as its media type
// (RFC 9701 sections 5 and 10).
const inspectionType = "token-introspection+jwt"

// wantsSigned reports whether an answer is to be signed, by the headers Accept: whoever
// names the type wants it, and nobody gets it for */*.
func wantsSigned(accept []string) bool {
	for _, line := range accept {
		for one := range strings.SplitSeq(line, ",") {
			media, params, err := mime.ParseMediaType(one)
			if err != nil || media != "application/"+inspectionType {
				continue
			}
			q, err := strconv.ParseFloat(cmp.Or(params["q"], "1"), 64)
			return err == nil && q > 0
		}
	}
	return false
}

// signInspection signs an answer for who keeps it as evidence. It has a type of its own,
// no sub and no exp, and the asker for an audience: with its members at the top it would
// look just like the token that it tells of (RFC 9701 section 8.1).
func (p *Provider) signInspection(found *inspection, asker *Client, now time.Time) (string, error) {
	if err := p.canSign(asker.signs()); err != nil {
		return "", err
	}
	text, err := json.Marshal(struct {
		Issuer   string      `json:"iss"`
		Audience string      `json:"aud"`
		Issued   int64       `json:"iat"`
		Found    *inspection `json:"token_introspection"`
	}{p.o.Issuer, asker.ID, now.Unix(), found})
	if err != nil {
		return "", err
	}
	return jose.Sign(p.o.Keys.Signing(asker.signs()), jose.Header{Type: inspectionType}, text)
}

// inspect looks whether a token counts. What class a token is of it says itself, so that
// a wrong token_type_hint hides none.
func (p *Provider) inspect(r *http.Request, f form, now time.Time) (*inspection, *Client, error) {
	look := func(Tx, *Client) (*inspection, error) { return &inspection{}, nil } // at what is no token
	text := f.get("token")
	if t, err := token.Parse(token.Refresh, text); err == nil {
		look = func(tx Tx, c *Client) (*inspection, error) { return p.inspectRefresh(tx, c, t, now) }
	} else if b, err := p.parseBearer(r.Context(), text, now); err == nil {
		look = func(tx Tx, c *Client) (*inspection, error) { return p.inspectBearer(tx, c, b, now) }
	} else if !errors.Is(err, ErrInvalidToken) {
		return nil, nil, err
	}
	var found *inspection
	c, err := p.asker(r, f, now, func(tx Tx, c *Client) (err error) {
		found, err = look(tx, c)
		return err
	})
	switch {
	case err != nil:
		return nil, nil, err
	// Anybody can say that he is a public client, and try tokens (section 2.1).
	case c.Auth == NoAuth:
		return nil, nil, because(ErrInvalidClient, "Only a client that proves itself is told about tokens.")
	}
	return found, c, nil
}

// inspectBearer tells of an access token to whom it was given to, and to whom it is for:
// a service that is one of the token's audiences. To others it may as well not be.
func (p *Provider) inspectBearer(tx Tx, asker *Client, b bearer, now time.Time) (*inspection, error) {
	l, err := b.find(tx, now)
	switch {
	case errors.Is(err, ErrInvalidToken):
		return &inspection{}, nil
	case err != nil:
		return nil, err
	case l.Client != asker.ID && !asker.is(l.Audience):
		return &inspection{}, nil
	}
	i := &inspection{
		Active: true, Scope: strings.Join(l.Scopes, " "), ClientID: l.Client, Type: "Bearer", Issuer: p.o.Issuer,
		Subject: l.Client, Audience: l.Audience, Issued: l.Issued.Unix(), Expires: l.Expires.Unix(), ID: l.Selector,
		GID: l.Grant, SEV: l.SEV, ACR: l.ACR, AMR: l.AMR,
		Act: actor(l.Actors),
	}
	if l.user != nil {
		i.Subject, i.AuthTime = p.subject(asker, l.Subject), l.AuthTime.Unix()
	}
	if asker.Sector != "" { // it is the same for every client, and hardly two people have one
		i.SEV = 0
	}
	if l.JKT != "" {
		i.Type, i.Confirmation = "DPoP", &access.Confirmation{JKT: l.JKT}
	}
	return i, nil
}

// inspectRefresh tells of a refresh token to whom it was given to. It spends nothing and
// ends nothing: that a token is old is judged where it is used.
func (p *Provider) inspectRefresh(tx Tx, asker *Client, t token.Token, now time.Time) (*inspection, error) {
	g, err := tx.Grant(gid(t))
	if err != nil {
		return nil, err
	}
	if g == nil || g.Client != asker.ID || g.Ended != "" || !now.Before(g.Expires) {
		return &inspection{}, nil
	}
	if v, _ := p.judge(g, t, now); v != rotates && v != repeats {
		return &inspection{}, nil
	}
	if _, _, err := behind(tx, g, now); errors.Is(err, ErrInvalidGrant) {
		return &inspection{}, nil
	} else if err != nil {
		return nil, err
	}
	i := &inspection{
		Active: true, Scope: strings.Join(g.Scopes, " "), ClientID: g.Client, Issuer: p.o.Issuer, Subject: p.subject(asker, g.Subject),
		Issued: g.RotatedAt.Unix(), Expires: g.Expires.Unix(), GID: g.ID, AuthTime: g.AuthTime.Unix(), ACR: g.ACR, AMR: g.AMR,
	}
	if g.JKT != "" {
		i.Confirmation = &access.Confirmation{JKT: g.JKT}
	}
	return i, nil
}
