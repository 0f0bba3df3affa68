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
	opaque := s.addClient("opaque", "--grant", "client_credentials")
	add(row{name: "client credentials, opaque", goal: "≤ 60", peer: "oidc-provider in memory 216, Hydra 8,014"},
		posting("/oauth/token", own, "opaque", opaque))
	for _, of := range signatures() {
		secret := s.addClient(of.alg, "--grant", "client_credentials", "--access-token", "jwt", "--signing-alg", of.alg)
		alone := &row{name: "client credentials, " + of.alg + " alone", of: self(), ask: of.ask}
		add(row{name: "client credentials, JWT " + of.alg, goal: "≤ the next + 60", than: "+", next: alone, peer: of.peer}, posting("/oauth/token", own, of.alg, secret))
		all = append(all, alone)
	}
	add(row{name: "introspection, opaque, a client's own", goal: "≤ 30", peer: "oidc-provider in memory 191, Hydra 651"},
		posting("/oauth/introspect", "token="+ownToken(s, "opaque", opaque), "opaque", opaque))

	f := newFlows(s, "flows")
	add(row{name: "introspection, opaque, a person's", goal: "≤ 30", peer: "the same"},
		posting("/oauth/introspect", "token="+f.one().access, "flows", f.secret))
	const goal = "≥ 800 a second"
	all = append(all,
		&row{name: "code flow, three requests, ID token ES256", goal: goal, of: s, ask: f.ask},
		&row{name: "… with a JWT as access token, too", goal: goal, of: s, ask: newFlows(s, "flowsjwt", "--access-token", "jwt").ask})

	var bares []*process
	for _, path := range []string{"/.well-known/openid-configuration", "/oauth/jwks"} {
		q := request{method: "GET", path: path}
		bare := func(name string, a answer) *row {
			of := startBare(a, dir)
			bares = append(bares, of)
			return &row{name: path + name, of: of, ask: wrk(dir, of.url, q)}
		}
		same := s.get(path)
		floor := bare(", bare", same)
		add(row{name: path, goal: "≤ 1.2 × the next", than: "×", next: floor}, q)
		all = append(all, floor, bare(", bare, its body alone", answer{http.Header{"Content-Type": same.Header["Content-Type"]}, same.Body}))
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
