package admit_test

import (
	"errors"
	"testing"
	"time"

	"github.com/admit-auth/admit"
)

func TestCheckProof(t *testing.T) {
	now := time.Date(2026, time.March, 14, 9, 26, 53, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, c := range []struct {
		name   string
		acr    string
		at     time.Time
		need   string
		maxAge time.Duration
		good   bool
	}{
		{"a proof as old as may be is good", "", ago(5 * time.Minute), "", 5 * time.Minute, true},
		{"one a moment older is not", "", ago(5*time.Minute + 1), "", 5 * time.Minute, false},
		{"one from this moment is good", "", now, "", 5 * time.Minute, true},
		{"one that is yet to come is none", "", now.Add(1), "", 5 * time.Minute, false},
		{"who never proved itself has none", "2fa", time.Time{}, "", 100 * 365 * 24 * time.Hour, false},
		{"the value asked for is enough", "2fa", now, "2fa", 0, true},
		{"a stronger one is", "phr", now, "1fa", 0, true},
		{"a weaker one is not", "1fa", now, "2fa", 0, false},
		{"two factors resist no phishing", "2fa", now, "phr", 0, false},
		{"none stated is none", "", now, "1fa", 0, false},
		{"a word that is not ours is only itself", "gold", now, "gold", 0, true},
		{"a word that is not ours is above nothing", "gold", now, "1fa", 0, false},
		{"and below nothing", "phr", now, "gold", 0, false},
		{"a part of a word is not the word", "2fa phr", now, "2fa", 0, false},
		{"without an age an old proof is good", "1fa", ago(1000 * time.Hour), "1fa", 0, true},
		{"strength does not stand in for age", "phr", ago(time.Hour), "1fa", time.Minute, false},
		{"nor age for strength", "1fa", now, "phr", time.Minute, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := admit.Principal{Subject: "u", ACR: c.acr, AuthTime: c.at}
			if err := p.CheckProof(c.need, c.maxAge, now); (err == nil) != c.good {
				t.Errorf("CheckProof: %v", err)
			} else if err != nil && (!errors.Is(err, admit.ErrProof) || admit.KindOf(err) != admit.Unauthenticated) {
				t.Errorf("%v is no ErrProof", err)
			}
		})
	}
}

func TestAChallengeTellsWhatWouldDo(t *testing.T) {
	const begin = `Bearer error="insufficient_user_authentication", error_description="A more recent or a stronger proof of the user is needed"`
	for _, c := range []struct {
		e    admit.ProofError
		want string
	}{
		{admit.ProofError{MaxAge: 5 * time.Minute}, begin + `, max_age="300"`},
		{admit.ProofError{ACR: admit.TwoFactors}, begin + `, acr_values="2fa phr"`},
		{admit.ProofError{ACR: admit.OneFactor, MaxAge: 1999 * time.Millisecond}, begin + `, acr_values="1fa 2fa phr", max_age="1"`},
		{admit.ProofError{ACR: "urn:example:gold", MaxAge: time.Hour}, begin + `, acr_values="urn:example:gold", max_age="3600"`},
	} {
		if got := c.e.Challenge(); got != c.want {
			t.Errorf("%+v: %s\nwant %s", c.e, got, c.want)
		}
	}
}
