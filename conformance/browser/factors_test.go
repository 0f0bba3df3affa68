package browser

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/otp"
)

// shown is the text of what a selector finds.
func (p *profile) shown(selector string) string {
	p.t.Helper()
	return evaluate[string](p, fmt.Sprintf(`[...document.querySelectorAll(%q)].map(e => e.textContent.trim()).join(" ")`, selector))
}

// enrol adds an authenticator app, whose key is read off the page, and returns it
// with the recovery codes.
func (p *profile) enrol() (k *otp.Key, codes []string) {
	p.t.Helper()
	p.press("Add an authenticator app")
	p.sees("Or type this key:")
	k, err := otp.Parse(p.shown(".bearer"), nil)
	if err != nil {
		p.t.Fatalf("the page shows the key %q: %v", p.shown(".bearer"), err)
	}
	p.fill("code", "000000")
	p.pressTo("Add", 403)
	p.sees("This code is wrong, or was used before.")
	p.fill("code", k.At(time.Now()))
	p.fill("name", "My phone")
	p.press("Add")
	p.sees("Recovery codes", "each of these lets you in once")
	return k, strings.Fields(p.shown(".keepsake code"))
}

func TestAPersonAddsASecondFactorAndSignsInInTwoSteps(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		s := newSite(t)
		ann := s.profile(t, m)
		ann.signUp("ann")
		ann.open("/account/security")
		ann.sees("Add a second way in")
		ann.press("Add one")
		ann.at("/account/factors")
		key, codes := ann.enrol()
		if len(codes) != 10 {
			t.Fatalf("the codes are %q", codes)
		}
		ann.press("I have kept them")
		ann.sees("My phone")
		ann.open("/account/security")
		ann.sees("All is well")

		second := s.profile(t, m)
		second.open("/account/sessions")
		second.fill("identifier", "ann")
		second.fill("password", goodPassword)
		second.press("Sign in")
		second.at("/signin/factor")
		second.sees("One more step")
		second.fill("code", "000000")
		second.pressTo("Go on", 401)
		second.sees("This is not right, or was used before.")
		// The next step's, which no code of this app was taken of yet.
		second.fill("code", key.At(time.Now().Add(30*time.Second)))
		second.tick("trust")
		second.press("Go on")
		second.at("/account/sessions")
		second.open("/account/devices")
		second.sees("This session")

		// Trusted, it is not asked again.
		second.open("/signout")
		second.press("Sign out")
		second.signIn("ann", goodPassword)

		third := s.profile(t, m)
		third.open("/signin")
		third.fill("identifier", "ann")
		third.fill("password", goodPassword)
		third.press("Sign in")
		third.press("Use a recovery code")
		third.fill("code", codes[7])
		third.press("Go on")
		third.at("/account")

		// Who knows the password alone learns what comes next, and gets nowhere.
		fourth := s.profile(t, m)
		fourth.open("/signin")
		fourth.fill("identifier", "ann")
		fourth.fill("password", goodPassword)
		fourth.press("Sign in")
		fourth.press("I have lost my second factor")
		fourth.pressTo("Begin", 409)
		fourth.sees("This account has no verified address that could be told.")
	})
}

func TestAPersonWhoLostItsFactorsIsToldAndStopsIt(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		s := newSite(t)
		ann := s.profile(t, m)
		ann.signUpByMail("ann@example.org")
		ann.open("/account/factors")
		ann.enrol()

		thief := s.profile(t, m)
		thief.open("/signin")
		thief.fill("identifier", "ann@example.org")
		thief.fill("password", goodPassword)
		thief.press("Sign in")
		thief.press("I have lost my second factor")
		thief.press("Begin")
		thief.sees("It is under way.")

		ann.open("/account/security")
		ann.sees("Somebody says that your factors are lost")
		ann.press("Stop it")
		ann.sees("It is stopped. Change your password now")

		thief.open("/signin/factor/lost")
		thief.press("Begin")
		_, link := s.mailTo(t, "ann@example.org")
		ann.open(link)
		ann.sees("Keep the second factors")
		ann.press("Stop it")
		ann.sees("It is stopped. Change your password now")
	})
}
