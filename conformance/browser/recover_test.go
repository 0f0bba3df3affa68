package browser

import (
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

func TestAForgottenPasswordIsReplacedByTheMailedCode(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		s := newSite(t)
		owner, p := s.profile(t, m), s.profile(t, m)
		owner.signUpByMail("ann@example.org")
		p.open("/signin?return_to=%2Faccount%2Fsessions")
		p.press("Forgot your password?")
		p.at("/recover?return_to=%2faccount%2fsessions")
		p.fill("identifier", "ann smith")
		p.pressTo("Send the code", 400) // and what was typed stays
		p.open("/recover?return_to=%2Faccount%2Fsessions")
		p.fill("identifier", "ann@example.org")
		p.press("Send the code")
		p.at("/recover/code")
		p.sees("ann@example.org")
		p.fill("code", "12345678")
		p.fill("new_password", otherPassword)
		p.pressTo("Set the new password", 401)
		p.sees("This code is wrong.")
		code, _ := s.mailTo(t, "ann@example.org")
		p.fill("code", code)
		p.fill("new_password", "short")
		p.pressTo("Set the new password", 400)
		p.fill("code", code)
		p.fill("new_password", otherPassword)
		p.press("Set the new password")
		p.at("/signin?return_to=%2Faccount%2Fsessions")
		p.sees("The password is set.")
		p.fill("identifier", "ann@example.org")
		p.fill("password", otherPassword)
		p.press("Sign in")
		p.at("/account/sessions")
		owner.open("/account")
		owner.at("/signin?return_to=%2Faccount")
	})
}

func TestAForgottenPasswordIsReplacedByTheMailedLinkOnAnotherDevice(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		s := newSite(t)
		p, phone := s.profile(t, m), s.profile(t, m)
		p.signUpByMail("ann@example.org")
		p.open("/recover") // who is signed in may have forgotten it, too
		p.fill("identifier", "ann@example.org")
		p.press("Send the code")
		_, link := s.mailTo(t, "ann@example.org")
		phone.open(link)
		phone.at("/link") // the secret is gone from the address
		phone.sees("ann@example.org")
		phone.fill("new_password", "short")
		phone.pressTo("Set the new password", 400)
		phone.fill("new_password", otherPassword)
		phone.press("Set the new password")
		phone.at("/signin")
		phone.sees("The password is set.")
		phone.signIn("ann@example.org", otherPassword)
		phone.openTo(link, 401)
		p.open("/account")
		p.at("/signin?return_to=%2Faccount")
	})
}

func TestAPersonSignsUpByPhoneAndRecoversByText(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		s := newSite(t)
		p := s.profile(t, m)
		p.open("/signup")
		p.fill("identifier", "+86 138 1234 5678")
		p.fill("password", goodPassword)
		p.press("Sign up")
		p.at("/signup/verify")
		p.sees("+8613812345678")
		code, _ := s.mailTo(t, "+8613812345678")
		p.fill("code", code)
		p.press("Finish sign-up")
		p.at("/account")
		p.sees("+8613812345678", "verified")
		p.open("/account/identifiers")
		p.fill("identifier", "+999 1")
		p.pressTo("Add", 400)
		p.sees("There is no such phone number.")
		p.open("/account/identifiers")
		p.fill("identifier", "+49 30 1234567")
		p.press("Add")
		p.at("/account/identifiers/verify")
		code, _ = s.mailTo(t, "+49301234567")
		p.fill("code", code)
		p.press("Add it")
		p.sees("+49301234567")

		other := s.profile(t, m)
		other.open("/recover")
		other.fill("identifier", "+49301234567")
		other.press("Send the code")
		for code, _ = s.mailTo(t, "+49301234567"); len(code) != 8; code, _ = s.mailTo(t, "+49301234567") {
		}
		other.fill("code", code)
		other.fill("new_password", otherPassword)
		other.press("Set the new password")
		other.signIn("+8613812345678", otherPassword)
	})
}

func TestTheKeyboardAloneRecoversAPassword(t *testing.T) {
	s := newSite(t)
	p := s.profile(t, desktop)
	owner := s.profile(t, desktop)
	owner.signUpByMail("ann@example.org")
	p.open("/signin")
	p.tabTo("Forgot your password?")
	p.arrive(200, chromedp.KeyEvent(kb.Enter))
	p.tabTo("identifier")
	p.do(chromedp.KeyEvent("ann@example.org"))
	p.arrive(200, chromedp.KeyEvent(kb.Enter))
	p.at("/recover/code")
	code, _ := s.mailTo(t, "ann@example.org")
	p.do(chromedp.KeyEvent(code)) // the field has the focus
	p.tabTo("new_password")
	p.do(chromedp.KeyEvent(otherPassword))
	p.arrive(200, chromedp.KeyEvent(kb.Enter))
	p.at("/signin")
	p.sees("The password is set.")
	if u, err := url.Parse(evaluate[string](p, "location.href")); err != nil || strings.Contains(u.RawQuery, "adm_") {
		t.Errorf("at %v, %v", u, err)
	}
}
