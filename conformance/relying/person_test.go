package relying

import (
	"html"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A person has a browser without scripts: it keeps cookies, follows redirects, and posts
// the forms of pages.
type person struct {
	t    testing.TB
	http *http.Client
	at   *url.URL // of the page
	page string
	head http.Header
}

func newPerson(t testing.TB) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &person{t: t}
	p.http = &http.Client{Jar: jar, Timeout: 20 * time.Second, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		// A browser posts what it has posted, a password too, to where a 307 leads.
		if from := via[len(via)-1]; from.Method == "POST" && from.URL.Hostname() == "localhost" && r.Response.StatusCode != http.StatusSeeOther {
			t.Errorf("POST %s is answered %s", from.URL.Path, r.Response.Status)
		}
		if len(via) > 15 {
			t.Fatalf("%s leads in circles", r.URL)
		}
		return nil
	}}
	return p
}

// open goes to an address, and to wherever that leads.
func (p *person) open(address string) {
	p.t.Helper()
	r, err := http.NewRequest("GET", address, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	p.send(r)
}

// post sends a form to an address, as a page at the site of origin does.
func (p *person) post(address, origin string, form url.Values) *http.Response {
	p.t.Helper()
	r, err := http.NewRequest("POST", address, strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", origin)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if !strings.HasPrefix(address, origin+"/") {
		r.Header.Set("Sec-Fetch-Site", "cross-site")
	}
	return p.send(r)
}

func (p *person) send(r *http.Request) *http.Response {
	p.t.Helper()
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Accept-Language", "en")
	res, err := p.http.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	p.at, p.page, p.head = res.Request.URL, text(p.t, res.Body), res.Header
	if to, ok := strings.CutPrefix(res.Header.Get("Refresh"), "0;url="); ok {
		next, err := p.at.Parse(to)
		if err != nil {
			p.t.Fatal(err)
		}
		p.open(next.String())
	}
	return res
}

var (
	forms      = regexp.MustCompile(`(?s)<form([^>]*)>(.*?)</form>`)
	inputs     = regexp.MustCompile(`<input([^>]*)>`)
	buttons    = regexp.MustCompile(`(?s)<button([^>]*)>(.*?)</button>`)
	attributes = regexp.MustCompile(`([a-z-]+)(?:="([^"]*)")?`)
)

// attributesOf reads those of an element.
func attributesOf(tag string) map[string]string {
	all := map[string]string{}
	for _, m := range attributes.FindAllStringSubmatch(tag, -1) {
		all[m[1]] = html.UnescapeString(m[2])
	}
	return all
}

// press fills the form that has a button of this text, and presses it.
func (p *person) press(button string, fields ...string) {
	p.t.Helper()
	for _, f := range forms.FindAllStringSubmatch(p.page, -1) {
		for _, b := range buttons.FindAllStringSubmatch(f[2], -1) {
			if strings.TrimSpace(html.UnescapeString(b[2])) != button {
				continue
			}
			form := url.Values{}
			for _, i := range inputs.FindAllStringSubmatch(f[2], -1) {
				if a := attributesOf(i[1]); a["type"] != "checkbox" && a["name"] != "" {
					form.Set(a["name"], a["value"])
				}
			}
			of := attributesOf(f[1])
			pressed := attributesOf(b[1])
			if name := pressed["name"]; name != "" {
				form.Set(name, pressed["value"])
			}
			for i := 0; i+1 < len(fields); i += 2 {
				form.Set(fields[i], fields[i+1])
			}
			to, err := p.at.Parse(of["action"])
			if at := pressed["formaction"]; err == nil && at != "" {
				to, err = p.at.Parse(at)
			}
			if err != nil {
				p.t.Fatal(err)
			}
			p.post(to.String(), p.at.Scheme+"://"+p.at.Host, form)
			return
		}
	}
	p.t.Fatalf("%s has no button %q:\n%s", p.at, button, p.page)
}

// signIn answers the page of the sign-in.
func (p *person) signIn(id string) {
	p.t.Helper()
	p.press("Sign in", "identifier", id, "password", password)
}

// signOut ends the session at the provider, by its own page.
func (p *person) signOut(h *house) {
	p.t.Helper()
	p.open(h.url + "/signout")
	p.press("Sign out")
}

// form returns what the only form of the page would post, and where.
func (p *person) form() (to string, fields map[string]string) {
	p.t.Helper()
	all := forms.FindAllStringSubmatch(p.page, -1)
	if len(all) != 1 {
		p.t.Fatalf("%s has %d forms:\n%s", p.at, len(all), p.page)
	}
	fields = map[string]string{}
	for _, i := range inputs.FindAllStringSubmatch(all[0][2], -1) {
		if a := attributesOf(i[1]); a["name"] != "" {
			fields[a["name"]] = a["value"]
		}
	}
	return attributesOf(all[0][1])["action"], fields
}
