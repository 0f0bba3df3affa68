package server_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/otp"
	"github.com/admit-auth/admit/server"
	"github.com/admit-auth/admit/server/internal/passkeytest"
)

// The calls about factors and forgotten passwords, brought about as those in
// openapi_test.go are.

var factorExamples = map[string]func(s *site, example m) *reply{
	"forgotPassword": func(s *site, in m) *reply { return s.client().post("password/forgot", in).want(202) },
	"resetPassword": func(s *site, in m) *reply {
		s.run()
		s.byMail("ann@example.org")
		flow, l := s.client().forgets("ann@example.org", "ann@example.org")
		in["flow"], in["code"] = flow, l.Code
		return s.client().post("password/reset", in).want(204)
	},

	"passFactor": func(s *site, in m) *reply {
		app, _ := enrolledNow(s.signedUp("ann"))
		c, flow := s.halfway(nil)
		in["flow"], in["code"] = flow, app.At(time.Now().Add(30*time.Second))
		return c.post("signin/factor", in).want(200)
	},
	"askFactor": func(s *site, in m) *reply {
		c, flow := s.halfwayTo(s.authenticator())
		in["flow"] = flow
		return c.post("signin/factor/begin", in).want(200)
	},
	"loseFactors": func(s *site, in m) *reply {
		c, flow := s.loser()
		in["flow"] = flow
		return c.post("signin/factor/lost", in).want(202)
	},
	"removeLostFactors": func(s *site, in m) *reply {
		c, flow, proof := s.lost()
		in["flow"], in["proof"], in["code"] = flow, proof, s.letter("ann@example.org", "Remove your second factors").Code
		return c.post("signin/factor/lost/verify", in).want(204)
	},

	"listTOTP":  withApp(func(c *client, _ string, _ m) *reply { return c.get("totp").want(200) }),
	"beginTOTP": func(s *site, in m) *reply { return s.signedUp("ann").post("totp", in).want(201) },
	"verifyTOTP": func(s *site, in m) *reply {
		c := s.signedUp("ann")
		flow, app := c.begun()
		in["flow"], in["code"] = flow, app.At(time.Now())
		return c.post("totp/verify", in).want(201)
	},
	"renameTOTP": withApp(func(c *client, id string, in m) *reply { return c.patch("totp/"+id, in).want(200) }),
	"removeTOTP": withApp(func(c *client, id string, _ m) *reply { return c.delete("totp/" + id).want(204) }),

	"getRecoveryCodes":  withApp(func(c *client, _ string, _ m) *reply { return c.get("recovery-codes").want(200) }),
	"makeRecoveryCodes": withApp(func(c *client, _ string, in m) *reply { return c.post("recovery-codes", in).want(201) }),

	"listDevices":     func(s *site, _ m) *reply { c, _ := s.trusting(); return c.get("devices").want(200) },
	"distrustDevices": func(s *site, _ m) *reply { c, _ := s.trusting(); return c.delete("devices").want(204) },
	"distrustDevice":  func(s *site, _ m) *reply { c, id := s.trusting(); return c.delete("devices/" + id).want(204) },

	"askPasskey": func(s *site, in m) *reply { return s.client().post("signin/passkey/begin", in).want(200) },
	"signInPasskey": func(s *site, _ m) *reply {
		a := s.authenticator()
		s.signedUp("ann").addPasskey(a).want(201)
		return s.client().signIn(a).want(200)
	},
	"askProof": withPasskey(func(c *client, _ *passkeytest.Authenticator, in m) *reply {
		return c.post("reauthenticate/begin", in).want(200)
	}),
	"listPasskeys":  withPasskey(func(c *client, _ *passkeytest.Authenticator, _ m) *reply { return c.get("passkeys").want(200) }),
	"askNewPasskey": func(s *site, in m) *reply { return s.signedUp("ann").post("passkeys/begin", in).want(200) },
	"addPasskey": func(s *site, in m) *reply {
		return s.signedUp("ann").addPasskey(s.authenticator(), m{"name": in["name"]}).want(201)
	},
	"changePasskey": withPasskey(func(c *client, a *passkeytest.Authenticator, in m) *reply {
		return c.patch("passkeys/"+passkeytest.Text(a.ID), in).want(200)
	}),
	"removePasskey": withPasskey(func(c *client, a *passkeytest.Authenticator, _ m) *reply {
		return c.delete("passkeys/" + passkeytest.Text(a.ID)).want(204)
	}),
}

// begun is an authenticator app that has its key, of which no code was shown yet.
func (c *client) begun() (flow string, app authenticator) {
	c.t.Helper()
	r := c.post("totp", m{}).want(201)
	k, err := otp.Parse(r.at("secret"), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return r.at("flow"), authenticator{k}
}

// withApp is a call by a user with an authenticator app.
func withApp(send func(c *client, id string, in m) *reply) func(*site, m) *reply {
	return func(s *site, in m) *reply {
		c := s.signedUp("ann")
		enrolledNow(c)
		return send(c, c.get("totp").want(200).m["totp"].([]any)[0].(m)["id"].(string), in)
	}
}

// withPasskey is a call by a user with a passkey.
func withPasskey(send func(c *client, a *passkeytest.Authenticator, in m) *reply) func(*site, m) *reply {
	return func(s *site, in m) *reply {
		c, a := s.signedUp("ann"), s.authenticator()
		c.addPasskey(a).want(201)
		return send(c, a, in)
	}
}

// halfwayTo has shown the password of ann, who is asked for a passkey next.
func (s *site) halfwayTo(a *passkeytest.Authenticator) (c *client, flow string) {
	s.signedUp("ann").addPasskey(a, m{"second_factor": true}).want(201)
	return s.halfway(nil)
}

// trusting is a browser that is asked for no second factor any more.
func (s *site) trusting() (c *client, id string) {
	_, codes := enrolledNow(s.signedUp("ann"))
	c, flow := s.halfway(nil)
	c.post("signin/factor", m{"flow": flow, "factor": "recovery", "code": codes[0], "trust": true}).want(200)
	return c, c.get("devices").want(200).m["devices"].([]any)[0].(m)["id"].(string)
}

// loser is between the two steps of a sign-in, without a factor to show.
func (s *site) loser() (c *client, flow string) { return s.loserOf("ann@example.org") }

func (s *site) loserOf(identifier string) (c *client, flow string) {
	s.run()
	enrolledNow(s.byMail(identifier))
	c = s.client()
	return c, c.again(m{"identifier": identifier})
}

// lost has waited, and is mailed a code.
func (s *site) lost() (c *client, flow, proof string) {
	c, flow = s.loser()
	c.post("signin/factor/lost", m{"flow": flow}).want(202)
	s.waited()
	return c, flow, c.post("signin/factor/lost", m{"flow": flow}).want(202).at("proof")
}

// waited lets the delay of every loss be over.
func (s *site) waited() {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.data, "admit.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("UPDATE factor_losses SET begun_at = begun_at / 2, due_at = begun_at, told = 3"); err != nil {
		s.t.Fatal(err)
	}
}

// factorTrials bring about what the calls about factors are refused with.
func factorTrials() map[string]trial {
	all := map[string]trial{
		"passFactor factor_flow_ended": posting("signin/factor", m{"flow": "adm_o_nobody", "factor": "totp", "code": "123456"}),
		"passFactor bad_factor": func(s *site) *reply {
			enrolledNow(s.signedUp("ann"))
			c, flow := s.halfway(nil)
			return c.post("signin/factor", m{"flow": flow, "factor": "totp", "code": "none"})
		},
		"passFactor factor_unsupported": func(s *site) *reply {
			enrolledNow(s.signedUp("ann"))
			c, flow := s.halfway(nil)
			return c.post("signin/factor", m{"flow": flow, "factor": "device", "code": "none"})
		},
		"passFactor too_many_tries": func(s *site) *reply {
			return again(60, func() *reply {
				return s.client().post("signin/factor", m{"flow": "adm_o_nobody", "factor": "totp", "code": "123456"})
			})
		},
		"askFactor factor_flow_ended":  posting("signin/factor/begin", m{"flow": "adm_o_nobody", "factor": "passkey"}),
		"askFactor factor_unsupported": posting("signin/factor/begin", m{"flow": "adm_o_nobody", "factor": "totp"}),
		"askFactor passkeys_unavailable": withoutPasskeys(func(s *site) *reply {
			enrolledNow(s.signedUp("ann"))
			c, flow := s.halfway(nil)
			return c.post("signin/factor/begin", m{"flow": flow, "factor": "passkey"})
		}),

		"loseFactors factor_flow_ended": posting("signin/factor/lost", m{"flow": "adm_o_nobody"}),
		"loseFactors no_address": func(s *site) *reply {
			enrolledNow(s.signedUp("ann"))
			c, flow := s.halfway(nil)
			return c.post("signin/factor/lost", m{"flow": flow})
		},
		"loseFactors texts_spent": func(s *site) *reply {
			c, flow := s.loserOf("+4930123456789")
			c.post("signin/factor/lost", m{"flow": flow}).want(202)
			s.waited()
			for range 3 {
				c.post("signin/factor/lost", m{"flow": flow}).want(202)
			}
			return c.post("signin/factor/lost", m{"flow": flow})
		},
		"loseFactors too_many_tries": func(s *site) *reply {
			c, flow := s.loser()
			return again(10, func() *reply { return c.post("signin/factor/lost", m{"flow": flow}) })
		},
		"removeLostFactors factor_flow_ended": posting("signin/factor/lost/verify", m{"flow": "adm_o_nobody", "proof": "adm_o_nobody", "code": "1"}),
		"removeLostFactors flow_ended": func(s *site) *reply {
			c, flow := s.loser()
			return c.post("signin/factor/lost/verify", m{"flow": flow, "proof": "adm_o_nobody", "code": "1"})
		},
		"removeLostFactors bad_code": func(s *site) *reply {
			c, flow, proof := s.lost()
			return c.post("signin/factor/lost/verify", m{"flow": flow, "proof": proof, "code": "1"})
		},
		"removeLostFactors too_many_tries": func(s *site) *reply {
			c, flow := s.loser()
			return again(60, func() *reply {
				return c.post("signin/factor/lost/verify", m{"flow": flow, "proof": flow, "code": "1"})
			})
		},

		"beginTOTP too_many_factors": func(s *site) *reply {
			c := s.signedUp("ann")
			enrolledNow(c)
			s.multiply("totp")
			return c.post("totp", m{})
		},
		"beginTOTP too_many_tries": owning(func(c *client) *reply { return c.post("totp", m{}) }),
		"verifyTOTP too_many_factors": func(s *site) *reply {
			c := s.signedUp("ann")
			enrolledNow(c)
			flow, app := c.begun()
			s.multiply("totp")
			return c.post("totp/verify", m{"flow": flow, "code": app.At(time.Now())})
		},
		"verifyTOTP factor_flow_ended": signedInPosts("totp/verify", m{"flow": "adm_o_nobody", "code": "123456"}),
		"verifyTOTP factor_wrong": func(s *site) *reply {
			c := s.signedUp("ann")
			flow, _ := c.begun()
			return c.post("totp/verify", m{"flow": flow, "code": "none"})
		},
		"verifyTOTP factor_name_too_long": signedInPosts("totp/verify", m{"flow": "adm_o_nobody", "code": "1", "name": strings.Repeat("x", 201)}),
		"verifyTOTP too_many_tries": owning(func(c *client) *reply {
			return c.post("totp/verify", m{"flow": "adm_o_nobody", "code": "123456"})
		}),
		"renameTOTP unknown_factor":       owned(func(c *client) *reply { return c.patch("totp/x", m{"name": "x"}) }),
		"renameTOTP factor_name_too_long": owned(func(c *client) *reply { return c.patch("totp/x", m{"name": strings.Repeat("x", 201)}) }),
		"renameTOTP too_many_tries":       owning(func(c *client) *reply { return c.patch("totp/x", m{"name": "x"}) }),
		"removeTOTP unknown_factor":       owned(func(c *client) *reply { return c.delete("totp/x") }),
		"removeTOTP too_many_tries":       owning(func(c *client) *reply { return c.delete("totp/x") }),

		"makeRecoveryCodes no_factor":      signedInPosts("recovery-codes", m{}),
		"makeRecoveryCodes too_many_tries": owning(func(c *client) *reply { return c.post("recovery-codes", m{}) }),
		"distrustDevice unknown_device":    owned(func(c *client) *reply { return c.delete("devices/x") }),

		"reauthenticate factor_unsupported": signedInPosts("reauthenticate", m{"factor": "device", "code": "1"}),
		"reauthenticate factor_wrong": func(s *site) *reply {
			c := s.signedUp("ann")
			enrolledNow(c)
			return c.post("reauthenticate", m{"factor": "totp", "code": "none"})
		},

		"signInPasskey as_unsupported":         as("scroll", "signin/passkey/finish", noPasskey),
		"signInPasskey cookie_unsupported":     foreign("signin/passkey/finish", noPasskey),
		"signInPasskey jwt_cookie_unsupported": posting("signin/passkey/finish", m{"flow": "x", "credential": m{}, "cookie": true}),
		"signInPasskey invalid_dpop_proof":     unproven("signin/passkey/finish", noPasskey, "invalid_dpop_proof"),
		"signInPasskey dpop_proof_replayed":    unproven("signin/passkey/finish", noPasskey, "dpop_proof_replayed"),
		"signInPasskey use_dpop_nonce":         unproven("signin/passkey/finish", noPasskey, "use_dpop_nonce"),
		"signInPasskey passkey_flow_ended":     posting("signin/passkey/finish", noPasskey),
		"signInPasskey too_many_tries": func(s *site) *reply {
			return again(60, func() *reply { return s.client().post("signin/passkey/finish", noPasskey) })
		},
		"passFactor passkey_flow_ended":     posting("signin/factor", m{"flow": "x", "factor": "passkey", "credential": m{}}),
		"reauthenticate passkey_flow_ended": signedInPosts("reauthenticate", noPasskey),
		"addPasskey passkey_flow_ended":     signedInPosts("passkeys/finish", m{"flow": "x", "name": "x", "credential": m{}}),

		"askPasskey passkeys_unavailable":     withoutPasskeys(posting("signin/passkey/begin", m{})),
		"signInPasskey passkeys_unavailable":  withoutPasskeys(posting("signin/passkey/finish", noPasskey)),
		"passFactor passkeys_unavailable":     withoutPasskeys(posting("signin/factor", m{"flow": "x", "factor": "passkey", "credential": m{}})),
		"askProof passkeys_unavailable":       withoutPasskeys(signedInPosts("reauthenticate/begin", m{})),
		"askProof unknown_passkey":            signedInPosts("reauthenticate/begin", m{}),
		"reauthenticate passkeys_unavailable": withoutPasskeys(signedInPosts("reauthenticate", noPasskey)),
		"askNewPasskey passkeys_unavailable":  withoutPasskeys(signedInPosts("passkeys/begin", m{})),
		"addPasskey passkeys_unavailable":     withoutPasskeys(signedInPosts("passkeys/finish", m{"flow": "x", "name": "x", "credential": m{}})),

		"askNewPasskey too_many_passkeys": func(s *site) *reply {
			c := s.signedUp("ann")
			c.addPasskey(s.authenticator()).want(201)
			s.multiply("passkey")
			return c.post("passkeys/begin", m{})
		},
		"addPasskey too_many_passkeys": func(s *site) *reply {
			c, a := s.signedUp("ann"), s.authenticator()
			c.addPasskey(s.authenticator()).want(201)
			flow, options := c.post("passkeys/begin", m{}).question()
			s.multiply("passkey")
			return c.post("passkeys/finish", m{"flow": flow, "name": "x", "credential": a.Register(s.t, options)})
		},
		"addPasskey passkey_taken": func(s *site) *reply {
			c, a := s.signedUp("ann"), s.authenticator()
			c.addPasskey(a).want(201)
			return c.addPasskey(a)
		},
		"addPasskey passkey_name": func(s *site) *reply {
			return s.signedUp("ann").addPasskey(s.authenticator(), m{"name": strings.Repeat("x", 61)})
		},
		"addPasskey too_many_tries": func(s *site) *reply {
			c := s.signedUp("ann")
			again(25, func() *reply { return c.post("totp", m{}) })
			return c.addPasskey(s.authenticator())
		},
		"changePasskey unknown_passkey": owned(func(c *client) *reply { return c.patch("passkeys/x", m{"name": "x"}) }),
		"changePasskey passkey_name":    owned(func(c *client) *reply { return c.patch("passkeys/x", m{"name": ""}) }),
		"changePasskey too_many_tries":  owning(func(c *client) *reply { return c.patch("passkeys/x", m{"name": "x"}) }),
		"changePasskey proof_needed": func(s *site) *reply {
			return anyhow["proof_needed"](s, func(c *client) *reply { return c.patch("passkeys/x", m{"second_factor": true}) })
		},
		"changePasskey password_change_needed": func(s *site) *reply {
			return anyhow["password_change_needed"](s, func(c *client) *reply { return c.patch("passkeys/x", m{"second_factor": true}) })
		},
		"removePasskey unknown_passkey": owned(func(c *client) *reply { return c.delete("passkeys/x") }),
		"removePasskey too_many_tries": func(s *site) *reply {
			c, a := s.signedUp("ann"), s.authenticator()
			c.addPasskey(a).want(201)
			again(25, func() *reply { return c.post("totp", m{}) })
			return c.delete("passkeys/" + passkeytest.Text(a.ID))
		},
		"removePasskey last_way_in": func(s *site) *reply {
			c, a := s.signedUp("ann"), s.authenticator()
			c.addPasskey(a).want(201)
			s.administrator().delete("admin/users/ann/password").want(204)
			c = s.client()
			c.signIn(a).want(200)
			return c.delete("passkeys/" + passkeytest.Text(a.ID))
		},
	}
	for code, spoil := range map[string]func(*passkeytest.Authenticator){
		"passkey_malformed":  func(a *passkeytest.Authenticator) { a.Mangle = func(m map[string]any) { m["type"] = "password" } },
		"passkey_refused":    func(a *passkeytest.Authenticator) { a.Absent = true },
		"passkey_elsewhere":  func(a *passkeytest.Authenticator) { a.Origin = "https://evil.example" },
		"passkey_unverified": func(a *passkeytest.Authenticator) { a.Unverified = true },
		"passkey_unknown":    func(a *passkeytest.Authenticator) { a.ID = []byte("of nobody") },
		"passkey_cloned":     func(a *passkeytest.Authenticator) { a.Count = 0 },
		"passkey_algorithm":  func(a *passkeytest.Authenticator) { a.Algorithm = -47 },
	} {
		all["signInPasskey "+code] = func(s *site) *reply {
			a := s.authenticator()
			s.signedUp("ann").addPasskey(a).want(201)
			spoil(a)
			return s.client().signIn(a)
		}
		all["passFactor "+code] = func(s *site) *reply {
			a := s.authenticator()
			c, flow := s.halfwayTo(a)
			flow, options := c.post("signin/factor/begin", m{"flow": flow, "factor": "passkey"}).question()
			spoil(a)
			return c.post("signin/factor", m{"flow": flow, "factor": "passkey", "credential": a.Sign(s.t, options)})
		}
		all["reauthenticate "+code] = func(s *site) *reply {
			c, a := s.signedUp("ann"), s.authenticator()
			c.addPasskey(a).want(201)
			flow, options := c.post("reauthenticate/begin", m{}).question()
			spoil(a)
			return c.post("reauthenticate", m{"flow": flow, "credential": a.Sign(s.t, options)})
		}
		all["addPasskey "+code] = func(s *site) *reply {
			a := s.authenticator()
			spoil(a)
			return s.signedUp("ann").addPasskey(a)
		}
	}
	for _, none := range []string{"passFactor passkey_unverified", "addPasskey passkey_unknown", "addPasskey passkey_cloned", "signInPasskey passkey_algorithm", "passFactor passkey_algorithm", "reauthenticate passkey_algorithm"} {
		delete(all, none)
	}
	return all
}

var noPasskey = m{"flow": "x", "credential": m{}}

// multiply makes 20 of the one factor of a kind that there is.
func (s *site) multiply(kind string) {
	s.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.data, "admit.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	for n := range 19 {
		_, err := db.Exec(`INSERT INTO factors (id, user_id, kind, name, created_at, used_at, expires_at, counter, data)
			SELECT ?, user_id, kind, name, created_at, used_at, expires_at, counter, data FROM factors WHERE kind = ? LIMIT 1`, fmt.Sprint("copy", n), kind)
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// owned is a call by a user who has just signed up.
func owned(send func(c *client) *reply) trial {
	return func(s *site) *reply { return send(s.signedUp("ann")) }
}

func signedInPosts(path string, body any) trial {
	return owned(func(c *client) *reply { return c.post(path, body) })
}

// owning is a call that a user makes over and over.
func owning(send func(c *client) *reply) trial {
	return owned(func(c *client) *reply { return again(25, func() *reply { return send(c) }) })
}

// withoutPasskeys is a trial at an address that is no name.
func withoutPasskeys(try trial) trial {
	return func(s *site) *reply {
		return try(newSite(s.t, func(c *server.Config) { c.Dev, c.PublicURL = false, "https://192.0.2.7" }))
	}
}

func TestWhatAPersonTakesAlongTellsOfItsFactorsAndHoldsNoSecretOfThem(t *testing.T) {
	s := newSite(t)
	ann, a := s.signedUp("ann"), s.authenticator()
	ann.addPasskey(a, m{"name": "Blue key"}).want(201)
	app, codes := enrolledNow(ann)
	c, flow := s.halfway(nil)
	c.post("signin/factor", m{"flow": flow, "factor": "recovery", "code": codes[0], "trust": true}).want(200)
	r := c.get("user/export").want(200)
	if r.texts("recovery_codes", "left") != "9" || len(r.m["totp"].([]any)) != 1 || len(r.m["devices"].([]any)) != 1 ||
		r.m["passkeys"].([]any)[0].(m)["name"] != "Blue key" {
		t.Errorf("%s", r.body)
	}
	for _, secret := range append(codes, app.Secret().Reveal(), passkeytest.Text(a.COSE(t)), passkeytest.Text(a.Handle)) {
		if strings.Contains(string(r.body), secret) {
			t.Errorf("the export holds %s", secret)
		}
	}
}
