package provider

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestErrorsAboutTheClientOrItsRedirectURINeverRedirect(t *testing.T) {
	for name, query := range map[string]string{
		"no client":                        ask("client_id", ""),
		"an unknown client":                ask("client_id", "shopp"),
		"a client in another case":         ask("client_id", "SHOP"),
		"a disabled client":                ask("client_id", "gone"),
		"two clients":                      ask() + "&client_id=shop",
		"two redirect URIs":                ask() + "&redirect_uri=" + url.QueryEscape(callback),
		"no redirect URI":                  ask("redirect_uri", ""),
		"no redirect URI and several":      ask("client_id", "phone", "redirect_uri", "", "scope", ""),
		"another client's redirect URI":    ask("redirect_uri", "https://home.example.org/cb?a=b"),
		"and with prompt=none":             ask("redirect_uri", "https://evil.example/", "prompt", "none"),
		"and what else is wrong":           ask("redirect_uri", "https://evil.example/", "response_type", "token", "response_mode", "form_post"),
		"a query that is none":             ask() + "&%zz",
		"a request that is too long":       ask("state", strings.Repeat("x", maxRequest)),
		"parameters that are much longer":  ask("state", strings.Repeat("x", maxForm)),
		"a redirect URI with a line break": ask("redirect_uri", callback+"\r\nSet-Cookie: a=b"),
	} {
		for _, sid := range []string{"", "s1"} {
			s := newStage(t)
			s.signIn("s1", "ann")
			s.allowed("ann", "shop")
			w := s.get(query, sid)
			if s.shown != "fault" || w.Header().Get("Location") != "" || w.Body.Len() > 0 || s.fault == nil {
				t.Errorf("%s: page %q, to %q", name, s.shown, w.Header().Get("Location"))
			}
		}
	}
}

// Mallory looks for a spelling of the shop's redirect URI that the provider takes and a
// browser leads elsewhere.
func TestAttackARedirectURIIsVaried(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	s.allowed("ann", "shop")
	for _, uri := range []string{
		callback + "/", callback + "/evil", callback + "?", callback + "?a=b", callback + "#", callback + "#x", callback + "%20", callback + "\x00",
		"https://shop.example.net/cb/../evil", "https://shop.example.net/%63b", "https://shop.example.net/CB", "https://shop.example.net//cb",
		"https://SHOP.example.net/cb", "HTTPS://shop.example.net/cb", "http://shop.example.net/cb",
		"https://shop.example.net:443/cb", "https://shop.example.net:8443/cb", "https://shop.example.net./cb",
		"https://shop.example.net@evil.example/cb", "https://x@shop.example.net/cb", "https://shop.example.net.evil.example/cb",
		"https://evil.example/https://shop.example.net/cb", "https://evil.example\\@shop.example.net/cb", "https://evil.example#@shop.example.net/cb",
		"//shop.example.net/cb", "/cb", "javascript:alert(1)//" + callback, "data:text/html,x", "*", "https://*.example.net/cb", " " + callback, callback + " ",
		"https://shop.example.net/cb;", "https://shöp.example.net/cb", "https://xn--shp-sna.example.net/cb", "http://127.0.0.1/cb",
	} {
		w := s.get(ask("redirect_uri", uri), "s1")
		if s.shown != "fault" || w.Header().Get("Location") != "" {
			t.Errorf("%q is taken", uri)
		}
	}
	s.code(s.get(ask(), "s1"), callback)
}

func TestOnlyNativeClientsChooseAPortAndOnlyOnALoopbackAddress(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	s.allowed("ann", "phone")
	for uri, taken := range map[string]bool{
		"http://127.0.0.1/cb":              true,
		"http://127.0.0.1:1/cb":            true,
		"http://127.0.0.1:54321/cb":        true,
		"http://[::1]:54321/cb?x=y":        true,
		"http://[::1]/cb?x=y":              true,
		"http://localhost:7000/cb":         false, // though it is registered: by an IP address alone
		"org.example.phone:/cb":            true,
		"http://localhost:7001/cb":         false,
		"http://localhost/cb":              false,
		"http://[::1]:54321/cb":            false,
		"http://127.0.0.1:54321/cb/x":      false,
		"http://127.0.0.1:54321/CB":        false,
		"http://127.0.0.1:/cb":             false,
		"http://127.0.0.1:123456/cb":       false,
		"http://127.0.0.1:80@evil.test/cb": false,
		"http://127.0.0.1.evil.test/cb":    false,
		"http://127.0.0.1:80.evil.test/cb": false,
		"http://127.0.0.2:80/cb":           false,
		"http://127.1:80/cb":               false,
		"http://[0:0:0:0:0:0:0:1]:80/cb":   false,
		"https://127.0.0.1:80/cb":          false,
		"org.example.phone:/cb2":           false,
	} {
		w := s.get(ask("client_id", "phone", "scope", "openid", "redirect_uri", uri), "s1")
		if got := s.shown == ""; got != taken {
			t.Errorf("%s is taken: %v, want %v (%v)", uri, got, taken, s.fault)
		} else if taken {
			s.code(w, uri)
		}
	}
	// The same URI of a client that is none.
	s.change("shop", func(c *Client) { c.RedirectURIs = []string{"http://127.0.0.1/cb"} })
	for _, insecure := range []bool{false, true} {
		s.o.InsecureLoopback = insecure
		if s.get(ask("redirect_uri", "http://127.0.0.1:9/cb"), "s1"); s.shown != "fault" {
			t.Errorf("a client that is not native chooses a port (InsecureLoopback %v)", insecure)
		}
		if s.get(ask("redirect_uri", "http://127.0.0.1/cb"), "s1"); (s.shown == "fault") == insecure {
			t.Errorf("with InsecureLoopback %v the page is %q", insecure, s.shown)
		}
	}
}

func TestOnlyALoopbackAddressIsTakenForOne(t *testing.T) {
	for uri, want := range map[string]string{
		"http://127.0.0.1":               "",
		"http://127.0.0.1:80?a=b":        "?a=b",
		"http://[::1]:80/a":              "/a",
		"http://127.0.0.1.evil.test/":    "none",
		"http://127.0.0.1:80.evil.test/": "none",
		"http://127.0.0.1@evil.test/":    "none",
		"http://127.0.0.1:80@evil.test/": "none",
		"http://127.0.0.1:80\\@evil/":    "none",
		"http://127.0.0.11/":             "none",
		"https://127.0.0.1/":             "none",
		"http://localhost/":              "none",
	} {
		if _, rest, ok := cutLoopback(uri); ok != (want != "none") || ok && rest != want {
			t.Errorf("%q: %q, %v", uri, rest, ok)
		}
	}
}

func TestWhatNobodyMayBeSentToIsNotRegistered(t *testing.T) {
	for uri, want := range map[string][3]bool{ // a web client, one where loopback may be insecure, a native one
		"https://shop.example.net/cb":         {true, true, true},
		"https://shop.example.net/cb#x":       {},
		"https://shop.example.net/cb#":        {},
		"https://a:b@shop.example.net/cb":     {},
		"https://shop.example.net/c b":        {},
		"https://shop.example.net\\cb":        {},
		"https:///cb":                         {},
		"https:cb":                            {},
		"http://shop.example.net/cb":          {},
		"http://10.0.0.1/cb":                  {},
		"http://127.0.0.1/cb":                 {false, true, true},
		"http://localhost:3000/cb":            {false, true, false},
		"http://localhost.example.net/cb":     {},
		"org.example.phone:/cb":               {false, false, true},
		"phone:/cb":                           {}, // anybody's
		"javascript:alert(document.domain)":   {},
		"javascript://x.example/%0aalert(1)":  {},
		"data:text/html,<script>x()</script>": {},
		"file:///etc/passwd":                  {},
		"/cb":                                 {},
		"":                                    {},
	} {
		for i, c := range []struct{ native, insecure bool }{{false, false}, {false, true}, {true, false}} {
			k := aSite(func(k *Client) {
				k.RedirectURIs = []string{uri}
				if k.Native = c.native; c.native {
					asPublic(k)
				}
			})
			if err := k.Check(c.insecure); (err == nil) != want[i] || err != nil && !errors.Is(err, ErrInvalidRedirectURI) {
				t.Errorf("%q, %+v: %v", uri, c, err)
			}
		}
	}
}

// The attack: an app that is shown in a frame is at a host that says what else our page may
// load and send. url.Parse takes any of these for a host.
func TestAttackAHostIsADirectiveOfOurPolicy(t *testing.T) {
	for _, c := range ";,'\"<>!$&()*+=" {
		uri := "https://a" + string(c) + "b.example/out"
		k := aSite(func(k *Client) { k.RedirectURIs, k.FrontchannelLogoutURI = []string{uri}, uri })
		if err := k.Check(false); !errors.Is(err, ErrInvalidRedirectURI) {
			t.Errorf("%s: %v", uri, err)
		}
		if wrongRedirect(uri, false, false) == "" { // of a store where it was put by others
			t.Errorf("%s is used", uri)
		}
	}
}

func TestARedirectURIKeepsItsQueryAndMayBeLeftOutWhereThereIsOne(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	s.allowed("ann", "shop")
	w := s.get(ask("client_id", "home", "redirect_uri", "https://home.example.org/cb?a=b", "scope", "openid"), "s1")
	if to := w.Header().Get("Location"); !strings.HasPrefix(to, "https://home.example.org/cb?a=b&code=") {
		t.Errorf("it leads to %q", to)
	}
	if c := s.code(s.get(ask("redirect_uri", "", "scope", "orders"), "s1"), callback); c.Asked.RedirectURI != "" {
		t.Errorf("what was sent is %q", c.Asked.RedirectURI)
	}
}

func TestAFormPostHoldsTheAnswerAndRunsNothingElse(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	s.allowed("ann", "shop")
	const state = `"><script>alert(1)</script>'&amp;`
	for _, query := range []string{
		ask("response_mode", "form_post", "state", state),
		ask("response_mode", "form_post", "state", state, "scope", "admin"),
	} {
		w := s.get(query, "s1")
		page := w.Body.String()
		if w.Code != 200 || w.Header().Get("Content-Type") != "text/html; charset=utf-8" || w.Header().Get("Referrer-Policy") != "strict-origin" {
			t.Errorf("%d, %v", w.Code, w.Header())
		}
		fields := map[string]string{}
		for _, m := range regexp.MustCompile(`<input type="hidden" name="([a-z_]+)" value="([^"]*)">`).FindAllStringSubmatch(page, -1) {
			fields[m[1]] = html.UnescapeString(m[2])
		}
		if fields["state"] != state || fields["iss"] != "https://id.example.org" || (fields["code"] == "") == (fields["error"] == "") {
			t.Errorf("the fields are %v", fields)
		}
		if !strings.Contains(page, `<form method="post" action="`+callback+`">`) || strings.Count(page, "<script") != 1 {
			t.Errorf("the page is %s", page)
		}
		script := regexp.MustCompile(`<script>(.*)</script>`).FindStringSubmatch(page)
		sum := sha256.Sum256([]byte(script[1]))
		if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "script-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
			t.Errorf("the policy %q does not let the script run", policy)
		}
	}
}

// What is taken for a native client is, to who parses it, of its own machine.
func FuzzRedirects(f *testing.F) {
	c := &Client{RedirectURIs: []string{"http://127.0.0.1/cb", "http://[::1]/cb?x=y", callback}}
	f.Add("http://127.0.0.1:80/cb")
	f.Add("http://[::1]:65535/cb?x=y")
	f.Add("http://127.0.0.1:80@evil.test/cb")
	f.Fuzz(func(t *testing.T, uri string) {
		c.Native = false
		if exact := slices.Contains(c.RedirectURIs, uri); c.redirects(uri) != exact {
			t.Errorf("%q is taken: %v", uri, !exact)
		}
		c.Native = true
		if !c.redirects(uri) {
			return
		}
		u, err := url.Parse(uri)
		if err != nil || u.User != nil || u.Fragment != "" {
			t.Fatalf("%q is taken", uri)
		}
		u.Host = map[string]string{"127.0.0.1": "127.0.0.1", "::1": "[::1]", "shop.example.net": "shop.example.net"}[u.Hostname()]
		if !slices.Contains(c.RedirectURIs, u.String()) {
			t.Errorf("%q is taken", uri)
		}
	})
}
