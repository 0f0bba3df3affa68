package provider

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/jose"
)

// claimsText is the payload of a JWT, unverified.
func claimsText(t testing.TB, text string) string {
	t.Helper()
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", text)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	return string(payload)
}

// idClaims are those of an ID token, as a client verifies it that knows its algorithm.
func (d *desk) idClaims(client string, alg jose.Algorithm, text string) map[string]any {
	d.Helper()
	v, err := jose.NewVerifier(deskSigning(), jose.Expected{
		Algorithms: []jose.Algorithm{alg}, Issuer: deskIssuer, Audience: []string{client}, Type: idType,
	}, &jose.VerifierOptions[map[string]any]{})
	if err != nil {
		d.Fatal(err)
	}
	c, err := v.VerifyAt(d.Context(), text, d.now)
	if err != nil {
		d.Fatal(err)
	}
	if len(c.Audience) != 1 {
		d.Errorf("the audience is %q", c.Audience)
	}
	return c.Data
}

func TestAnIDTokenSaysWhoSignedInWhenAndHow(t *testing.T) {
	for _, alg := range signingAlgorithms {
		d := newDesk(t)
		c, secret := d.client("app", func(c *Client) { c.Signs = alg })
		a := d.given(d.post(redeeming(d.code("app", nil)), basic("app", secret)))
		got := d.idClaims("app", alg, a.string("id_token"))
		half := sha256.Sum256([]byte(a.string("access_token")))
		atHash := half[:16]
		if alg == jose.EdDSA {
			whole := sha512.Sum512([]byte(a.string("access_token")))
			atHash = whole[:32]
		}
		want := map[string]any{
			"iss": deskIssuer, "sub": "alice", "aud": "app", "azp": "app", "nonce": "n-0S6_WzA2Mj",
			"iat": float64(d.now.Unix()), "exp": float64(d.now.Add(time.Hour).Unix()), "auth_time": float64(d.now.Add(-time.Minute).Unix()),
			"acr": "aal1", "amr": []any{"pwd"}, "sid": d.sid(c, "s1"), "at_hash": base64.RawURLEncoding.EncodeToString(atHash),
		}
		same(t, got, want)
		plain := d.code("app", func(c *Code) { c.Asked.Nonce = "" })
		got = d.idClaims("app", alg, d.given(d.post(redeeming(plain), basic("app", secret))).string("id_token"))
		if _, there := got["nonce"]; there || got["sub"] != "alice" {
			t.Errorf("to who asked with no nonce it says %v", got)
		}

		d.now = d.now.Add(time.Minute)
		a = d.given(d.post(fields("grant_type", "refresh_token", "refresh_token", a.string("refresh_token")), basic("app", secret)))
		got = d.idClaims("app", alg, a.string("id_token"))
		if _, there := got["nonce"]; there || got["auth_time"] != want["auth_time"] || got["sub"] != "alice" || got["sid"] != want["sid"] || got["at_hash"] == want["at_hash"] {
			t.Errorf("after a refresh it says %v", got)
		}
	}
}

func same(t *testing.T, got, want map[string]any) {
	t.Helper()
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if string(g) != string(w) {
		t.Errorf("it says\n%s, want\n%s", g, w)
	}
}

func TestANewKeySignsAsSoonAsItIsThere(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", func(c *Client) { c.JWT = true })
	give := func() (ids []string) {
		a := d.given(d.post(redeeming(d.code("app", nil)), basic("app", secret)))
		for _, name := range []string{"access_token", "id_token"} {
			header, _, _ := strings.Cut(a.string(name), ".")
			ids = append(ids, header)
		}
		return ids
	}
	before := give()
	key, err := jose.GenerateKey(jose.ES256, "the next")
	if err != nil {
		t.Fatal(err)
	}
	d.Provider.o.Keys = &deskKeys{by: map[jose.Algorithm]*jose.Key{jose.ES256: key}, set: jose.NewKeySet(key.Public())}
	for i, header := range give() {
		text, err := base64.RawURLEncoding.DecodeString(header)
		if err != nil || header == before[i] || !strings.Contains(string(text), "the next") {
			t.Errorf("it is signed with %s", text)
		}
	}
}

func TestThereIsNoIDTokenWithoutTheScope(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	a := d.given(d.post(redeeming(d.code("app", func(c *Code) { c.Asked.Scopes = []string{"read"} })), basic("app", secret)))
	if a.string("id_token") != "" {
		t.Errorf("the answer is %s", a.text)
	}
}

func TestAnIDTokenTellsWhatIsAskedForByNameAlone(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	wish := &ClaimsRequest{
		IDToken:  map[string]*ClaimWish{"email": nil, "sub": nil, "amr": nil, "nonce": nil, "phone_number": {Essential: true}},
		UserInfo: map[string]*ClaimWish{"name": nil},
	}
	a := d.given(d.post(redeeming(d.code("app", func(c *Code) { c.Asked.Claims = wish })), basic("app", secret)))
	got := d.idClaims("app", jose.ES256, a.string("id_token"))
	if got["email"] != "alice@example.org" {
		t.Errorf("what is asked for is not told: %v", got)
	}
	for _, name := range []string{"name", "email_verified", "phone_number"} {
		if _, there := got[name]; there {
			t.Errorf("%s is told: %v", name, got)
		}
	}
	if got["sub"] != "alice" {
		t.Errorf("a claim of the person's stands in the place of sub: %v", got)
	}
}

func TestClaimsAreToldByScopeAndByName(t *testing.T) {
	u := &User{Subject: "alice", Claims: map[string]any{
		"name": "Alice", "email": "a@example.org", "email_verified": true, "phone_number": "+49", "team": "red", "locale": "zh-CN", "sub": "mallory", "aud": "x",
	}}
	extra := map[string][]string{"team": {"team", "sub", "aud"}, "email": {"team"}}
	value := func(v string) *ClaimWish { return &ClaimWish{Value: json.RawMessage(v)} }
	for _, c := range []struct {
		name   string
		scopes []string
		wish   map[string]*ClaimWish
		want   []string
	}{
		{"nothing is told without a scope", nil, nil, nil},
		{"openid tells none but the subject", []string{"openid", "offline_access"}, nil, nil},
		{"profile", []string{"openid", "profile"}, nil, []string{"locale", "name"}},
		{"email is what the standard says, and no more", []string{"email"}, nil, []string{"email", "email_verified"}},
		{"phone, of which half is known", []string{"phone"}, nil, []string{"phone_number"}},
		{"a scope of ours tells of no token", []string{"team"}, nil, []string{"team"}},
		{"a scope that nobody knows", []string{"x"}, nil, nil},
		{"by name", []string{"openid"}, map[string]*ClaimWish{"name": nil, "phone_number": {Essential: true}, "gender": nil}, []string{"name", "phone_number"}},
		{"by a name that is of the token", []string{"openid"}, map[string]*ClaimWish{"sub": nil, "aud": nil}, nil},
		{"a wish for its value", []string{"email"}, map[string]*ClaimWish{"email": value(` "a@example.org"`), "email_verified": value(`true`)}, []string{"email", "email_verified"}},
		{"a wish for another value", []string{"email"}, map[string]*ClaimWish{"email": value(`"b@example.org"`)}, []string{"email_verified"}},
		{"a wish for one of several", []string{"email"}, map[string]*ClaimWish{"email": {Values: []json.RawMessage{[]byte(`1`), []byte(`"a@example.org"`)}}}, []string{"email", "email_verified"}},
		{"a wish that is no JSON", []string{"email"}, map[string]*ClaimWish{"email": value(`{`)}, []string{"email_verified"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := slices.Sorted(maps.Keys(claimsFor(u, c.scopes, c.wish, extra)))
			if !slices.Equal(got, c.want) {
				t.Errorf("told: %q, want %q", got, c.want)
			}
		})
	}
}

func TestSubjectAndSIDAreDerivedForEachClient(t *testing.T) {
	d := newDesk(t)
	public, a, b, c := &Client{ID: "public"}, &Client{ID: "a", Sector: "one.example"}, &Client{ID: "b", Sector: "one.example"}, &Client{ID: "c", Sector: "two.example"}
	if got := d.subject(public, "alice"); got != "alice" {
		t.Errorf("the public subject is %q", got)
	}
	one := d.subject(a, "alice")
	if one == "alice" || len(one) > 255 || one != d.subject(b, "alice") || one == d.subject(c, "alice") || one == d.subject(a, "bob") || one == d.sid(a, "alice") {
		t.Error("a pairwise subject is not one for each sector and person")
	}
	if d.sid(a, "s1") == d.sid(b, "s1") || d.sid(a, "s1") == d.sid(a, "s2") || strings.Contains(d.sid(a, "s1"), "s1") {
		t.Error("a sid is not one for each client and session")
	}
	if d.derive("sid", "ab", "c") == d.derive("sid", "a", "bc") {
		t.Error("what moves from one part to the next derives the same")
	}
	// The salt holds when the secrets are replaced.
	d.Provider.o.Salt = admit.NewSecret("a salt")
	one = d.subject(a, "alice")
	d.Provider.o.Secrets = deskRing(t, "z")
	if d.subject(a, "alice") != one {
		t.Error("with the secrets everybody has become somebody else")
	}
}

// The attack: a client that must not know who somebody is reads it in an access token.
func TestAttackPairwiseSubjectInAnAccessToken(t *testing.T) {
	d := newDesk(t)
	c, secret := d.client("app", func(c *Client) { c.JWT, c.Sector = true, "app.example.org" })
	a := d.given(d.post(redeeming(d.code("app", nil)), basic("app", secret)))
	if strings.Contains(a.string("access_token"), ".") {
		t.Errorf("the access token is a JWT: %s", claimsText(t, a.string("access_token")))
	}
	if got := d.idClaims("app", jose.ES256, a.string("id_token")); got["sub"] != d.subject(c, "alice") {
		t.Errorf("the ID token says %v", got)
	}
}

func TestAHintIsAnIDTokenOfOursThoughItMayHaveExpired(t *testing.T) {
	d := newDesk(t)
	c, secret := d.client("app", func(c *Client) { c.JWT, c.Sector = false, "app.example.org" })
	_, other := d.client("jwt", func(c *Client) { c.JWT = true })
	a := d.given(d.post(redeeming(d.code("app", nil)), basic("app", secret)))
	b := d.given(d.post(redeeming(d.code("jwt", nil)), basic("jwt", other)))
	text := a.string("id_token")
	check := func(wantExpired bool) {
		t.Helper()
		sub, sid, aud, expired, err := d.hint(t.Context(), text, d.now)
		if err != nil || sub != d.subject(c, "alice") || sid != d.sid(c, "s1") || aud != "app" || expired != wantExpired {
			t.Errorf("hint = %q, %q, %q, %v, %v", sub, sid, aud, expired, err)
		}
	}
	check(false)
	d.now = d.now.Add(time.Hour)
	check(true)
	for name, hint := range map[string]string{
		"an access token":   b.string("access_token"),
		"an opaque one":     a.string("access_token"),
		"nothing":           "",
		"no signature":      text[:strings.LastIndex(text, ".")+1],
		"alg none":          unsigned(`{"alg":"none","typ":"JWT"}`, text),
		"a changed subject": strings.Split(text, ".")[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(claimsText(t, text), "app", "evl", 1))) + "." + strings.Split(text, ".")[2],
	} {
		if sub, _, _, _, err := d.hint(t.Context(), hint, d.now); err == nil || sub != "" {
			t.Errorf("%s is taken for a hint", name)
		}
	}
	d.Provider.o.Issuer = "https://other.example"
	if _, _, _, _, err := d.hint(t.Context(), text, d.now); err == nil {
		t.Error("another issuer's ID token is taken for a hint")
	}
}

func FuzzHint(f *testing.F) {
	d := newDesk(f)
	c, _ := d.client("app", nil)
	text, err := d.idToken(c, &Grant{Subject: "alice", AuthTime: d.now}, &User{}, nil, "", "", d.now)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, hint string) {
		sub, _, aud, _, err := d.hint(t.Context(), hint, d.now)
		if (err == nil) != (sub != "" && aud != "") || err == nil && (sub != "alice" || aud != "app") {
			t.Errorf("hint(%q) = %q, %q, %v", hint, sub, aud, err)
		}
	})
}

func FuzzClaimWish(f *testing.F) {
	f.Add([]byte(`"a"`), "a")
	f.Add([]byte(`{`), "")
	f.Fuzz(func(t *testing.T, raw []byte, value string) {
		var same string
		grants := (&ClaimWish{Value: raw}).grants(value)
		if grants && len(raw) > 0 && (json.Unmarshal(raw, &same) != nil || same != value && strings.ToValidUTF8(value, "\uFFFD") != same) {
			t.Errorf("%q is told where %s is wished", value, raw)
		}
	})
}
