package server_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit/otp"
	"github.com/admit-auth/admit/server/internal/passkeytest"
)

// An authenticator is an app with one key.
type authenticator struct{ *otp.Key }

// next is a code that was not used yet: the clock stands still but for this.
func (a authenticator) next() string {
	time.Sleep(30 * time.Second)
	return a.At(time.Now())
}

// enrolled adds an authenticator app to who is signed in.
func (c *client) enrolled() (a authenticator, codes []string) {
	c.t.Helper()
	begun := c.post("totp", m{}).want(201)
	k, err := otp.Parse(begun.at("secret"), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	a = authenticator{k}
	added := c.post("totp/verify", m{"flow": begun.at("flow"), "code": a.next(), "name": "My phone"}).want(201)
	if all, ok := added.m["recovery_codes"].([]any); ok {
		for _, code := range all {
			codes = append(codes, code.(string))
		}
	}
	return a, codes
}

// halfway is a client that has shown the password of ann, who has a second factor.
func (s *site) halfway(more m) (c *client, flow string) {
	s.t.Helper()
	c = s.client()
	return c, c.again(more)
}

// again shows the password of ann.
func (c *client) again(more m) (flow string) {
	c.t.Helper()
	body := m{"identifier": "ann", "password": goodPassword}
	for name, value := range more {
		body[name] = value
	}
	r := c.post("signin", body).want(200)
	if r.at("state") != "factor_needed" || r.at("session") != "" || r.at("token") != "" {
		c.t.Fatalf("after the first step: %s", r.body)
	}
	return r.at("flow")
}

// timed runs a test whose clock moves only where it sleeps.
func timed(t *testing.T, test func(*site)) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		defer s.server.Close()
		test(s)
	})
}

func TestASecondFactorIsAskedForBeforeAnySessionBegins(t *testing.T) {
	timed(t, func(s *site) {
		ann := s.signedUp("ann")
		app, codes := ann.enrolled()
		if len(codes) != 10 {
			s.t.Errorf("%d recovery codes", len(codes))
		}
		c, flow := s.halfway(nil)
		c.get("session").want(401, "no_session")
		in := c.post("signin/factor", m{"flow": flow, "factor": "totp", "code": app.next()}).want(200)
		for path, want := range map[string]string{
			"state": "signed_in", "session.amr": "[pwd otp mfa]", "session.acr": "2fa", "session.credential": "cookie", "user.name": "",
		} {
			if got := in.at(path); got != want {
				s.t.Errorf("%s is %q, want %q", path, got, want)
			}
		}
		c.get("session").want(200)
		// The flow is spent.
		c.post("signin/factor", m{"flow": flow, "factor": "totp", "code": app.next()}).want(401, "factor_flow_ended")
	})
}

func TestTheSecondStepGivesTheSessionOutAsTheFirstAsked(t *testing.T) {
	timed(t, func(s *site) {
		ann := s.signedUp("ann")
		app, _ := ann.enrolled()
		c, flow := s.halfway(m{"as": "token", "remember": true})
		in := c.post("signin/factor", m{"flow": flow, "factor": "totp", "code": app.next()}).want(200)
		if !strings.HasPrefix(in.at("token"), "adm_s_") || in.header["Set-Cookie"] != nil {
			s.t.Errorf("asked for a token: %s, cookies %q", in.body, in.header["Set-Cookie"])
		}
		if end, err := time.Parse(time.RFC3339, in.at("session.expires_at")); err != nil || time.Until(end) < 29*24*time.Hour {
			s.t.Errorf("asked to be remembered: until %v", end)
		}
		flow = c.again(m{"as": "jwt"})
		in = c.post("signin/factor", m{"flow": flow, "factor": "totp", "code": app.next()}).want(200)
		if acr := claims(s.t, in.at("access_token"))["acr"]; acr != "2fa" {
			s.t.Errorf("the JWT says acr %v", acr)
		}
	})
}

func TestACodeOfAnAppIsSpentOnce(t *testing.T) {
	timed(t, func(s *site) {
		app, _ := s.signedUp("ann").enrolled()
		code := app.next()
		c, flow := s.halfway(nil)
		c.post("signin/factor", m{"flow": flow, "factor": "totp", "code": code}).want(200)
		// Whoever looked over the shoulder.
		thief, flow := s.halfway(nil)
		thief.post("signin/factor", m{"flow": flow, "factor": "totp", "code": code}).want(401, "bad_factor")
		thief.get("session").want(401, "no_session")
	})
}

func TestOfManyAtOnceOneSpendsACode(t *testing.T) {
	s := newSite(t)
	_, codes := enrolledNow(s.signedUp("ann"))
	const many = 8
	clients := make([]*client, many)
	flows := make([]string, many)
	for i := range many {
		clients[i], flows[i] = s.halfway(nil)
	}
	replies := make(chan *reply, many)
	for i := range many {
		go func() {
			replies <- clients[i].post("signin/factor", m{"flow": flows[i], "factor": "recovery", "code": codes[0]})
		}()
	}
	in := 0
	for range many {
		switch r := <-replies; r.status {
		case 200:
			in++
		case 401:
		default:
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	if in != 1 {
		t.Errorf("%d came in by one code", in)
	}
}

// enrolledNow is enrolled where time is what it is: the first code may be of any
// step around now.
func enrolledNow(c *client) (authenticator, []string) {
	c.t.Helper()
	begun := c.post("totp", m{}).want(201)
	k, err := otp.Parse(begun.at("secret"), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	added := c.post("totp/verify", m{"flow": begun.at("flow"), "code": k.At(time.Now())}).want(201)
	var codes []string
	for _, code := range added.m["recovery_codes"].([]any) {
		codes = append(codes, code.(string))
	}
	return authenticator{k}, codes
}

func TestAFlowOfABrowserIsOfNoUseInAnother(t *testing.T) {
	timed(t, func(s *site) {
		app, _ := s.signedUp("ann").enrolled()
		_, flow := s.halfway(nil)
		other := s.client()
		other.post("signin/factor", m{"flow": flow, "factor": "totp", "code": app.next()}).want(401, "factor_flow_ended")
		// Nor with the cookie of another sign-in.
		other.again(nil)
		other.post("signin/factor", m{"flow": flow, "factor": "totp", "code": app.next()}).want(401, "factor_flow_ended")
	})
}

func TestAFlowEndsAfterTenMinutesAndAfterFiveTries(t *testing.T) {
	timed(t, func(s *site) {
		app, codes := s.signedUp("ann").enrolled()
		c, flow := s.halfway(nil)
		time.Sleep(10*time.Minute + time.Second)
		c.post("signin/factor", m{"flow": flow, "factor": "totp", "code": app.next()}).want(401, "factor_flow_ended")
		flow = c.again(nil)
		for range 5 {
			c.post("signin/factor", m{"flow": flow, "factor": "recovery", "code": "aaaa-aaaa-aaaa-aaaa"}).want(401, "bad_factor")
		}
		c.post("signin/factor", m{"flow": flow, "factor": "recovery", "code": codes[0]}).want(401, "factor_flow_ended")
	})
}

// The attack: who knows the password begins a flow for every five guesses, from
// new addresses. The budget is the user's, in the database: neither flows nor
// addresses nor restarts give more.
func TestWhoKnowsThePasswordGuessesFewCodesWhateverTheFlow(t *testing.T) {
	timed(t, func(s *site) {
		ann := s.signedUp("ann")
		app, codes := ann.enrolled()
		known := s.client() // a browser that ann has signed in with
		flow := known.again(nil)
		known.post("signin/factor", m{"flow": flow, "factor": "totp", "code": app.next()}).want(200)

		guesses := 0
		for hour := range 8 {
			for i := range 4 {
				thief := s.client()
				thief.address = fmt.Sprintf("10.%d.%d.7:4711", hour, i)
				flow := thief.again(nil)
				r := thief.post("signin/factor", m{"flow": flow, "factor": "totp", "code": "000000"})
				switch r.status {
				case 401:
					guesses++
				case 429:
				default:
					s.t.Fatalf("%d %s", r.status, r.body)
				}
			}
			time.Sleep(time.Hour)
		}
		if guesses > 5+8 {
			s.t.Errorf("%d guesses in eight hours", guesses)
		}

		// On a browser that is known the owner has tries of its own.
		flow = known.again(nil)
		known.post("signin/factor", m{"flow": flow, "factor": "totp", "code": app.next()}).want(200)
		// On a new one what cannot be guessed is open.
		fresh, flow := s.halfway(nil)
		fresh.address = "192.0.2.9:4711"
		for range 5 {
			s.client().post("signin/factor", m{"flow": flow, "factor": "totp", "code": app.next()})
		}
		fresh.post("signin/factor", m{"flow": flow, "factor": "recovery", "code": codes[3]}).want(200)
	})
}

func TestAPasswordThatIsChangedBetweenTheStepsEndsTheSignIn(t *testing.T) {
	timed(t, func(s *site) {
		ann := s.signedUp("ann")
		app, _ := ann.enrolled()
		c, flow := s.halfway(m{"as": "token"})
		ann.post("password/change", m{"password": goodPassword, "new_password": otherPassword}).want(204)
		c.post("signin/factor", m{"flow": flow, "factor": "totp", "code": app.next()}).want(401, "factor_flow_ended")
	})
}

func TestRecoveryCodesCountOnceAndNewOnesEndTheOld(t *testing.T) {
	timed(t, func(s *site) {
		ann := s.signedUp("ann")
		_, codes := ann.enrolled()
		sorted := slices.Clone(codes)
		slices.Sort(sorted)
		if len(slices.Compact(sorted)) != 10 || len(codes[0]) != 29 {
			s.t.Fatalf("the codes are %q", codes)
		}
		c, flow := s.halfway(nil)
		// As people type it.
		in := c.post("signin/factor", m{"flow": flow, "factor": "recovery", "code": " " + strings.ToUpper(strings.ReplaceAll(codes[0], "-", " "))}).want(200)
		if in.at("session.amr") != "[pwd rc mfa]" || in.at("session.acr") != "2fa" {
			s.t.Errorf("%s", in.body)
		}
		if left := ann.get("recovery-codes").want(200).at("left"); left != "9" {
			s.t.Errorf("%s are left", left)
		}
		flow = c.again(nil)
		c.post("signin/factor", m{"flow": flow, "factor": "recovery", "code": codes[0]}).want(401, "bad_factor")
		ann.post("recovery-codes", m{}).want(201)
		c.post("signin/factor", m{"flow": flow, "factor": "recovery", "code": codes[1]}).want(401, "bad_factor")
	})
}

func TestATrustedDeviceIsNotAskedUntilAnythingChanges(t *testing.T) {
	timed(t, func(s *site) {
		ann := s.signedUp("ann")
		app, _ := ann.enrolled()
		c := s.client()
		trusted := func() *http.Cookie {
			flow := c.again(nil)
			r := c.post("signin/factor", m{"flow": flow, "factor": "totp", "code": app.next(), "trust": true}).want(200)
			for _, cookie := range (&http.Response{Header: r.header}).Cookies() {
				if strings.Contains(cookie.Name, "trusted") {
					return cookie
				}
			}
			s.t.Fatal("no cookie")
			return nil
		}
		in := func() *reply {
			return c.post("signin", m{"identifier": "ann", "password": goodPassword}).want(200)
		}
		trusted()
		if r := in(); r.at("state") != "signed_in" || r.at("session.acr") != "1fa" {
			s.t.Errorf("on a trusted device: %s", r.body)
		}
		list := ann.get("devices").want(200)
		if n := len(list.m["devices"].([]any)); n != 1 {
			s.t.Fatalf("%d devices: %s", n, list.body)
		}
		// Somebody else's password is asked for more in the same browser.
		bea := s.signedUp("bea")
		beas, _ := bea.enrolled()
		if r := c.post("signin", m{"identifier": "bea", "password": goodPassword}).want(200); r.at("state") != "factor_needed" {
			s.t.Errorf("bea comes in on what ann trusts: %s", r.body)
		}
		_ = beas

		time.Sleep(31 * 24 * time.Hour)
		c.again(nil) // asked again after 30 days

		ann = s.client()
		flow := ann.again(nil)
		ann.post("signin/factor", m{"flow": flow, "factor": "totp", "code": app.next()}).want(200)
		for name, change := range map[string]func(){
			"it is taken off the list": func() {
				id := ann.get("devices").want(200).m["devices"].([]any)[0].(m)["id"].(string)
				ann.delete("devices/" + id).want(204)
			},
			"all are": func() { ann.delete("devices").want(204) },
			"the password is changed": func() {
				ann.post("password/change", m{"password": goodPassword, "new_password": otherPassword}).want(204)
				ann.post("password/change", m{"password": otherPassword, "new_password": goodPassword}).want(204)
			},
			"a factor is added": func() { ann.enrolled() },
		} {
			trusted()
			if r := in(); r.at("state") != "signed_in" {
				s.t.Fatalf("before %s: %s", name, r.body)
			}
			ann.post("reauthenticate", m{"factor": "totp", "code": app.next()}).want(200)
			change()
			if r := in(); r.at("state") != "factor_needed" {
				s.t.Errorf("after %s a device is trusted: %s", name, r.body)
			}
		}
	})
}

func TestAnyFactorIsARecentProof(t *testing.T) {
	timed(t, func(s *site) {
		ann := s.signedUp("ann")
		app, codes := ann.enrolled()
		time.Sleep(11 * time.Minute)
		ann.get("user/export").want(401, "proof_needed")
		ann.post("reauthenticate", m{"factor": "totp", "code": "000000"}).want(403).field("code", "factor_wrong")
		r := ann.post("reauthenticate", m{"factor": "totp", "code": app.next()}).want(200)
		if r.at("session.acr") != "2fa" || r.at("session.amr") != "[pwd otp mfa]" {
			s.t.Errorf("%s", r.body)
		}
		ann.get("user/export").want(200)
		// A password alone does not renew what two factors have proved.
		if r := ann.post("reauthenticate", m{"password": goodPassword}).want(200); r.at("session.acr") != "1fa" || r.at("session.amr") != "[pwd]" {
			s.t.Errorf("by the password alone: %s", r.body)
		}
		time.Sleep(11 * time.Minute)
		ann.post("reauthenticate", m{"factor": "recovery", "code": codes[0]}).want(200)
		ann.get("user/export").want(200)
		ann.post("reauthenticate", m{"factor": "face", "code": codes[0]}).want(400)
	})
}

// The attack: who stole a cookie guesses codes to get a recent proof.
func TestWhoStoleACookieGuessesFewCodes(t *testing.T) {
	timed(t, func(s *site) {
		ann := s.signedUp("ann")
		app, _ := ann.enrolled()
		owner, flow := s.halfway(nil)
		owner.post("signin/factor", m{"flow": flow, "factor": "totp", "code": app.next()}).want(200)
		guesses := 0
		for range 40 {
			if ann.post("reauthenticate", m{"factor": "totp", "code": "000000"}).status == 403 {
				guesses++
			}
		}
		if guesses > 10 {
			s.t.Errorf("%d guesses at once", guesses)
		}
		// The owner's other sessions and sign-ins have tries of their own, but for
		// the budget in memory, which grows again in a while.
		time.Sleep(5 * time.Minute)
		owner.post("reauthenticate", m{"factor": "totp", "code": app.next()}).want(200)
	})
}

func TestWithTheLastFactorTheRecoveryCodesGo(t *testing.T) {
	timed(t, func(s *site) {
		ann := s.signedUp("ann")
		ann.post("recovery-codes", m{}).want(409, "no_factor")
		ann.enrolled()
		id := ann.get("totp").want(200).m["totp"].([]any)[0].(m)["id"].(string)
		if got := ann.patch("totp/"+id, m{"name": "Old phone"}).want(200).at("totp.name"); got != "Old phone" {
			s.t.Errorf("the name is %q", got)
		}
		bea := s.signedUp("bea")
		bea.delete("totp/"+id).want(404, "unknown_factor")
		ann.delete("totp/" + id).want(204)
		if left := ann.get("recovery-codes").want(200).at("left"); left != "0" {
			s.t.Errorf("%s codes are left", left)
		}
		s.client().post("signin", m{"identifier": "ann", "password": goodPassword}).want(200)
	})
}

func TestASecretThatWasNeverConfirmedShutsNobodyOut(t *testing.T) {
	timed(t, func(s *site) {
		ann := s.signedUp("ann")
		begun := ann.post("totp", m{}).want(201)
		ann.post("totp/verify", m{"flow": begun.at("flow"), "code": "000000"}).want(403).field("code", "factor_wrong")
		if r := s.client().post("signin", m{"identifier": "ann", "password": goodPassword}).want(200); r.at("state") != "signed_in" {
			s.t.Errorf("%s", r.body)
		}
	})
}

func TestTheDatabaseHoldsNoSecretOfAFactor(t *testing.T) {
	timed(t, func(s *site) {
		ann := s.signedUp("ann")
		app, codes := ann.enrolled()
		s.server.Close()
		for name, secret := range map[string]string{
			"the key": string(app.Bytes()), "its text": app.Secret().Reveal(), "a recovery code": codes[0], "its bare text": strings.ReplaceAll(codes[0], "-", ""),
		} {
			if s.holds(secret) {
				s.t.Errorf("the data folder holds %s", name)
			}
		}
	})
}

// holds reports whether a file of the data folder has the text in it.
func (s *site) holds(text string) bool {
	found := false
	err := filepath.WalkDir(s.data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		found = found || bytes.Contains(b, []byte(text))
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

// The attack: who has stolen a cookie and knows the password proves himself by it,
// and takes the second factor off, or adds his own.
func TestAttackAPasswordAloneChangesNoFactor(t *testing.T) {
	timed(t, func(s *site) {
		app, _ := s.signedUp("ann").enrolled()
		ann, flow := s.halfway(nil)
		ann.post("signin/factor", m{"flow": flow, "factor": "totp", "code": app.next()}).want(200)
		time.Sleep(11 * time.Minute)
		ann.post("reauthenticate", m{"password": goodPassword}).want(200)
		id := ann.get("totp").want(200).m["totp"].([]any)[0].(m)["id"].(string)
		key := s.authenticator()
		for what, call := range map[string]func() *reply{
			"remove the app":  func() *reply { return ann.delete("totp/" + id) },
			"add an app":      func() *reply { return ann.post("totp", m{}) },
			"make codes":      func() *reply { return ann.post("recovery-codes", m{}) },
			"add a passkey":   func() *reply { return ann.post("passkeys/begin", m{}) },
			"add an address":  func() *reply { return ann.post("identifiers", m{"identifier": "thief@example.com"}) },
			"make an API key": func() *reply { return ann.post("api-keys", m{"name": "x", "scopes": []string{"profile"}}) },
		} {
			r := call()
			if r.status != 401 || r.at("code") != "proof_needed" || !strings.Contains(r.header.Get("WWW-Authenticate"), `acr_values="2fa phr"`) {
				s.t.Errorf("%s: %d %s", what, r.status, r.body)
			}
		}
		ann.post("reauthenticate", m{"factor": "totp", "code": app.next()}).want(200)
		ann.addPasskey(key).want(201)
		ann.delete("totp/" + id).want(204)
	})
}

// The attack: recovery codes are guessed without a budget of their own. The wrong
// ones must not close the owner's app for longer than wrong codes of the app do.
func TestAttackWrongRecoveryCodesCloseTheAppForLong(t *testing.T) {
	timed(t, func(s *site) {
		app, _ := s.signedUp("ann").enrolled()
		for range 10 {
			thief, flow := s.halfway(nil)
			for range 5 {
				thief.post("signin/factor", m{"flow": flow, "factor": "recovery", "code": "aaaa-aaaa-aaaa-aaaa"})
			}
			time.Sleep(time.Minute)
		}
		time.Sleep(time.Hour)
		c, flow := s.halfway(nil)
		c.post("signin/factor", m{"flow": flow, "factor": "totp", "code": app.next()}).want(200)
	})
}

// The attack: a stolen cookie of a session that began with a passkey, and a code
// that was phished. The code is no passkey.
func TestAttackACodeMakesNoOldPasskeyFresh(t *testing.T) {
	timed(t, func(s *site) {
		ann, key := s.signedUp("ann"), s.authenticator()
		ann.addPasskey(key).want(201)
		app, _ := ann.enrolled()
		c := s.client()
		if acr := c.signIn(key).want(200).at("session.acr"); acr != "phr" {
			s.t.Fatalf("by a passkey: %s", acr)
		}
		r := c.post("reauthenticate", m{"factor": "totp", "code": app.next()}).want(200)
		if r.at("session.acr") != "2fa" || strings.Contains(r.at("session.amr"), "hwk") {
			s.t.Errorf("by a code: %s", r.body)
		}
	})
}

// The attack: who has passed by a stolen factor trusts his browser. Whatever way the
// owner shuts that factor out, he is asked again, and the owner is told.
func TestAttackAThiefsBrowserStaysTrustedWithoutTheFactor(t *testing.T) {
	for name, shut := range map[string]func(ann *client, id string){
		"it is removed": func(ann *client, id string) { ann.delete("passkeys/" + id).want(204) },
		"it is asked for no more": func(ann *client, id string) {
			ann.do("PATCH", "/api/v1/passkeys/"+id, m{"second_factor": false}).want(200)
		},
		"new codes are made": func(ann *client, id string) { ann.post("recovery-codes", m{}).want(201) },
	} {
		t.Run(name, func(t *testing.T) {
			timed(t, func(s *site) {
				ann, stolen := s.signedUp("ann"), s.authenticator()
				_, codes := ann.enrolled()
				ann.addPasskey(stolen, m{"second_factor": true}).want(201)
				thief, flow := s.halfway(nil)
				thief.post("signin/factor", m{"flow": flow, "factor": "recovery", "code": codes[0], "trust": true}).want(200)
				if r := thief.post("signin", m{"identifier": "ann", "password": goodPassword}).want(200); r.at("state") != "signed_in" {
					t.Fatalf("before: %s", r.body)
				}
				shut(ann, passkeytest.Text(stolen.ID))
				thief.again(nil)
			})
		})
	}
}

// The attack: a stolen cookie and the password. To disown a record asks for no proof,
// so it must not take a second factor away.
func TestAttackWhoDisownsTakesNoSecondFactorAway(t *testing.T) {
	timed(t, func(s *site) {
		ann, key := s.signedUp("ann"), s.authenticator()
		time.Sleep(time.Minute)
		ann.addPasskey(key, m{"second_factor": true}).want(201)
		time.Sleep(time.Minute)
		ann.post("reauthenticate", m{"password": goodPassword}).want(200)
		all := ann.get("activity").want(200).m["records"].([]any)
		ann.post("activity/"+all[len(all)-1].(m)["id"].(string)+"/disown", m{}).want(204)
		s.halfway(nil)
	})
}
