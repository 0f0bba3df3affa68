package provider

import (
	"encoding/json"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestEveryOtherErrorGoesToTheClientWithStateAndIssuer(t *testing.T) {
	for _, c := range []struct{ promise, query, want string }{
		{"a response_type is needed", ask("response_type", ""), "invalid_request"},
		{"there is no implicit flow", ask("response_type", "token"), "unsupported_response_type"},
		{"nor a hybrid one", ask("response_type", "code id_token"), "unsupported_response_type"},
		{"nor an ID token by itself", ask("response_type", "id_token"), "unsupported_response_type"},
		{"it is spelled in one way", ask("response_type", "Code"), "unsupported_response_type"},
		{"no answer goes into a fragment", ask("response_mode", "fragment"), "invalid_request"},
		{"there is no other response_mode", ask("response_mode", "web_message"), "invalid_request"},
		{"a request object is refused by name", ask("request", "eyJhbGciOiJub25lIn0.e30."), "request_not_supported"},
		{"a request_uri is refused by name, and not fetched", ask("request_uri", "http://169.254.169.254/"), "request_uri_not_supported"},
		{"registration is refused by name", ask("registration", "{}"), "registration_not_supported"},
		{"a client without the grant type has no codes", ask("client_id", "robot"), "unauthorized_client"},
		{"a scope is one of the client's", ask("scope", "openid admin"), "invalid_scope"},
		{"scopes are compared with case", ask("scope", "OpenID"), "invalid_scope"},
		{"a resource is one of the client's", ask("resource", "https://other.example.org"), "invalid_target"},
		{"a resource is compared letter by letter", ask("resource", "https://api.example.org/"), "invalid_target"},
		{"one bad resource of two is one too many", ask("resource", "https://api.example.org") + "&resource=x", "invalid_target"},
		{"prompt=none stands alone", ask("prompt", "none consent"), "invalid_request"},
		{"there is no other prompt", ask("prompt", "create"), "invalid_request"},
		{"max_age is a number", ask("max_age", "soon"), "invalid_request"},
		{"max_age is not negative", ask("max_age", "-1"), "invalid_request"},
		{"max_age has no sign", ask("max_age", "+1"), "invalid_request"},
		{"claims are JSON", ask("claims", "email"), "invalid_request"},
		{"claims are an object", ask("claims", `["email"]`), "invalid_request"},
		{"claims are not null", ask("claims", `null`), "invalid_request"},
		{"a wish is an object or null", ask("claims", `{"userinfo":{"email":true}}`), "invalid_request"},
		{"a parameter is there once", ask() + "&scope=openid", "invalid_request"},
		{"one that is not known, too", ask() + "&x=1&x=2", "invalid_request"},
		{"a parameter is text", ask("nonce", "\xff"), "invalid_request"},
	} {
		s := newStage(t)
		s.signIn("s1", "ann")
		s.allowed("ann", "shop")
		for _, sid := range []string{"", "s1"} {
			v := s.answer(s.get(c.query, sid), callback)
			if v.Get("error") != c.want || v.Get("state") != "xyz" || v.Get("error_description") == "" || v.Has("code") || len(v) != 4 {
				t.Errorf("%s: the answer is %v, want %s", c.promise, v, c.want)
			}
			if strings.ContainsFunc(v.Get("error_description"), func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
				t.Errorf("%s: RFC 6749 does not allow the description %q", c.promise, v.Get("error_description"))
			}
		}
		// A post is no way around it.
		if w := s.post(c.query, "s1", "Sec-Fetch-Site", "cross-site"); strings.HasPrefix(w.Header().Get("Location"), "/oauth/authorize?") {
			s.follow(w, "s1")
		}
		if s.shown != "" || len(s.shelf.codes) > 0 {
			t.Errorf("%s: by POST the page is %q", c.promise, s.shown)
		}
	}
}

// Two readers of one request must not read two things: nothing of what stands there
// twice is repeated to the client.
func TestAttackAParameterStandsThereTwice(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	s.allowed("ann", "shop")
	for name := range ask2() {
		query := ask("nonce", "n", "prompt", "none") + "&" + name + "=other"
		w := s.get(query, "s1")
		if name == "client_id" || name == "redirect_uri" {
			s.shows("fault")
			if !strings.Contains(s.fault.Error(), "twice: "+name) {
				t.Errorf("%s twice: the page says %v", name, s.fault)
			}
			continue
		}
		v := s.answer(w, callback)
		if v.Get("error") != "invalid_request" || !strings.Contains(v.Get("error_description"), name) || (v.Get("state") == "") != (name == "state") {
			t.Errorf("%s twice: %v", name, v)
		}
	}
}

func ask2() url.Values {
	v, _ := url.ParseQuery(ask("nonce", "n", "prompt", "none")) // ask encodes it
	return v
}

// Without a challenge a code that was stolen on its way is as good as one's own.
func TestAttackPKCEIsLeftOutOrPlainOrWrong(t *testing.T) {
	for name, query := range map[string]string{
		"no challenge":             ask("code_challenge", "", "code_challenge_method", ""),
		"a method alone":           ask("code_challenge", ""),
		"a challenge alone, plain": ask("code_challenge_method", ""),
		"plain":                    ask("code_challenge_method", "plain"),
		"another case":             ask("code_challenge_method", "s256"),
		"a verifier in its place":  ask("code_challenge", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXkdBjftJeZ4CVP"),
		"a short challenge":        ask("code_challenge", "abc"),
		"padded":                   ask("code_challenge", challenge+"="),
		"not base64url":            ask("code_challenge", strings.ReplaceAll(challenge, "-", "+")),
		"another spelling":         ask("code_challenge", challenge[:42]+"N"),
		"with a line break":        ask("code_challenge", challenge[:20]+"\n"+challenge[20:]),
	} {
		for client, uri := range map[string]string{"shop": callback, "home": "https://home.example.org/cb?a=b", "phone": "http://127.0.0.1:1/cb"} {
			s := newStage(t)
			s.signIn("s1", "ann")
			s.allowed("ann", client)
			v, _ := url.ParseQuery(query)
			v.Set("client_id", client)
			v.Set("redirect_uri", uri)
			v.Set("scope", "openid")
			if got := s.answer(s.get(v.Encode(), "s1"), uri); got.Get("error") != "invalid_request" || len(s.shelf.codes) > 0 {
				t.Errorf("%s of %s: %v", name, client, got)
			}
		}
	}
}

func TestResourcesMayBeSeveralAndEachCountsOnce(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	s.allowed("ann", "shop")
	query := ask("resource", "https://pay.example.org") + "&resource=https%3A%2F%2Fapi.example.org&resource=https%3A%2F%2Fpay.example.org"
	if c := s.code(s.get(query, "s1"), callback); !slices.Equal(c.Asked.Audiences, []string{"https://pay.example.org", "https://api.example.org"}) {
		t.Errorf("the resources are %v", c.Asked.Audiences)
	}
}

func TestWhatIsNotKnownIsPassedOver(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	s.allowed("ann", "shop")
	s.code(s.get(ask("display", "popup", "claims_locales", "de", "x", "y", "claims", `{"userinfo":{},"other":[1],"id_token":{"email":{"essential":true,"other":1}}}`), "s1"), callback)
}

func TestClaimsAreForWhoAsksForAnIDToken(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	s.allowed("ann", "shop")
	for scope, want := range map[string]bool{"openid": true, "orders": false} {
		c := s.code(s.get(ask("scope", scope, "claims", `{"userinfo":{"email":null}}`), "s1"), callback)
		if (c.Asked.Claims != nil) != want || !slices.Equal(c.Asked.Scopes, []string{scope}) {
			t.Errorf("with the scope %s: %+v", scope, c.Asked)
		}
	}
}

func TestAFormIsBounded(t *testing.T) {
	for text, good := range map[string]bool{
		strings.Repeat("resource=x&", 999) + "a=b":                       true,
		strings.Repeat("resource=x&", 1000) + "a=b":                      false,
		strings.Repeat("&", 1000):                                        false,
		"a=" + strings.Repeat("x", maxParam):                             true,
		"a=" + strings.Repeat("x", maxParam+1):                           false,
		strings.Repeat("resource="+strings.Repeat("x", maxParam)+"&", 4): false, // 64 KiB and more
	} {
		if _, err := parseForm(text); (err == nil) != good {
			t.Errorf("%.30s… of %d bytes: %v", text, len(text), err)
		}
	}
}

func FuzzParseForm(f *testing.F) {
	f.Add(ask())
	f.Add("a=1&a=2&resource=x&resource=y&b=%ff&c=")
	f.Add("a=&a=")
	f.Add("a=%00;&resource=&resource=x")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseForm(text)
		for name, v := range got {
			if len(v) != 1 && name != "resource" || len(v) == 0 || slices.Contains(v, "") {
				t.Errorf("%q gives %q", text, got)
			}
		}
		// The standard library reads the same, or refuses as well.
		values, wrong := url.ParseQuery(text)
		for name, all := range values {
			all = slices.DeleteFunc(all, func(v string) bool { return v == "" })
			if err == nil && (wrong != nil || !slices.Equal(got[name], all)) {
				t.Errorf("%q gives %q, where net/url reads %q, %v", text, got, values, wrong)
			}
		}
		again, err2 := parseForm(url.Values(got).Encode())
		if err == nil && (err2 != nil || !maps.EqualFunc(got, again, slices.Equal)) {
			t.Errorf("%q gives %q, and that %q, %v", text, got, again, err2)
		}
	})
}

func FuzzParseClaims(f *testing.F) {
	f.Add(`{"userinfo":{"given_name":{"essential":true},"nickname":null},"id_token":{"acr":{"values":["a"]},"sub":{"value":"x"}}}`)
	f.Add(`{"id_token":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseClaims(text)
		if err != nil {
			return
		}
		c.demands("sub")
		c.demands("acr")
		kept, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseClaims(string(kept))
		if err != nil {
			t.Fatalf("%q is kept as %s: %v", text, kept, err)
		}
		if twice, err := json.Marshal(again); err != nil || !reflect.DeepEqual(twice, kept) {
			t.Errorf("%q is kept as %s, and that as %s", text, kept, twice)
		}
	})
}
