package concepts

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/revocation"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/token"
)

const (
	issuer = "https://id.example.org"
	orders = "https://orders.example.org"
)

// Access is what a token says beside the registered claims.
type Access struct {
	SID string `json:"sid"`
	SEV uint64 `json:"sev"`

	ended revocation.Digests
}

// issue returns a JWT of five minutes that names a session, and the key set
// that checks it.
func issue(now time.Time, sid string) (text string, keys *jose.KeySet) {
	key, err := jose.GenerateKey(jose.ES256, "2026-11")
	if err != nil {
		panic(err)
	}
	signer, err := jose.NewSigner[Access](key, "at+jwt", nil)
	if err != nil {
		panic(err)
	}
	text, err = signer.Sign(&jose.Claims[Access]{
		Issuer: issuer, Subject: "ann", Audience: []string{orders},
		Expires: now.Add(5 * time.Minute),
		Data:    Access{SID: sid, SEV: 3},
	})
	if err != nil {
		panic(err)
	}
	return text, jose.NewKeySet(key.Public())
}

// Anybody reads a JWT. No key is needed.
func Example_readable() {
	text, _ := issue(time.Now(), "5Jb0")
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(text, ".")[1])
	fmt.Println(strings.Contains(string(payload), `"sub":"ann"`), err)
	// Output: true <nil>
}

// The service has keys and a clock, and no list of tokens.
func Example_verify() {
	text, keys := issue(time.Now(), "5Jb0")
	v, err := jose.NewVerifier[Access](keys, jose.Expected{
		Algorithms: []jose.Algorithm{jose.ES256},
		Issuer:     issuer,
		Audience:   []string{orders},
		Type:       "at+jwt",
	}, nil)
	if err != nil {
		panic(err)
	}
	claims, err := v.Verify(context.Background(), text)
	fmt.Println(claims.Subject, claims.Data.SID, err)

	_, err = v.VerifyAt(context.Background(), text, time.Now().Add(6*time.Minute))
	fmt.Println(errors.Is(err, jose.ErrExpired))
	// Output:
	// ann 5Jb0 <nil>
	// true
}

// listening returns a verifier that also asks whether what a token names has
// ended.
func listening(keys *jose.KeySet, ended *revocation.Set) *jose.Verifier[Access] {
	v, err := jose.NewVerifier(keys, jose.Expected{
		Algorithms: []jose.Algorithm{jose.ES256},
		Issuer:     issuer,
		Audience:   []string{orders},
		Type:       "at+jwt",
	}, &jose.VerifierOptions[Access]{
		Prepare: func(c *jose.Claims[Access]) {
			c.Data.ended = revocation.IDs{Session: c.Data.SID, Subject: c.Subject, SEV: c.Data.SEV}.Digest()
		},
		Check: func(_ context.Context, c *jose.Claims[Access], now time.Time) error {
			return ended.Check(&c.Data.ended, now)
		},
	})
	if err != nil {
		panic(err)
	}
	return v
}

// A sign-out is told to a service that checks tokens by itself.
func Example_revoke() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	text, keys := issue(time.Now(), "5Jb0")
	log := feed.NewLog(nil)

	ended := revocation.New(nil)
	go ended.Run(ctx, log)
	v := listening(keys, ended)
	// Before it has heard anything it knows nothing: that is no 401.
	var err error = revocation.ErrStale
	for errors.Is(err, revocation.ErrStale) {
		time.Sleep(time.Millisecond)
		_, err = v.Verify(ctx, text)
	}
	fmt.Println("before the sign-out:", err)

	at := time.Now()
	if err := log.Append(ctx, at, feed.SessionEnded("5Jb0", "ann", "sign_out", at.Add(5*time.Minute))); err != nil {
		panic(err)
	}
	for err == nil {
		_, err = v.Verify(ctx, text)
	}
	fmt.Println("after it:", err)
	fmt.Println("a 401:", errors.Is(err, admit.Unauthenticated), "· in a second:", time.Since(at) < time.Second)
	// Output:
	// before the sign-out: <nil>
	// after it: This session has been ended.
	// a 401: true · in a second: true
}

func TestOneSignOutEndsTheCookieAndTheJWTOfASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := feed.NewLog(nil)
		sessions, err := session.New[struct{}](session.NewMemory(nil), &session.Options{Feed: log})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		ended := revocation.New(nil)
		go ended.Run(ctx, log)

		r := httptest.NewRequest("POST", "https://example.org/", nil)
		w := httptest.NewRecorder()
		s, err := sessions.Start(w, r, "ann", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.AddCookie(w.Result().Cookies()[0])
		text, keys := issue(time.Now(), s.SID)
		v := listening(keys, ended)
		both := func() (cookie, jwt error) {
			synctest.Wait()
			_, cookie = sessions.Check(r)
			_, jwt = v.Verify(ctx, text)
			return cookie, jwt
		}
		if c, j := both(); c != nil || j != nil {
			t.Fatalf("signed in: the cookie: %v, the JWT: %v", c, j)
		}
		if err := sessions.End(httptest.NewRecorder(), r, "sign_out"); err != nil {
			t.Fatal(err)
		}
		if c, j := both(); !errors.Is(c, session.ErrEnded) || !errors.Is(j, revocation.ErrEnded) {
			t.Errorf("signed out: the cookie: %v, the JWT: %v", c, j)
		}
	})
}

// What each request carries.
func TestAJWTIsSeveralTimesAsLongAsAnOpaqueToken(t *testing.T) {
	text, _ := issue(time.Now(), "5Jb0")
	opaque := token.New(token.Session).Reveal()
	if len(opaque) != 56 || len(text) < 5*len(opaque) {
		t.Errorf("%d bytes of token and %d of JWT", len(opaque), len(text))
	}
}
