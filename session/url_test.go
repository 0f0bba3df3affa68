package session

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit/token"
)

// A client follows links, and keeps cookies or not.
type client struct {
	t       testing.TB
	m       *Manager[visit]
	keeps   bool
	cookies map[string]string
}

func urlManager(t testing.TB, o Options) *Manager[visit] {
	t.Helper()
	o.InsecureURLSessions = true
	return newManager(t, NewMemory(nil), &o)
}

func (c *client) request(at string) *http.Request {
	r := httptest.NewRequest("GET", "https://example.org"+at, nil)
	for name, value := range c.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	return r
}

// open asks for an address, and returns a link of the page.
func (c *client) open(at string, handle func(w http.ResponseWriter, r *http.Request) *Info) string {
	c.t.Helper()
	w := httptest.NewRecorder()
	var links Links
	c.m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		info := handle(w, r)
		var err error
		if links, err = c.m.Links(w, r, info); err != nil {
			c.t.Errorf("Links: %v", err)
		}
	})).ServeHTTP(w, c.request(at))
	if c.keeps {
		for _, k := range w.Result().Cookies() {
			if c.cookies == nil {
				c.cookies = map[string]string{}
			}
			c.cookies[k.Name] = k.Value
		}
	}
	link := links.To("/")
	if secret := link != "/"; secret && (w.Header().Get("Referrer-Policy") != "same-origin" || w.Header().Get("Cache-Control") != "no-store") {
		c.t.Errorf("a page with a value in its links comes with %v", w.Header())
	}
	return link
}

// visit counts.
func (c *client) visit(at string) (link string, count int) {
	c.t.Helper()
	link = c.open(at, func(w http.ResponseWriter, r *http.Request) *Info {
		s, err := c.m.Update(w, r, func(v *visit) error { v.Count++; return nil })
		if err != nil {
			c.t.Fatalf("Update: %v", err)
		}
		count = s.Data.Count
		return &s.Info
	})
	return link, count
}

func (c *client) wants(at string, want int) string {
	c.t.Helper()
	link, got := c.visit(at)
	if got != want {
		c.t.Fatalf("%.20s…: visit %d, want %d", at, got, want)
	}
	return link
}

func (c *client) start(at, subject string) (link string, s *Session[visit]) {
	c.t.Helper()
	link = c.open(at, func(w http.ResponseWriter, r *http.Request) *Info {
		var err error
		if s, err = c.m.Start(w, r, subject, nil); err != nil {
			c.t.Fatalf("Start: %v", err)
		}
		if set := w.(*httptest.ResponseRecorder).Result().Cookies(); s.URL && len(set) > 0 {
			c.t.Errorf("a session in URLs sets the cookie %s", set[0])
		}
		return &s.Info
	})
	return link, s
}

func (c *client) check(at string) (Info, error) { return c.m.Check(c.request(at)) }

func TestAClientWithoutCookiesKeepsItsSessionInLinks(t *testing.T) {
	c := &client{t: t, m: urlManager(t, Options{})}
	link := c.wants("/", 1)
	for n := 2; n < 6; n++ {
		next := c.wants(link, n)
		if next == link || !strings.HasPrefix(next, "/?session=adm_u_") {
			t.Fatalf("after %s the link is %s", link, next)
		}
		link = next
	}
	form := c.open("/signin", func(http.ResponseWriter, *http.Request) *Info { return nil })
	if form != "/?session=none" {
		t.Fatalf("on a page without a session the link is %s", form)
	}
	link, s := c.start(form, "alice")
	if !s.URL || s.Credential() != "url" || s.IdleExpiresAt.Sub(s.CreatedAt) > urlIdle+time.Millisecond {
		t.Errorf("signed in: %+v", s.Info)
	}
	info, err := c.check(link)
	if err != nil || info.Subject != "alice" || !info.URL {
		t.Fatalf("after the sign-in: %+v, %v", info, err)
	}
	w := httptest.NewRecorder()
	if err := c.m.End(w, c.request(link), "signed_out"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.check(link); !errors.Is(err, ErrEnded) {
		t.Errorf("after the sign-out: %v, want ErrEnded", err)
	}
}

func TestAValueIsGoodForAMinuteAfterItWasFollowedAndForTenIfNobodyDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &client{t: t, m: urlManager(t, Options{})}
		first := c.wants(c.wants("/", 1), 2)
		time.Sleep(9*time.Minute + 59*time.Second)
		second := c.wants(first, 3)
		time.Sleep(30 * time.Second)
		c.wants(first, 4) // a reload
		time.Sleep(29 * time.Second)
		if _, err := c.check(first); err != nil {
			t.Errorf("59 s after it was followed: %v", err)
		}
		time.Sleep(time.Second)
		if _, err := c.check(first); !errors.Is(err, ErrNone) {
			t.Errorf("60 s after it was followed: %v, want ErrNone", err)
		}
		third := c.wants(second, 5)
		time.Sleep(10 * time.Minute)
		if _, err := c.check(third); err == nil {
			t.Error("a value is good after 10 minutes")
		}
	})
}

func TestParallelRequestsWithOneValueLoseNothing(t *testing.T) {
	c := &client{t: t, m: urlManager(t, Options{})}
	link := c.wants("/", 1)
	links := make([]string, 6)
	var all sync.WaitGroup
	for i := range links {
		all.Go(func() { links[i], _ = c.visit(link) })
	}
	all.Wait()
	for i, link := range links { // each tab goes on
		c.wants(link, 8+i)
	}
}

func TestAValueInAURLNeverCountsBesideACookie(t *testing.T) {
	m := urlManager(t, Options{})
	without, with := &client{t: t, m: m}, &client{t: t, m: m, keeps: true}
	value := without.wants(without.wants("/", 1), 2)
	with.cookies = map[string]string{"theme": "dark"}
	if _, err := with.check(value); !errors.Is(err, ErrNone) {
		t.Errorf("beside some cookie: %v, want ErrNone", err)
	}
	with.cookies = nil
	link := with.wants("/", 1)
	if link == "/" {
		t.Fatal("the first page does not know yet who keeps cookies")
	}
	if next := with.wants(link, 2); next != "/" {
		t.Errorf("the client has returned its cookie, and the link is %s", next)
	}
	// What stood in the first page is nobody's any more.
	thief := &client{t: t, m: m}
	if _, err := thief.check(link); !errors.Is(err, ErrNone) {
		t.Errorf("the first page's value after the cookie was used: %v, want ErrNone", err)
	}
	if thief.wants(link, 1); with.wants("/", 3) != "/" {
		t.Error("the session has moved into links")
	}
}

func TestTheFirstPagesValueDiesAlsoWhereTheSecondPageOnlyReads(t *testing.T) {
	m := urlManager(t, Options{})
	thief, b := &client{t: t, m: m}, &client{t: t, m: m, keeps: true}
	link := b.wants("/", 1)
	b.open(link, func(_ http.ResponseWriter, r *http.Request) *Info {
		s, err := m.Load(r)
		if err != nil {
			t.Fatal(err)
		}
		return &s.Info
	})
	if _, err := thief.check(link); !errors.Is(err, ErrNone) { // the address that b shows
		t.Errorf("the first page's value: %v, want ErrNone", err)
	}
	// A value of who keeps none is not spent by somebody else's browser.
	value := thief.wants(thief.wants("/", 1), 2)
	b.open(value, func(http.ResponseWriter, *http.Request) *Info { return nil })
	thief.wants(value, 3)
}

func TestASessionThatMovedIntoLinksIsInNoCookieAnyMore(t *testing.T) {
	for _, bearer := range []bool{false, true} {
		m := urlManager(t, Options{Bearer: bearer})
		c := &client{t: t, m: m}
		w, r := httptest.NewRecorder(), c.request("/")
		s, err := m.Update(w, r, func(v *visit) error { v.Count++; return nil })
		if err != nil {
			t.Fatal(err)
		}
		links, err := m.Links(w, r, &s.Info)
		if err != nil {
			t.Fatal(err)
		}
		c.wants(links.To("/"), 2)
		kept := w.Result().Cookies()[0]
		r = c.request("/")
		r.AddCookie(kept)
		if _, err := m.Check(r); !errors.Is(err, ErrNone) {
			t.Errorf("its first cookie: %v, want ErrNone", err)
		}
		r = c.request("/")
		r.Header.Set("Authorization", "Bearer "+kept.Value)
		if _, err := m.Check(r); !errors.Is(err, ErrNone) {
			t.Errorf("its first cookie as a header: %v, want ErrNone", err)
		}
	}
}

func TestAPageThatOnlyReadsMovesItsSessionTooAndItSurvives(t *testing.T) {
	c := &client{t: t, m: urlManager(t, Options{})}
	link := c.wants("/", 1)
	read := func(w http.ResponseWriter, r *http.Request) *Info {
		s, err := c.m.Load(r)
		if err != nil {
			t.Fatal(err)
		}
		return &s.Info
	}
	for range 3 {
		link = c.open(link, read)
	}
	c.wants(link, 2)
}

func TestAValueWithTheSelectorOfAnotherIsNone(t *testing.T) {
	c := &client{t: t, m: urlManager(t, Options{})}
	link := c.wants("/", 1)
	tok, err := token.Parse(token.URL, strings.TrimPrefix(link, "/?session="))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.check("/?session=" + tok.WithNewVerifier().Reveal()); !errors.Is(err, ErrNone) {
		t.Errorf("forged: %v, want ErrNone", err)
	}
	if _, err := c.check(link + "&session=" + tok.Reveal()); !errors.Is(err, ErrNone) {
		t.Errorf("twice: %v, want ErrNone", err)
	}
	c.wants(link, 2)
}

func TestASessionWhoseCookieIsUsedMeanwhileDoesNotMove(t *testing.T) {
	m := urlManager(t, Options{})
	thief, b := &client{t: t, m: m}, &client{t: t, m: m, keeps: true}
	value := b.wants("/", 1)
	link := thief.open(value, func(_ http.ResponseWriter, r *http.Request) *Info {
		s, err := m.Load(r)
		if err != nil {
			t.Fatal(err)
		}
		b.wants("/", 2)
		return &s.Info
	})
	if link != "/?session=none" {
		t.Errorf("the link is %s", link)
	}
	b.wants("/", 3)
}

func TestAttackAPlantedLinkIsNotAdoptedAtSignIn(t *testing.T) {
	m := urlManager(t, Options{})
	mallory, ann := &client{t: t, m: m}, &client{t: t, m: m}
	planted := mallory.wants(mallory.wants("/", 1), 2)
	link, s := ann.start(planted, "ann")
	if s.Data.Count != 0 {
		t.Errorf("ann's session has what mallory left: %+v", s.Data)
	}
	if link == planted {
		t.Error("the value is still mallory's")
	}
	if info, err := mallory.check(planted); err == nil {
		t.Errorf("mallory is %q", info.Subject)
	}
	if info, err := ann.check(link); err != nil || info.Subject != "ann" {
		t.Errorf("ann: %+v, %v", info, err)
	}
}

func TestAttackALinkCannotKeepABrowserFromCookies(t *testing.T) {
	for _, param := range []string{"none", "x", token.New(token.URL).Reveal()} {
		c := &client{t: t, m: urlManager(t, Options{}), keeps: true}
		form := c.open("/signin?session="+param, func(http.ResponseWriter, *http.Request) *Info { return nil })
		link, s := c.start(form, "alice")
		if s.URL || link != "/" {
			t.Errorf("with %s: in the URL %v, the link is %s", param, s.URL, link)
		}
		if info, err := c.check("/"); err != nil || info.Subject != "alice" {
			t.Errorf("with %s: %+v, %v", param, info, err)
		}
	}
}

func TestAValueIsGoodUnderTheNameOfItsCookieOnly(t *testing.T) {
	c := &client{t: t, m: urlManager(t, Options{})}
	link, _ := c.start("/?session=none", "alice")
	c.m = newManager(t, c.m.store, &Options{Name: "__Host-other", InsecureURLSessions: true})
	if _, err := c.check(link); !errors.Is(err, ErrNone) {
		t.Errorf("at a manager of another name: %v, want ErrNone", err)
	}
}

func TestAStrangerOfWhomNothingIsKeptHasALinkAllTheSame(t *testing.T) {
	c := &client{t: t, m: urlManager(t, Options{})}
	link := c.open("/", func(w http.ResponseWriter, r *http.Request) *Info {
		s, err := c.m.Update(w, r, func(*visit) error { return nil })
		if err != nil || s.SID != "" {
			t.Fatalf("Update: %+v, %v", s, err)
		}
		return &s.Info
	})
	c.wants(c.wants(link, 1), 2)
}

func TestLinksAreOfTheURLWhateverElseNamesASession(t *testing.T) {
	c := &client{t: t, m: urlManager(t, Options{Named: func(*http.Request) (*Named, error) { return &Named{SID: "x"}, nil }})}
	if link, _ := c.start("/", ""); !strings.HasPrefix(link, "/?session=adm_u_") {
		t.Errorf("the link is %s", link)
	}
}

func TestLinksLeadNowhereElse(t *testing.T) {
	l := Links{"adm_u_x"}
	for target, want := range map[string]string{
		"/":                      "/?session=adm_u_x",
		"":                       "?session=adm_u_x",
		"next":                   "next?session=adm_u_x",
		"?page=2":                "?page=2&session=adm_u_x",
		"/a?b=%20c&d#e":          "/a?b=%20c&d&session=adm_u_x#e",
		"/a?session=old&b=c":     "/a?b=c&session=adm_u_x",
		"#part":                  "#part",
		"https://evil.example/":  "https://evil.example/",
		"//evil.example/":        "//evil.example/",
		"///evil.example/":       "///evil.example/",
		`/\evil.example/`:        `/\evil.example/`,
		"\t//evil.example/":      "\t//evil.example/",
		"mailto:ann@example.org": "mailto:ann@example.org",
		"javascript:alert(1)":    "javascript:alert(1)",
		"https:evil.example":     "https:evil.example",
		"%zz":                    "%zz",
	} {
		if got := l.To(target); got != want {
			t.Errorf("To(%q) = %q, want %q", target, got, want)
		}
		if got := (Links{}).To(target); got != target {
			t.Errorf("no links: To(%q) = %q", target, got)
		}
	}
	if name, value := l.Field(); name != "session" || value != "adm_u_x" {
		t.Errorf("Field() = %q, %q", name, value)
	}
	if name, _ := (Links{}).Field(); name != "" {
		t.Errorf("no links: Field() = %q", name)
	}
}

func FuzzLinks(f *testing.F) {
	for _, s := range []string{"/", "//a", `/\a`, "a:b", "/a?session=b", "?#", "/\t/a", "/..//a", "/?%73ession=a", "?;session=b"} {
		f.Add(s)
	}
	site, _ := url.Parse("https://example.org/dir/page")
	f.Fuzz(func(t *testing.T, target string) {
		got := Links{"adm_u_x"}.To(target)
		if got == target {
			return
		}
		u, err := site.Parse(got)
		if err != nil || u.Host != site.Host || u.Scheme != site.Scheme || strings.ContainsAny(got, "\\\t\r\n") {
			t.Errorf("To(%q) = %q", target, got)
		}
		if v := u.Query()["session"]; len(v) != 1 || v[0] != "adm_u_x" {
			t.Errorf("To(%q) = %q", target, got)
		}
	})
}

func TestWithoutTheOptionNothingInAURLCounts(t *testing.T) {
	insecure := urlManager(t, Options{})
	c := &client{t: t, m: insecure}
	link := c.wants(c.wants("/", 1), 2)
	c.m = newManager(t, insecure.store, nil)
	if _, err := c.check(link); !errors.Is(err, ErrNone) {
		t.Errorf("Check: %v, want ErrNone", err)
	}
	if next := c.wants(link, 1); next != "/" {
		t.Errorf("the link is %s", next)
	}
}

func TestAValueThatWasMadeBeforeAProofIsNotRaisedAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &client{t: t, m: urlManager(t, Options{})}
		stolen, s := c.start("/?session=none", "alice")
		began := s.AuthTime
		time.Sleep(5 * time.Minute)
		link := c.open(stolen, func(w http.ResponseWriter, r *http.Request) *Info {
			s, err := c.m.Prove(w, r, "otp")
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range w.(*httptest.ResponseRecorder).Result().Cookies() {
				if k.Value != urlNone {
					t.Errorf("the proof sets the cookie %s", k)
				}
			}
			return &s.Info
		})
		if info, err := c.check(stolen); err != nil || !info.AuthTime.Equal(began) {
			t.Errorf("the value from before: %v, %v, want %v", info.AuthTime, err, began)
		}
		if info, err := c.check(link); err != nil || !info.AuthTime.Equal(began.Add(5*time.Minute)) {
			t.Errorf("the value from after: %v, %v", info.AuthTime, err)
		}
	})
}

func TestHandlerReadsAValueInTheURLOnce(t *testing.T) {
	c := &client{t: t, m: urlManager(t, Options{})}
	link, _ := c.start("/?session=none", "alice")
	c.m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, err := c.m.Load(r); err != nil || s.Subject != "alice" || !s.URL {
			t.Errorf("Load: %+v, %v", s, err)
		}
		if p, found, err := c.m.Authenticate(r); err != nil || !found || p.Credential != "url" {
			t.Errorf("Authenticate: %+v, %v, %v", p, found, err)
		}
	})).ServeHTTP(httptest.NewRecorder(), c.request(link))
}

func FuzzTicket(f *testing.F) {
	t := ticket{followed: true, auth: 5, version: 7, sid: "0123456789abcdefghijkl"}
	f.Add(t.item(time.Time{}).Value)
	f.Add("")
	f.Fuzz(func(t *testing.T, value string) {
		var read ticket
		if read.parse(value) && read.item(time.Time{}).Value != value {
			t.Errorf("%q is read as %+v", value, read)
		}
		var rec record
		if read.parse(value) && rec.parse(value) {
			t.Errorf("%q is a value and a session", value)
		}
	})
}
