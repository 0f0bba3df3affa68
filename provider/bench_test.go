package provider

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/token"
)

// nowhere is a response that nobody reads.
type nowhere struct {
	h      http.Header
	status int
}

func (w *nowhere) Header() http.Header         { return w.h }
func (w *nowhere) WriteHeader(status int)      { w.status = status }
func (w *nowhere) Write(b []byte) (int, error) { return len(b), nil }

// asker sends one form to the token endpoint as often as it is called: each time a
// second later, so that no more is kept than lives.
func (d *desk) asker(f url.Values, id, secret string) func() {
	ask := d.asking("/oauth/token", f, id, secret)
	return func() {
		d.now = d.now.Add(time.Second)
		ask()
	}
}

// asking sends one form as often as it is called.
func (d *desk) asking(path string, f url.Values, id, secret string) func() {
	text := f.Encode()
	r := httptest.NewRequest(http.MethodPost, deskIssuer+path, nil)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	basic(id, secret)(r)
	body := strings.NewReader(text)
	w := &nowhere{h: http.Header{}}
	return func() {
		body.Reset(text)
		r.Body = readCloser{body}
		if d.Provider.ServeHTTP(w, r); w.status != 200 {
			d.Fatalf("status %d", w.status)
		}
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

func BenchmarkClientCredentials(b *testing.B) {
	for name, change := range map[string]func(*Client){
		"opaque": nil,
		"ES256":  func(c *Client) { c.JWT = true },
		"EdDSA":  func(c *Client) { c.JWT, c.Signs = true, jose.EdDSA },
		"RS256":  func(c *Client) { c.JWT, c.Signs = true, jose.RS256 },
	} {
		b.Run(name, func(b *testing.B) {
			d := newDesk(b)
			_, secret := d.client("app", change)
			ask := d.asker(fields("grant_type", "client_credentials"), "app", secret)
			b.ReportAllocs()
			for b.Loop() {
				ask()
			}
		})
	}
}

func BenchmarkIntrospection(b *testing.B) {
	d := newDesk(b)
	_, secret := d.client("app", nil)
	_, signed := d.client("jwt", func(c *Client) { c.JWT = true })
	for _, of := range []struct {
		name, client, secret string
		got                  *reply
	}{
		{"of a client's own", "app", secret, d.post(fields("grant_type", "client_credentials"), basic("app", secret))},
		{"of a person's", "app", secret, d.post(redeeming(d.code("app", nil)), basic("app", secret))},
		{"of a JWT", "jwt", signed, d.post(redeeming(d.code("jwt", nil)), basic("jwt", signed))},
	} {
		b.Run(of.name, func(b *testing.B) {
			ask := d.asking("/oauth/introspect", fields("token", d.given(of.got).string("access_token")), of.client, of.secret)
			b.ReportAllocs()
			for b.Loop() {
				ask()
			}
		})
	}
}

// The store alone, for what the rest costs.
func BenchmarkGrantAndTokenInMemory(b *testing.B) {
	d := newDesk(b)
	b.ReportAllocs()
	for b.Loop() {
		d.now = d.now.Add(time.Second)
		if err := d.m.View(b.Context(), func(tx Tx) error { _, err := tx.Client("app"); return err }); err != nil {
			b.Fatal(err)
		}
		if err := d.m.Update(b.Context(), func(tx Tx) error {
			t := token.New(token.Access)
			g := &Grant{ID: newID(), Client: "app", BegunAt: d.now, Expires: d.now.Add(5 * time.Minute)}
			if err := tx.AddGrant(g); err != nil {
				return err
			}
			return tx.AddToken(&Token{Selector: t.Selector(), Digest: t.Digest(), Grant: g.ID, Issued: d.now, Expires: d.now.Add(5 * time.Minute)})
		}); err != nil {
			b.Fatal(err)
		}
	}
}

// successorOf is what a refresh token that was used has become.
func (d *desk) successorOf(t token.Token) token.Token {
	g := d.m.grants[gid(t)]
	next, ok := d.again(&g, t)
	if !ok {
		d.Fatal("it has become nothing")
	}
	return next
}

func BenchmarkRefresh(b *testing.B) {
	d := newDesk(b)
	c, secret := d.client("app", func(c *Client) { c.GrantLife = 1 << 62 })
	a := d.given(d.post(redeeming(d.code("app", func(c *Code) { c.Asked.Scopes = []string{"read", "offline_access"} })), basic("app", secret)))
	next, err := token.Parse(token.Refresh, a.string("refresh_token"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		d.asker(fields("grant_type", "refresh_token", "refresh_token", next.Reveal()), c.ID, secret)()
		next = d.successorOf(next)
	}
}

func BenchmarkCodeToTokens(b *testing.B) {
	d := newDesk(b)
	_, secret := d.client("app", nil)
	b.ReportAllocs()
	for b.Loop() {
		d.asker(redeeming(d.code("app", nil)), "app", secret)()
		d.now = d.now.Add(-time.Second) // the session is one for all
	}
}

// What a proof costs at the token endpoint: its signature, and a row that says that it was
// used. To make it is the client's work, and not counted.
func BenchmarkClientCredentialsWithAProof(b *testing.B) {
	for name, proves := range map[string]bool{"without": false, "with a proof": true} {
		b.Run(name, func(b *testing.B) {
			d, h := newDesk(b), newHolder(b)
			_, secret := d.client("app", nil)
			r := httptest.NewRequest(http.MethodPost, deskIssuer+"/oauth/token", nil)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			basic("app", secret)(r)
			body := strings.NewReader("")
			w := &nowhere{h: http.Header{}}
			const made = 500
			var sent []func(*http.Request)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if d.now = d.now.Add(time.Millisecond); proves && i%made == 0 {
					b.StopTimer()
					for sent = sent[:0]; len(sent) < made; {
						sent = append(sent, h.sends(d))
					}
					b.StartTimer()
				}
				if proves {
					sent[i%made](r)
				}
				body.Reset("grant_type=client_credentials")
				r.Body = readCloser{body}
				if d.Provider.token(w, r); w.status != 200 {
					b.Fatalf("status %d", w.status)
				}
			}
		})
	}
}
