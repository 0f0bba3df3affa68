package server_test

import (
	"strings"
	"testing"
)

// addNumber adds and proves a phone number.
func (c *client) addNumber(number string) {
	c.t.Helper()
	asked := c.post("identifiers", m{"identifier": number}).want(202)
	c.post("identifiers/verify", m{"flow": asked.at("flow"), "code": c.letter(number, "").Code}).want(200)
}

func TestASignUpByPhoneIsProvedWithTheTextedCode(t *testing.T) {
	s := newSite(t)
	s.run()
	c := s.client()
	asked := c.post("signup", m{"identifier": "+49 (0)30 1234-567", "password": goodPassword}).want(202)
	if asked.at("state") != "check_text" {
		t.Fatalf("sign-up says %s", asked.body)
	}
	text := s.letter("+49301234567", "")
	lines := strings.Split(strings.TrimSpace(text.Text), "\n")
	if last := lines[len(lines)-1]; last != "@localhost #"+text.Code {
		t.Errorf("the text ends in %q, which no phone knows for a code of this origin", last)
	}
	in := c.post("signup/verify", m{"flow": asked.at("flow"), "code": text.Code}).want(200)
	ids, _ := in.m["user"].(m)["identifiers"].([]any)
	if len(ids) != 1 || ids[0].(m)["value"] != "+49301234567" || ids[0].(m)["kind"] != "phone" || ids[0].(m)["verified"] != true {
		t.Errorf("the user is %s", in.body)
	}
	s.another("+49 30 1234567", goodPassword)
}

func TestThatANumberHasAnAccountIsTextedToItsOwnerOnly(t *testing.T) {
	s := newSite(t)
	s.run()
	c := s.signedUp("ann")
	c.addNumber("+49301234567")
	stranger := s.client()
	asked := stranger.post("signup", m{"identifier": "+49301234567", "password": otherPassword}).want(202)
	if asked.at("state") != "check_text" || asked.at("flow") == "" {
		t.Errorf("a stranger is told %s", asked.body)
	}
	until(t, "the owner is told of the account", func() bool {
		return strings.Contains(s.letter("+49301234567", "").Text, "You already have an account with this number")
	})
}

// An application keeps what a guest did under the guest_id, and gives it to the user
// whose session says that it was that guest's: at each request until it has done so.
func TestTheGuestIDStaysWithWhoSignsInAndGoesToNobodyElse(t *testing.T) {
	s := newSite(t)
	s.signedUp("ann")
	s.signedUp("bob")
	c := s.client()
	guest := c.post("guest", m{}).want(201).at("session.guest_id")
	in := c.post("signin", m{"identifier": "ann", "password": goodPassword}).want(200)
	if guest == "" || in.at("session.guest_id") != guest || c.get("session").at("session.guest_id") != guest {
		t.Errorf("the guest was %q, and who signed in is %s", guest, in.body)
	}
	if again := c.post("signin", m{"identifier": "ann", "password": goodPassword}).want(200); again.at("session.guest_id") != guest {
		t.Errorf("after a second sign-in it is %s", again.body)
	}
	if other := c.post("signin", m{"identifier": "bob", "password": goodPassword}).want(200); other.at("session.guest_id") != "" {
		t.Errorf("another user in this browser is given %s", other.body)
	}
	c.post("signout", m{}).want(204)
	if next := c.post("guest", m{}).want(201).at("session.guest_id"); next == guest || next == "" {
		t.Errorf("the next guest is %q", next)
	}
	up := s.client()
	guest = up.post("guest", m{}).want(201).at("session.guest_id")
	if made := up.post("signup", m{"identifier": "eve", "password": goodPassword}).want(201); made.at("session.guest_id") != guest {
		t.Errorf("who signs up is %s", made.body)
	}
}
