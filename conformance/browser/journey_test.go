package browser

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// everyWay takes a journey on a desktop, on a phone in the dark where no script
// runs, on a phone in Chinese, and with nothing but a keyboard.
func everyWay(t *testing.T, journey func(*testing.T, mode)) {
	for name, m := range map[string]mode{
		"on a desktop":               desktop,
		"on a phone without scripts": {width: 375, height: 812, dark: true, noScript: true},
		"on a phone in 中文":           {width: 360, height: 740, lang: "zh-CN"},
		"by keyboard alone":          {width: 1280, height: 900, dark: true, keyboard: true},
	} {
		t.Run(name, func(t *testing.T) { journey(t, m) })
	}
}

func (p *profile) signUp(name string) {
	p.t.Helper()
	p.open("/signup")
	p.fill("identifier", name)
	p.fill("password", goodPassword)
	p.press("Sign up")
	p.at("/account")
}

func (p *profile) signIn(name, password string) {
	p.t.Helper()
	p.open("/signin")
	p.fill("identifier", name)
	p.fill("password", password)
	p.press("Sign in")
	p.at("/account")
}

func TestAPersonSignsUpSeesTwoSessionsEndsOneAndChangesThePassword(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		s := newSite(t)
		first, second := s.profile(t, m), s.profile(t, m)

		first.open("/")
		first.sees("Welcome", "--dev")
		first.press("Sign up")
		first.fill("identifier", "ann")
		first.fill("name", "Ann Example")
		first.fill("password", goodPassword)
		first.press("Sign up")
		first.at("/account")
		first.sees("Your account is ready", "Ann Example", "ann")

		second.open("/account/sessions")
		second.at("/signin?return_to=%2Faccount%2Fsessions")
		second.fill("identifier", "ann")
		second.fill("password", goodPassword)
		second.press("Sign in")
		second.at("/account/sessions")

		first.open("/account/sessions")
		first.sees("This session", "Chrome on Linux")
		if n := evaluate[int](first, `document.querySelectorAll(".cards > li").length`); n != 2 {
			t.Fatalf("%d sessions are shown", n)
		}
		first.press("End")
		first.at("/account/sessions")
		first.sees("The session has ended.", "There is no other session.")

		second.open("/account")
		second.at("/signin?return_to=%2Faccount")
		second.sees("another", "look at your activity and change your password")

		second.signIn("ann", goodPassword)
		first.open("/account/security")
		first.fill("password", goodPassword)
		first.fill("new_password", otherPassword)
		first.press("Change the password")
		first.sees("The password is changed.")
		second.open("/account/activity")
		second.at("/signin?return_to=%2Faccount%2Factivity")
		second.fill("identifier", "ann")
		second.fill("password", goodPassword)
		second.pressTo("Sign in", 401)
		second.sees("The name or the password is wrong.")
		second.fill("password", otherPassword)
		second.press("Sign in")
		second.at("/account/activity")
		second.sees("Password changed", "Signed up", "A session was ended")

		first.open("/account/sessions")
		first.press("End all other sessions")
		first.sees("All other sessions have ended. Apps that were let in from them are out.")
		first.press("Sign out")
		first.at("/signout")
		first.press("Sign out")
		first.at("/")
		first.sees("You are signed out.")
		first.open("/account")
		first.at("/signin?return_to=%2Faccount")
	})
}

func TestAMailedCodeFinishesSignUp(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		s := newSite(t)
		p := s.profile(t, m)
		p.open("/signup")
		p.fill("identifier", "ann@example.org")
		p.fill("password", goodPassword)
		p.press("Sign up")
		p.at("/signup/verify")
		p.sees("ann@example.org")
		p.fill("code", "12345")
		p.pressTo("Finish sign-up", 401)
		p.sees("This code is wrong.")
		code, _ := s.mailTo(t, "ann@example.org")
		p.fill("code", code)
		p.press("Finish sign-up")
		p.at("/account")
		p.sees("ann@example.org", "verified")
	})
}

func TestAMailedLinkFinishesSignUpOnlyInTheBrowserThatAsked(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		s := newSite(t)
		asker, other := s.profile(t, m), s.profile(t, m)
		asker.open("/signup")
		asker.fill("identifier", "ann@example.org")
		asker.fill("password", goodPassword)
		asker.press("Sign up")
		code, link := s.mailTo(t, "ann@example.org")

		other.open(link)
		other.at("/link") // the secret is gone from the address
		other.sees("Your code", code)
		other.open("/account")
		other.at("/signin?return_to=%2Faccount")

		asker.open(link)
		asker.at("/link")
		asker.sees("ann@example.org")
		asker.press("Finish sign-up")
		asker.at("/account")
		asker.openTo(link, 401)
		asker.sees("This code or link is no longer good.")
	})
}

func TestTheSetUpLinkMakesTheAdministratorOnce(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		s := newSite(t)
		p := s.profile(t, m)
		p.open(s.setup)
		p.at("/link")
		p.sees("You will be the administrator.")
		p.fill("identifier", "root")
		p.fill("password", "short")
		p.pressTo("Sign up as administrator", 400)
		p.sees("The password is too short: it needs at least 8 characters.")
		p.fill("password", goodPassword)
		p.press("Sign up as administrator")
		p.at("/account")
		p.sees("admin")
		s.profile(t, m).openTo(s.setup, 401)
	})
}

func TestTheInboxOpensWithItsKeyAlone(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		s := newSite(t)
		p := s.profile(t, m)
		p.openTo("/dev/inbox", 403)
		p.sees("The inbox is locked", "Mail waits in the inbox: its link is in the terminal.")
		p.openTo("/dev/inbox?key=guess", 403)
		p.open("/dev/inbox?key=" + devKey)
		p.at("/dev/inbox")
		p.sees("No mail yet.")
		p.open("/signup")
		p.fill("identifier", "ann@example.org")
		p.fill("password", goodPassword)
		p.press("Sign up")
		s.mailTo(t, "ann@example.org")
		p.press("Development inbox")
		p.sees("ann@example.org", "Somebody, hopefully you,")
		p.press("Open the link")
		p.press("Finish sign-up")
		p.at("/account")
	})
}

func TestRefusalsStandBesideTheirFieldAndKeepWhatWasTyped(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		s := newSite(t)
		s.profile(t, m).signUp("ann")
		p := s.profile(t, m)
		p.open("/signup?return_to=/account/sessions")
		p.pressTo("Sign up", 400)
		p.sees("Error: Sign up", "Please fill this in.")
		p.fill("identifier", "ann")
		p.fill("name", "Another Ann")
		p.fill("password", goodPassword)
		p.pressTo("Sign up", 409)
		p.sees("This name is taken.")
		const state = `(() => {
		const i = document.querySelector("[name=identifier]"), of = i.getAttribute("aria-describedby").split(" ").map(id => document.getElementById(id).innerText).join()
		return [document.activeElement === i, i.getAttribute("aria-invalid"), i.value, document.querySelector("[name=name]").value, document.querySelector("[name=password]").value, of].join("|")
	})()`
		if got := evaluate[string](p, state); !strings.HasPrefix(got, "true|true|ann|Another Ann||"+p.say("This name is taken.")) {
			t.Errorf("focus, invalid, name, own name, password and description are %q", got)
		}
		p.do(chromedp.SetValue(chromedp.CSS("[name=identifier]"), "bea"))
		p.fill("password", goodPassword)
		p.press("Sign up")
		p.at("/account/sessions") // return_to went along
	})
}

func TestAReturnToAnotherSiteIsRefusedBeforeAnythingIsDone(t *testing.T) {
	p := newSite(t).profile(t, desktop)
	p.openTo("/signin?return_to=https%3A%2F%2Fevil.example", 400)
	p.sees("wanted to lead you on to another site")
	p.openTo("/signup?return_to=%2F%2Fevil.example", 400)
}

func TestFaultsArePages(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		p := newSite(t).profile(t, m)
		p.openTo("/nothing", 404)
		p.sees("There is nothing here")
		p.openTo("/link", 401)
		p.openTo("/signup/verify", 401)
		p.open("/.well-known/change-password")
		p.at("/signin?return_to=%2Faccount%2Fsecurity")
		p.open(strings.Replace(p.site.url, "localhost", "127.0.0.1", 1) + "/signin")
		if got := evaluate[string](p, `location.hostname`); got != "localhost" {
			t.Errorf("the page stays at %s", got)
		}
	})
}

func TestTheKeyboardAloneIsEnough(t *testing.T) {
	s := newSite(t)
	p := s.profile(t, desktop)
	p.open("/")
	p.tabTo("Skip to the content")
	p.do(chromedp.KeyEvent(kb.Enter))
	p.tabTo("Sign in")
	p.tabTo("Sign up")
	p.arrive(200, chromedp.KeyEvent(kb.Enter))
	p.tabTo("identifier")
	p.do(chromedp.KeyEvent("ann"))
	p.tabTo("password")
	p.do(chromedp.KeyEvent(goodPassword))
	p.arrive(200, chromedp.KeyEvent(kb.Enter))
	p.at("/account")
	p.tabTo("Sessions")
	p.arrive(200, chromedp.KeyEvent(kb.Enter))

	second := s.profile(t, desktop)
	second.signIn("ann", goodPassword)
	p.arrive(200, chromedp.Reload())
	p.tabTo("End")
	p.arrive(200, chromedp.KeyEvent(kb.Enter))
	p.sees("The session has ended.")
	p.tabTo("Sign out")
	p.arrive(200, chromedp.KeyEvent(kb.Enter))
	p.tabTo("Sign out") // the link again
	p.tabTo("Sign out")
	p.arrive(200, chromedp.KeyEvent(kb.Enter))
	p.sees("You are signed out.")
}

// tabTo presses the tab key until what has the focus has this name or text,
// and wants the focus to be seen all the way.
func (p *profile) tabTo(name string) {
	p.t.Helper()
	const focused = `(() => {
		const e = document.activeElement
		if (e === document.body) return "|"
		const r = e.getBoundingClientRect(), s = getComputedStyle(e)
		return [e.name || e.innerText.trim(), s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2 && r.width > 0 && r.top >= 0].join("|")
	})()`
	for range 40 {
		p.do(chromedp.KeyEvent(kb.Tab))
		got, seen, _ := strings.Cut(evaluate[string](p, focused), "|")
		if got == "" {
			continue // past the last and around
		}
		if seen != "true" {
			p.t.Errorf("the focus on %q cannot be seen", got)
		}
		if first, _, _ := strings.Cut(got, "\n"); first == name {
			return
		}
	}
	p.t.Fatalf("the tab key does not lead to %s\n%s", name, p.text())
}

// Every page, in each way that people look at pages.
func TestEveryPageFitsAndIsAccessible(t *testing.T) {
	for name, m := range map[string]mode{
		"on a phone":                    {width: 390, height: 844},
		"on a desktop, in 中文 and dark":  {width: 1280, height: 900, lang: "zh-CN", dark: true},
		"on a tiny one without scripts": {width: 320, height: 568, noScript: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			p := s.profile(t, m)
			long := "a-user-name-that-is-as-long-as-it-may-be-and-has-no-place-to-brk"
			submit := chromedp.Click(chromedp.CSS("main form button[type=submit]"))
			for _, path := range []string{"/", "/signin", "/signup", "/dev/inbox?key=" + devKey} {
				p.open(path)
			}
			p.openTo("/nothing", 404)
			p.open("/signin")
			p.fill("identifier", long)
			p.fill("password", "wrong password")
			p.arrive(401, submit)
			p.open("/signup")
			p.fill("identifier", "ann@example.org")
			p.fill("password", "1")
			p.arrive(400, submit)
			p.fill("password", goodPassword)
			p.arrive(200, submit)
			p.at("/signup/verify")
			p.arrive(400, submit)
			_, link := s.mailTo(t, "ann@example.org")
			p.open(link)
			p.open("/dev/inbox")
			s.profile(t, m).open(link)
			p.open("/signup")
			p.fill("identifier", long)
			p.fill("name", strings.Repeat("Anna ", 30))
			p.fill("password", goodPassword)
			p.arrive(200, submit)
			p.at("/account")
			s.profile(t, desktop).signIn(long, goodPassword)
			for _, path := range []string{
				"/", "/account", "/account/security", "/account/sessions", "/account/activity", "/account/identifiers", "/account/data", "/account/keys", "/account/confirm", "/signout",
				"/api", "/problems", "/problems/session_ended", "/problems/address_in_use",
			} {
				p.open(path)
			}
			p.open("/account/security")
			p.fill("password", "not this")
			p.fill("new_password", otherPassword)
			p.arrive(403, submit)
			p.open("/account/sessions")
			p.arrive(200, submit)
			p.open("/signout")
			p.arrive(200, submit)
			p.open(s.setup)
		})
	}
}

func TestTheLanguageFollowsTheBrowserAndTheSwitch(t *testing.T) {
	s := newSite(t)
	p := s.profile(t, mode{width: 390, height: 844, lang: "zh-CN"})
	p.open("/signin?return_to=/account/activity")
	p.sees("登录", "还没有账号？")
	p.lang = "en"
	p.press("English")
	p.at("/signin?return_to=%2Faccount%2Factivity")
	p.sees("New here?")
	p.open("/signup") // stays
	p.lang = "zh-CN"
	p.press("简体中文")
	p.at("/signup")
	p.fill("identifier", "ann")
	p.fill("password", "password")
	p.pressTo("注册", 400)
	p.sees("出错了：注册", "这个密码出现在泄露名单里")
	p.fill("password", goodPassword)
	p.press("注册")
	p.sees("您的账号已创建")
	p.open("/account/sessions")
	p.sees(fmt.Sprintf("%s 上的", "Linux"))
}
