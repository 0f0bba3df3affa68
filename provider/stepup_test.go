package provider

import (
	"testing"
	"time"
)

const demands2FA = `{"id_token":{"acr":{"essential":true,"value":"2fa"}}}`

// Nobody is signed in, and who then signs in does so by a password: from a device that is
// trusted, say. The demand is put to the person, and not taken for one that cannot be met.
func TestWhoSignsInWeaklyIsAskedForTheStrongerProofThen(t *testing.T) {
	for _, query := range []string{ask("claims", demands2FA), ask("acr_values", "2fa phr")} {
		s := newStage(t)
		s.allowed("ann", "shop")
		s.get(query, "")
		if s.shows("sign-in"); s.a.Why != Nobody {
			t.Fatalf("why is %q", s.a.Why)
		}
		s.signIn("s1", "ann")
		s.resume("s1")
		if s.shows("sign-in"); s.a.Why != Stronger {
			t.Fatalf("why is %q", s.a.Why)
		}
		s.prove("s1", "ann", "2fa")
		s.code(s.resume("s1"), callback)
	}
}

// RFC 9470: acr_values and max_age come together.
func TestAStrongerAndAFresherProofAreAskedForAtOnce(t *testing.T) {
	for _, c := range []struct {
		promise, has, query string
		why                 Reason
	}{
		{"a weak proof that is old", "1fa", ask("acr_values", "2fa phr", "max_age", "900"), Stronger},
		{"a strong proof that is old is not given anew by a weak one", "2fa", ask("acr_values", "2fa phr", "max_age", "900"), Stronger},
		{"where a demand is made, too", "2fa", ask("claims", demands2FA, "max_age", "900"), Stronger},
		{"and with prompt=login", "2fa", ask("acr_values", "2fa", "prompt", "login"), Stronger},
		{"a weak proof that is enough is asked for as such", "1fa", ask("acr_values", "1fa 2fa phr", "max_age", "900"), Again},
		{"a proof is old", "2fa", ask("max_age", "900"), Again},
	} {
		s := newStage(t)
		s.allowed("ann", "shop")
		now := time.Now()
		s.shelf.PutSession(Session{SID: "s1", Subject: "ann", AuthTime: now.Add(-time.Hour), ACR: c.has, Expires: now.Add(time.Hour)})
		s.get(c.query, "s1")
		if s.shows("sign-in"); s.a.Why != c.why {
			t.Errorf("%s: why is %q", c.promise, s.a.Why)
		}
		s.prove("s1", "ann", "2fa")
		s.code(s.resume("s1"), callback)
	}
}

// Who cannot give the stronger proof is asked for the fresh one after that, once each.
func TestAWishThatCannotBeMetLeavesTheFreshProof(t *testing.T) {
	s := newStage(t)
	s.allowed("ann", "shop")
	now := time.Now()
	s.shelf.PutSession(Session{SID: "s1", Subject: "ann", AuthTime: now.Add(-time.Hour), ACR: "1fa", Expires: now.Add(time.Hour)})
	s.get(ask("acr_values", "2fa", "max_age", "900"), "s1")
	s.resume("s1")
	if s.shows("sign-in"); s.a.Why != Again {
		t.Errorf("why is %q", s.a.Why)
	}
	s.signIn("s1", "ann")
	s.code(s.resume("s1"), callback)
	// And where the app insists, it is told at once.
	s.shelf.PutSession(Session{SID: "s1", Subject: "ann", AuthTime: now.Add(-time.Hour), ACR: "1fa", Expires: now.Add(time.Hour)})
	s.get(ask("claims", demands2FA, "max_age", "900"), "s1")
	s.refused(s.resume("s1"), "unmet_authentication_requirements")
}

// The consent page that comes after keeps in mind that it was asked for.
func TestAConsentAfterAWishIsNoNewWish(t *testing.T) {
	s := newStage(t)
	s.signIn("s1", "ann")
	s.get(ask("acr_values", "2fa"), "s1")
	s.resume("s1")
	s.code(s.decide("allow", "s1"), callback)
}
