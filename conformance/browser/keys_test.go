package browser

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// tick sets or clears the box of this name.
func (p *profile) tick(name string) {
	p.t.Helper()
	if p.mode.keyboard {
		p.tabUntil(`e.matches("input[name=` + name + `]")`)
		p.do(chromedp.KeyEvent(" "))
		return
	}
	p.do(chromedp.Click(chromedp.CSS("input[name=" + name + "]")))
}

// presents returns the status that the API answers a program with, which has
// this key.
func (s *site) presents(t *testing.T, key string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.url+"/api/v1/user", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

func TestAPersonMakesAnAPIKeyUsesItAndEndsIt(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		s := newSite(t)
		p := s.profile(t, m)
		p.signUp("ann")
		p.open("/account/security")
		p.press("API keys")
		p.at("/account/keys")
		p.sees("There is no API key.")

		p.tick("scope-profile")
		p.pressTo("Make the key", 400)
		p.sees("Please fill this in.")
		p.fill("name", "nightly report")
		p.pressTo("Make the key", 400)
		p.sees("An API key needs one or more scopes, of those that there are.", "Choose one at least.")
		if text := p.text(); strings.Contains(text, "admin:read") || evaluate[string](p, `document.activeElement.name`) != "scope-profile" {
			t.Errorf("names scopes that nobody can choose here, or leads elsewhere:\n%s", text)
		}
		if got := evaluate[string](p, `document.querySelector("[name=name]").value`); got != "nightly report" {
			t.Errorf("the name is %q now", got)
		}
		p.tick("scope-profile")
		p.pressTo("Make the key", 201)
		p.sees("Your new API key", "nightly report")
		key := strings.TrimSpace(evaluate[string](p, `document.querySelector(".bearer").textContent`))
		if got := s.presents(t, key); got != 200 {
			t.Errorf("the key is answered %d", got)
		}
		p.press("I have copied it")
		p.at("/account/keys")
		p.sees("nightly report", "read who you are")
		if strings.Contains(p.text(), key) {
			t.Error("the key is shown again")
		}

		p.press("End")
		p.at("/account/keys")
		p.sees("The API key has ended.", "There is no API key.")
		if got := s.presents(t, key); got != 401 {
			t.Errorf("the key that has ended is answered %d", got)
		}
	})
}
