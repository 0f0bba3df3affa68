package server_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/admit-auth/admit/server"
	"github.com/admit-auth/admit/server/internal/web"
)

// Somebody who wants to know who has an account here measures how long a
// refusal takes: for nobody, for a user of ours, and for one whose bcrypt hash
// was imported.
func TestAttackTheTimeOfARefusalTellsWhoHasAnAccount(t *testing.T) {
	s := newSite(t)
	s.run()
	hash, err := bcrypt.GenerateFromPassword([]byte(goodPassword), 8)
	if err != nil {
		t.Fatal(err)
	}
	operator := s.operator()
	for i := range 3 {
		s.signedUp(fmt.Sprint("ann", i))
		imported := server.ImportedUser{PasswordHash: string(hash)}
		imported.Identifiers = []web.Identifier{{Value: fmt.Sprint("bob", i)}}
		if _, err := operator.ImportUser(t.Context(), imported); err != nil {
			t.Fatal(err)
		}
	}
	took := map[string][]time.Duration{}
	for i := range 15 { // five guesses at each name, of six that strangers have at once
		for _, name := range []string{"nobody", "ann", "bob"} {
			c := s.client()
			c.address = fmt.Sprintf("192.0.2.%d:4711", i)
			begun := time.Now()
			c.post("signin", m{"identifier": fmt.Sprint(name, i%3), "password": otherPassword}).want(401, "bad_credentials")
			took[name] = append(took[name], time.Since(begun))
		}
	}
	median := func(name string) time.Duration {
		slices.Sort(took[name])
		return took[name][len(took[name])/2]
	}
	nobody := median("nobody")
	for _, name := range []string{"ann", "bob"} {
		// Without the same work one of them takes a third of the other.
		if ratio := float64(median(name)) / float64(nobody); ratio < 0.6 || ratio > 1.7 {
			t.Errorf("a refusal takes %v for nobody and %v for %s", nobody, median(name), name)
		}
	}
	t.Logf("nobody %v, ann %v, bob %v", nobody, median("ann"), median("bob"))
}
