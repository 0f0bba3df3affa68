package server_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit/server/internal/passkeytest"
)

// authenticator is one in this client's device, at the site's own address.
func (s *site) authenticator() *passkeytest.Authenticator {
	s.t.Helper()
	return passkeytest.New(s.t, s.server.Ready().URL, "localhost")
}

// question is what an answer of the API asks of an authenticator.
func (r *reply) question() (flow string, options []byte) {
	r.t.Helper()
	b, err := json.Marshal(r.want(200).m["publicKey"])
	if err != nil {
		r.t.Fatal(err)
	}
	return r.at("flow"), b
}

// addPasskey makes a passkey of the user in an authenticator.
func (c *client) addPasskey(a *passkeytest.Authenticator, with ...m) *reply {
	c.t.Helper()
	flow, options := c.post("passkeys/begin", m{}).question()
	body := m{"flow": flow, "name": "", "credential": a.Register(c.t, options)}
	for _, each := range with {
		for k, v := range each {
			body[k] = v
		}
	}
	return c.post("passkeys/finish", body)
}

// signIn signs in with a passkey, and nothing else.
func (c *client) signIn(a *passkeytest.Authenticator, with ...m) *reply {
	c.t.Helper()
	flow, options := c.post("signin/passkey/begin", m{}).question()
	body := m{"flow": flow, "credential": a.Sign(c.t, options)}
	for _, each := range with {
		for k, v := range each {
			body[k] = v
		}
	}
	return c.post("signin/passkey/finish", body)
}

// texts is an array of the answer, with spaces between.
func (r *reply) texts(path ...string) string {
	r.t.Helper()
	at := any(r.m)
	for _, p := range path {
		at = at.(m)[p]
	}
	return strings.Trim(fmt.Sprint(at), "[]")
}

func TestAPasskeyIsAddedSignsInWithoutANameIsRenamedAndRemoved(t *testing.T) {
	s := newSite(t)
	ann, a := s.signedUp("ann"), s.authenticator()
	added := ann.addPasskey(a).want(201)
	if got := added.m["passkey"].(m); got["name"] != "Firefox on Linux" || got["synced"] != false || got["good"] != true || got["second_factor"] != false {
		t.Errorf("added %v", got)
	}
	if string(a.Handle) == "" || strings.Contains(string(a.Handle), ann.get("user").want(200).at("user.id")) {
		t.Errorf("the user handle is %q", a.Handle)
	}

	other := s.client()
	in := other.signIn(a).want(200)
	if got := in.texts("session", "amr"); got != "hwk user mfa" || in.at("session.acr") != "phr" || in.at("user.name") != "" {
		t.Errorf("signed in as %s, by %s, to %s", in.m["user"], got, in.at("session.acr"))
	}
	if in := s.client().signIn(a, m{"as": "token"}).want(200); !strings.HasPrefix(in.at("token"), "adm_s_") {
		t.Errorf("with a token: %v", in.m)
	}

	id := added.m["passkey"].(m)["id"].(string)
	ann.do("PATCH", "/api/v1/passkeys/"+id, m{"name": "Blue key"}).want(200)
	list := ann.get("passkeys").want(200)
	if one := list.m["passkeys"].([]any)[0].(m); one["name"] != "Blue key" || one["last_used_at"] == nil {
		t.Errorf("the list has %v", one)
	}
	if got := list.m["signal"].(m); got["rpId"] != "localhost" || list.texts("signal", "allAcceptedCredentialIds") != id || got["userId"] != passkeytest.Text(a.Handle) {
		t.Errorf("the signal is %v", got)
	}
	ann.do("PATCH", "/api/v1/passkeys/"+id, m{"name": strings.Repeat("n", 61)}).want(400, "passkey_name")
	s.signedUp("bob").delete("passkeys/"+id).want(404, "unknown_passkey")
	ann.delete("passkeys/" + id).want(204)
	s.client().signIn(a).want(401, "passkey_unknown")
	if list := ann.get("passkeys").want(200); list.texts("signal", "allAcceptedCredentialIds") != "" || list.m["signal"] == nil {
		t.Errorf("authenticators are not told that none is left: %v", list.m)
	}
	var events []string
	for _, r := range ann.get("activity").want(200).m["records"].([]any) {
		events = append(events, r.(m)["event"].(string))
	}
	for _, want := range []string{"passkey_added", "passkey_renamed", "passkey_removed"} {
		if !slices.Contains(events, want) {
			t.Errorf("the activity has no %s: %v", want, events)
		}
	}
}

func TestAChallengeIsAnsweredOnceInTheBrowserThatAskedAndWithinTheHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		ann, a := s.signedUp("ann"), s.authenticator()
		ann.addPasskey(a).want(201)

		c := s.client()
		flow, options := c.post("signin/passkey/begin", m{}).question()
		answer := m{"flow": flow, "credential": a.Sign(t, options)}
		s.client().post("signin/passkey/finish", answer).want(401, "passkey_flow_ended")
		another := s.client()
		another.post("signin/passkey/begin", m{}).want(200)
		another.post("signin/passkey/finish", answer).want(401, "passkey_flow_ended")
		c.post("signin/passkey/finish", answer).want(200)
		c.post("signin/passkey/finish", answer).want(401, "passkey_flow_ended")
		// Nor is what another flow asked an answer to this one.
		flow, _ = c.post("signin/passkey/begin", m{}).question()
		c.post("signin/passkey/finish", m{"flow": flow, "credential": answer["credential"]}).want(401, "passkey_refused")

		flow, options = c.post("signin/passkey/begin", m{}).question()
		time.Sleep(time.Hour)
		c.post("signin/passkey/finish", m{"flow": flow, "credential": a.Sign(t, options)}).want(200)
		flow, options = c.post("signin/passkey/begin", m{}).question()
		time.Sleep(time.Hour + time.Second)
		c.post("signin/passkey/finish", m{"flow": flow, "credential": a.Sign(t, options)}).want(401, "passkey_flow_ended")
	})
}

func TestOfManyAnswersToOneChallengeOneSignsIn(t *testing.T) {
	s := newSite(t)
	ann, a := s.signedUp("ann"), s.authenticator()
	a.Count = 0 // as a synced one: no counter stands in the way
	ann.addPasskey(a).want(201)
	c := s.client()
	flow, options := c.post("signin/passkey/begin", m{}).question()
	answer := m{"flow": flow, "credential": a.Sign(t, options)}
	var group sync.WaitGroup
	codes := make([]int, 8)
	for i := range codes {
		one := &client{site: s, jar: copied(c.jar), userAgent: c.userAgent, address: c.address}
		group.Go(func() { codes[i] = one.post("signin/passkey/finish", answer).status })
	}
	group.Wait()
	slices.Sort(codes)
	if codes[0] != 200 || codes[1] != 401 {
		t.Errorf("they are answered %v", codes)
	}
}

func TestAFlowIsGoodForNothingElse(t *testing.T) {
	s := newSite(t)
	ann, a := s.signedUp("ann"), s.authenticator()
	ann.addPasskey(a).want(201)
	signIn, o1 := ann.post("signin/passkey/begin", m{}).question()
	proof, o2 := ann.post("reauthenticate/begin", m{}).question()
	add, o3 := ann.post("passkeys/begin", m{}).question()
	b := s.authenticator()

	ann.post("signin/passkey/finish", m{"flow": proof, "credential": a.Sign(t, o2)}).want(401, "passkey_flow_ended")
	ann.post("signin/passkey/finish", m{"flow": add, "credential": a.Sign(t, o3)}).want(401, "passkey_flow_ended")
	ann.post("reauthenticate", m{"flow": signIn, "credential": a.Sign(t, o1)}).want(401, "passkey_flow_ended")
	ann.post("passkeys/finish", m{"flow": signIn, "name": "x", "credential": b.Register(t, o1)}).want(401, "passkey_flow_ended")
	ann.post("passkeys/finish", m{"flow": add, "name": "x", "credential": a.Sign(t, o3)}).want(400, "passkey_malformed")
	ann.post("signin/passkey/finish", m{"flow": signIn, "credential": b.Register(t, o1)}).want(400, "passkey_malformed", "passkey_refused")
	// A flow of another session of the same user, too.
	other := s.another("ann", goodPassword)
	other.post("passkeys/finish", m{"flow": add, "name": "x", "credential": b.Register(t, o3)}).want(401, "passkey_flow_ended")
	other.post("reauthenticate", m{"flow": proof, "credential": a.Sign(t, o2)}).want(401, "passkey_flow_ended")
}

func TestAnotherUsersPasskeyProvesNothing(t *testing.T) {
	s := newSite(t)
	ann, bob, a, b := s.signedUp("ann"), s.signedUp("bob"), s.authenticator(), s.authenticator()
	ann.addPasskey(a).want(201)
	bob.addPasskey(b).want(201)

	flow, options := ann.post("reauthenticate/begin", m{}).question()
	ann.post("reauthenticate", m{"flow": flow, "credential": b.Sign(t, options)}).want(401, "passkey_refused")
	// Who says that the key is somebody else's signs nobody in.
	a.Handle, b.Handle = b.Handle, a.Handle
	s.client().signIn(a).want(401, "passkey_refused")
	a.Handle = nil
	s.client().signIn(a).want(401, "passkey_refused")
	// A credential belongs to one user.
	c := s.authenticator()
	c.ID = a.ID
	bob.addPasskey(c).want(409, "passkey_taken")
}

func TestAPasskeyAloneMustHaveVerifiedItsUser(t *testing.T) {
	s := newSite(t)
	ann, a := s.signedUp("ann"), s.authenticator()
	ann.addPasskey(a).want(201)
	a.Unverified = true
	s.client().signIn(a).want(401, "passkey_unverified")
	flow, options := ann.post("reauthenticate/begin", m{}).question()
	ann.post("reauthenticate", m{"flow": flow, "credential": a.Sign(t, options)}).want(401, "passkey_unverified")
	a.Unverified, a.Absent = false, true
	s.client().signIn(a).want(401, "passkey_refused")
}

func TestACounterThatDoesNotGrowEndsThePasskeyAndEverySession(t *testing.T) {
	s := newSite(t)
	s.run()
	ann, a := s.byMail("ann@example.org"), s.authenticator()
	ann.addPasskey(a).want(201)
	thief := *a
	s.client().signIn(&thief).want(200) // whose copy counts on
	s.client().signIn(a).want(401, "passkey_cloned")
	ann.get("session").want(401, "session_ended")
	// It stays out, whatever its counter says.
	a.Count += 1000
	s.client().signIn(a).want(401, "passkey_cloned")
	s.client().signIn(&thief).want(401, "passkey_cloned")

	back := s.another("ann@example.org", goodPassword)
	if one := back.get("passkeys").want(200).m["passkeys"].([]any)[0].(m); one["cloned"] != true || one["good"] != false {
		t.Errorf("the list has %v", one)
	}
	if text := s.letter("ann@example.org", "exist twice").Text; !strings.Contains(text, "has a copy") {
		t.Errorf("the owner is told %q", text)
	}
	back.delete("passkeys/" + passkeytest.Text(a.ID)).want(204)
}

func TestASyncedPasskeyHasNoCounterAndMayNotTurnIntoABoundOne(t *testing.T) {
	s := newSite(t)
	ann, a := s.signedUp("ann"), s.authenticator()
	a.Count, a.Synced = 0, true
	ann.addPasskey(a).want(201)
	for range 3 {
		if got := s.client().signIn(a).want(200).texts("session", "amr"); got != "swk user mfa" {
			t.Errorf("signed in by %s", got)
		}
	}
	a.Synced = false
	s.client().signIn(a).want(401, "passkey_refused")
}

func TestAPasskeyIsASecondFactorWhereItsOwnerSaysSo(t *testing.T) {
	s := newSite(t)
	ann, a := s.signedUp("ann"), s.authenticator()
	ann.addPasskey(a).want(201)
	if got := s.client().post("signin", m{"identifier": "ann", "password": goodPassword}).want(200); got.at("state") != "signed_in" {
		t.Errorf("a passkey that is only convenient is asked for: %v", got.m)
	}
	path := "/api/v1/passkeys/" + passkeytest.Text(a.ID)
	if got := ann.do("PATCH", path, m{"second_factor": true}).want(200); len(got.m["recovery_codes"].([]any)) == 0 {
		t.Errorf("no recovery codes: %v", got.m)
	}

	c := s.client()
	first := c.post("signin", m{"identifier": "ann", "password": goodPassword}).want(200)
	if first.at("state") != "factor_needed" || first.texts("factors") != "passkey recovery" {
		t.Fatalf("the first step is answered %v", first.m)
	}
	flow, options := c.post("signin/factor/begin", m{"flow": first.at("flow"), "factor": "passkey"}).question()
	s.client().post("signin/factor", m{"flow": flow, "factor": "passkey", "credential": a.Sign(t, options)}).want(401, "factor_flow_ended")
	a.Unverified = true // a touch is enough after the password
	c.post("signin/factor/begin", m{"flow": "adm_o_x", "factor": "passkey"}).want(401, "factor_flow_ended")
	flow, options = c.post("signin/factor/begin", m{"flow": first.at("flow"), "factor": "passkey"}).question()
	b := s.authenticator()
	s.signedUp("bob").addPasskey(b).want(201)
	c.post("signin/factor", m{"flow": flow, "factor": "passkey", "credential": b.Sign(t, options)}).want(401, "passkey_refused")
	in := c.post("signin/factor", m{"flow": flow, "factor": "passkey", "credential": a.Sign(t, options)}).want(200)
	if got := in.texts("session", "amr"); got != "pwd hwk user mfa" || in.at("session.acr") != "phr" {
		t.Errorf("signed in by %s, to %s", got, in.at("session.acr"))
	}
	c.post("signin/factor", m{"flow": flow, "factor": "passkey", "credential": a.Sign(t, options)}).want(401)

	// By itself it is two factors, and none is asked for.
	a.Unverified = false
	s.client().signIn(a).want(200)
	// Without it the codes are of no use, and go.
	ann.do("PATCH", path, m{"second_factor": false}).want(200)
	if got := s.client().post("signin", m{"identifier": "ann", "password": goodPassword}).want(200); got.at("state") != "signed_in" {
		t.Errorf("asked for all the same: %v", got.m)
	}
}

func TestAPasskeyProvesAgainWhoIsSignedIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		ann, a := s.signedUp("ann"), s.authenticator()
		ann.post("reauthenticate/begin", m{}).want(404, "unknown_passkey")
		ann.addPasskey(a).want(201)
		time.Sleep(11 * time.Minute)
		ann.post("passkeys/begin", m{}).want(401, "proof_needed")
		ann.delete("passkeys/"+passkeytest.Text(a.ID)).want(401, "proof_needed")
		flow, options := ann.post("reauthenticate/begin", m{}).question()
		if got := ann.post("reauthenticate", m{"flow": flow, "credential": a.Sign(t, options)}).want(200); got.at("session.acr") != "phr" {
			t.Errorf("the session is %v", got.m)
		}
		ann.post("passkeys/begin", m{}).want(200)
	})
}

func TestANewPasskeyNeedsItsSessionToLive(t *testing.T) {
	s := newSite(t)
	ann, a := s.signedUp("ann"), s.authenticator()
	flow, options := ann.post("passkeys/begin", m{}).question()
	s.another("ann", goodPassword).delete("sessions").want(204)
	ann.post("passkeys/finish", m{"flow": flow, "name": "x", "credential": a.Register(t, options)}).want(401, "session_ended")
}

func TestABrowserThatMayMakeAPasskeySilentlyIsTakenAtItsWordOnlyThen(t *testing.T) {
	s := newSite(t)
	ann, a := s.signedUp("ann"), s.authenticator()
	a.Absent, a.Unverified = true, true
	ann.addPasskey(a).want(401, "passkey_refused", "passkey_unverified")
	flow, options := ann.post("passkeys/begin", m{"silent": true}).question()
	ann.post("passkeys/finish", m{"flow": flow, "name": "", "credential": a.Register(t, options)}).want(201)
	s.client().signIn(a).want(401, "passkey_refused", "passkey_unverified") // each use asks
	a.Absent, a.Unverified = false, false
	s.client().signIn(a).want(200)
}

func TestWhoDisownsARecordLosesThePasskeysThatWereAddedSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		ann, mine, thiefs := s.signedUp("ann"), s.authenticator(), s.authenticator()
		ann.addPasskey(mine).want(201)
		time.Sleep(time.Minute)
		thief := s.another("ann", goodPassword)
		thief.addPasskey(thiefs).want(201)
		var entry string
		for _, r := range ann.get("activity").want(200).m["records"].([]any) {
			if r.(m)["event"] == "signed_in" && entry == "" {
				entry = r.(m)["id"].(string)
			}
		}
		ann.post("activity/"+entry+"/disown", m{}).want(204)
		s.client().signIn(thiefs).want(401, "passkey_unknown")
		s.client().signIn(mine).want(200)
	})
}

func TestADisabledOrDeletedUsersPasskeySignsNobodyIn(t *testing.T) {
	s := newSite(t)
	ann, a := s.signedUp("ann"), s.authenticator()
	ann.addPasskey(a).want(201)
	ann.do("DELETE", "/api/v1/user", m{"confirm": "ann"}).want(204)
	s.client().signIn(a).want(401, "passkey_unknown")
}

func TestThereAreTwentyPasskeysAtMostAndNoneTwice(t *testing.T) {
	s := newSite(t)
	ann, a := s.signedUp("ann"), s.authenticator()
	ann.addPasskey(a).want(201)
	ann.addPasskey(a).want(409, "passkey_taken")
	_, options := ann.post("passkeys/begin", m{}).question()
	var o struct {
		Exclude []struct{ ID string } `json:"excludeCredentials"`
	}
	if err := json.Unmarshal(options, &o); err != nil || len(o.Exclude) != 1 || o.Exclude[0].ID != passkeytest.Text(a.ID) {
		t.Errorf("the options exclude %+v, %v", o.Exclude, err)
	}
}
