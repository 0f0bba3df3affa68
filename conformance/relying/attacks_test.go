package relying

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

// ask sends a request as it stands, and follows nothing.
func (p *person) ask(r *http.Request) (*http.Response, string) {
	p.t.Helper()
	c := *p.http
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := c.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	return res, text(p.t, res.Body)
}

func request(t testing.TB, method, address string, form url.Values, headers ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

// authorizing is what a client sends a browser to authorize with.
func authorizing(client, callback string, more ...string) url.Values {
	q := url.Values{
		"client_id": {client}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid profile"}, "state": {"of-" + client},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(strings.Repeat("v", 43))}, "code_challenge_method": {"S256"},
	}
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return q
}

// signedIn is a person who has signed in at the house.
func signedIn(t testing.TB, h *house, user, name string) *person {
	t.Helper()
	h.user(t, user, name)
	p := newPerson(t)
	p.open(h.url + "/signin")
	p.signIn(user)
	return p
}

// A 307 would have the browser post the password, or the decision, to the client.
func TestAttackARedirectRepeatsAPost(t *testing.T) {
	h := home(t)
	h.client(t, "repeats", "--public", "--grant", "authorization_code", "--redirect", redirect, "--post-logout", redirect, "--scope", "openid profile")
	p := newPerson(t)
	h.user(t, "erin", "Erin Example")
	q := authorizing("repeats", redirect)
	flow := regexp.MustCompile(`name="flow" value="([^"]+)"`)
	post := func(path string, form url.Values) (*http.Response, string) {
		return p.ask(request(t, "POST", h.url+path, form, "Origin", h.url, "Sec-Fetch-Site", "same-origin"))
	}
	sees := func(what string, res *http.Response) {
		t.Helper()
		if res.StatusCode/100 == 3 && res.StatusCode != http.StatusSeeOther || res.StatusCode >= 400 {
			t.Errorf("%s is answered %s", what, res.Status)
		}
	}
	res, _ := post("/oauth/authorize", q)
	sees("a client's request", res)
	p.open(h.url + "/oauth/authorize?" + q.Encode())
	back := p.at.Query().Get("return_to")
	res, _ = post("/signin", url.Values{"identifier": {"erin"}, "password": {password}, "return_to": {back}})
	sees("a sign-in", res)
	if res.StatusCode != http.StatusOK || res.Header.Get("Refresh") == "" {
		t.Errorf("a sign-in for a client is answered %s, and not by a page that leads on", res.Status)
	}
	_, page := p.ask(request(t, "GET", h.url+back, nil))
	m := flow.FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("no consent page:\n%s", page)
	}
	res, _ = post("/oauth/authorize", url.Values{"flow": {m[1]}, "decision": {"allow"}})
	if to := res.Header.Get("Location"); res.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to, redirect+"?code=") {
		t.Errorf("a decision is answered %s, %s", res.Status, to)
	}
	res, _ = post("/oauth/logout", url.Values{"client_id": {"repeats"}, "post_logout_redirect_uri": {redirect}})
	sees("a log-out", res)
	res, _ = post("/signout", nil)
	sees("a sign-out", res)
}

func TestAttackAPageThatDecidesIsFramed(t *testing.T) {
	h := home(t)
	h.client(t, "framed", "--public", "--grant", "authorization_code", "--redirect", redirect, "--post-logout", redirect, "--scope", "openid profile")
	p := signedIn(t, h, "frank", "Frank Example")
	asks := h.url + "/oauth/logout?" + url.Values{"client_id": {"framed"}, "post_logout_redirect_uri": {redirect}}.Encode()
	consent := h.url + "/oauth/authorize?" + authorizing("framed", redirect).Encode()
	for what, at := range map[string]string{
		"consent": consent, "sign-out for a client": asks, "sign-out": h.url + "/signout", "apps": h.url + "/account/apps",
		"a fault": h.url + "/oauth/authorize?client_id=nobody", "who one wants to be": consent + "&prompt=select_account", "a fresh proof": consent + "&prompt=login",
		"device": h.url + "/device",
	} {
		res, page := p.ask(request(t, "GET", at, nil))
		for res.StatusCode == http.StatusSeeOther {
			to, err := res.Location()
			if err != nil {
				t.Fatal(err)
			}
			res, page = p.ask(request(t, "GET", to.String(), nil))
		}
		if !strings.Contains(res.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'") ||
			!strings.Contains(res.Header.Get("Cache-Control"), "no-store") || strings.Contains(page, "<script>") {
			t.Errorf("the page of %s may be framed, kept or scripted: %s %v", what, res.Status, res.Header)
		}
	}

	// And in a browser, which is what it is about.
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<title>Win a prize</title><iframe src=%q width=600 height=600></iframe>`, h.url+"/signin")
	}))
	defer site.Close()
	b := newTab(t, nil)
	b.open(site.URL)
	b.comesTo("Win a prize")
	eventually(t, func() error {
		if log := h.asked("GET /signin"); log == 0 {
			return fmt.Errorf("the frame asks for nothing")
		}
		return nil
	})
	if got := b.frames(); strings.Contains(got, "localhost") {
		t.Errorf("the sign-in is shown in a frame of another site: %s", got)
	}
}

// Addresses in documents, in mail and in tokens are the issuer's, whatever a request says
// that it was sent to.
func TestAttackTheHostOfARequestGetsIntoWhatIsSaid(t *testing.T) {
	h := home(t)
	heard := make(chan string, 8)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { heard <- r.PostFormValue("logout_token") }))
	defer app.Close()
	secret := h.client(t, "poisoned", "--grant", "authorization_code", "--redirect", redirect, "--first-party", "--backchannel-logout", app.URL+"/out")
	p := signedIn(t, h, "grace", "Grace Example")
	poison := []string{"X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "https", "X-Forwarded-Server", "evil.example", "X-Host", "evil.example", "X-Original-Host", "evil.example"}
	said := func(what string, res *http.Response, body string) {
		t.Helper()
		if all := fmt.Sprint(res.Header) + body; strings.Contains(all, "evil.example") {
			t.Errorf("%s says evil.example: %s", what, all)
		}
	}
	for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/oauth/jwks", "/signin", "/oauth/authorize?" + authorizing("poisoned", redirect).Encode(), "/oauth/logout?client_id=poisoned"} {
		for _, method := range []string{"GET", "POST"} {
			res, body := p.ask(request(t, method, h.url+path, nil, "Host", "evil.example"))
			if said(method+" "+path, res, body); res.StatusCode != http.StatusMisdirectedRequest {
				t.Errorf("%s %s for evil.example is answered %s", method, path, res.Status)
			}
			res, body = p.ask(request(t, method, h.url+path, nil, poison...))
			said(method+" "+path, res, body)
		}
		// What is told of an address does not depend on the one that it was asked at.
		res, body := p.ask(request(t, "GET", h.url+path, nil, "Host", "localhost:1"))
		if strings.Contains(fmt.Sprint(res.Header)+body, "localhost:1/") || strings.Contains(body, `localhost:1"`) {
			t.Errorf("%s at localhost:1 says so: %s", path, body)
		}
	}
	q := p.leads(h.url + "/oauth/authorize?" + authorizing("poisoned", redirect).Encode())
	res, body := p.ask(request(t, "POST", h.url+"/oauth/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {q.Get("code")}, "redirect_uri": {redirect}, "code_verifier": {strings.Repeat("v", 43)},
		"client_id": {"poisoned"}, "client_secret": {secret},
	}, poison...))
	if said("the token endpoint", res, body); res.StatusCode != 200 {
		t.Fatalf("the code: %s %s", res.Status, body)
	}
	res, _ = p.ask(request(t, "POST", h.url+"/signout", nil, append(poison, "Origin", h.url)...))
	said("the sign-out", res, "")
	select {
	case text := <-heard:
		claims := claimsOf(t, text)
		if claims["iss"] != h.url {
			t.Errorf("the logout token is of %v", claims["iss"])
		}
	case <-time.After(10 * time.Second):
		t.Error("the client does not hear of the sign-out")
	}
}

// claimsOf reads a JWT that nobody verifies.
func claimsOf(t testing.TB, jwt string) (claims map[string]any) {
	t.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", jwt)
	}
	if err := json.Unmarshal(decoded(t, parts[1]), &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// A page of another site posts in somebody's name, as browsers let it that know no SameSite.
func TestAttackAnotherSitePostsAuthorizeAndLogout(t *testing.T) {
	h := home(t)
	secret := h.client(t, "crossed", "--grant", "authorization_code", "--redirect", redirect, "--post-logout", redirect, "--scope", "openid profile")
	p := signedIn(t, h, "heidi", "Heidi Example")
	ask := h.url + "/oauth/authorize?" + authorizing("crossed", redirect).Encode()
	p.open(ask)
	_, fields := p.form()
	const evil = "https://evil.example"
	cross := func(path string, form url.Values) *http.Response {
		t.Helper()
		res, page := p.ask(request(t, "POST", h.url+path, form, "Origin", evil, "Sec-Fetch-Site", "cross-site"))
		if to := res.Header.Get("Location"); res.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to, path+"?") {
			t.Errorf("a foreign POST %s is answered %s, %s\n%s", path, res.Status, to, page)
		}
		if res.Header.Get("Set-Cookie") != "" {
			t.Errorf("a foreign POST %s sets %s", path, res.Header.Get("Set-Cookie"))
		}
		return res
	}
	// With the very flow of a consent page: it decides nothing.
	cross("/oauth/authorize", url.Values{"flow": {fields["flow"]}, "decision": {"allow"}})
	cross("/oauth/authorize", authorizing("crossed", redirect))
	if p.open(ask); !strings.Contains(p.page, "Allow") {
		t.Errorf("consent was given by another site:\n%s", p.page)
	}
	p.open(h.url + "/account/apps")
	if strings.Contains(p.page, "The crossed") {
		t.Error("another site has let an app in")
	}
	// With an ID token of this session, too: it leads to GET, which alone acts.
	p.open(ask)
	_, fields = p.form()
	res, _ := p.ask(request(t, "POST", h.url+"/oauth/authorize", url.Values{"flow": {fields["flow"]}, "decision": {"allow"}}, "Origin", h.url, "Sec-Fetch-Site", "same-origin"))
	u, err := res.Location()
	if err != nil {
		t.Fatal(err)
	}
	_, body := p.ask(request(t, "POST", h.url+"/oauth/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {u.Query().Get("code")}, "redirect_uri": {redirect}, "code_verifier": {strings.Repeat("v", 43)},
		"client_id": {"crossed"}, "client_secret": {secret},
	}))
	var tokens struct {
		ID string `json:"id_token"`
	}
	if err := json.Unmarshal([]byte(body), &tokens); err != nil || tokens.ID == "" {
		t.Fatalf("%v %s", err, body)
	}
	alive := func(what string) {
		t.Helper()
		if p.open(h.url + "/account"); p.at.Path != "/account" {
			t.Fatalf("%s has signed somebody out", what)
		}
	}
	cross("/oauth/logout", url.Values{"id_token_hint": {tokens.ID}, "post_logout_redirect_uri": {redirect}})
	alive("a POST with an ID token")
	res = cross("/oauth/logout", url.Values{"client_id": {"crossed"}, "post_logout_redirect_uri": {redirect}})
	alive("a POST without one")
	// Without an ID token the GET asks, too.
	p.open(h.url + res.Header.Get("Location"))
	if !strings.Contains(p.page, "Sign out here, too?") {
		t.Errorf("it is not asked whether to sign out:\n%s", p.page)
	}
	alive("the page that asks")
	// Not even what asks is pressed from elsewhere.
	if res, _ := p.ask(request(t, "POST", h.url+"/signout", nil, "Origin", evil, "Sec-Fetch-Site", "cross-site")); res.StatusCode != http.StatusForbidden {
		t.Errorf("a foreign POST /signout is answered %s", res.Status)
	}
	alive("a foreign POST /signout")
	// Nor does a frame or an image of another site sign anybody out.
	p.ask(request(t, "GET", h.url+"/oauth/logout?client_id=crossed", nil, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"))
	alive("an image")
}

// prompt=none answers what a hidden frame may know: an error, and nothing of the person.
func TestAttackPromptNoneTellsWhoSomebodyIs(t *testing.T) {
	h := home(t)
	h.client(t, "silent", "--public", "--grant", "authorization_code", "--redirect", redirect, "--scope", "openid profile")
	ivan := signedIn(t, h, "ivan", "Ivan Example")
	h.user(t, "judy", "Judy Example")
	for _, tt := range []struct {
		name, want string
		who        *person
		more       []string
	}{
		{"nobody is signed in", "login_required", newPerson(t), nil},
		{"a name is guessed, and nobody is signed in", "login_required", newPerson(t), []string{"login_hint", "ivan"}},
		{"nothing was allowed", "consent_required", ivan, nil},
		{"nothing was allowed, and the name is right", "consent_required", ivan, []string{"login_hint", "ivan"}},
		{"nothing was allowed, and the name is another's", "consent_required", ivan, []string{"login_hint", "judy"}},
		{"the subject is guessed", "login_required", ivan, []string{"claims", `{"id_token":{"sub":{"value":"judy"}}}`}},
		{"a hint is forged", "invalid_request", ivan, []string{"id_token_hint", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJqdWR5In0."}},
		{"it is not alone", "invalid_request", ivan, []string{"prompt", "none login"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := authorizing("silent", redirect, append([]string{"prompt", "none"}, tt.more...)...)
			res, body := tt.who.ask(request(t, "GET", h.url+"/oauth/authorize?"+q.Encode(), nil))
			to, err := res.Location()
			if err != nil || to.Query().Get("error") != tt.want || to.Query().Get("state") != "of-silent" || to.Query().Get("iss") != h.url {
				t.Fatalf("it is answered %s %v, want %s", res.Status, to, tt.want)
			}
			if all := to.String() + body + res.Header.Get("Set-Cookie"); strings.Contains(all, "ivan") || strings.Contains(all, "Ivan") {
				t.Errorf("it tells who that is: %s", all)
			}
		})
	}
	// Where nobody is to be sent back, nothing is shown of anybody either.
	q := authorizing("silent", "https://evil.example/", "prompt", "none")
	if res, body := ivan.ask(request(t, "GET", h.url+"/oauth/authorize?"+q.Encode(), nil)); res.StatusCode != http.StatusBadRequest || strings.Contains(body, "Ivan") {
		t.Errorf("a false address is answered %s %s", res.Status, body)
	}
}

func TestAttackCredentialsStandInAddressesAndInTheLog(t *testing.T) {
	h := home(t)
	secret := h.client(t, "queried", "--grant", "authorization_code,refresh_token,client_credentials", "--redirect", redirect, "--first-party")
	p := signedIn(t, h, "leo", "Leo Example")
	code := p.leads(h.url + "/oauth/authorize?" + authorizing("queried", redirect).Encode()).Get("code")
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}, "code_verifier": {strings.Repeat("v", 43)},
		"client_id": {"queried"}, "client_secret": {secret},
	}
	proved := url.Values{"client_id": {"queried"}, "client_secret": {secret}}
	for _, tt := range []struct {
		name, method, path string
		query, body        url.Values
	}{
		{"everything by GET", "GET", "/oauth/token", form, nil},
		{"everything in the query", "POST", "/oauth/token", form, nil},
		{"the secret in the query", "POST", "/oauth/token", proved, url.Values{"grant_type": {"client_credentials"}}},
		{"the secret in both", "POST", "/oauth/token", proved, url.Values{"grant_type": {"client_credentials"}, "client_id": {"queried"}, "client_secret": {secret}}},
		{"introspection", "POST", "/oauth/introspect", proved, url.Values{"token": {"a token"}}},
		{"revocation", "POST", "/oauth/revoke", proved, url.Values{"token": {"a token"}}},
	} {
		res, body := p.ask(request(t, tt.method, h.url+tt.path+"?"+tt.query.Encode(), tt.body))
		if res.StatusCode/100 != 4 || strings.Contains(body, "access_token") || strings.Contains(body, secret) {
			t.Errorf("%s: %s %s", tt.name, res.Status, body)
		}
	}
	res, body := p.ask(request(t, "POST", h.url+"/oauth/token", form))
	var tokens grantAnswer
	if err := json.Unmarshal([]byte(body), &tokens); err != nil || tokens.Access == "" {
		t.Fatalf("the code was spent by what was refused: %s %s", res.Status, body)
	}
	if res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("tokens may be kept: %v", res.Header)
	}
	if res, body := p.ask(request(t, "GET", h.url+"/oauth/userinfo?access_token="+url.QueryEscape(tokens.Access), nil)); res.StatusCode/100 != 4 || strings.Contains(body, "Leo") {
		t.Errorf("userinfo takes a token in the query: %s %s", res.Status, body)
	}
	eventually(t, func() error {
		if h.asked("GET /oauth/userinfo") == 0 {
			return fmt.Errorf("there is no log")
		}
		return nil
	})
	for what, text := range map[string]string{"the secret": secret, "the code": code, "the access token": tokens.Access, "the refresh token": tokens.Refresh, "the verifier": strings.Repeat("v", 43), "the password": password} {
		if text != "" && strings.Contains(h.log(), text) {
			t.Errorf("the log has %s", what)
		}
	}
}

func TestAttackRequestsThatAreTooLargeAreRefusedAtOnce(t *testing.T) {
	h := home(t)
	secret := h.client(t, "large", "--grant", "authorization_code,client_credentials", "--redirect", redirect)
	p := newPerson(t)
	long := func(n int) string { return strings.Repeat("a", n) }
	many := url.Values{}
	for i := range 20_000 {
		many.Set(fmt.Sprint("p", i), "")
	}
	deep := strings.Repeat(`{"id_token":`, 1500) + "1" + strings.Repeat("}", 1500)
	for _, tt := range []struct {
		name, method, path string
		body               url.Values
		headers            []string
	}{
		{"an address of 100 KB", "GET", "/oauth/authorize?" + authorizing("large", redirect, "nonce", long(100_000)).Encode(), nil, nil},
		{"an address of 2 MB", "GET", "/oauth/authorize?" + authorizing("large", redirect, "nonce", long(2_000_000)).Encode(), nil, nil},
		{"a posted request of 2 MB", "POST", "/oauth/authorize", authorizing("large", redirect, "nonce", long(2_000_000)), nil},
		{"a log-out of 2 MB", "POST", "/oauth/logout", url.Values{"id_token_hint": {long(2_000_000)}}, nil},
		{"a log-out of 20 KB", "GET", "/oauth/logout?id_token_hint=" + long(20_000), nil, nil},
		{"claims of 1,500 levels", "POST", "/oauth/authorize", authorizing("large", redirect, "claims", deep), nil},
		{"a token request of 2 MB", "POST", "/oauth/token", url.Values{"client_id": {"large"}, "client_secret": {secret}, "grant_type": {"client_credentials"}, "scope": {long(2_000_000)}}, nil},
		{"a token request of 20,000 parameters", "POST", "/oauth/token", many, nil},
		{"a code of 50 KB", "POST", "/oauth/token", url.Values{"client_id": {"large"}, "client_secret": {secret}, "grant_type": {"authorization_code"}, "code": {long(50_000)}, "redirect_uri": {redirect}, "code_verifier": {long(43)}}, nil},
		{"an assertion of 60 KB", "POST", "/oauth/token", url.Values{"grant_type": {"client_credentials"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {long(60_000)}}, nil},
		{"a token of 60 KB to look at", "POST", "/oauth/introspect", url.Values{"client_id": {"large"}, "client_secret": {"wrong"}, "token": {long(60_000)}}, nil},
		{"a header of 60 KB", "GET", "/oauth/userinfo", nil, []string{"Authorization", "Bearer " + long(60_000)}},
		{"a header of 2 MB", "GET", "/oauth/userinfo", nil, []string{"Authorization", "Bearer " + long(2_000_000)}},
	} {
		begun := time.Now()
		r := request(t, tt.method, h.url+tt.path, tt.body, tt.headers...)
		c := *p.http
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		res, err := c.Do(r)
		if err != nil { // it hung up amid the sending
			continue
		}
		body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		res.Body.Close()
		if to := res.Header.Get("Location"); (res.StatusCode/100 != 4 && !strings.Contains(to, "error=")) || len(body) > 64<<10 || len(to) > 16<<10 {
			t.Errorf("%s: %s, %d bytes, %d of address", tt.name, res.Status, len(body), len(to))
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("%s took %s", tt.name, took)
		}
	}
	if res, _ := p.ask(request(t, "GET", h.url+"/healthz", nil)); res.StatusCode != 200 {
		t.Errorf("afterwards the server is %s", res.Status)
	}
}

// What people copy: an answer that nobody asked for signs nobody in, and a token that is no
// logout token signs nobody out.
func TestAttackTheExamplesAreToldWhatNobodyAskedFor(t *testing.T) {
	h := home(t)
	for name, start := range map[string]func(testing.TB, *house, string) *app{"go": goApp, "node": nodeApp} {
		t.Run(name, func(t *testing.T) {
			id := "told-" + name
			a := start(t, h, id)
			p := signedIn(t, h, "user-"+id, "Told Example")
			thief := signedIn(t, h, "thief-"+id, "Thief Example")
			// The thief's own code, in the victim's browser (login CSRF).
			thief.open(a.url + a.signIn)
			_, fields := thief.form()
			res, _ := thief.ask(request(t, "POST", h.url+"/oauth/authorize", url.Values{"flow": {fields["flow"]}, "decision": {"allow"}}, "Origin", h.url))
			answer := res.Header.Get("Location")
			p.open(a.url + a.signIn) // there is a sign-in on its way, but not this one
			if res, body := p.ask(request(t, "GET", answer, nil)); res.StatusCode/100 != 4 {
				t.Errorf("another's answer is taken: %s %s", res.Status, body)
			}
			p.open(a.url + a.signIn)
			p.press("Allow")
			if p.open(a.url + "/"); !strings.Contains(p.page, "Told Example") {
				t.Fatalf("nobody is signed in:\n%s", p.page)
			}
			// An ID token of this very client and person, which says whose it is.
			proof := p.signOutHint(a)
			for what, token := range map[string]string{"an ID token": proof, "nothing": "", "text": "a.b.c"} {
				if res, _ := p.ask(request(t, "POST", a.url+"/backchannel-logout", url.Values{"logout_token": {token}})); res.StatusCode != http.StatusBadRequest {
					t.Errorf("%s is answered %s", what, res.Status)
				}
			}
		})
	}
}

// signOutHint is the ID token that an app shows when it signs somebody out.
func (p *person) signOutHint(a *app) string {
	p.t.Helper()
	res, _ := p.ask(request(p.t, "POST", a.url+"/signout", nil, "Origin", a.url, "Sec-Fetch-Site", "same-origin"))
	to, err := res.Location()
	if err != nil || to.Query().Get("id_token_hint") == "" {
		p.t.Fatalf("the sign-out is answered %s, %v", res.Status, to)
	}
	return to.Query().Get("id_token_hint")
}
