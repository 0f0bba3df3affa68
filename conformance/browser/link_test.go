package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit/server"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// add makes a user who has proved an identifier, and has no password.
func (s *site) add(t testing.TB, identifiers ...string) {
	t.Helper()
	for range 1000 { // until commands are heard
		if _, err := os.Stat(filepath.Join(s.data, "admit.sock")); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	o, err := server.Connect(t.Context(), server.Config{Data: s.data})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for _, id := range identifiers {
		if _, err := o.AddUser(t.Context(), server.NewUser{Identifiers: []string{id}, Verified: true}); err != nil {
			t.Fatal(err)
		}
	}
}

// asks asks for a link from the page to sign in, and returns what was sent.
func (p *profile) asks(address string) (code, link string) {
	p.t.Helper()
	p.open("/signin")
	p.fill("identifier", address)
	p.press("Send me a link")
	p.at("/signin/code")
	p.sees("Look at your mail", address)
	return p.site.mailTo(p.t, address)
}

// opens follows a link in the browser that asked: the button is pressed, by the
// script where there is one.
func (p *profile) opens(link string) {
	p.t.Helper()
	if p.mode.noScript {
		p.open(link)
		p.at("/link")
		p.sees("One press signs you in as")
		p.press("Sign in")
		return
	}
	p.do(chromedp.Navigate(link))
	for deadline := time.Now().Add(20 * time.Second); evaluate[string](p, `location.pathname + document.readyState`) != "/accountcomplete"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("the link does not lead to the account\n%s", p.text())
		}
	}
	p.judge()
}

func (p *profile) digits() string {
	p.t.Helper()
	return evaluate[string](p, `document.querySelector("main .code").innerText.trim()`)
}

func TestAMailedLinkSignsInTheBrowserThatAskedAndElsewhereShowsDigits(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		s := newSite(t)
		s.add(t, "ann@example.org", "bea@example.org")
		asker, other := s.profile(t, m), s.profile(t, m)

		_, link := asker.asks("ann@example.org")
		other.open(link)
		other.at("/link") // the secret is gone from the address
		other.sees("Are you signing in?", "Chrome on Linux", "This page signs nobody in.")
		other.press("Not me")
		other.at("/")
		other.sees("Thank you. It is noted")
		other.open("/account")
		other.at("/signin?return_to=%2Faccount")

		asker.opens(link) // what a stranger has pressed ended nothing
		asker.at("/account")
		asker.open("/account/activity")
		asker.sees("reported: it was somebody else")
		asker.openTo(link, 401)

		// The mail is read elsewhere, and the digits are typed here.
		here := s.profile(t, m)
		code, link := here.asks("bea@example.org")
		other.open(link)
		digits := other.digits()
		if digits == code {
			t.Errorf("the opened link shows the mailed code %s", code)
		}
		here.fill("code", "12345")
		here.pressTo("Sign in", 401)
		here.sees("This code is wrong.")
		here.fill("code", digits[:3]+" "+digits[3:])
		here.press("Sign in")
		here.at("/account")
		here.open("/signin/code")
		here.at("/account")
	})
}

func TestASentCodeSignsIn(t *testing.T) {
	everyWay(t, func(t *testing.T, m mode) {
		s := newSite(t)
		s.add(t, "ann@example.org", "+493012345678")
		p := s.profile(t, m)
		p.open("/signin/link?return_to=/account/sessions")
		p.sees("Sign in without a password")
		p.pressTo("Send me a link", 400)
		p.sees("Please fill this in.")
		p.fill("identifier", "ann@example.org")
		p.press("Send me a link")
		code, _ := s.mailTo(t, "ann@example.org")
		p.fill("code", code)
		p.press("Sign in")
		p.at("/account/sessions")
		p.press("Sign out")
		p.press("Sign out")

		p.open("/signin/link")
		p.fill("identifier", "+49 (0)30 1234 5678")
		p.press("Send me a link")
		p.sees("Type the code", "a text message with six digits is", "+493012345678")
		code, _ = s.mailTo(t, "+493012345678")
		p.fill("code", code)
		p.press("Sign in")
		p.at("/account")
	})
}

// A browser that takes codes from text messages asks for one on the page that waits
// for it, and sends it.
func TestATextedCodeFillsItselfIn(t *testing.T) {
	s := newSite(t)
	s.add(t, "+493012345678")
	p := s.profile(t, mode{width: 390, height: 844})
	p.open("/signin/link")
	p.fill("identifier", "+493012345678")
	p.press("Send me a link")
	code, _ := s.mailTo(t, "+493012345678")
	// No message reaches this machine: what WebOTP would answer stands in for it.
	p.do(chromedp.Navigate("about:blank"), preload(fmt.Sprintf(`
		window.OTPCredential = class {}
		navigator.credentials.get = o => { window.wanted = JSON.stringify(o.otp); return Promise.resolve({code: %q}) }
	`, code)), chromedp.Navigate(s.url+"/signin/code"))
	for deadline := time.Now().Add(20 * time.Second); evaluate[string](p, `location.pathname`) != "/account"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nobody is signed in\n%s", p.text())
		}
	}
}

// preload runs a script before those of each page that comes.
func preload(script string) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, _ *chromedp.Target) (v chromedp.Void, err error) {
		_, err = chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
		return v, err
	}
}

// A walker is a person's browser, a program that opens links, or an attacker's: one
// with cookies, from an address of its own.
type walker struct {
	site *site
	http *http.Client
}

func (s *site) walker(address string) *walker {
	jar, _ := cookiejar.New(nil) // nil options do not fail
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	port := s.url[strings.LastIndex(s.url, ":"):]
	return &walker{s, &http.Client{Jar: jar, Timeout: time.Minute, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "tcp4", "127.0.0.1"+port)
		},
		DisableKeepAlives: true,
	}}}
}

// send asks for a page, or for the API where the body is JSON.
func (w *walker) send(method, address, body string, headers ...string) (status int, text string, err error) {
	if strings.HasPrefix(address, "/") {
		address = w.site.url + address
	}
	r, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if body[0] == '{' {
			r.Header.Set("Content-Type", "application/json")
		}
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := w.http.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

func (w *walker) signedIn() bool {
	status, _, err := w.send("GET", "/api/v1/session", "")
	return err == nil && status == 200
}

// A letter is what was sent to sign somebody in.
type letter struct{ to, flow, code, link string }

// asks asks for a link, and returns what was mailed.
func (w *walker) asks(to string, mails *mails) (l letter, err error) {
	before := mails.to(to)
	status, text, err := w.send("POST", "/api/v1/signin/link", fmt.Sprintf(`{"identifier":%q}`, to))
	if err != nil || status != 202 {
		return l, fmt.Errorf("asked for %s: %d %s %v", to, status, text, err)
	}
	var in struct{ Flow string }
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return l, err
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if m := mails.to(to); m.link != before.link {
			m.flow = in.Flow
			return m, nil
		}
	}
	return l, fmt.Errorf("no mail to %s", to)
}

// mails looks into the inbox for everybody.
type mails struct {
	site *site
	mu   sync.Mutex
}

func (m *mails) to(address string) (l letter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	res, err := http.Get(m.site.url + "/dev/inbox.json?key=" + devKey)
	if err != nil {
		return l
	}
	defer res.Body.Close()
	var in struct {
		Messages []struct {
			To, Code string
			Links    []string
		}
	}
	if json.NewDecoder(res.Body).Decode(&in) != nil {
		return l
	}
	for _, each := range in.Messages {
		if each.To == address && len(each.Links) > 0 {
			return letter{to: address, code: each.Code, link: each.Links[0]}
		}
	}
	return l
}

// scan opens a link as those do who look at other people's mail: by HEAD, by GET, as
// a preview of a chat, ahead of a press, and by sending each form of the page.
func (w *walker) scan(link string) error {
	for _, headers := range [][]string{
		{"HEAD"},
		{"GET", "User-Agent", "Mozilla/5.0 (compatible; MailGate/7.1)"},
		{"GET", "User-Agent", "facebookexternalhit/1.1", "Referer", "https://chat.example/"},
		{"GET", "Purpose", "prefetch", "Sec-Purpose", "prefetch;prerender", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"},
		{"POST"},
	} {
		if _, _, err := w.send(headers[0], link, "", headers[1:]...); err != nil {
			return err
		}
	}
	for _, form := range []string{"a=b", "not_me=yes", "code=" + w.shown(link)} {
		if _, _, err := w.send("GET", link, ""); err != nil {
			return err
		}
		if _, _, err := w.send("POST", "/link", form); err != nil {
			return err
		}
	}
	_, _, err := w.send("POST", "/signin/code", "code="+w.shown(link))
	return err
}

var shownDigits = regexp.MustCompile(`<p class="code">(\d{6})</p>`)

// shown are the digits that a link shows.
func (w *walker) shown(link string) string {
	_, text, _ := w.send("GET", link, "")
	if found := shownDigits.FindStringSubmatch(text); found != nil {
		return found[1]
	}
	return ""
}

// press opens a link, runs its scripts and presses every button that there is, each
// from the page as it was.
func (p *profile) pressAll(link string) (pressed int) {
	p.t.Helper()
	for n := 0; ; n++ {
		p.do(chromedp.Navigate(link))
		const button = `(() => {
			const b = document.querySelectorAll("button, input[type=submit], [role=button]")[%d]
			return !!b
		})()`
		if !evaluate[bool](p, fmt.Sprintf(button, n)) {
			return n
		}
		ctx, cancel := p.within()
		_, err := chromedp.RunResponse(ctx, func(ctx context.Context, t *chromedp.Target) (v chromedp.Void, err error) {
			_, err = chromedp.Evaluate[any](fmt.Sprintf(`void document.querySelectorAll("button, input[type=submit], [role=button]")[%d].click()`, n))(ctx, t)
			return v, err
		})
		cancel()
		if err != nil {
			p.t.Errorf("pressed button %d of %s: %v", n, link, err)
			return n
		}
	}
}

// The scanner farm: everything that looks at mail before people do opens each of a
// hundred links, and an attacker has asked for a hundred more and lures their owners
// to press whatever there is. A hundred people come in, and nobody else.
func TestScannersSpendNoneOfAHundredLinksAndPeopleComeIn(t *testing.T) {
	const people = 100
	s := newSite(t)
	var names []string
	for n := range people {
		names = append(names, fmt.Sprintf("person%d@example.org", n))
	}
	s.add(t, names...)
	inbox := &mails{site: s}

	each := func(what string, do func(n int) error) {
		t.Helper()
		var work sync.WaitGroup
		var next atomic.Int64
		for range 4 {
			work.Go(func() {
				for n := int(next.Add(1)) - 1; n < people; n = int(next.Add(1)) - 1 {
					if err := do(n); err != nil {
						t.Errorf("%s, person %d: %v", what, n, err)
					}
				}
			})
		}
		work.Wait()
		if t.Failed() {
			t.FailNow()
		}
	}
	persons, attackers := make([]*walker, people), make([]*walker, people)
	links, lures := make([]letter, people), make([]letter, people)
	each("asks", func(n int) (err error) {
		persons[n], attackers[n] = s.walker(fmt.Sprintf("127.1.0.%d", n+1)), s.walker(fmt.Sprintf("127.66.0.%d", n+1))
		if lures[n], err = attackers[n].asks(names[n], inbox); err != nil {
			return err
		}
		links[n], err = persons[n].asks(names[n], inbox)
		return err
	})

	scanner := s.walker("127.99.0.1")
	owner := s.walker("127.98.0.1")
	each("scanned", func(n int) error {
		if err := scanner.scan(links[n].link); err != nil {
			return err
		}
		return owner.scan(lures[n].link)
	})
	// And by browsers that run scripts, of one scanner and of one who is lured.
	var work sync.WaitGroup
	var pressed atomic.Int64
	var browsers []*profile
	for i := range 2 {
		p := s.profile(t, mode{width: 800, height: 600})
		browsers = append(browsers, p)
		work.Go(func() {
			for n := i; n < people; n += 2 {
				pressed.Add(int64(p.pressAll(links[n].link)))
				if n < 20 {
					pressed.Add(int64(p.pressAll(lures[n].link)))
				}
			}
		})
	}
	work.Wait()
	if pressed.Load() < people {
		t.Errorf("the browsers pressed %d buttons", pressed.Load())
	}

	scannersIn, attackersIn, spent := 0, 0, 0
	for _, p := range browsers {
		p.do(chromedp.Navigate(s.url + "/account"))
		if evaluate[string](p, `location.pathname`) != "/signin" {
			scannersIn++
		}
	}
	for _, w := range []*walker{scanner, owner} {
		if w.signedIn() {
			scannersIn++
		}
	}
	var in, lured atomic.Int64
	for n := range people {
		for _, l := range []letter{links[n], lures[n]} {
			w := persons[n]
			if status, text, err := w.send("GET", "/api/v1/signin/flows/"+l.flow, ""); err != nil || status != 200 {
				spent++
				t.Logf("flow of person %d: %d %s %v", n, status, text, err)
			}
		}
	}
	each("attacks", func(n int) error {
		a := attackers[n]
		for _, form := range []string{"/link a=b", "/signin/code code=" + links[n].code, "/signin/code code=" + scanner.shown(links[n].link)} {
			path, body, _ := strings.Cut(form, " ")
			if _, _, err := a.send("POST", path, body); err != nil {
				return err
			}
		}
		if a.signedIn() {
			lured.Add(1)
		}
		return nil
	})
	attackersIn = int(lured.Load())
	each("comes in", func(n int) (err error) {
		p, l := persons[n], links[n]
		var status int
		switch n % 4 {
		case 0: // by the mailed code
			status, _, err = p.send("POST", "/signin/code", url.Values{"code": {l.code}}.Encode())
		case 1: // by what the link shows on another device
			status, _, err = p.send("POST", "/signin/code", url.Values{"code": {s.walker("127.2.0.1").shown(l.link)}}.Encode())
		default: // by the link
			if _, _, err = p.send("GET", l.link, ""); err == nil {
				status, _, err = p.send("POST", "/link", "a=b")
			}
		}
		if err == nil && status == 200 && p.signedIn() {
			in.Add(1)
		}
		return err
	})
	t.Logf("%d people in, %d scanners in, %d links spent by scanners, %d attackers in; browsers pressed %d buttons", in.Load(), scannersIn, spent, attackersIn, pressed.Load())
	if in.Load() != people || scannersIn != 0 || spent != 0 || attackersIn != 0 {
		t.Errorf("want %d people in, and nothing else", people)
	}
}
