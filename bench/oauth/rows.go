package main

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// rows registers the clients that ask, and returns what they ask.
func rows(s *process, dir string) (all []*row, stop func()) {
	const form = "application/x-www-form-urlencoded"
	posting := func(path, body, id, secret string) request {
		return request{"POST", path, body, map[string]string{
			"Content-Type": form, "Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret)),
		}}
	}
	add := func(r row, q request) {
		r.of, r.ask = s, wrk(dir, s.url, q)
		all = append(all, &r)
	}

	const own = "grant_type=client_credentials"
	opaque := s.addClient("opaque", "--grant", "client_credentials", "--access-ttl", "1h")
	add(row{name: "client credentials, opaque", goal: "≤ 60", peer: "oidc-provider in memory 216, Hydra 8,014"},
		posting("/oauth/token", own, "opaque", opaque))
	for _, of := range signatures() {
		secret := s.addClient(of.alg, "--grant", "client_credentials", "--access-token", "jwt", "--signing-alg", of.alg)
		alone := &row{name: "client credentials, " + of.alg + " alone", of: self(), ask: of.ask}
		add(row{name: "client credentials, JWT " + of.alg, goal: "≤ the next + 60", than: "+", next: alone, peer: of.peer}, posting("/oauth/token", own, of.alg, secret))
		all = append(all, alone)
	}
	var bares []*process
	bare := func(name string, q request, a answer) *row {
		of := startBare(a, dir)
		bares = append(bares, of)
		return &row{name: name, of: of, ask: wrk(dir, of.url, q)}
	}

	f := newFlows(s, "flows", "--access-ttl", "1h") // their tokens are introspected to the end
	for _, of := range []struct{ name, token, id, secret, peer string }{
		{"introspection, opaque, a client's own", ownToken(s, "opaque", opaque), "opaque", opaque, "oidc-provider in memory 191, Hydra 651"},
		{"introspection, opaque, a person's", f.one().access, "flows", f.secret, "the same"},
	} {
		q := posting("/oauth/introspect", "token="+of.token, of.id, of.secret)
		floor := bare(of.name+", bare", q, s.answer(q))
		add(row{name: of.name, goal: "≤ 30", than: "×", next: floor, peer: of.peer}, q)
		all = append(all, floor)
	}
	const goal = "≥ 800 a second"
	all = append(all,
		&row{name: "code flow, three requests, ID token ES256", goal: goal, of: s, ask: f.ask},
		&row{name: "… with a JWT as access token, too", goal: goal, of: s, ask: newFlows(s, "flowsjwt", "--access-token", "jwt").ask})

	for _, path := range []string{"/.well-known/openid-configuration", "/oauth/jwks"} {
		q := request{method: "GET", path: path}
		same := s.answer(q)
		floor := bare(path+", bare", q, same)
		add(row{name: path, goal: "≤ 1.2 × the next", than: "×", next: floor}, q)
		all = append(all, floor, bare(path+", bare, its body alone", q, answer{http.Header{"Content-Type": same.Header["Content-Type"]}, same.Body}))
	}
	return all, func() {
		for _, b := range bares {
			b.stop()
		}
	}
}

// ownToken gets a client a token of its own.
func ownToken(s *process, id, secret string) string {
	q, err := http.NewRequest("POST", s.url+"/oauth/token", strings.NewReader("grant_type=client_credentials"))
	must(err)
	q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	q.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	res, err := http.DefaultClient.Do(q)
	must(err)
	defer res.Body.Close()
	var a struct {
		Token string `json:"access_token"`
	}
	must(json.NewDecoder(res.Body).Decode(&a))
	return a.Token
}
