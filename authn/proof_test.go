package authn_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/authn"
	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/session"
)

func TestRequireProof(t *testing.T) {
	recent := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	for _, c := range []struct {
		name   string
		p      *admit.Principal
		acr    string
		maxAge time.Duration
		code   string
		says   string // the challenge, in part
	}{
		{"a recent proof passes", &admit.Principal{Subject: "u", AuthTime: recent(time.Minute)}, "", 5 * time.Minute, "", ""},
		{"an old one is asked for anew", &admit.Principal{Subject: "u", AuthTime: recent(6 * time.Minute)}, "", 5 * time.Minute, "proof_needed", `max_age="300"`},
		{"a weak one for a stronger", &admit.Principal{Subject: "u", AuthTime: recent(0), ACR: "1fa"}, "2fa", time.Hour, "proof_needed", `acr_values="2fa phr", max_age="3600"`},
		{"a token of a client is judged so, too", &admit.Principal{Subject: "u", Credential: "jwt", AuthTime: recent(time.Hour), ACR: "phr"}, "phr", time.Minute, "proof_needed", `acr_values="phr", max_age="60"`},
		{"a guest must sign in", &admit.Principal{AuthTime: recent(0), ACR: "phr"}, "1fa", time.Hour, "not_signed_in", "Bearer"},
		{"nobody must sign in", nil, "", time.Hour, "not_signed_in", "Bearer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := request("")
			if c.p != nil {
				r = r.WithContext(admit.NewContext(r.Context(), *c.p))
			}
			rec := httptest.NewRecorder()
			called := false
			authn.RequireProof(c.acr, c.maxAge, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true })).ServeHTTP(rec, r)
			if c.code == "" {
				if !called || rec.Code != 200 {
					t.Errorf("status %d %s", rec.Code, rec.Body)
				}
				return
			}
			err := problem.Parse(rec.Body.Bytes())
			if challenge := rec.Header().Get("WWW-Authenticate"); called || rec.Code != 401 || !strings.Contains(challenge, c.says) ||
				strings.Contains(challenge, `error="insufficient_user_authentication"`) != (c.code == "proof_needed") {
				t.Errorf("status %d, WWW-Authenticate: %s", rec.Code, challenge)
			}
			if !strings.Contains(rec.Body.String(), `"code":"`+c.code+`"`) || rec.Header().Get("Content-Type") != "application/problem+json" || err == nil {
				t.Errorf("%s", rec.Body)
			}
		})
	}
}

func TestRequireProofDemandsSomethingThatCanBeAskedFor(t *testing.T) {
	for _, c := range []struct {
		acr    string
		maxAge time.Duration
	}{{"", 0}, {"1fa", -1}, {"1fa 2fa", 0}, {`1fa"`, 0}, {"1fa\r\nSet-Cookie: a", 0}, {`\`, time.Hour}, {"é", time.Hour}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("RequireProof of %q within %v is taken", c.acr, c.maxAge)
				}
			}()
			authn.RequireProof(c.acr, c.maxAge, nil)
		}()
	}
}

// What is sensitive asks for a proof of the last five minutes; a password page
// that was given it calls Manager.Prove.
func ExampleRequireProof() {
	sessions, err := session.New[struct{}](session.NewMemory(nil), nil)
	if err != nil {
		panic(err)
	}
	transfer := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { fmt.Println("sent") })
	h := authn.New(sessions).Require(authn.RequireProof("", 5*time.Minute, transfer))

	r := httptest.NewRequest("POST", "https://example.org/transfer", nil)
	in := httptest.NewRecorder()
	anHourAgo := &session.StartOptions{AuthTime: time.Now().Add(-time.Hour)}
	if _, err := sessions.Start(in, r, "alice", anHourAgo); err != nil {
		panic(err)
	}
	r.AddCookie(in.Result().Cookies()[0])
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, r)
	fmt.Println(answer.Code, answer.Header().Get("WWW-Authenticate"))

	proved := httptest.NewRecorder()
	if _, err := sessions.Prove(proved, r, "pwd"); err != nil {
		panic(err)
	}
	r.Header.Del("Cookie")
	r.AddCookie(proved.Result().Cookies()[0])
	h.ServeHTTP(httptest.NewRecorder(), r)
	// Output:
	// 401 Bearer error="insufficient_user_authentication", error_description="A more recent or a stronger proof of the user is needed", max_age="300"
	// sent
}
