package browser

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// signUpByMail makes an account with an address that is proved.
func (p *profile) signUpByMail(address string) {
	p.t.Helper()
	p.open("/signup")
	p.fill("identifier", address)
	p.fill("password", goodPassword)
	p.press("Sign up")
	code, _ := p.site.mailTo(p.t, address)
	p.fill("code", code)
	p.press("Finish sign-up")
	p.at("/account")
}

// download presses what leads to a file and returns its content.
func (p *profile) download(text string) []byte {
	p.t.Helper()
	dir, told := p.t.TempDir(), true
	step := p.pressing(text)
	ctx, cancel := p.within()
	defer cancel()
	progress := chromedp.Events(ctx, cdpbrowser.DownloadProgress)
	err := chromedp.Do(ctx, func(ctx context.Context, _ *chromedp.Target) (v chromedp.Void, err error) {
		_, err = chromedp.Call(ctx, cdpbrowser.SetDownloadBehavior, cdpbrowser.SetDownloadBehaviorParams{
			Behavior: cdpbrowser.SetDownloadBehaviorBehaviorAllowAndName, DownloadPath: dir, EventsEnabled: &told,
			BrowserContextID: chromedp.FromContext(ctx).BrowserContextID,
		})
		return v, err
	}, step)
	if err != nil {
		p.t.Fatal(err)
	}
	for e, err := range progress {
		if err != nil {
			p.t.Fatalf("%s: %v", text, err)
		}
		if e.State == cdpbrowser.DownloadProgressStateCompleted {
			content, err := os.ReadFile(filepath.Join(dir, e.GUID))
			if err != nil {
				p.t.Fatal(err)
			}
			return content
		}
	}
	p.t.Fatalf("%s leads to no file", text)
	return nil
}

func TestAPersonChangesTheNameAndTheLanguageOfMail(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		p := newSite(t).profile(t, m)
		p.signUp("ann")
		p.fill("name", "Ann Example")
		p.press("Save")
		p.at("/account")
		p.sees("Saved.", "Ann Example")
		other := "简体中文"
		if p.lang == "zh-CN" {
			other = "English"
		}
		p.press(other)
		p.sees("Saved.")
		if got := evaluate[string](p, `document.querySelector(".picked").innerText`); got != other {
			t.Errorf("mail is written in %s, want %s", got, other)
		}
	})
}

func TestNamesAreAddedMadePrimaryAndRemovedAndTheOldAddressLeadsBack(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		s := newSite(t)
		p := s.profile(t, m)
		p.signUpByMail("ann@example.org")
		p.press("Add, verify or remove")
		p.at("/account/identifiers")
		p.fill("identifier", "ann")
		p.press("Add")
		p.sees("Added: you can sign in", "ann")
		p.press("Remove") // the only one that is not primary
		p.sees("Removed: it can no longer sign in.")

		p.fill("identifier", "thief@example.org")
		p.press("Add")
		p.at("/account/identifiers/verify")
		p.fill("code", "12345")
		p.pressTo("Add it", 401)
		p.sees("This code is wrong.")
		code, _ := s.mailTo(t, "thief@example.org")
		p.fill("code", code)
		p.press("Add it")
		p.at("/account/identifiers")
		p.sees("Added: you can sign in", "thief@example.org")
		p.press("Make primary")
		p.sees("The primary one is changed.")
		p.press("Back")
		p.at("/account")

		_, link := s.mailTo(t, "ann@example.org")
		owner := s.profile(t, m)
		owner.open(link)
		owner.at("/link")
		owner.sees("ann@example.org")
		owner.fill("new_password", "short")
		owner.pressTo("Take it back", 400)
		owner.fill("new_password", otherPassword)
		owner.press("Take it back")
		owner.at("/signin")
		owner.sees("The account is yours again.")
		owner.openTo(link, 401)
		owner.signIn("ann@example.org", otherPassword)
		owner.open("/account/identifiers")
		if got := evaluate[string](owner, `[...document.querySelectorAll(".cards bdi")].map(e => e.innerText).join()`); got != "ann@example.org" {
			t.Errorf("after the way back %s sign in", got)
		}
		p.open("/account")
		p.at("/signin?return_to=%2Faccount")
	})
}

func TestAMailedLinkAddsAnAddressOnlyWhereItWasAskedFor(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		s := newSite(t)
		asker, other := s.profile(t, m), s.profile(t, m)
		asker.signUp("ann")
		asker.open("/account/identifiers")
		asker.fill("identifier", "ann@example.org")
		asker.press("Add")
		code, link := s.mailTo(t, "ann@example.org")
		other.open(link)
		other.at("/link")
		other.sees("Your code", code)
		asker.open(link)
		asker.sees("ann@example.org")
		asker.press("Add it")
		asker.at("/account/identifiers")
		asker.sees("Added: you can sign in", "ann@example.org", "verified")
	})
}

func TestWhoSaysThisWasNotMeSignsInAnewAndChoosesAPassword(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		s := newSite(t)
		p, other := s.profile(t, m), s.profile(t, m)
		p.signUp("ann")
		other.signIn("ann", goodPassword)
		p.open("/account/activity")
		p.press("This was not me")
		p.press("It was me: go back")
		p.at("/account/activity")
		p.press("This was not me")
		p.press("End all sessions")
		p.at("/signin")
		p.sees("All sessions have ended.")
		other.open("/account")
		other.at("/signin?return_to=%2Faccount")

		p.fill("identifier", "ann")
		p.fill("password", goodPassword)
		p.press("Sign in")
		p.open("/account/sessions")
		p.at("/account/security") // before anything else
		p.sees("Choose a new password first", "ann")
		p.fill("password", goodPassword)
		p.fill("new_password", goodPassword)
		p.pressTo("Change the password", 400)
		p.fill("password", goodPassword)
		p.fill("new_password", otherPassword)
		p.press("Change the password")
		p.sees("The password is changed.")
		p.open("/account/sessions")
		p.at("/account/sessions")
	})
}

func TestAPersonConfirmsTakesTheDataAlongAndDeletesTheAccount(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		p := newSite(t).profile(t, m)
		p.signUp("ann")
		p.open("/account/confirm?" + url.Values{"return_to": {"/account"}}.Encode())
		p.fill("password", "not this one")
		p.pressTo("Confirm", 403)
		p.sees("The current password is wrong.")
		p.fill("password", goodPassword)
		p.press("Confirm")
		p.at("/account")
		p.sees("Now you can go on.")
		p.press("Export or delete")
		p.at("/account/data")
		if data := p.download("Download"); !strings.Contains(string(data), `"value": "ann"`) {
			t.Errorf("the data is %s", data)
		}
		p.fill("confirm", "bea")
		p.pressTo("Delete the account", 400)
		p.sees("This is not the name that you sign in with.")
		p.do(chromedp.SetValue(chromedp.CSS("[name=confirm]"), "ann"))
		p.press("Delete the account")
		p.at("/")
		p.sees("Your account is deleted. Goodbye.")
		p.open("/signin")
		p.fill("identifier", "ann")
		p.fill("password", goodPassword)
		p.pressTo("Sign in", 401)
	})
}

// A shop makes guests by the API; the pages meet them with their cookie.
func TestAGuestIsGreetedAndSignsUp(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		s := newSite(t)
		p := s.profile(t, m)
		for _, k := range s.cookiesOf(t, "/api/v1/guest", "application/json", "{}") {
			p.do(func(ctx context.Context, _ *chromedp.Target) (v chromedp.Void, err error) {
				_, err = chromedp.Call(ctx, network.SetCookie, network.SetCookieParams{Name: k.Name, Value: k.Value, URL: s.url, Path: "/"})
				return v, err
			})
		}
		p.open("/")
		p.sees("You are here as a guest.")
		p.open("/account")
		p.at("/signin?return_to=%2Faccount")
		p.open("/")
		p.press("Sign up")
		p.fill("identifier", "ann")
		p.fill("password", goodPassword)
		p.press("Sign up")
		p.at("/account")
		p.press("admit")
		p.at("/")
		p.sees("Go to your account")
	})
}

func TestTheReferenceLeadsFromPageToPage(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		p := newSite(t).profile(t, m)
		p.open("/api")
		p.sees("The API", "POST /api/v1/signin")
		p.open("/problems")
		p.press("bad_credentials")
		p.at("/problems/bad_credentials")
		p.sees("The name or the password is wrong.", "401")
		p.press("All codes")
		p.at("/problems")
		p.sees("What can go wrong")
	})
}
