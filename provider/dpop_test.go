package provider

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/jose"
)

// A holder has a key, and makes proofs of it by hand: also those that no honest program
// makes.
type holder struct {
	testing.TB
	key    *ecdsa.PrivateKey
	header map[string]any
	jkt    string
}

func newHolder(t testing.TB) *holder {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	x, y := base64.RawURLEncoding.EncodeToString(point[1:33]), base64.RawURLEncoding.EncodeToString(point[33:])
	sum := sha256.Sum256([]byte(`{"crv":"P-256","kty":"EC","x":"` + x + `","y":"` + y + `"}`)) // RFC 7638
	return &holder{t, key, map[string]any{
		"typ": "dpop+jwt", "alg": "ES256", "jwk": map[string]any{"kty": "EC", "crv": "P-256", "x": x, "y": y},
	}, base64.RawURLEncoding.EncodeToString(sum[:])}
}

// proof signs claims; a nil one is left out.
func (h *holder) proof(header, claims map[string]any) string {
	h.Helper()
	part := func(of map[string]any) string {
		b, err := json.Marshal(of)
		if err != nil {
			h.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(header) + "." + part(claims)
	if header["alg"] == "none" {
		return text + "."
	}
	if header["alg"] == "HS256" { // with the public key, which everybody knows
		x, _ := base64.RawURLEncoding.DecodeString(h.header["jwk"].(map[string]any)["x"].(string))
		mac := hmac.New(sha256.New, x)
		mac.Write([]byte(text))
		return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, h.key, sum[:])
	if err != nil {
		h.Fatal(err)
	}
	var raw [64]byte
	r.FillBytes(raw[:32])
	s.FillBytes(raw[32:])
	return text + "." + base64.RawURLEncoding.EncodeToString(raw[:])
}

// claims are those of a good proof for the token endpoint.
func (h *holder) claims(d *desk) map[string]any {
	return map[string]any{
		"jti": rand.Text(), "htm": "POST", "htu": deskIssuer + "/oauth/token", "iat": d.now.Unix(), "nonce": d.proofs.Nonce(d.now),
	}
}

// sends puts a proof, after a change of its claims, into a request to the token endpoint.
func (h *holder) sends(d *desk, change ...any) func(*http.Request) {
	h.Helper()
	c := h.claims(d)
	for pair := range slices.Chunk(change, 2) {
		c[pair[0].(string)] = pair[1]
	}
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return proof(h.proof(h.header, c))
}

func proof(text ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header["Dpop"] = text }
}

// bound checks that tokens were given which are bound to the holder's key.
func (h *holder) bound(d *desk, a *reply) *reply {
	h.Helper()
	if a.status != 200 || a.string("access_token") == "" || a.string("token_type") != "DPoP" {
		h.Fatalf("%d %s, want bound tokens", a.status, a.text)
	}
	jkt := ""
	if text := a.string("access_token"); strings.Contains(text, ".") {
		if c := d.claims(text); c.Data.Confirmation != nil {
			jkt = c.Data.Confirmation.JKT
		}
	} else if t, err := d.read(h.Context(), text, d.now); err == nil {
		jkt = t.JKT
	}
	if jkt != h.jkt {
		h.Errorf("the access token is bound to %q, want %q", jkt, h.jkt)
	}
	return a
}

// public registers a public client.
func (d *desk) public(id string, change func(*Client)) url.Values {
	d.client(id, func(c *Client) {
		c.Auth, c.Secrets = NoAuth, nil
		if change != nil {
			change(c)
		}
	})
	return fields("client_id", id)
}

func and(forms ...url.Values) url.Values {
	all := url.Values{}
	for _, f := range forms {
		maps.Copy(all, f)
	}
	return all
}

func refreshing(a *reply) url.Values {
	return fields("grant_type", "refresh_token", "refresh_token", a.string("refresh_token"))
}

func TestAProofBindsTheTokensOfAPublicClientToItsKey(t *testing.T) {
	for _, jwt := range []bool{false, true} {
		d, h := newDesk(t), newHolder(t)
		id := d.public("phone", func(c *Client) { c.JWT = jwt })
		a := h.bound(d, d.post(and(redeeming(d.code("phone", nil)), id), h.sends(d)))
		for range 3 {
			d.now = d.now.Add(10 * time.Minute)
			a = h.bound(d, d.post(and(refreshing(a), id), h.sends(d)))
		}
		// What is presented once more within seconds is answered once more, to its owner.
		again := and(refreshing(a), id)
		b := h.bound(d, d.post(again, h.sends(d)))
		if c := h.bound(d, d.post(again, h.sends(d))); c.string("refresh_token") != b.string("refresh_token") {
			t.Error("a second answer gives another refresh token")
		}
	}
}

// RFC 9449 section 5: its refresh tokens are bound by its authentication.
func TestAConfidentialClientMayTakeAnotherKey(t *testing.T) {
	d, h, other := newDesk(t), newHolder(t), newHolder(t)
	_, secret := d.client("app", nil)
	a := h.bound(d, d.post(redeeming(d.code("app", nil)), basic("app", secret), h.sends(d)))
	a = other.bound(d, d.post(refreshing(a), basic("app", secret), other.sends(d)))
	a = d.given(d.post(refreshing(a), basic("app", secret)))
	h.bound(d, d.post(refreshing(a), basic("app", secret), h.sends(d)))
}

func TestAProofBindsWhatAClientGetsForItself(t *testing.T) {
	d, h := newDesk(t), newHolder(t)
	_, secret := d.client("app", nil)
	f := fields("grant_type", "client_credentials")
	h.bound(d, d.post(f, basic("app", secret), h.sends(d)))
	d.given(d.post(f, basic("app", secret)))
}

func TestAClientThatMustBindItsTokensGetsNoneWithoutAProof(t *testing.T) {
	d, h := newDesk(t), newHolder(t)
	_, secret := d.client("app", func(c *Client) { c.DPoP = true })
	code := redeeming(d.code("app", nil))
	for _, f := range []url.Values{fields("grant_type", "client_credentials"), code} {
		d.refused(d.post(f, basic("app", secret)), "invalid_dpop_proof")
	}
	a := h.bound(d, d.post(code, basic("app", secret), h.sends(d)))
	d.refused(d.post(refreshing(a), basic("app", secret)), "invalid_dpop_proof")
	h.bound(d, d.post(refreshing(a), basic("app", secret), h.sends(d)))
}

// The attack: somebody sees a proof and sends it again, here or at a replica that has not
// seen it, with a token that he has stolen.
func TestAttackAProofIsSentAgain(t *testing.T) {
	d, h := newDesk(t), newHolder(t)
	_, secret := d.client("app", nil)
	p, err := New(d.o)
	if err != nil {
		t.Fatal(err)
	}
	replica := &desk{TB: t, Provider: p, m: d.m, now: d.now}
	f := fields("grant_type", "client_credentials")
	seen := h.sends(d)
	h.bound(d, d.post(f, basic("app", secret), seen))
	for _, at := range []*desk{d, replica} {
		if a := d.refused(at.post(f, basic("app", secret), seen), "invalid_dpop_proof"); !strings.Contains(a.text, "used before") {
			t.Errorf("the answer is %s", a.text)
		}
	}
	// Also one whose request came to nothing.
	seen = h.sends(d)
	d.refused(d.post(fields("grant_type", "client_credentials", "scope", "no"), basic("app", secret), seen), "invalid_scope")
	for _, at := range []*desk{d, replica} {
		d.refused(at.post(f, basic("app", secret), seen), "invalid_dpop_proof")
	}
	// The replica takes nonces that another one has made.
	h.bound(replica, replica.post(f, basic("app", secret), h.sends(d)))
	// Of many at once, at both, one is taken.
	seen = h.sends(d)
	var mu sync.Mutex
	var all sync.WaitGroup
	taken := 0
	for i := range 32 {
		all.Go(func() {
			r := httptest.NewRequest("POST", deskIssuer+"/oauth/token", strings.NewReader(f.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			basic("app", secret)(r)
			seen(r)
			w := httptest.NewRecorder()
			[]*desk{d, replica}[i%2].ServeHTTP(w, r)
			mu.Lock()
			defer mu.Unlock()
			if w.Code == 200 {
				taken++
			}
		})
	}
	if all.Wait(); taken != 1 {
		t.Errorf("%d of 32 were taken", taken)
	}
}

// The attack: a stolen refresh token is presented with a proof of the thief's key, or
// with none. It does not end the grant either: for that, too, it takes the key.
func TestAttackARefreshTokenWithAProofOfAnotherKey(t *testing.T) {
	d, h, thief := newDesk(t), newHolder(t), newHolder(t)
	id := d.public("phone", nil)
	first := h.bound(d, d.post(and(redeeming(d.code("phone", nil)), id), h.sends(d)))
	a := h.bound(d, d.post(and(refreshing(first), id), h.sends(d)))
	d.now = d.now.Add(time.Minute)
	for name, stolen := range map[string]*reply{"the current one": a, "an old one": first} {
		t.Run(name, func(t *testing.T) {
			d.refused(d.post(and(refreshing(stolen), id), thief.sends(d)), "invalid_grant")
			d.refused(d.post(and(refreshing(stolen), id)), "invalid_grant")
			d.refused(d.post(and(refreshing(stolen), id), thief.sends(d, "nonce", nil)), "use_dpop_nonce")
		})
	}
	if len(d.told) > 0 {
		t.Errorf("the thief has ended it: %+v", d.told)
	}
	a = h.bound(d, d.post(and(refreshing(a), id), h.sends(d)))
	// Its owner shows by an old one that somebody has had the key, too.
	d.refused(d.post(and(refreshing(first), id), h.sends(d)), "invalid_grant")
	d.refused(d.post(and(refreshing(a), id), h.sends(d)), "invalid_grant")
}

// The attack: a refresh token that is bound to no key is bound to the thief's, so that
// its owner can use it no more.
func TestAttackAStolenRefreshTokenIsBoundToTheThiefsKey(t *testing.T) {
	d, thief := newDesk(t), newHolder(t)
	id := d.public("phone", nil)
	a := d.given(d.post(and(redeeming(d.code("phone", nil)), id)))
	d.refused(d.post(and(refreshing(a), id), thief.sends(d)), "invalid_grant")
	d.given(d.post(and(refreshing(a), id)))
}

// The attack: a code that was asked for with dpop_jkt is stolen on its way, and presented
// with the right verifier by who has not the key.
func TestAttackCodeInjectionWithDPoPJKT(t *testing.T) {
	d, h, thief := newDesk(t), newHolder(t), newHolder(t)
	id := d.public("phone", nil)
	code := and(redeeming(d.code("phone", func(c *Code) { c.Asked.JKT = h.jkt })), id)
	d.refused(d.post(code), "invalid_grant")
	d.refused(d.post(code, thief.sends(d)), "invalid_grant")
	h.bound(d, d.post(code, h.sends(d))) // it was not spent
}

func TestTheAuthorizationRequestNamesTheKeyOfItsCode(t *testing.T) {
	s, h := newStage(t), newHolder(t)
	s.signIn("s1", "ann")
	s.allowed("ann", "shop")
	if c := s.code(s.get(ask("dpop_jkt", h.jkt), "s1"), callback); c.Asked.JKT != h.jkt {
		t.Errorf("the code is bound to %q", c.Asked.JKT)
	}
	for _, bad := range []string{"x", h.jkt + "=", h.jkt[1:], h.jkt + "A", strings.Repeat("*", 43)} {
		s.refused(s.get(ask("dpop_jkt", bad), "s1"), "invalid_request")
	}
}

// RFC 9449 section 10.1: nobody but its holder can redeem the code.
func TestARequestThatIsPushedWithAProofIsBoundToItsKey(t *testing.T) {
	for _, public := range []bool{false, true} {
		s, h := newPusher(t), newHolder(t)
		if public {
			s.change("shop", func(c *Client) { c.Auth, c.Secrets = NoAuth, nil })
		}
		// A nonce of the moment in which the provider was made does not count.
		d := &desk{TB: t, Provider: s.Provider, now: time.Now().Add(2 * time.Second)}
		push := func(query string, change ...any) *httptest.ResponseRecorder {
			return s.par(query, func(r *http.Request) {
				if !public {
					r.SetBasicAuth("shop", s.secret)
				}
				h.sends(d, append([]any{"htu", "https://id.example.org/oauth/par"}, change...)...)(r)
			})
		}
		for name, c := range map[string]struct {
			w    *httptest.ResponseRecorder
			want string
		}{
			"no nonce":                         {push(ask(), "nonce", nil), "use_dpop_nonce"},
			"a proof for the token endpoint":   {push(ask(), "htu", "https://id.example.org/oauth/token"), "invalid_dpop_proof"},
			"another key than that of the jkt": {push(ask("dpop_jkt", newHolder(t).jkt)), "invalid_dpop_proof"},
		} {
			if c.w.Code != 400 || object(t, c.w)["error"] != c.want || c.w.Header().Get("DPoP-Nonce") == "" {
				t.Errorf("%s: %d %s", name, c.w.Code, c.w.Body)
			}
		}
		if !public { // the proof counts once, also at a replica
			replica, err := New(s.o)
			if err != nil {
				t.Fatal(err)
			}
			seen := h.sends(d, "htu", "https://id.example.org/oauth/par")
			for i, want := range []int{201, 400} {
				s.Provider = []*Provider{d.Provider, replica}[i]
				if w := s.par(ask(), seen, func(r *http.Request) { r.SetBasicAuth("shop", s.secret) }); w.Code != want {
					t.Errorf("%d %s, want %d", w.Code, w.Body, want)
				}
			}
			s.Provider = d.Provider
		}
		for _, query := range []string{ask(), ask("dpop_jkt", h.jkt)} {
			w := push(query)
			if w.Code != 201 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			uri, _ := object(t, w)["request_uri"].(string)
			if c := s.code(s.get(url.Values{"client_id": {"shop"}, "request_uri": {uri}}.Encode(), "s1"), callback); c.Asked.JKT != h.jkt {
				t.Errorf("the code is bound to %q", c.Asked.JKT)
			}
		}
	}
}

// The attack: a proof that was made for another request is handed on: for another site,
// whose name is put into Host, another endpoint, or another method.
func TestAttackAProofForAnotherAddressOrMethod(t *testing.T) {
	d, h := newDesk(t), newHolder(t)
	_, secret := d.client("app", nil)
	f := fields("grant_type", "client_credentials")
	host := func(name string) func(*http.Request) {
		return func(r *http.Request) {
			r.Host = name
			r.Header.Set("X-Forwarded-Host", name)
			r.Header.Set("Forwarded", "host="+name)
		}
	}
	for name, c := range map[string]struct {
		htm, htu string
		host     string
	}{
		"another site":               {"POST", "https://evil.example/oauth/token", "evil.example"},
		"another site, honest host":  {"POST", "https://evil.example/oauth/token", "id.example.org"},
		"another endpoint":           {"POST", deskIssuer + "/oauth/userinfo", ""},
		"the issuer":                 {"POST", deskIssuer, ""},
		"another port":               {"POST", deskIssuer + ":444/oauth/token", ""},
		"plain HTTP":                 {"POST", "http://id.example.org/oauth/token", ""},
		"a path with a slash":        {"POST", deskIssuer + "/oauth/token/", ""},
		"a user in front":            {"POST", "https://id.example.org@evil.example/oauth/token", "evil.example"},
		"GET":                        {"GET", deskIssuer + "/oauth/token", ""},
		"a method in small letters":  {"post", deskIssuer + "/oauth/token", ""},
		"no address":                 {"POST", "", ""},
		"no method":                  {"", deskIssuer + "/oauth/token", ""},
		"a path alone":               {"POST", "/oauth/token", ""},
		"a path with capitals in it": {"POST", deskIssuer + "/OAuth/token", ""},
	} {
		t.Run(name, func(t *testing.T) {
			more := []func(*http.Request){basic("app", secret), h.sends(d, "htm", c.htm, "htu", c.htu)}
			if c.host != "" {
				more = append(more, host(c.host))
			}
			d.refused(d.post(f, more...), "invalid_dpop_proof")
		})
	}
	// Behind a proxy Host may be anything; a query and a fragment do not count, and there
	// is more than one spelling.
	h.bound(d, d.post(f, basic("app", secret), h.sends(d), host("10.0.0.7:8080")))
	h.bound(d, d.post(f, basic("app", secret), h.sends(d, "htu", "HTTPS://ID.example.org:443/oauth/./%74oken?a=b#c")))
}

// The attack: proofs are made in advance by who has the key for a moment, or are sent
// later. What counts is the nonce, which tells by our own clock how old a proof can be;
// the client's may be wrong (RFC 9449 section 4.3 wants one of the two).
func TestAttackAProofThatIsTooOldOrFromTheFuture(t *testing.T) {
	d, h := newDesk(t), newHolder(t)
	_, secret := d.client("app", nil)
	f := fields("grant_type", "client_credentials")
	send := func(change ...any) *reply { return d.post(f, basic("app", secret), h.sends(d, change...)) }
	for name, change := range map[string][]any{
		"no nonce and the time of now":   {"nonce", nil},
		"no nonce and an hour ago":       {"nonce", nil, "iat", d.now.Add(-time.Hour).Unix()},
		"no nonce and in an hour":        {"nonce", nil, "iat", d.now.Add(time.Hour).Unix()},
		"an empty nonce":                 {"nonce", ""},
		"a nonce that is made up":        {"nonce", "eyJ7S_zG.eyJH0-Z.HX4w-7v"},
		"a nonce of 61 seconds ago":      {"nonce", d.proofs.Nonce(d.now.Add(-61 * time.Second))},
		"a nonce of 11 seconds ahead":    {"nonce", d.proofs.Nonce(d.now.Add(11 * time.Second))},
		"a nonce of another server":      {"nonce", newDeskOf(t, "z").proofs.Nonce(d.now)},
		"a nonce with a letter replaced": {"nonce", d.proofs.Nonce(d.now)[1:] + "A"},
	} {
		t.Run(name, func(t *testing.T) {
			a := d.refused(send(change...), "use_dpop_nonce")
			told := a.header.Get("DPoP-Nonce")
			if told == "" {
				t.Fatal("no nonce is told")
			}
			h.bound(d, send("nonce", told))
		})
	}
	for name, change := range map[string][]any{
		"no iat":               {"iat", nil},
		"an iat that is text":  {"iat", "now"},
		"no jti":               {"jti", nil},
		"an empty jti":         {"jti", ""},
		"expired":              {"exp", d.now.Unix()},
		"not good yet":         {"nbf", d.now.Add(time.Minute).Unix()},
		"a nonce of a number":  {"nonce", 1},
		"an htm that is a set": {"htm", []string{"POST"}},
	} {
		t.Run(name, func(t *testing.T) { d.refused(send(change...), "invalid_dpop_proof") })
	}
	h.bound(d, send("iat", d.now.Add(-24*time.Hour).Unix()))
	if told := send().header.Get("DPoP-Nonce"); told == "" {
		t.Error("a good answer tells no new nonce")
	}
	if a := d.given(d.post(f, basic("app", secret))); a.header.Get("DPoP-Nonce") != "" {
		t.Error("who sends no proof is told a nonce")
	}
}

// newDeskOf is a desk with other secrets.
func newDeskOf(t testing.TB, seeds ...string) *desk {
	t.Helper()
	d := newDesk(t)
	d.Provider = remade(t, d.Provider, func(o *Options) { o.Secrets = deskRing(t, seeds...) })
	return d
}

// The attack: a proof that everybody can sign, with the public key as a shared one, or
// that says which key to trust in another way.
func TestAttackAProofWithAnotherAlgorithmOrKey(t *testing.T) {
	d, h := newDesk(t), newHolder(t)
	_, secret := d.client("app", nil)
	f := fields("grant_type", "client_credentials")
	d64 := base64.RawURLEncoding.EncodeToString(func() []byte { b, _ := h.key.Bytes(); return b }())
	with := func(of map[string]any, pairs ...any) map[string]any {
		of = maps.Clone(of)
		for pair := range slices.Chunk(pairs, 2) {
			of[pair[0].(string)] = pair[1]
		}
		maps.DeleteFunc(of, func(_ string, v any) bool { return v == nil })
		return of
	}
	jwk := h.header["jwk"].(map[string]any)
	for name, header := range map[string]map[string]any{
		"alg none":                 with(h.header, "alg", "none"),
		"alg None":                 with(h.header, "alg", "None"),
		"HS256 with the key":       with(h.header, "alg", "HS256"),
		"HS256 with a shared jwk":  with(h.header, "alg", "HS256", "jwk", map[string]any{"kty": "oct", "k": jwk["x"]}),
		"another algorithm":        with(h.header, "alg", "ES384"),
		"an algorithm not offered": with(h.header, "alg", "RS256"),
		"no algorithm":             with(h.header, "alg", nil),
		"the private key in jwk":   with(h.header, "jwk", with(jwk, "d", d64)),
		"a jwk of another key":     with(h.header, "jwk", newHolder(t).header["jwk"]),
		"a point off the curve":    with(h.header, "jwk", with(jwk, "y", jwk["x"])),
		"no jwk":                   with(h.header, "jwk", nil),
		"a kid in its place":       with(h.header, "jwk", nil, "kid", "1"),
		"an address of the key":    with(h.header, "jwk", nil, "jku", "https://evil.example/keys"),
		"a jwk that is text":       with(h.header, "jwk", "key"),
		"the typ of a JWT":         with(h.header, "typ", "JWT"),
		"no typ":                   with(h.header, "typ", nil),
		"something critical":       with(h.header, "crit", []string{"x"}, "x", 1),
	} {
		t.Run(name, func(t *testing.T) {
			d.refused(d.post(f, basic("app", secret), proof(h.proof(header, h.claims(d)))), "invalid_dpop_proof")
		})
	}
	good := func() string { return h.proof(h.header, h.claims(d)) }
	tampered := good()
	for name, sent := range map[string][]string{
		"two headers":                {good(), good()},
		"two proofs in one":          {good() + ", " + good()},
		"nothing":                    {""},
		"a space before":             {" " + good()},
		"JSON":                       {`{"typ":"dpop+jwt"}`},
		"an access token":            {d.given(d.post(f, basic("app", secret))).string("access_token")},
		"a signature of another one": {tampered[:strings.LastIndexByte(tampered, '.')] + good()[strings.LastIndexByte(good(), '.'):]},
		"as long as can be":          {strings.Repeat("a", 100_000)},
	} {
		t.Run(name, func(t *testing.T) { d.refused(d.post(f, basic("app", secret), proof(sent...)), "invalid_dpop_proof") })
	}
	h.bound(d, d.post(f, basic("app", secret), proof(good())))
}

// Who lacks a nonce, or sends a proof that does not count, has lost nothing: neither his
// code nor his refresh token.
func TestARefusedProofSpendsNothing(t *testing.T) {
	d, h := newDesk(t), newHolder(t)
	id := d.public("phone", nil)
	code := and(redeeming(d.code("phone", nil)), id)
	d.refused(d.post(code, h.sends(d, "nonce", nil)), "use_dpop_nonce")
	d.refused(d.post(code, h.sends(d, "htm", "GET")), "invalid_dpop_proof")
	a := h.bound(d, d.post(code, h.sends(d)))
	d.refused(d.post(and(refreshing(a), id), h.sends(d, "nonce", nil)), "use_dpop_nonce")
	d.now = d.now.Add(time.Minute)
	h.bound(d, d.post(and(refreshing(a), id), h.sends(d)))
}

// The attack: the assertion of a request that is refused for its proof is used by whoever
// saw it on its way.
func TestAttackTheAssertionOfARefusedProofIsUsedAgain(t *testing.T) {
	a, h := newAsserter(t, jose.ES256), newHolder(t)
	f := fields("grant_type", "client_credentials", "client_assertion_type", assertionType, "client_assertion", a.sign(a.key, "JWT", nil))
	a.refused(a.post(f, h.sends(a.desk, "nonce", nil)), "use_dpop_nonce")
	a.refused(a.post(f, h.sends(a.desk)), "invalid_client")
}

// Nonces are made with a key that is replaced; those of the one before count on.
func TestANonceOutlivesItsKey(t *testing.T) {
	d, h := newDesk(t), newHolder(t)
	_, secret := d.client("app", nil)
	f := fields("grant_type", "client_credentials")
	secrets := &turning{deskRing(t, "a")}
	d.Provider = remade(t, d.Provider, func(o *Options) { o.Secrets = secrets })
	old := d.proofs.Nonce(d.now)
	secrets.Keys = deskRing(t, "b", "a")
	if d.proofs.Nonce(d.now) == old {
		t.Error("nonces are made with the key before still")
	}
	h.bound(d, d.post(f, basic("app", secret), h.sends(d, "nonce", old)))
	secrets.Keys = deskRing(t, "b")
	d.refused(d.post(f, basic("app", secret), h.sends(d, "nonce", old)), "use_dpop_nonce")
}

// turning are secrets that change.
type turning struct{ *cookie.Keys }

// at presents an access token at the userinfo endpoint, with a proof unless its claims
// are nil.
func (h *holder) at(hall *hall, scheme, token string, change ...any) *httptest.ResponseRecorder {
	h.Helper()
	r := httptest.NewRequest("GET", deskIssuer+"/oauth/userinfo", nil)
	r.Header.Set("Authorization", scheme+" "+token)
	sum := sha256.Sum256([]byte(token))
	h.sends(hall.desk, append([]any{"htm", "GET", "htu", deskIssuer + "/oauth/userinfo", "ath", base64.RawURLEncoding.EncodeToString(sum[:])}, change...)...)(r)
	return hall.serve(r)
}

// challenged checks a 401, and by which scheme and code it says what is wrong.
func challenged(t testing.TB, w *httptest.ResponseRecorder, code string) {
	t.Helper()
	says := w.Header().Values("WWW-Authenticate")
	if w.Code != 401 || len(says) != 1 || !strings.HasPrefix(says[0], `DPoP error="`+code+`", error_description="`) || !strings.HasSuffix(says[0], `, algs="ES256 EdDSA Ed25519"`) {
		t.Errorf("%d with %q, want 401 by DPoP with %s", w.Code, says, code)
	}
	if strings.Contains(w.Body.String(), "alice") {
		t.Errorf("a refusal tells %s", w.Body)
	}
}

// bearing lets alice into a public client, whose tokens are bound to the key.
func (h *holder) bearing(hall *hall, jwt bool) string {
	h.Helper()
	id := hall.public("phone", func(c *Client) { c.JWT = jwt })
	return h.bound(hall.desk, hall.post(and(redeeming(hall.code("phone", nil)), id), h.sends(hall.desk))).string("access_token")
}

func TestUserinfoTakesABoundTokenWithItsProof(t *testing.T) {
	for _, jwt := range []bool{false, true} {
		hall, h := newHall(t), newHolder(t)
		text := h.bearing(hall, jwt)
		for _, scheme := range []string{"DPoP", "dpop"} {
			w := h.at(hall, scheme, text)
			if w.Code != 200 || object(t, w)["email"] != "alice@example.org" || w.Header().Get("DPoP-Nonce") == "" {
				t.Errorf("%d %s with %v", w.Code, w.Body, w.Header())
			}
		}
	}
}

// The attack: an access token was copied from a log, and is presented without its key.
func TestAttackAStolenBoundTokenWithoutItsKey(t *testing.T) {
	for _, jwt := range []bool{false, true} {
		hall, h, thief := newHall(t), newHolder(t), newHolder(t)
		text := h.bearing(hall, jwt)
		challenged(t, thief.at(hall, "DPoP", text), "invalid_token")
		bare := func(scheme string) *httptest.ResponseRecorder {
			r := httptest.NewRequest("GET", deskIssuer+"/oauth/userinfo", nil)
			r.Header.Set("Authorization", scheme+" "+text)
			return hall.serve(r)
		}
		challenged(t, bare("DPoP"), "invalid_dpop_proof")
		for name, change := range map[string][]any{
			"no ath":                   {"ath", nil},
			"the ath of another token": {"ath", challenge},
			"another method":           {"htm", "POST"},
			"the token endpoint":       {"htu", deskIssuer + "/oauth/token"},
		} {
			t.Run(name, func(t *testing.T) { challenged(t, h.at(hall, "DPoP", text, change...), "invalid_dpop_proof") })
		}
		w := h.at(hall, "DPoP", text, "nonce", nil)
		challenged(t, w, "use_dpop_nonce")
		if w := h.at(hall, "DPoP", text, "nonce", w.Header().Get("DPoP-Nonce")); w.Code != 200 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}

// The attack: a bound token is presented as if it were a bearer token, with a proof or
// without; or one that is bound to none with a proof of whatever key, which would then
// seem to prove something.
func TestAttackDowngradeToBearer(t *testing.T) {
	hall, h := newHall(t), newHolder(t)
	text := h.bearing(hall, false)
	challenged(t, h.at(hall, "Bearer", text), "invalid_token")
	r := httptest.NewRequest("POST", deskIssuer+"/oauth/userinfo", strings.NewReader(fields("access_token", text).Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	challenged(t, hall.serve(r), "invalid_token")

	hall.app("app", nil)
	free := hall.tokens("app", nil).string("access_token")
	challenged(t, h.at(hall, "DPoP", free), "invalid_token")
	if w := h.at(hall, "Bearer", free); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// The attack: a request with a bound token is recorded, and sent once more, here or at a
// replica.
func TestAttackARequestWithABoundTokenIsSentAgain(t *testing.T) {
	hall, h := newHall(t), newHolder(t)
	text := h.bearing(hall, false)
	sum := sha256.Sum256([]byte(text))
	seen := h.sends(hall.desk, "htm", "GET", "htu", deskIssuer+"/oauth/userinfo", "ath", base64.RawURLEncoding.EncodeToString(sum[:]))
	replica, err := New(hall.o)
	if err != nil {
		t.Fatal(err)
	}
	send := func(p *Provider) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", deskIssuer+"/oauth/userinfo", nil)
		r.Header.Set("Authorization", "DPoP "+text)
		seen(r)
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		return w
	}
	if w := send(hall.Provider); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	challenged(t, send(hall.Provider), "invalid_dpop_proof")
	challenged(t, send(replica), "invalid_dpop_proof")
}

func TestWithoutATokenBothSchemesAreOffered(t *testing.T) {
	hall := newHall(t)
	w := hall.serve(httptest.NewRequest("GET", deskIssuer+"/oauth/userinfo", nil))
	if got := w.Header().Values("WWW-Authenticate"); w.Code != 401 || len(got) != 2 || !strings.HasPrefix(got[0], `Bearer realm="userinfo"`) || got[1] != `DPoP algs="ES256 EdDSA Ed25519"` {
		t.Errorf("%d with %q", w.Code, got)
	}
}

func TestIntrospectionTellsTheKeyOfABoundToken(t *testing.T) {
	for _, jwt := range []bool{false, true} {
		hall, h := newHall(t), newHolder(t)
		hall.app("app", func(c *Client) { c.JWT = jwt })
		a := h.bound(hall.desk, hall.post(redeeming(hall.code("app", nil)), basic("app", hall.secrets["app"]), h.sends(hall.desk)))
		got := hall.inspected("app", a.string("access_token"))
		if cnf, _ := got["cnf"].(map[string]any); got["token_type"] != "DPoP" || cnf["jkt"] != h.jkt {
			t.Errorf("jwt %v: %v", jwt, got)
		}
		// That of a client that proves itself is bound to no key (RFC 9449 section 5).
		if got := hall.inspected("app", a.string("refresh_token")); got["active"] != true || got["cnf"] != nil {
			t.Errorf("jwt %v: %v", jwt, got)
		}
	}
}

func TestDiscoveryTellsWhatProofsAreSignedWith(t *testing.T) {
	hall := newHall(t)
	w := hall.serve(httptest.NewRequest("GET", deskIssuer+"/.well-known/oauth-authorization-server", nil))
	if got, _ := json.Marshal(object(t, w)["dpop_signing_alg_values_supported"]); string(got) != `["ES256","EdDSA","Ed25519"]` {
		t.Errorf("%s", got)
	}
}

// What a service exchanges a token for is bound to the service's own key; a token that is
// bound to its app's it cannot hand on.
func TestWhatATokenIsExchangedForIsBoundToTheServicesKey(t *testing.T) {
	for _, jwt := range []bool{false, true} {
		hall, h, service := trading(t, jwt), newHolder(t), newHolder(t)
		swap := func(text string, more ...func(*http.Request)) *reply {
			f := fields("grant_type", string(TokenExchange), "subject_token", text, "subject_token_type", accessTokenType)
			return hall.post(f, append(more, basic("orders", hall.secrets["orders"]))...)
		}
		service.bound(hall.desk, swap(hall.tokens("app", forOrders).string("access_token"), service.sends(hall.desk)))
		bound := h.bound(hall.desk, hall.post(redeeming(hall.code("app", forOrders)), basic("app", hall.secrets["app"]), h.sends(hall.desk)))
		hall.refused(swap(bound.string("access_token"), service.sends(hall.desk)), "invalid_request")
		hall.refused(swap(bound.string("access_token")), "invalid_request")
	}
}

func TestADeviceBindsItsTokensToItsKey(t *testing.T) {
	l, h, thief := newLiving(t), newHolder(t), newHolder(t)
	a := l.begins("tv", "openid offline_access")
	poll := func(by *holder) *reply {
		l.now = l.now.Add(6 * time.Second)
		return l.post(fields("grant_type", string(DeviceCode), "client_id", "tv", "device_code", a.string("device_code")), by.sends(l.desk))
	}
	l.refused(poll(h), "authorization_pending")
	l.decides("s1", a.string("user_code"), true)
	tokens := h.bound(l.desk, poll(h))
	id := fields("client_id", "tv")
	l.refused(l.post(and(refreshing(tokens), id), thief.sends(l.desk)), "invalid_grant")
	l.refused(l.post(and(refreshing(tokens), id)), "invalid_grant")
	h.bound(l.desk, l.post(and(refreshing(tokens), id), h.sends(l.desk)))
}
