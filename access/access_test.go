package access_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
)

func TestAClaimThatIsAbsentIsNotWritten(t *testing.T) {
	text, err := json.Marshal(access.Claims{})
	if err != nil || string(text) != "{}" {
		t.Errorf("%s, %v", text, err)
	}
	const all = `{"client_id":"admit","scope":"a b","roles":["admin"],"sid":"s","gid":"g","sev":7,"auth_time":1,"acr":"1","amr":["pwd"],"status":{"status_list":{"idx":1,"uri":"u"}},"cnf":{"jkt":"t"},"act":{"sub":"b","act":{"sub":"a"}}}`
	var c access.Claims
	d := json.NewDecoder(strings.NewReader(all))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	if text, err := json.Marshal(c); err != nil || string(text) != all {
		t.Errorf("%s, %v", text, err)
	}
}

func TestOnlyATokenOfTheIssuerForThisServiceCounts(t *testing.T) {
	i := newIssuer(t)
	v := i.run(t, access.Options{})
	stranger, err := jose.GenerateKey(jose.ES256, "k1")
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*jose.Claims[access.Claims])) string {
		c := i.claims()
		change(c)
		return i.sign(t, c)
	}
	good := i.sign(t, i.claims())
	header, rest, _ := strings.Cut(good, ".")
	payload, _, _ := strings.Cut(rest, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + payload + "."
	public, err := json.Marshal(i.keys[0].Public())
	if err != nil {
		t.Fatal(err)
	}
	secret, err := jose.NewKey(jose.HS256, "k1", public)
	if err != nil {
		t.Fatal(err)
	}
	const invalid = `Bearer error="invalid_token"`
	for name, test := range map[string]struct {
		header    string
		status    int
		says      string
		challenge string
	}{
		"a good one":                        {"Bearer " + good, 200, "alice", ""},
		"in small letters":                  {"bearer  " + good, 200, "alice", ""},
		"none":                              {"", 401, "not_signed_in", "Bearer"},
		"a password":                        {"Basic YTpi.", 401, "unknown_credential", "Bearer"},
		"no JWT":                            {"Bearer adm_s_abc", 401, "unknown_credential", invalid},
		"a token of another audience":       {"Bearer " + with(func(c *jose.Claims[access.Claims]) { c.Audience = []string{"https://other.example.org"} }), 401, "jwt_audience", invalid},
		"a token of another issuer":         {"Bearer " + with(func(c *jose.Claims[access.Claims]) { c.Issuer = "https://evil.example.org" }), 401, "jwt_issuer", invalid},
		"an ID token":                       {"Bearer " + signWith(t, i.keys[0], "JWT", i.claims()), 401, "jwt_type", invalid},
		"a logout token":                    {"Bearer " + signWith(t, i.keys[0], "logout+jwt", i.claims()), 401, "jwt_type", invalid},
		"an answer to an introspection":     {"Bearer " + signWith(t, i.keys[0], "token-introspection+jwt", i.claims()), 401, "jwt_type", invalid},
		"a status list":                     {"Bearer " + signWith(t, i.keys[0], "statuslist+jwt", i.claims()), 401, "jwt_type", invalid},
		"an expired one":                    {"Bearer " + with(func(c *jose.Claims[access.Claims]) { c.Expires = time.Now() }), 401, "jwt_expired", invalid},
		"nobody's":                          {"Bearer " + with(func(c *jose.Claims[access.Claims]) { c.Subject = "" }), 401, "jwt_claim_missing", invalid},
		"a forged one":                      {"Bearer " + signWith(t, stranger, "at+jwt", i.claims()), 401, "jwt_signature", invalid},
		"signed with the public key as MAC": {"Bearer " + signWith(t, secret, "at+jwt", i.claims()), 401, "jwt_algorithm", invalid},
		"unsigned":                          {"Bearer " + none, 401, "jwt_malformed", invalid},
		"cut off":                           {"Bearer " + header + "." + payload, 401, "jwt_malformed", invalid},
		"two of them":                       {"Bearer " + good + " " + good, 401, "jwt_encrypted", invalid},
	} {
		status, says, answer := ask(t, v, test.header)
		if status != test.status || says != test.says || answer.Get("WWW-Authenticate") != test.challenge {
			t.Errorf("%s: %d %s, %q", name, status, says, answer["Www-Authenticate"])
		}
	}
}

func TestThePrincipalSaysWhatTheTokenDoes(t *testing.T) {
	i := newIssuer(t)
	v := i.run(t, access.Options{})
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+i.sign(t, i.claims()))
	want := admit.Principal{
		Subject: "alice", SID: "s1", Credential: "jwt", AuthTime: time.Unix(1_700_000_000, 0), AMR: []string{"pwd", "otp"}, ACR: "1",
		Roles: []string{"editor"}, Scopes: []string{"orders:read", "orders:write"}, ClientID: "admit",
	}
	for range 2 { // the second time it is remembered
		p, found, err := v.Authenticate(r)
		if err != nil || !found || !reflect.DeepEqual(p, want) {
			t.Fatalf("%+v, %v, %v", p, found, err)
		}
		// A handler's own role is nobody else's.
		if grown := append(p.Roles, "admin"); len(grown) != 2 {
			t.Error(grown)
		}
	}
	c, err := v.Verify(t.Context(), i.sign(t, i.claims()))
	if err != nil || c.Subject != "alice" || c.Data.GID != "g1" || c.Data.SEV != 3 {
		t.Errorf("%+v, %v", c, err)
	}
}

// A service has exchanged a token of the shop's, and the shop is removed: what it had let
// others do ends with it, though they are the ones that present it.
func TestAttackATokenOutlivesAClientThatItCameThrough(t *testing.T) {
	i := newIssuer(t)
	v := i.run(t, access.Options{})
	for at := range 3 {
		names := [...]string{fmt.Sprint("stock", at), fmt.Sprint("orders", at), fmt.Sprint("shop", at)}
		c := i.claims()
		c.Data.ClientID = names[0]
		c.Data.Act = &access.Actor{Subject: names[0], Act: &access.Actor{Subject: names[1], Act: &access.Actor{Subject: names[2]}}}
		token := "Bearer " + i.sign(t, c)
		if status, says, _ := ask(t, v, token); status != 200 {
			t.Fatalf("before %s has gone: %d %s", names[at], status, says)
		}
		i.end(t, feed.ClientEnded(names[at], "client_removed", c.Expires))
		await(t, "the refusal", func() bool { status, says, _ := ask(t, v, token); return status == 401 && says == "session_ended" })
	}
}

// From the ending at the issuer to the first 401 at two services.
func TestAttackATokenOfAnEndedSessionIsRefusedWithinMilliseconds(t *testing.T) {
	i := newIssuer(t)
	all := []*access.Verifier{i.run(t, access.Options{}), i.run(t, access.Options{})}
	var took []time.Duration
	for n := range 200 {
		c := i.claims()
		c.Data.SID, c.Data.GID, c.ID = fmt.Sprint("s", n), "", ""
		token := "Bearer " + i.sign(t, c)
		for _, v := range all {
			if status, says, _ := ask(t, v, token); status != 200 {
				t.Fatalf("before: %d %s", status, says)
			}
		}
		i.end(t, feed.SessionEnded(c.Data.SID, "alice", "signed_out", c.Expires))
		answered := time.Now()
		for _, v := range all {
			await(t, "the refusal", func() bool { status, says, _ := ask(t, v, token); return status == 401 && says == "session_ended" })
		}
		took = append(took, time.Since(answered))
	}
	slices.Sort(took)
	t.Logf("from the ending to the refusal at both of two services: p50 %v, p99 %v, max %v", took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
	if slowest := took[len(took)-1]; slowest > time.Second {
		t.Errorf("an ending took %v", slowest)
	}
}

func TestATokenEndsWithAllThatItNames(t *testing.T) {
	i := newIssuer(t)
	v := i.run(t, access.Options{})
	until := time.Now().Add(time.Minute)
	for name, test := range map[string]struct {
		event feed.Event
		code  string
	}{
		"its session":         {feed.SessionEnded("mine", "", "test", until), "session_ended"},
		"its grant":           {feed.GrantEnded("mine", "", "test", until), "session_ended"},
		"itself":              {feed.TokenEnded("mine", "", "test", until), "session_ended"},
		"its client":          {feed.ClientEnded("mine", "test", until), "session_ended"},
		"its subject's epoch": {feed.SubjectRaised("mine", 4, "roles_changed", until), "stale_claims"},
	} {
		c := i.claims()
		switch test.event.Kind {
		case feed.Session:
			c.Data.SID = "mine"
		case feed.Grant:
			c.Data.GID = "mine"
		case feed.Token:
			c.ID = "mine"
		case feed.Client:
			c.Data.ClientID = "mine"
		case feed.Subject:
			c.Subject = "mine"
		}
		token := "Bearer " + i.sign(t, c)
		if status, says, _ := ask(t, v, token); status != 200 {
			t.Fatalf("%s, before: %d %s", name, status, says)
		}
		i.end(t, test.event)
		await(t, name, func() bool { status, says, _ := ask(t, v, token); return status == 401 && says == test.code })
		if status, says, _ := ask(t, v, "Bearer "+i.sign(t, i.claims())); status != 200 {
			t.Errorf("%s: another token: %d %s", name, status, says)
		}
	}
}

// A new key is found at once; one that has ended is gone at once, too, however
// little its holder says of it.
func TestAttackATokenOfAKeyThatWasTakenBackIsRefused(t *testing.T) {
	i := newIssuer(t)
	v := i.run(t, access.Options{})
	stolen := i.keys[0]
	if status, says, _ := ask(t, v, "Bearer "+i.sign(t, i.claims())); status != 200 {
		t.Fatalf("before: %d %s", status, says)
	}
	i.rotate(t, "k2")
	i.drop()
	fetched := i.fetched.Load()
	i.end(t, feed.KeyEnded("k1", "leaked", time.Now().Add(time.Minute)))
	await(t, "the fetch", func() bool { return i.fetched.Load() > fetched })
	forged := "Bearer " + signWith(t, stolen, "at+jwt", i.claims())
	await(t, "the refusal", func() bool { status, says, _ := ask(t, v, forged); return status == 401 && says == "jwt_key_unknown" })
	if status, says, _ := ask(t, v, "Bearer "+i.sign(t, i.claims())); status != 200 {
		t.Errorf("a token of the new key: %d %s", status, says)
	}
}

// Run looks for the keys again until the issuer has them, and says so.
func TestAKeyThatEndedIsLookedForUntilTheIssuerAnswers(t *testing.T) {
	i := newIssuer(t)
	log := feed.NewLog(nil)
	var failed atomic.Int32
	v := i.run(t, access.Options{Feed: log, Failed: func(err error) {
		if !errors.Is(err, jose.ErrKeysAway) {
			t.Errorf("Failed: %v", err)
		}
		failed.Add(1)
	}})
	forged := "Bearer " + signWith(t, i.keys[0], "at+jwt", i.claims())
	i.rotate(t, "k2")
	i.drop()
	i.away.Store(true)
	if err := log.Append(t.Context(), time.Now(), feed.KeyEnded("k1", "leaked", time.Now().Add(time.Minute))); err != nil {
		t.Fatal(err)
	}
	await(t, "the failure", func() bool { return failed.Load() > 0 })
	if status, says, _ := ask(t, v, forged); status != 401 || says != "session_ended" {
		t.Errorf("while the keys are away: %d %s", status, says)
	}
	i.away.Store(false)
	await(t, "the refusal", func() bool { _, says, _ := ask(t, v, forged); return says == "jwt_key_unknown" })
}

// An outage must not sign everybody out.
func TestStaleIsAnsweredWith503AndNever401(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{url: "https://auth.example.org"}
		i.rotate(t, "k1")
		log := feed.NewLog(nil)
		keys := jose.NewKeySet(i.keys[0].Public())
		cut := &cuttable{Source: log}
		v, err := access.NewVerifier(i.url, audience, &access.Options{Keys: keys, Feed: cut, Bound: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		c := i.claims()
		c.Expires = time.Now().Add(time.Hour)
		token := "Bearer " + i.sign(t, c)
		stale := func(when string) {
			t.Helper()
			status, says, answer := ask(t, v, token)
			if status != 503 || says != "verifier_stale" || answer.Get("Retry-After") != "1" || answer.Get("WWW-Authenticate") != "" {
				t.Errorf("%s: %d %s %v", when, status, says, answer)
			}
		}
		stale("before Run")
		if _, err := v.Verify(t.Context(), strings.TrimPrefix(token, "Bearer ")); err == nil || !strings.Contains(err.Error(), "Run has not been called") {
			t.Errorf("before Run: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		late, done := context.WithTimeout(t.Context(), time.Second)
		defer done()
		if err := v.Ready(late); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Ready without news: %v", err)
		}
		ran := make(chan error)
		go func() { ran <- v.Run(ctx) }()
		if err := v.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		if status, says, _ := ask(t, v, token); status != 200 {
			t.Errorf("with news: %d %s", status, says)
		}
		cut.cut()
		time.Sleep(9 * time.Second)
		if status, says, _ := ask(t, v, token); status != 200 {
			t.Errorf("within the bound: %d %s", status, says)
		}
		time.Sleep(2 * time.Second)
		stale("without news")
		// What is known to have ended has ended, however old the news is.
		cut.mend()
		time.Sleep(10 * time.Second)
		if err := log.Append(t.Context(), time.Now(), feed.SessionEnded("s1", "alice", "signed_out", c.Expires)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		cut.cut()
		time.Sleep(time.Minute)
		if status, says, _ := ask(t, v, token); status != 401 || says != "session_ended" {
			t.Errorf("an ended one without news: %d %s", status, says)
		}
		cancel()
		if err := <-ran; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
}

// A cuttable is a feed whose followers can be cut off.
type cuttable struct {
	feed.Source
	away atomic.Bool
	end  atomic.Pointer[context.CancelFunc]
}

func (c *cuttable) cut() {
	c.away.Store(true)
	(*c.end.Load())()
}

func (c *cuttable) mend() { c.away.Store(false) }

func (c *cuttable) Follow(ctx context.Context, after feed.ID, hear func(feed.News) error) error {
	if c.away.Load() {
		return feed.ErrAway
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	c.end.Store(&cancel)
	if err := c.Source.Follow(inner, after, hear); ctx.Err() != nil || inner.Err() == nil {
		return err
	}
	return feed.ErrAway
}

// A token that is bound to a key and was stolen is worth nothing without it (RFC
// 9449 section 7.1), unless someone takes it for less than it is.
func TestAttackABoundTokenIsNoBearerToken(t *testing.T) {
	i := newIssuer(t)
	errProof := admit.Unauthenticated.New("dpop_invalid", "The proof is wrong.")
	plain := i.run(t, access.Options{})
	proving := i.run(t, access.Options{Proof: func(r *http.Request, token, jkt string) error {
		if r.Header.Get("Authorization") != "DPoP "+token || jkt != "thumb" {
			return errProof
		}
		return nil
	}})
	token := func(cnf *access.Confirmation) string {
		c := i.claims()
		c.Data.Confirmation = cnf
		return i.sign(t, c)
	}
	bound, other, unknown, free := token(&access.Confirmation{JKT: "thumb"}), token(&access.Confirmation{JKT: "other"}), token(&access.Confirmation{}), token(nil)
	for _, test := range []struct {
		name            string
		v               *access.Verifier
		header          string
		status          int
		says, challenge string
	}{
		{"a bound one as bearer", plain, "Bearer " + bound, 401, "token_bound", `Bearer error="invalid_token"`},
		{"with a proof that nobody takes", plain, "DPoP " + bound, 401, "unknown_credential", "Bearer"},
		{"bound in a way that is not known", plain, "Bearer " + unknown, 401, "token_bound", `Bearer error="invalid_token"`},
		{"a free one", plain, "Bearer " + free, 200, "alice", ""},

		{"a bound one as bearer, where proofs are taken", proving, "Bearer " + bound, 401, "token_bound", `DPoP error="invalid_token"`},
		{"with a proof that is refused", proving, "dpop " + bound, 401, "dpop_invalid", `Bearer error="invalid_token"`},
		{"a bound one with its proof", proving, "DPoP " + bound, 200, "alice", ""},
		{"one that is bound to another key", proving, "DPoP " + other, 401, "dpop_invalid", `Bearer error="invalid_token"`},
		{"bound in a way that is not known, with a proof", proving, "DPoP " + unknown, 401, "token_bound", `DPoP error="invalid_token"`},
		{"a free one with a proof", proving, "DPoP " + free, 401, "token_unbound", `Bearer error="invalid_token"`},
		{"a free one, where proofs are taken", proving, "Bearer " + free, 200, "alice", ""},
	} {
		for range 2 { // a remembered one, too
			status, says, answer := ask(t, test.v, test.header)
			if status != test.status || says != test.says || answer.Get("WWW-Authenticate") != test.challenge {
				t.Errorf("%s: %d %s, %q", test.name, status, says, answer["Www-Authenticate"])
			}
		}
	}
	for _, v := range []*access.Verifier{plain, proving} {
		if _, err := v.Verify(t.Context(), bound); !errors.Is(err, access.ErrBound) {
			t.Errorf("Verify: %v", err)
		}
	}
}

func TestAVerifierIsNotMadeOfContradictions(t *testing.T) {
	token := admit.NewSecret("key")
	const auth = "https://auth.example.org"
	for name, test := range map[string]struct {
		issuer, audience string
		o                *access.Options
		good             bool
	}{
		"as it should be":               {auth, audience, &access.Options{FeedToken: token}, true},
		"no feed, spelled":              {auth, audience, &access.Options{InsecureNoFeed: true}, true},
		"its own process":               {auth, audience, &access.Options{Feed: feed.NewLog(nil), Keys: jose.NewKeySet()}, true},
		"loopback":                      {"http://localhost:8080", audience, &access.Options{FeedToken: token}, true},
		"plain HTTP, spelled":           {"http://auth.example.org", audience, &access.Options{FeedToken: token, InsecureAllowHTTP: true}, true},
		"nothing":                       {auth, audience, nil, false},
		"no feed":                       {auth, audience, &access.Options{}, false},
		"a feed, and none":              {auth, audience, &access.Options{FeedToken: token, InsecureNoFeed: true}, false},
		"a feed of one's own, and none": {auth, audience, &access.Options{Feed: feed.NewLog(nil), InsecureNoFeed: true}, false},
		"two feeds":                     {auth, audience, &access.Options{FeedToken: token, Feed: feed.NewLog(nil)}, false},
		"no issuer":                     {"", audience, &access.Options{FeedToken: token}, false},
		"no audience":                   {auth, "", &access.Options{FeedToken: token}, false},
		"plain HTTP":                    {"http://auth.example.org", audience, &access.Options{FeedToken: token}, false},
		"an algorithm that is none":     {auth, audience, &access.Options{FeedToken: token, Algorithms: []jose.Algorithm{"none"}}, false},
		"a leeway of an hour":           {auth, audience, &access.Options{FeedToken: token, Leeway: time.Hour}, false},
	} {
		if _, err := access.NewVerifier(test.issuer, test.audience, test.o); (err == nil) != test.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestARequestCostsFewAllocations(t *testing.T) {
	i := newIssuer(t)
	v := i.run(t, access.Options{})
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+i.sign(t, i.claims()))
	if n := testing.AllocsPerRun(1000, func() {
		if _, _, err := v.Authenticate(r); err != nil {
			t.Fatal(err)
		}
	}); n > 1 { // none, but the race detector empties pools at random
		t.Errorf("%v allocations for a token that is remembered", n)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	i := newIssuer(b)
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+i.sign(b, i.claims()))
	for _, test := range []struct {
		name string
		o    access.Options
	}{
		{"without-feed", access.Options{InsecureNoFeed: true}},
		{"with-feed", access.Options{}},
		{"not-remembered", access.Options{Remember: -1}},
	} {
		b.Run(test.name, func(b *testing.B) {
			v := i.run(b, test.o)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := v.Authenticate(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
