package dpop

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/jose"
)

// service starts a service that takes one token, and answers with what was sent.
func service(t *testing.T, jkt string, o *Options) (url string, v *Verifier, asked *atomic.Int64) {
	t.Helper()
	asked = &atomic.Int64{}
	s := httptest.NewUnstartedServer(nil)
	v, err := NewVerifier("http://"+s.Listener.Addr().String(), o)
	if err != nil {
		t.Fatal(err)
	}
	s.Config.Handler = v.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		var err error
		status := http.StatusUnauthorized
		if r.URL.Path == "/token" {
			status = http.StatusBadRequest
			_, err = v.Prove(r, time.Now())
		} else {
			sent, _ := cutScheme(r.Header.Get("Authorization"))
			err = v.Check(r, sent, jkt)
		}
		if err == nil {
			io.Copy(w, r.Body)
			return
		}
		if c, ok := err.(interface{ Challenge() string }); ok && status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", c.Challenge())
		}
		w.WriteHeader(status)
		e, _ := errors.AsType[*admit.Error](err)
		io.WriteString(w, `{"error":"`+e.Code()+`"}`)
	}))
	s.Start()
	t.Cleanup(s.Close)
	return s.URL, v, asked
}

func send(t *testing.T, c *http.Client, method, url, token string, body io.Reader) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "DPoP "+token)
	}
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if r.Header.Get("DPoP") != "" {
		t.Error("the caller's request was written to")
	}
	return answer.StatusCode, string(text)
}

func TestOnlyTheFirstRequestIsSentTwiceForItsNonce(t *testing.T) {
	for _, alg := range []jose.Algorithm{jose.ES256, jose.EdDSA} {
		_, p := pair(t, alg)
		url, _, asked := service(t, p.Thumbprint(), nil)
		c := &http.Client{Transport: p.Transport(nil)}
		for i := range 5 {
			if status, text := send(t, c, "POST", url+"/orders?page=1#x", token, strings.NewReader("body")); status != 200 || text != "body" {
				t.Errorf("%s: request %d: %d %s", alg, i, status, text)
			}
		}
		if asked.Load() != 6 {
			t.Errorf("%s: %d requests for 5", alg, asked.Load())
		}
		if status, _ := send(t, c, "GET", url+"/a%2Fb/../c/%7e", token, nil); status != 200 {
			t.Errorf("%s: a path of many spellings: %d", alg, status)
		}
	}
}

func TestWhoGivesTokensAsksForANonceInTheBody(t *testing.T) {
	_, p := pair(t, jose.ES256)
	url, _, asked := service(t, "", nil)
	if status, text := send(t, &http.Client{Transport: p.Transport(nil)}, "POST", url+"/token", "", strings.NewReader("grant")); status != 200 || text != "grant" || asked.Load() != 2 {
		t.Errorf("%d %s after %d requests", status, text, asked.Load())
	}
}

// Another refusal may have cost one of few tries.
func TestOnlyTheWantOfANonceIsAskedAgain(t *testing.T) {
	_, p := pair(t, jose.ES256)
	url, _, asked := service(t, "another key", nil)
	c := &http.Client{Transport: p.Transport(nil)}
	for i, want := range []int64{2, 3} {
		if status, text := send(t, c, "GET", url, token, nil); status != 401 || text != `{"error":"dpop_other_key"}` || asked.Load() != want {
			t.Errorf("request %d: %d %s after %d", i, status, text, asked.Load())
		}
	}
	// Nor is one that tells no nonce.
	wants := 0
	none := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wants++
		w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer none.Close()
	if send(t, c, "GET", none.URL, "", nil); wants != 1 {
		t.Errorf("asked %d times without a nonce", wants)
	}
	big := strings.Repeat("x", 40<<10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("DPoP-Nonce", "n")
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, big)
	}))
	defer s.Close()
	if status, text := send(t, c, "GET", s.URL, "", nil); status != 400 || text != big {
		t.Errorf("a large answer: %d, %d bytes", status, len(text))
	}
}

func TestABodyThatCannotBeHadAgainIsSentOnce(t *testing.T) {
	_, p := pair(t, jose.ES256)
	url, _, asked := service(t, p.Thumbprint(), nil)
	body := struct{ io.Reader }{strings.NewReader("once")}
	if status, _ := send(t, &http.Client{Transport: p.Transport(nil)}, "POST", url, token, body); status != 401 || asked.Load() != 1 {
		t.Errorf("%d after %d requests", status, asked.Load())
	}
}

func TestANonceIsForTheOriginThatToldIt(t *testing.T) {
	_, p := pair(t, jose.ES256)
	a := httptest.NewRequest("GET", "https://a.test/", nil)
	p.Learn(&http.Response{Request: a, Header: http.Header{"Dpop-Nonce": {"of-a"}}})
	if got := p.nonce(a); got != "of-a" {
		t.Errorf("%q at its origin", got)
	}
	if got := p.nonce(httptest.NewRequest("GET", "https://b.test/", nil)); got != "" {
		t.Errorf("%q at another", got)
	}
	for i := range 3 * maxOrigins {
		r := a.Clone(t.Context())
		r.URL.Host = strings.Repeat("x", i+1)
		p.Learn(&http.Response{Request: r, Header: http.Header{"Dpop-Nonce": {"n"}}})
	}
	if len(p.nonces) > maxOrigins {
		t.Errorf("%d origins are known", len(p.nonces))
	}
}

func TestAProofNamesNeitherQueryNorUser(t *testing.T) {
	v, p := pair(t, jose.ES256)
	now := time.Now()
	r := httptest.NewRequest("GET", "https://api.example.test/?code=secret#part", nil)
	p.Learn(&http.Response{Request: r, Header: http.Header{"Dpop-Nonce": {v.Nonce(now)}}})
	text, err := p.Proof(r, token, now)
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := v.proofs.Verify(text)
	if err != nil || c.Data.URI != "https://api.example.test/" {
		t.Errorf("%q, %v", c.Data.URI, err)
	}
	for _, bad := range []string{"ftp://a.test/", "/orders"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL, _ = r.URL.Parse(bad)
		if _, err := p.Proof(r, "", now); err == nil {
			t.Errorf("a proof for %s", bad)
		}
	}
}
