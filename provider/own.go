package provider

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/admit-auth/admit/token"
)

// ownGrant is the "gid" of the tokens that the client has of its own. A client that takes
// the id of one that was removed was made at another time, and has another.
func (c *Client) ownGrant() string {
	var on [128]byte // the stack, for most
	made := strconv.AppendInt(append(on[:0], "own:"...), c.CreatedAt.UnixMilli(), 10)
	sum := sha256.Sum256(append(append(made, ':'), c.ID...))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// own is the client's own grant, which is there as long as the client and is written
// down nowhere.
func (c *Client) own(now time.Time) *Grant {
	return &Grant{ID: c.ownGrant(), Client: c.ID, BegunAt: now, RotatedAt: now, Expires: now.Add(c.accessLife())}
}

// own gives a token of the client's own grant (RFC 6749 section 4.4).
func (x *exchange) own(tx Tx) (err error) {
	if x.client.Auth == NoAuth { // anybody can say that he is that client
		return because(ErrUnauthorizedClient, "A client that cannot prove itself has nothing of its own.")
	}
	may := slices.DeleteFunc(slices.Clone(x.client.Scopes), isOfPeople)
	if x.scopes, err = narrowed(may, x.f.words("scope")); err != nil {
		return err
	}
	asked := x.f["resource"]
	may = nil
	if len(asked) > 0 || len(x.client.Audiences) == 1 {
		may = x.client.Audiences
	}
	if x.audience, err = x.audienceOf(x.client, may, asked, false); err != nil {
		return err
	}
	x.grant = x.client.own(x.now)
	x.made, err = x.mint(tx, x.grant)
	return err
}

// maxCarried bounds what a token carries with it, in bytes: sealed it is some 3 KB then,
// and servers take 8 KB for a header.
const maxCarried = 2 << 10

// carries reports whether a token can carry with it what it is worth. The store keeps it
// where that is too much, and where names could not be told apart again.
func (t *Token) carries() bool {
	n := 0
	for _, names := range [][]string{{t.Client}, t.Scopes, t.Audience} {
		for _, name := range names {
			if name == "" || strings.ContainsFunc(name, unicode.IsSpace) {
				return false
			}
			n += len(name) + 1
		}
	}
	return n <= maxCarried
}

// ownSeal stands before what a token carries with it; in no other token is one.
const ownSeal = "~"

// sealOwn is the text of an opaque token of a client's own. What a store would keep of it
// the token carries with it, sealed, and only what ends it is written down: a service may
// ask for one each second, and hardly ever gives one back. It begins as every token does,
// for who looks for lost ones, and that beginning is what the rest is sealed under.
func (p *Provider) sealOwn(t token.Token, row *Token) string {
	value := strings.Join([]string{
		row.Grant, row.Client, row.JKT, milli(row.Issued), milli(row.Expires),
		strings.Join(row.Scopes, " "), strings.Join(row.Audience, " "), // see carries
	}, "\n")
	name := t.Reveal()
	return string(p.o.Secrets.Seal([]byte(name+ownSeal), name, []byte(value), row.Issued))
}

// openOwn is the other way around, nil for what is none of ours.
func (p *Provider) openOwn(text string, now time.Time) *Token {
	name, sealed, _ := strings.Cut(text, ownSeal)
	t, err := token.Parse(token.Access, name)
	if err != nil {
		return nil
	}
	value, _, err := p.o.Secrets.Open(nil, name, sealed, 0, now) // it says itself until when
	if err != nil {
		return nil
	}
	var f [7]string
	for i, rest := 0, string(value); i < len(f); i++ {
		var more bool
		if f[i], rest, more = strings.Cut(rest, "\n"); more != (i < len(f)-1) {
			return nil // of no form of ours: carries lets no end of a line in
		}
	}
	return &Token{
		Selector: t.Selector(), Grant: f[0], Client: f[1], JKT: f[2], Issued: fromMilli(f[3]), Expires: fromMilli(f[4]),
		Scopes: strings.Fields(f[5]), Audience: strings.Fields(f[6]),
	}
}

func milli(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

func fromMilli(text string) time.Time {
	n, _ := strconv.ParseInt(text, 10, 64) // it was sealed so
	return time.UnixMilli(n)
}
