package provider

import (
	"testing"
	"time"
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
	if len(d.m.grants) > 0 {
		t.Errorf("grants are written down: %v", d.m.grants)
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
