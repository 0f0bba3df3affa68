package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	callback = "http://127.0.0.1:9/callback"
	atOnce   = 32
)

// flows are sign-ins at one application by people who have a session: the authorization
// endpoint answers with a code, which becomes tokens, by which the application asks who
// it is.
type flows struct {
	s          *process
	id, secret string
	cookies    []string
	http       *http.Client
}

func newFlows(s *process, id string, args ...string) *flows {
	f := &flows{s: s, id: id, http: &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: atOnce},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	f.secret = s.addClient(id, append([]string{"--grant", "authorization_code", "--redirect", callback, "--first-party"}, args...)...)
	for i := range 4 {
		body := fmt.Sprintf(`{"identifier":"%s-%d","password":"correct horse battery 7","name":"Ann Example"}`, id, i)
		res, err := http.Post(s.url+"/api/v1/signup", "application/json", strings.NewReader(body))
		must(err)
		res.Body.Close()
		for _, c := range res.Cookies() {
			if strings.HasPrefix(c.Value, "adm_s_") {
				f.cookies = append(f.cookies, c.Name+"="+c.Value)
			}
		}
	}
	if len(f.cookies) == 0 {
		log.Fatal("nobody could sign up")
	}
	return f
}

// ask lets 32 of them sign in again and again for so long.
func (f *flows) ask(d time.Duration) int {
	var n atomic.Int64
	var all sync.WaitGroup
	until := time.Now().Add(d)
	for i := range atOnce {
		all.Go(func() {
			for time.Now().Before(until) {
				f.sign(f.cookies[i%len(f.cookies)])
				n.Add(1)
			}
		})
	}
	all.Wait()
	return int(n.Load())
}

// A signed is what came of one flow.
type signed struct{ access string }

func (f *flows) one() signed { return f.sign(f.cookies[0]) }

func (f *flows) sign(cookie string) signed {
	verifier := rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{
		"response_type": {"code"}, "client_id": {f.id}, "redirect_uri": {callback}, "scope": {"openid profile"}, "state": {"s"}, "nonce": {"n"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	res, _ := f.do("GET", "/oauth/authorize?"+q.Encode(), nil, func(r *http.Request) { r.Header.Set("Cookie", cookie) })
	back, err := url.Parse(res.Header.Get("Location"))
	must(err)
	code := back.Query().Get("code")
	if code == "" {
		log.Fatalf("no code: %s, Location %s", res.Status, back)
	}
	_, body := f.do("POST", "/oauth/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier},
	}, func(r *http.Request) { r.SetBasicAuth(f.id, f.secret) })
	var a struct {
		Access string `json:"access_token"`
		ID     string `json:"id_token"`
	}
	must(json.Unmarshal(body, &a))
	if a.Access == "" || a.ID == "" {
		log.Fatalf("no tokens: %s", body)
	}
	if _, body = f.do("GET", "/oauth/userinfo", nil, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+a.Access) }); !bytes.Contains(body, []byte("Ann Example")) {
		log.Fatalf("userinfo tells of nobody: %s", body)
	}
	return signed{a.Access}
}

func (f *flows) do(method, path string, form url.Values, change func(*http.Request)) (*http.Response, []byte) {
	r, err := http.NewRequest(method, f.s.url+path, strings.NewReader(form.Encode()))
	must(err)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	change(r)
	res, err := f.http.Do(r)
	must(err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	must(err)
	return res, body
}
