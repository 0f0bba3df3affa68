package server_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/otp"
	"github.com/admit-auth/admit/server"
)

// Pre-hijacking (Sudhodanan and Paverd, 2022): the attacker is there before the owner
// of an address, and hopes that what it planted is good once the owner has come.

// trap is all that an attacker can plant in an account that holds an address which
// nobody has proved.
type trap struct {
	*client      // with a session that lives for 30 days
	app     *app // with a refresh token
	apiKey  string
	secret  *otp.Key
}

const ownersAddress, trojanName, trojanNumber = "owner@example.org", "backdoor", "+49301234567"

// plant is an account with the owner's address, a password, two other names, a
// session, a refresh token, an API key, an authenticator app, recovery codes and
// a browser that is known.
func (s *site) plant() trap {
	t := s.t
	t.Helper()
	_, err := s.operator().AddUser(t.Context(), server.NewUser{
		Identifiers: []string{ownersAddress, trojanName, trojanNumber}, Password: admit.NewSecret(otherPassword),
	})
	if err != nil {
		t.Fatal(err)
	}
	mallory := trap{client: s.client()}
	mallory.post("signin", m{"identifier": trojanName, "password": otherPassword, "remember": true}).want(200)
	mallory.apiKey = mallory.key("profile").at("token")
	mallory.app = &app{client: s.client()}
	mallory.app.keep(mallory.app.post("signin", m{"identifier": trojanName, "password": otherPassword, "as": "jwt"}).want(200))
	begun := mallory.post("totp", m{}).want(201)
	if mallory.secret, err = otp.Parse(begun.at("secret"), nil); err != nil {
		t.Fatal(err)
	}
	mallory.post("totp/verify", m{"flow": begun.at("flow"), "code": mallory.secret.At(time.Now())}).want(201)
	mallory.get("session").want(200)
	return mallory
}

// alone fails the test unless the owner, who has just arrived, is alone in the
// account: nothing of the trap is good.
func (s *site) alone(owner *client, mallory trap) {
	t := s.t
	t.Helper()
	mallory.get("session").want(401, "session_ended")
	s.refreshed(mallory.app.refreshToken).want(401)
	keyed := s.client()
	keyed.token = mallory.apiKey
	keyed.get("user").want(401)
	for _, name := range []string{ownersAddress, trojanName, trojanNumber} {
		mallory.post("signin", m{"identifier": name, "password": otherPassword}).want(401, "bad_credentials")
	}
	if names := owner.values(); names != ownersAddress+"*" {
		t.Errorf("the owner signs in with %s", names)
	}
	if all := owner.get("sessions").want(200).m["sessions"].([]any); len(all) != 1 {
		t.Errorf("%d sessions live", len(all))
	}
	if all := owner.get("totp").want(200).m["totp"].([]any); len(all) != 0 {
		t.Errorf("%d authenticator apps are there", len(all))
	}
	db, err := sql.Open("sqlite", filepath.Join(s.data, "admit.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for table, column := range map[string]string{"factors": "user_id", "api_keys": "user_id", "identifiers": "user_id", "challenges": "target"} {
		query := "SELECT COUNT(*) FROM " + table + " WHERE " + column + " IN (SELECT user_id FROM identifiers WHERE value = ?)"
		if table == "api_keys" {
			query += " AND ended_at = 0"
		}
		var n, want int
		if table == "identifiers" {
			want = 1
		}
		if err := db.QueryRowContext(t.Context(), query, ownersAddress).Scan(&n); err != nil || table != "challenges" && n != want {
			t.Errorf("%d rows of %s are left, %v", n, table, err)
		}
	}
}

func TestAttackWhatIsPlantedBeforeTheOwnerArrivesIsGoneHoweverTheOwnerArrives(t *testing.T) {
	for way, arrive := range map[string]func(*site, *client){
		"by signing up": func(s *site, c *client) {
			flow := c.post("signup", m{"identifier": ownersAddress, "password": goodPassword}).want(202).at("flow")
			c.post("signup/verify", m{"flow": flow, "code": s.letter(ownersAddress, "Your code").Code}).want(200)
		},
		"by a code": func(s *site, c *client) {
			flow := c.post("signin/code", m{"identifier": ownersAddress}).want(202).at("flow")
			c.post("signin/code/verify", m{"flow": flow, "code": s.letter(ownersAddress, "Sign in").Code}).want(200)
		},
		"by a forgotten password": func(s *site, c *client) {
			flow, l := c.forgets(ownersAddress, ownersAddress)
			c.post("password/reset", m{"flow": flow, "code": l.Code, "new_password": goodPassword}).want(204)
			c.post("signin", m{"identifier": ownersAddress, "password": goodPassword}).want(200)
		},
	} {
		t.Run(way, func(t *testing.T) {
			s := newSite(t)
			s.run()
			mallory := s.plant()
			owner := s.client()
			arrive(s, owner)
			s.alone(owner, mallory)
		})
	}
}

// The classic one, and the one with a change of address that nobody finished: there is
// no account at all before an address is proved, and what is under way ends with it.
func TestAttackWhatIsUnderWayForAnAddressEndsWhenItsOwnerProvesIt(t *testing.T) {
	s := newSite(t)
	s.run()
	classic := s.client()
	flow := classic.post("signup", m{"identifier": ownersAddress, "password": otherPassword}).want(202).at("flow")
	stale := s.letter(ownersAddress, "Your code").Code
	change := s.signedUp("mallory")
	adds := change.post("identifiers", m{"identifier": ownersAddress}).want(202).at("flow")
	var addition string
	for addition = stale; addition == stale; addition = s.letter(ownersAddress, "Your code").Code {
	}

	owner := s.client()
	own, code := owner.post("signup", m{"identifier": ownersAddress, "password": goodPassword}).want(202).at("flow"), ""
	for code = addition; code == addition || code == stale; code = s.letter(ownersAddress, "Your code").Code {
	}
	owner.post("signup/verify", m{"flow": own, "code": code}).want(200)

	// Even with codes out of the owner's mailbox.
	classic.post("signup/verify", m{"flow": flow, "code": stale}).want(401, "flow_ended")
	change.post("identifiers/verify", m{"flow": adds, "code": addition}).want(401, "flow_ended")
	classic.post("signin", m{"identifier": ownersAddress, "password": otherPassword}).want(401, "bad_credentials")
	if names := owner.values() + " " + change.values(); names != ownersAddress+"* mallory*" {
		t.Errorf("they sign in with %s", names)
	}
}

// The unexpired session: the attacker is in an account whose owner recovers it. All
// that the attacker has been given ends; the second factor, which is the owner's,
// stays.
func TestAttackASessionOutlivesTheRecoveryOfItsAccount(t *testing.T) {
	s := newSite(t)
	s.run()
	owner := s.byMail("ann@example.org")
	begun := owner.post("totp", m{}).want(201)
	key, err := otp.Parse(begun.at("secret"), nil)
	if err != nil {
		t.Fatal(err)
	}
	owner.post("totp/verify", m{"flow": begun.at("flow"), "code": key.At(time.Now())}).want(201)
	// The attacker has a copy of the cookie, and an API key that the owner had made.
	thief := s.client()
	thief.jar = copied(owner.jar)
	thief.get("session").want(200)
	thief.token = ""
	flow, l := s.client().forgets("ann@example.org", "ann@example.org")
	s.client().post("password/reset", m{"flow": flow, "code": l.Code, "new_password": thirdPassword}).want(204)
	thief.get("session").want(401, "session_ended")
	in := s.client().post("signin", m{"identifier": "ann@example.org", "password": thirdPassword}).want(200)
	if in.at("state") != "factor_needed" || !strings.Contains(fmt.Sprint(in.m["factors"]), "totp") {
		t.Errorf("after the recovery a sign-in says %s", in.body)
	}
}
