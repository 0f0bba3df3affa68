package provider

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/token"
)

// A row for each would double what a token costs, and say nothing that the client does not.
func TestAClientsOwnTokensAreOfOneGrantThatIsWrittenDownNowhere(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	asks := fields("grant_type", "client_credentials")
	first := d.own("app", d.given(d.post(asks, basic("app", secret))).string("access_token"))
	second := d.own("app", d.given(d.post(asks, basic("app", secret))).string("access_token"))
	if first == nil || second == nil || first.Grant != second.Grant || first.Selector == second.Selector {
		t.Errorf("two tokens are %+v and %+v", first, second)
	}
	if len(d.m.grants)+len(d.m.tokens) > 0 {
		t.Errorf("it is written down: %v, %v", d.m.grants, d.m.tokens)
	}
	if !first.Issued.Equal(d.now) || !first.Expires.Equal(d.now.Add(5*time.Minute)) || !slices.Equal(first.Scopes, []string{"read", "write"}) ||
		!slices.Equal(first.Audience, []string{deskIssuer}) {
		t.Errorf("the first one says %+v", first)
	}
	_, other := d.client("other", nil)
	if o := d.own("other", d.given(d.post(asks, basic("other", other))).string("access_token")); o == nil || o.Grant == first.Grant {
		t.Errorf("another client's token is %+v", o)
	}
}

// Mallory had the client, which was removed. Whoever gets its id next is somebody else.
func TestAttackATokenOfTheClientThatHadTheIDBefore(t *testing.T) {
	for name, change := range map[string]func(*Client){
		"opaque": nil,
		"a JWT":  func(c *Client) { c.JWT = true },
	} {
		d := newDesk(t)
		c, secret := d.client("app", change)
		text := d.given(d.post(fields("grant_type", "client_credentials"), basic("app", secret))).string("access_token")
		if d.own("app", text) == nil {
			t.Fatalf("%s: the token does not count", name)
		}
		d.m.RemoveClient("app")
		if d.own("app", text) != nil {
			t.Errorf("%s: the token has outlived its client", name)
		}
		next := *c
		next.CreatedAt = d.now.Add(time.Minute)
		d.m.PutClient(next)
		if d.own("app", text) != nil {
			t.Errorf("%s: the token counts as one of the next client's", name)
		}
		d.m.PutClient(*c)
		if d.own("app", text) == nil {
			t.Errorf("%s: a client that is what it was has lost its token", name)
		}
	}
}

func TestAClientsOwnTokenIsGivenBackAlone(t *testing.T) {
	h := newHall(t)
	h.app("app", nil)
	ask := func() string {
		return h.given(h.post(fields("grant_type", "client_credentials"), basic("app", h.secrets["app"]))).string("access_token")
	}
	gone, stays := ask(), ask()
	if h.inspected("app", gone)["active"] != true {
		t.Fatal("the token does not count")
	}
	for range 2 { // the second time there is nothing to end
		if w := h.ask("revoke", "app", "token", gone); w.Code != 200 {
			t.Fatal(w.Code, w.Body)
		}
	}
	if h.inspected("app", gone)["active"] != false || h.inspected("app", stays)["active"] != true {
		t.Error("it is not the one that was given back which has ended")
	}
	id := gone[len("adm_a_"):][:22]
	if n := len(h.told); n != 1 || h.told[0].Kind != feed.Token || h.told[0].Target != id {
		t.Errorf("told is %+v, want the end of %s", h.told, id)
	}
}

// Mallory is a client, too, and knows a token of hers in every part. She makes others of
// it: one that was revoked under another name, or with more in it.
func TestAttackAClientMakesATokenOfAnother(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", nil)
	ask := func() string {
		return d.given(d.post(fields("grant_type", "client_credentials"), basic("app", secret))).string("access_token")
	}
	one, two := ask(), ask()
	name, sealed, ok := strings.Cut(one, "~")
	if !ok || len(name) != token.Len {
		t.Fatalf("a token of the client's own is %s", one)
	}
	if _, err := token.Parse(token.Access, name); err != nil {
		t.Errorf("whoever looks for lost tokens does not know it: %v", err)
	}
	for _, secret := range []string{"app", "read", deskIssuer} {
		if b, _ := base64.RawURLEncoding.DecodeString(sealed); bytes.Contains(b, []byte(secret)) || strings.Contains(one, secret) {
			t.Errorf("%q can be read in it", secret)
		}
	}
	other, _, _ := strings.Cut(two, "~")
	forged := map[string]string{
		"another name":           other + "~" + sealed,
		"a made-up name":         token.New(token.Access).Reveal() + "~" + sealed,
		"the name alone":         name,
		"nothing sealed":         name + "~",
		"two in one":             one + "~" + sealed,
		"a refresh token":        token.New(token.Refresh).Reveal() + "~" + sealed,
		"sealed for a log-out":   name + "~" + string(d.o.Secrets.Seal(nil, logoutName, []byte("\napp\n\n0\n9999999999999\nadmin\n"), d.now)),
		"of a client of 7 lines": d.sealOwn(token.New(token.Access), &Token{Client: "a\napp", Issued: d.now, Expires: d.now.Add(time.Hour)}),
	}
	for i := range sealed {
		b := []byte(sealed)
		if b[i] == 'A' {
			b[i] = 'B'
		} else {
			b[i] = 'A'
		}
		forged["letter "+strconv.Itoa(i)] = name + "~" + string(b)
	}
	for what, text := range forged {
		if d.own("app", text) != nil {
			t.Errorf("%s counts", what)
		}
	}
	if d.own("app", one) == nil {
		t.Error("the token that all of them are made of does not count")
	}
	d.now = d.now.Add(5 * time.Minute)
	if d.own("app", one) != nil {
		t.Error("it counts for longer than it is good for")
	}
}

// A store may have clients whose limits nobody has looked at.
func TestAClientsOwnTokenIsGoodForAsLongAsItsAnswerSays(t *testing.T) {
	d := newDesk(t)
	_, secret := d.client("app", func(c *Client) { c.AccessLife = 30 * time.Hour })
	a := d.given(d.post(fields("grant_type", "client_credentials"), basic("app", secret)))
	if a.json["expires_in"] != 30*60*60.0 {
		t.Fatalf("the answer is %s", a.text)
	}
	d.now = d.now.Add(30*time.Hour - time.Second)
	if d.own("app", a.string("access_token")) == nil {
		t.Error("it has ended before")
	}
	d.now = d.now.Add(time.Second)
	if d.own("app", a.string("access_token")) != nil {
		t.Error("it counts for longer")
	}
}

// With a hundred scopes, or fifty audiences, a token would be refused by every server for
// its length, and could not even be asked about or given back here.
func TestAttackATokenGrowsUntilNobodyTakesIt(t *testing.T) {
	const most = 3 << 10
	var scopes, audiences []string
	for i := range 50 {
		scopes = append(scopes, strings.Repeat("s", 100)+strconv.Itoa(i))
		audiences = append(audiences, "https://"+strings.Repeat("a", 500)+strconv.Itoa(i)+".example.org")
	}
	for name, tt := range map[string]struct {
		scopes, audiences []string
		length            int // 0 for that of one which carries something
	}{
		"as most are":         {[]string{"read"}, audiences[:1], 0},
		"of many scopes":      {scopes, nil, token.Len},
		"of many audiences":   {nil, audiences, token.Len},
		"of odd audiences":    {nil, []string{"urn:a urn:b", "urn:c"}, token.Len},
		"of odd scopes":       {[]string{"re ad", "write"}, nil, token.Len},
		"as long as they are": {scopes[:19], nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHall(t)
			h.app("app", func(c *Client) { c.Scopes, c.Audiences = tt.scopes, tt.audiences })
			f := fields("grant_type", "client_credentials")
			f["resource"] = tt.audiences
			text := h.given(h.post(f, basic("app", h.secrets["app"]))).string("access_token")
			if len(text) > most || tt.length > 0 && len(text) != tt.length || tt.length == 0 && !strings.Contains(text, ownSeal) {
				t.Errorf("it is %d characters long", len(text))
			}
			found := h.own("app", text)
			if found == nil || !slices.Equal(found.Scopes, tt.scopes) || len(tt.audiences) > 0 && !slices.Equal(found.Audience, slices.Sorted(slices.Values(tt.audiences))) {
				t.Fatalf("it is worth %+v", found)
			}
			if !h.active("app", text) {
				t.Error("it does not count")
			}
			if w := h.ask("revoke", "app", "token", text); w.Code != 200 || h.active("app", text) {
				t.Errorf("it counts after it was given back: %d", w.Code)
			}
		})
	}
}

// own returns a token of a client's own, nil where it does not count.
func (d *desk) own(client, text string) *Token {
	d.Helper()
	found, err := d.read(d.Context(), text, d.now)
	if err != nil {
		return nil
	}
	if found.Client != client || found.Subject != "" {
		d.Errorf("the token is %+v", found)
	}
	return found
}
