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
	if last := text.Text[strings.LastIndex(text.Text, "\n")+1:]; last != "@localhost #"+text.Code {
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
		return strings.Contains(s.letter("+49301234567", "").Text, "You already have an account")
	})
}
