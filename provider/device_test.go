package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/admit-auth/admit"
)

const devicePage = "https://id.example.org/device"

// A living is a room with a television in it, whose people sign in with the cookie "sid".
type living struct {
	*desk
	People
	store *shelf
}

func newLiving(t testing.TB, change ...func(*Options)) *living {
	t.Helper()
	l := &living{desk: newDesk(t)}
	l.store = &shelf{Memory: l.m, codes: map[string]*Code{}}
	l.m.PutUser(User{Subject: "bob"})
	l.m.PutSession(Session{SID: "s2", Subject: "bob", AuthTime: l.now, ACR: "aal2", AMR: []string{"otp"}, Expires: l.now.Add(time.Hour)})
	l.Provider = remade(t, l.Provider, append([]func(*Options){func(o *Options) {
		o.Store, o.People, o.DevicePage, o.InsecureLoopback = l.store, l, devicePage, false
	}}, change...)...)
	l.tv("tv", nil)
	return l
}

// Session implements People.
func (l *living) Session(r *http.Request) (s *Session, err error) {
	c, err := r.Cookie("sid")
	if err != nil {
		return nil, nil
	}
	err = l.m.View(r.Context(), func(tx Tx) error { s, err = tx.Session(c.Value, l.now); return err })
	return s, err
}

// tv registers a public client for devices.
func (l *living) tv(id string, change func(*Client)) {
	l.client(id, func(c *Client) {
		c.Auth, c.Secrets, c.RedirectURIs = NoAuth, nil, nil
		c.Grants = []GrantType{DeviceCode, RefreshToken}
		if change != nil {
			change(c)
		}
	})
}

// asks is a device that asks to be let in.
func (l *living) asks(f url.Values, more ...func(*http.Request)) *reply {
	l.Helper()
	r := httptest.NewRequest("POST", deskIssuer+"/oauth/device", strings.NewReader(f.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, m := range more {
		m(r)
	}
	w := httptest.NewRecorder()
	l.ServeHTTP(w, r)
	a := &reply{status: w.Code, header: w.Header(), text: w.Body.String()}
	if err := json.Unmarshal(w.Body.Bytes(), &a.json); err != nil || a.header.Get("Cache-Control") != "no-store" {
		l.Fatalf("%d %q, %v", a.status, a.text, err)
	}
	return a
}

// begins is a device that is shown a code.
func (l *living) begins(client, scope string, more ...func(*http.Request)) *reply {
	l.Helper()
	a := l.asks(fields("client_id", client, "scope", scope), more...)
	if a.status != 200 {
		l.Fatalf("%d %s", a.status, a.text)
	}
	return a
}

// polls asks for tokens.
func (l *living) polls(code string, more ...string) *reply {
	l.Helper()
	l.now = l.now.Add(6 * time.Second)
	return l.hurries(code, more...)
}

// hurries asks for tokens at once.
func (l *living) hurries(code string, more ...string) *reply {
	l.Helper()
	f := fields("grant_type", string(DeviceCode), "client_id", "tv", "device_code", code)
	for i := 0; i < len(more); i += 2 {
		f.Set(more[i], more[i+1])
	}
	return l.post(f)
}

// browser is the request of a page, from whoever has a session.
func browser(sid string, headers ...string) *http.Request {
	r := httptest.NewRequest("POST", devicePage, nil)
	r.AddCookie(&http.Cookie{Name: "sid", Value: sid})
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

// types is a person who types a code that is good.
func (l *living) types(sid, code string) *DeviceRequest {
	l.Helper()
	q, err := l.Device(browser(sid), code)
	if err != nil {
		l.Fatalf("Device(%q): %v", code, err)
	}
	return q
}

// decides is a person who decides.
func (l *living) decides(sid, code string, allow bool) {
	l.Helper()
	if _, err := l.DecideDevice(browser(sid), l.types(sid, code).Flow(), allow); err != nil {
		l.Fatal(err)
	}
}

// lets is a device that is let in by alice.
func (l *living) lets(scope string) (code string, tokens *reply) {
	l.Helper()
	a := l.begins("tv", scope)
	l.decides("s1", a.string("user_code"), true)
	return a.string("device_code"), l.given(l.polls(a.string("device_code")))
}

func TestADevicePollsUntilSomebodyHasDecided(t *testing.T) {
	l := newLiving(t)
	a := l.begins("tv", "openid email offline_access")
	code, user := a.string("device_code"), a.string("user_code")
	if a.string("verification_uri") != devicePage || a.string("verification_uri_complete") != devicePage+"?user_code="+user ||
		a.json["expires_in"] != 600.0 || a.json["interval"] != 5.0 || len(user) != 9 {
		t.Errorf("it is told %s", a.text)
	}
	for range 3 {
		l.refused(l.polls(code), "authorization_pending")
	}
	q := l.types("s1", strings.ToLower(user[:4]+" "+user[5:]))
	if q.UserCode != user || q.Client.ID != "tv" || strings.Join(q.New, " ") != "openid email offline_access" || q.Address != "192.0.2.1" || !q.Near || q.Asked.At.IsZero() {
		t.Errorf("the person is shown %+v", q)
	}
	l.refused(l.polls(code), "authorization_pending") // for to be shown allows nothing
	if _, err := l.DecideDevice(browser("s1"), q.Flow(), true); err != nil {
		t.Fatal(err)
	}
	tokens := l.given(l.polls(code))
	if tokens.string("refresh_token") == "" || tokens.string("id_token") == "" || tokens.string("scope") != "openid email offline_access" {
		t.Errorf("it gets %s", tokens.text)
	}
	l.given(l.post(fields("grant_type", "refresh_token", "client_id", "tv", "refresh_token", tokens.string("refresh_token"))))

	// What was allowed is remembered, and asked for all the same.
	q = l.types("s1", l.begins("tv", "openid profile").string("user_code"))
	if strings.Join(q.New, " ") != "profile" || strings.Join(q.Scopes, " ") != "openid profile" {
		t.Errorf("what is new is %v of %v", q.New, q.Scopes)
	}
}

func TestADeviceIsToldThatItWasDeniedOrIsTooLate(t *testing.T) {
	l := newLiving(t)
	a := l.begins("tv", "openid")
	code := a.string("device_code")
	l.decides("s1", a.string("user_code"), false)
	for range 2 {
		l.refused(l.polls(code), "access_denied")
	}
	a, b := l.begins("tv", "openid"), l.begins("tv", "openid")
	q := l.types("s1", a.string("user_code"))
	l.decides("s1", b.string("user_code"), true)
	l.now = l.now.Add(deviceLife)
	l.refused(l.polls(a.string("device_code")), "expired_token")
	l.refused(l.polls(b.string("device_code")), "expired_token") // though it was allowed
	if _, err := l.DecideDevice(browser("s1"), q.Flow(), true); !errors.Is(err, ErrUserCode) && !errors.Is(err, ErrDevicePage) {
		t.Errorf("a decision that is too late: %v", err)
	}
	if _, err := l.Device(browser("s1"), a.string("user_code")); !errors.Is(err, ErrUserCode) {
		t.Errorf("a code that has expired: %v", err)
	}
	l.now = l.now.Add(deviceLife)
	l.refused(l.polls(a.string("device_code")), "invalid_grant") // nobody knows it any more
}

func TestTheGrantOfADeviceStandsOnTheSessionOfWhoAllowedIt(t *testing.T) {
	l := newLiving(t)
	_, bound := l.lets("openid read")
	_, offline := l.lets("openid offline_access")
	if !l.alive(bound.string("access_token")) {
		t.Fatal("its token does not count")
	}
	l.m.RemoveSession("s1")
	if err := l.SessionEnded(t.Context(), "s1"); err != nil {
		t.Fatal(err)
	}
	if l.alive(bound.string("access_token")) || !l.alive(offline.string("access_token")) {
		t.Error("what was allowed for the session outlives it, or what was for longer does not")
	}
}

func TestAFirstPartyDeviceIsDecidedAboutLikeAnyOther(t *testing.T) {
	l := newLiving(t)
	l.tv("tv", func(c *Client) { c.FirstParty = true })
	a := l.begins("tv", "openid")
	l.refused(l.polls(a.string("device_code")), "authorization_pending")
	l.decides("s1", a.string("user_code"), true)
	l.given(l.polls(a.string("device_code")))
	if len(l.notes) != 1 || l.notes[0].Event != "client_authorized" || l.notes[0].Subject != "alice" {
		t.Errorf("the notes are %+v", l.notes)
	}
}

func TestWhatADeviceMayNotAskForIsRefused(t *testing.T) {
	l := newLiving(t)
	_, secret := l.client("box", func(c *Client) { c.Grants = append(c.Grants, DeviceCode) })
	l.client("web", nil)
	for name, c := range map[string]struct {
		form url.Values
		as   func(*http.Request)
		want string
	}{
		"nobody":                        {fields("scope", "openid"), nil, "invalid_client"},
		"an unknown client":             {fields("client_id", "no", "scope", "openid"), nil, "invalid_client"},
		"a client without its secret":   {fields("client_id", "box"), nil, "invalid_client"},
		"a wrong secret":                {fields(), basic("box", secret+"x"), "invalid_client"},
		"a client of another grant":     {fields(), basic("web", ""), "invalid_client"},
		"a scope it may not have":       {fields("client_id", "tv", "scope", "openid admin"), nil, "invalid_scope"},
		"a resource it may not have":    {fields("client_id", "tv", "resource", "https://c.example.org"), nil, "invalid_target"},
		"a parameter twice":             {url.Values{"client_id": {"tv"}, "scope": {"a", "b"}}, nil, "invalid_request"},
		"parameters in the address":     {fields("client_id", "tv"), func(r *http.Request) { r.URL.RawQuery = "scope=openid" }, "invalid_request"},
		"a body that is no form":        {fields("client_id", "tv"), func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, "invalid_request"},
		"a client without device codes": {fields("client_id", "app"), nil, "unauthorized_client"},
	} {
		t.Run(name, func(t *testing.T) {
			l.client("app", func(c *Client) { c.Auth, c.Secrets = NoAuth, nil })
			if c.as == nil {
				c.as = func(*http.Request) {}
			}
			l.refused(l.asks(c.form, c.as), c.want)
		})
	}
	if l.store.writes != 0 {
		t.Errorf("%d writes for what is refused", l.store.writes)
	}
	a := l.asks(fields("resource", "https://api.example.org", "resource", "https://b.example.org"), basic("box", secret))
	if q := l.types("s1", a.string("user_code")); len(q.NewAudiences) != 2 {
		t.Errorf("a client that proves itself asks for %+v, %s", q, a.text)
	}
}

// A device that polls as it should costs no write, and one that does not a few.
func TestADeviceThatAsksTooOftenIsSlowedDown(t *testing.T) {
	l := newLiving(t)
	code := l.begins("tv", "openid").string("device_code")
	writes := l.store.writes
	for range 5 {
		l.refused(l.polls(code), "authorization_pending")
	}
	l.now = l.now.Add(4500 * time.Millisecond) // the net is not even
	l.refused(l.hurries(code), "authorization_pending")
	if l.store.writes != writes {
		t.Errorf("%d writes for polls in time", l.store.writes-writes)
	}
	l.refused(l.hurries(code), "slow_down")
	l.refused(l.polls(code), "slow_down") // six seconds, and it is ten now
	l.now = l.now.Add(9 * time.Second)
	l.refused(l.polls(code), "authorization_pending") // fifteen
	writes = l.store.writes
	for range 200 {
		l.refused(l.hurries(code), "slow_down")
	}
	if n := l.store.writes - writes; n > 9 {
		t.Errorf("200 polls at once cost %d writes", n)
	}
	l.now = l.now.Add(slowest)
	l.refused(l.hurries(code), "authorization_pending")
}

func TestOfADeviceCodeThatManyPresentAtOnceOneBecomesTokens(t *testing.T) {
	l := newLiving(t)
	l.o.Store = l.m // the shelf counts without a lock
	a := l.begins("tv", "openid")
	l.decides("s1", a.string("user_code"), true)
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[string]int{}
	for range 64 {
		wg.Go(func() {
			r := l.hurries(a.string("device_code"))
			mu.Lock()
			defer mu.Unlock()
			got[fmt.Sprint(r.status, r.string("error"))]++
		})
	}
	wg.Wait()
	if got["200"] != 1 || got["400invalid_grant"] != 63 {
		t.Errorf("the answers are %v", got)
	}
}

func TestUserCodesOutliveTheChangeOfKeys(t *testing.T) {
	l := newLiving(t)
	user := l.begins("tv", "openid").string("user_code")
	l.o.Secrets = deskRing(t, "b", "a")
	l.types("s1", user)
	l.o.Secrets = deskRing(t, "b")
	if _, err := l.Device(browser("s1"), user); !errors.Is(err, ErrUserCode) {
		t.Errorf("a code under a key that is gone: %v", err)
	}
}

func TestTheSameDecisionTwiceIsOneAndAnotherOneIsNone(t *testing.T) {
	l := newLiving(t)
	q := l.types("s1", l.begins("tv", "openid").string("user_code"))
	for range 2 {
		if _, err := l.DecideDevice(browser("s1"), q.Flow(), true); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.DecideDevice(browser("s1"), q.Flow(), false); !errors.Is(err, ErrUserCode) {
		t.Errorf("another decision: %v", err)
	}
	if len(l.notes) != 1 {
		t.Errorf("the notes are %+v", l.notes)
	}
}

func TestThereIsNoDeviceGrantWithoutAPage(t *testing.T) {
	l := newLiving(t, func(o *Options) { o.DevicePage = "" })
	w := httptest.NewRecorder()
	l.ServeHTTP(w, httptest.NewRequest("POST", deskIssuer+"/oauth/device", nil))
	if w.Code != 404 {
		t.Errorf("the endpoint answers %d", w.Code)
	}
	l.refused(l.hurries("x"), "unsupported_grant_type")
	for _, page := range []string{"/device", "http://id.example.org/device", "https://id.example.org/device?a=b", "https://id.example.org/device#x", "https://u@id.example.org/", "::"} {
		o := l.o
		if o.DevicePage = page; page != "" {
			if _, err := New(o); err == nil {
				t.Errorf("the page %q is taken", page)
			}
		}
	}
}

func TestTheDocumentTellsOfDevices(t *testing.T) {
	l := newLiving(t)
	w := httptest.NewRecorder()
	l.ServeHTTP(w, httptest.NewRequest("GET", deskIssuer+"/.well-known/oauth-authorization-server", nil))
	for _, want := range []string{`"device_authorization_endpoint":"https://id.example.org/oauth/device"`, string(DeviceCode)} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s is not in %s", want, w.Body)
		}
	}
}

// Mallory has got the device code from a log, after the device has used it.
func TestAttackADeviceCodeIsReplayed(t *testing.T) {
	l := newLiving(t)
	code, tokens := l.lets("openid offline_access")
	l.refused(l.polls(code), "invalid_grant")
	if l.alive(tokens.string("access_token")) {
		t.Error("what came of the code lives")
	}
	l.refused(l.post(fields("grant_type", "refresh_token", "client_id", "tv", "refresh_token", tokens.string("refresh_token"))), "invalid_grant")
}

// Mallory's client has got hold of another client's device code.
func TestAttackADeviceCodeOfAnotherClientIsPresented(t *testing.T) {
	l := newLiving(t)
	l.tv("mallory", nil)
	a := l.begins("tv", "openid")
	code := a.string("device_code")
	l.decides("s1", a.string("user_code"), true)
	l.refused(l.polls(code, "client_id", "mallory"), "invalid_grant")
	tokens := l.given(l.polls(code)) // and the device is none the worse
	l.refused(l.polls(code, "client_id", "mallory"), "invalid_grant")
	if !l.alive(tokens.string("access_token")) {
		t.Error("another client ends what is not its own")
	}
	l.refused(l.post(fields("grant_type", "authorization_code", "client_id", "tv", "code", code, "redirect_uri", deskRedirect, "code_verifier", deskVerifier)), "unauthorized_client")
}

// Mallory knows the public half of a device code, or tries what it likes.
func TestAttackDeviceCodesAreGuessed(t *testing.T) {
	l := newLiving(t)
	code, other := l.begins("tv", "openid").string("device_code"), l.begins("tv", "openid").string("device_code")
	writes := l.store.writes
	for _, guess := range []string{code[:28] + other[28:], code[:len(code)-1], strings.ToUpper(code), code + "x", "x", strings.Repeat("x", 5000)} {
		l.refused(l.polls(guess), "invalid_grant")
	}
	l.refused(l.polls(""), "invalid_request")
	if l.store.writes != writes {
		t.Error("a guess costs a write")
	}
}

// Mallory is signed in, and tries codes until one is some device's, from one account and
// from many.
func TestAttackUserCodesAreGuessed(t *testing.T) {
	l := newLiving(t, func(o *Options) {
		o.Address = func(r *http.Request) netip.Addr { return netip.MustParseAddr(r.Header.Get("From")) }
	})
	l.now = l.now.Truncate(time.Second)
	good := l.begins("tv", "openid", func(r *http.Request) { r.Header.Set("From", "203.0.113.9") }).string("user_code")
	guess := func(sid, from string) error {
		_, err := l.Device(browser(sid, "From", from), newUserCode().String())
		return err
	}
	tries := func(most int, sid, from func(int) string) (heard int) {
		for n := range most {
			if errors.Is(guess(sid(n), from(n)), ErrManyUserCodes) {
				return n
			}
		}
		return most
	}
	always := func(text string) func(int) string { return func(int) string { return text } }
	person := func(n int) string {
		sid := fmt.Sprint("m", n)
		l.m.PutSession(Session{SID: sid, Subject: "mallory" + sid, Expires: l.now.Add(time.Hour)})
		return sid
	}
	place := func(n int) string { return fmt.Sprintf("10.%d.%d.1", n/250, n%250) }

	if n := tries(100, always("s1"), place); n != missesOfPerson.burst {
		t.Errorf("one person is heard %d times", n)
	}
	err := guess("s1", "198.51.100.1")
	if r, ok := errors.AsType[*admit.RetryError](err); !ok || r.After <= 0 || r.After > missesOfPerson.each {
		t.Errorf("she may try again: %v", err)
	}
	if _, err := l.Device(browser("s1", "From", "198.51.100.1"), good); !errors.Is(err, ErrManyUserCodes) {
		t.Errorf("a right code among them is told: %v", err)
	}
	// It is not the network that the owner of the code is in.
	if _, err := l.Device(browser("s2", "From", "198.51.100.1"), good); err != nil {
		t.Errorf("somebody else is refused: %v", err)
	}
	if n := tries(200, person, func(n int) string { return fmt.Sprintf("2001:db8::%x", n) }); n != missesOfNetwork.burst {
		t.Errorf("one network is heard %d times", n)
	}
	// From everywhere, as everybody: no pair of them is heard twice when the rest is spent.
	tries(missesOfEverybody.burst, func(n int) string { return person(n + 1000) }, place)
	for n := range 3 {
		sid := person(n + 5000)
		if err := guess(sid, fmt.Sprintf("172.16.%d.1", n)); !errors.Is(err, ErrUserCode) {
			t.Errorf("who has not missed is not heard: %v", err)
		}
		if err := guess(sid, fmt.Sprintf("172.17.%d.1", n)); !errors.Is(err, ErrManyUserCodes) {
			t.Errorf("who has missed is heard though there are too many: %v", err)
		}
	}
	if _, err := l.Device(browser("s2", "From", "198.51.100.1"), good); err != nil {
		t.Errorf("who types the right code is refused: %v", err)
	}
	l.now = l.now.Add(missesOfPerson.each)
	if err := guess("s1", "198.51.100.1"); !errors.Is(err, ErrUserCode) {
		t.Errorf("after a while she is not heard: %v", err)
	}
}

// Right codes and mistyped ones cost nothing.
func TestOnlyCodesThatCouldBeOnesAreCounted(t *testing.T) {
	l := newLiving(t)
	user := l.begins("tv", "openid").string("user_code")
	for range 2 * missesOfPerson.burst {
		l.types("s1", user)
		if _, err := l.Device(browser("s1"), user[:6]); !errors.Is(err, ErrUserCode) {
			t.Errorf("half a code: %v", err)
		}
	}
}

// Mallory has a page post the decision about her own device with Ann's cookies: from
// another site, with the flow that she was given herself, or with none.
func TestAttackADecisionIsForged(t *testing.T) {
	l := newLiving(t)
	a := l.begins("tv", "openid")
	mine, hers := l.types("s2", a.string("user_code")), l.types("s1", a.string("user_code"))
	sealed := string(l.o.Secrets.Seal(nil, flowName, []byte(`{"d":"x","to":"s1"}`), l.now))
	for name, c := range map[string]struct {
		r    *http.Request
		flow string
	}{
		"a flow of another session":        {browser("s1"), mine.Flow()},
		"none":                             {browser("s1"), ""},
		"a forged one":                     {browser("s1"), hers.Flow()[:len(hers.Flow())-2] + "xx"},
		"one that was made for a consent":  {browser("s1"), sealed},
		"from another site":                {browser("s1", "Sec-Fetch-Site", "cross-site"), hers.Flow()},
		"from another site, in old manner": {browser("s1", "Sec-Fetch-Site", "", "Origin", "https://evil.example"), hers.Flow()},
		"the user code in its place":       {browser("s1"), a.string("user_code")},
	} {
		if _, err := l.DecideDevice(c.r, c.flow, true); !errors.Is(err, ErrDevicePage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := l.DecideDevice(browser(""), hers.Flow(), true); !errors.Is(err, ErrLoginRequired) {
		t.Errorf("nobody decides: %v", err)
	}
	l.refused(l.polls(a.string("device_code")), "authorization_pending")
}

// Ann has signed out in another tab, and her page is still there; or before the device
// came for its tokens.
func TestAttackADeviceIsAllowedAfterASignOut(t *testing.T) {
	l := newLiving(t)
	a, b := l.begins("tv", "openid offline_access"), l.begins("tv", "openid offline_access")
	q := l.types("s1", a.string("user_code"))
	l.decides("s1", b.string("user_code"), true)
	ended := func() { l.m.RemoveSession("s1") }
	l.store.between = ended // after People have said who it is
	if _, err := l.DecideDevice(browser("s1"), q.Flow(), true); !errors.Is(err, ErrLoginRequired) {
		t.Errorf("a session that has ended decides: %v", err)
	}
	l.refused(l.polls(a.string("device_code")), "authorization_pending")
	l.refused(l.polls(b.string("device_code")), "invalid_grant")
}

// The device asks for more than what was allowed, when nobody looks any more.
func TestAttackADeviceWidensItsScopes(t *testing.T) {
	l := newLiving(t)
	a := l.begins("tv", "openid")
	l.decides("s1", a.string("user_code"), true)
	tokens := l.given(l.polls(a.string("device_code"), "scope", "openid email write offline_access", "resource", ""))
	if tokens.string("scope") != "openid" {
		t.Errorf("it gets %s", tokens.text)
	}
	l.refused(l.post(fields("grant_type", "refresh_token", "client_id", "tv", "refresh_token", tokens.string("refresh_token"), "scope", "openid email")), "invalid_scope")

	b := l.begins("tv", "openid")
	l.decides("s1", b.string("user_code"), true)
	l.refused(l.polls(b.string("device_code"), "resource", "https://api.example.org"), "invalid_target")

	c := l.begins("tv", "openid")
	l.decides("s1", c.string("user_code"), true)
	if _, err := l.TakeBack(t.Context(), "alice", "tv"); err != nil {
		t.Fatal(err)
	}
	l.refused(l.polls(c.string("device_code")), "invalid_grant")
}

// A client that anybody can call itself makes rows without end.
func TestAttackAFloodOfDevices(t *testing.T) {
	l := newLiving(t)
	for range devicesOfNetwork.burst {
		l.begins("tv", "openid")
	}
	if a := l.asks(fields("client_id", "tv")); a.status != 503 || a.string("error") != "temporarily_unavailable" || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.status, a.text)
	}
	l.begins("tv", "openid", func(r *http.Request) { r.RemoteAddr = "198.51.100.7:1" })
}

func TestOneNetworkIsNearToItself(t *testing.T) {
	for _, tt := range []struct {
		name, a, b string
		near       bool
	}{
		{"one address", "192.0.2.1", "192.0.2.1", true},
		{"an address that is written as one of IPv6", "192.0.2.1", "::ffff:192.0.2.1", true},
		{"two addresses", "192.0.2.1", "192.0.2.2", false},
		{"two of one customer", "2001:db8::1", "2001:db8::2:1", true},
		{"two customers", "2001:db8::1", "2001:db8:0:1::1", false},
		{"this machine by both of its names", "127.0.0.1", "::1", true},
		{"this machine and another", "127.0.0.1", "192.0.2.1", false},
	} {
		if near := network(netip.MustParseAddr(tt.a)) == network(netip.MustParseAddr(tt.b)); near != tt.near {
			t.Errorf("%s: near is %v", tt.name, near)
		}
	}
}

func TestUserCodesAreReadInAnyManner(t *testing.T) {
	for typed, want := range map[string]string{
		"WDJB-MJHT": "WDJB-MJHT", "wdjbmjht": "WDJB-MJHT", " wdjb – mjht\n": "WDJB-MJHT", "W.D.J.B.M.J.H.T": "WDJB-MJHT", "ＷＤＪＢ－ｍｊｈｔ": "WDJB-MJHT",
		"": "", "WDJB-MJH": "", "WDJB-MJHTT": "", "WDJB-MJHA": "", "WDJB-MJH1": "", "ВDJB-MJHT": "", "WDJB-MJHTß": "", strings.Repeat("-", 300) + "WDJBMJHT": "",
	} {
		got := ""
		if c, ok := parseUserCode(typed); ok {
			got = c.String()
		}
		if got != want {
			t.Errorf("parseUserCode(%q) = %q, want %q", typed, got, want)
		}
	}
}

func TestEveryLetterOfUserCodesComesAsOften(t *testing.T) {
	seen := map[byte]int{}
	const codes = 20_000
	for range codes {
		for _, letter := range newUserCode() {
			seen[letter]++
		}
	}
	const want = codes * userCodeLen / len(userCodeLetters)
	for _, letter := range []byte(userCodeLetters) {
		if n := seen[letter]; n < want*9/10 || n > want*11/10 { // nine standard deviations
			t.Errorf("%c came %d times, want about %d", letter, n, want)
		}
	}
	if len(seen) != len(userCodeLetters) {
		t.Errorf("the letters are %v", seen)
	}
}

func FuzzUserCode(f *testing.F) {
	for _, seed := range []string{"WDJB-MJHT", "wdjb mjht", "ＷＤＪＢ", "WDJB-MJHA", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		c, ok := parseUserCode(typed)
		if !ok {
			return
		}
		if again, ok := parseUserCode(c.String()); !ok || again != c {
			t.Errorf("parseUserCode(%q) = %v, %t", c, again, ok)
		}
	})
}
