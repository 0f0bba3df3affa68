package server_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/admit-auth/admit"
)

func TestTheOwnerIsToldOfAChangedPasswordAndWhatToDo(t *testing.T) {
	s := newSite(t)
	s.run()
	c := s.byMail("ann@example.org")
	c.post("password/change", m{"password": "wrong password", "new_password": otherPassword}).want(403)
	c.post("password/change", m{"password": goodPassword, "new_password": otherPassword}).want(204)
	text := s.letter("ann@example.org", "Your password was changed").Text
	for _, part := range []string{"Somebody, hopefully you, changed the password", "127.0.0.1", "If it was not, open this link."} {
		if !strings.Contains(text, part) {
			t.Errorf("the mail lacks %q:\n%s", part, text)
		}
	}
	if strings.Contains(text, otherPassword) {
		t.Error("the mail has the password")
	}

	zh := s.byMail("li@example.org")
	zh.patch("user", m{"locale": "zh-CN"}).want(200)
	zh.post("password/change", m{"password": goodPassword, "new_password": otherPassword}).want(204)
	if text := s.letter("li@example.org", "您的密码已更改").Text; !strings.Contains(text, "如果不是，请打开下面的链接") {
		t.Errorf("in Chinese it says\n%s", text)
	}

	// Who has no address is told nothing, and is not refused.
	s.signedUp("bob").post("password/change", m{"password": goodPassword, "new_password": otherPassword}).want(204)
}

// Nobody may look at the activity for weeks, so it is mailed: once, for the family
// ends with the first replay.
func TestTheOwnerIsToldOnceOfAReplayedRefreshTokenAndWhatToDo(t *testing.T) {
	s := newSite(t)
	s.run()
	for address, want := range map[string][]string{
		"ann@example.org": {"its token may be stolen", "a refresh token of your account that had been replaced", "127.0.0.1", "If it was not, open this link."},
		"li@example.org":  {"它的令牌可能被盗", "已被替换的刷新令牌", "如果不是，请打开下面的链接"},
	} {
		c := s.byMail(address)
		if strings.HasPrefix(address, "li") {
			c.patch("user", m{"locale": "zh-CN"}).want(200)
		}
		a := s.appOf(address)
		copied := a.refreshToken
		a.keep(s.refreshed(a.refreshToken).want(200))
		a.keep(s.refreshed(a.refreshToken).want(200))
		for range 3 {
			s.refreshed(copied).want(401, "refresh_token_replayed")
		}
		text := s.letter(address, want[0]).Text
		for _, part := range want[1:] {
			if !strings.Contains(text, part) {
				t.Errorf("the mail lacks %q:\n%s", part, text)
			}
		}
		if strings.Contains(text, copied) {
			t.Error("the mail has the token")
		}
		s.oneLetter(address)
		// The way back of the mail works, and the thief's sign-in is over.
		s.client().post("identifiers/restore", m{"token": s.back(address, want[0]), "new_password": otherPassword}).want(204)
		c.get("session").want(401)
	}
	s.signedUp("bob") // who has no address is told nothing, and his family ends all the same
	a := s.appOf("bob")
	copied := a.refreshToken
	a.keep(s.refreshed(a.refreshToken).want(200))
	a.keep(s.refreshed(a.refreshToken).want(200))
	s.refreshed(copied).want(401, "refresh_token_replayed")
	a.get("session").want(401, "session_ended")
}

// oneLetter fails unless one about a stolen token came to an address.
func (s *site) oneLetter(address string) {
	t := s.t
	t.Helper()
	var in struct{ Messages []letter }
	r := s.client().page("GET", "/dev/inbox.json?key="+devKey, nil)
	if err := json.Unmarshal(r.body, &in); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, l := range in.Messages {
		if l.To == address && (strings.Contains(l.Subject, "stolen") || strings.Contains(l.Subject, "被盗")) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d letters, want one", n)
	}
}

// The thief knows the password and changes it; the owner reads the mailbox.
func TestAttackAThiefWhoChangesThePasswordIsUndoneByTheWayBack(t *testing.T) {
	s := newSite(t)
	s.run()
	owner := s.byMail("ann@example.org")
	thief := s.another("ann@example.org", goodPassword)
	thief.post("password/change", m{"password": goodPassword, "new_password": otherPassword}).want(204)
	owner.get("session").want(401)
	token := s.back("ann@example.org", "Your password was changed")
	const third = "a third password of the owner"
	s.client().post("identifiers/restore", m{"token": token, "new_password": third}).want(204)
	thief.get("session").want(401)
	s.client().post("signin", m{"identifier": "ann@example.org", "password": otherPassword}).want(401)
	s.another("ann@example.org", third)
}

// An address that an older one can still contest gets no way back, and must not be
// told to sign in with a password that is no longer good.
func TestWhoGetsNoWayBackIsToldWhomToAsk(t *testing.T) {
	s := newSite(t)
	s.run()
	c := s.byMail("ann@example.org")
	c.addAddress("new@example.org")
	c.post("identifiers/new@example.org/primary", nil).want(200)
	c.post("password/change", m{"password": goodPassword, "new_password": otherPassword}).want(204)
	text := s.letter("new@example.org", "Your password was changed").Text
	if strings.Contains(text, "/link/") || !strings.Contains(text, "ask the people who run this service") {
		t.Errorf("the mail says\n%s", text)
	}
}

func TestTheOwnerIsToldOfAPasswordThatAnAdministratorSetAndGetsNoWayAroundIt(t *testing.T) {
	s, root := administered(t)
	ann := s.byMail("ann@example.org")
	root.do("PUT", "/api/v1/admin/users/ann@example.org/password", m{"password": otherPassword}).want(204)
	ann.get("session").want(401)
	text := s.letter("ann@example.org", "Your password was set by an administrator").Text
	for _, part := range []string{"gave your account a new password", "/signin", "If you know nothing of it, ask the people who run this service"} {
		if !strings.Contains(text, part) {
			t.Errorf("the mail lacks %q:\n%s", part, text)
		}
	}
	if strings.Contains(text, "/link/") || strings.Contains(text, "127.0.0.1") || strings.Contains(text, otherPassword) {
		t.Errorf("the mail has too much:\n%s", text)
	}
	zh := s.byMail("li@example.org")
	zh.patch("user", m{"locale": "zh-CN"}).want(200)
	if err := s.operator().SetPassword(t.Context(), "li@example.org", admit.NewSecret(otherPassword)); err != nil {
		t.Fatal(err)
	}
	if text := s.letter("li@example.org", "管理员重设了您的密码").Text; !strings.Contains(text, "如果您对此毫不知情") {
		t.Errorf("in Chinese it says\n%s", text)
	}
	root.delete("admin/users/ann@example.org/password").want(204)
	s.letter("ann@example.org", "Your password was removed")
}

func TestAUserWhomAnOperatorDeletesLeavesNothingEither(t *testing.T) {
	s, root := administered(t)
	for name, remove := range map[string]func(){
		"ann": func() { root.delete("admin/users/ann@example.org").want(204) },
		"eve": func() {
			if err := s.operator().DeleteUser(t.Context(), "eve@example.org"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		address := name + "@example.org"
		c := s.byMail(address)
		c.userAgent = "agent of " + name
		s.another(address, goodPassword)
		c.post("password/change", m{"password": goodPassword, "new_password": otherPassword}).want(204)
		s.letter(address, "Your password was changed")
		id := c.get("user").at("user.id")
		remove()
		c.get("session").want(401)
		left := s.dump()
		for _, secret := range []string{id, address, "agent of " + name} {
			for table, rows := range left {
				if strings.Contains(strings.ReplaceAll(rows, "e:"+id, ""), secret) {
					t.Errorf("%s still has %q:\n%s", table, secret, rows)
				}
			}
		}
		if found := root.get("admin/audit?subject=" + id).want(200); !strings.Contains(string(found.body), "user_deleted") {
			t.Errorf("who knows the id finds %s", found.body)
		}
	}
}

// lettersTo counts the mail to an address whose subject has a text.
func (s *site) lettersTo(address, subject string) (n int) {
	s.t.Helper()
	var in struct{ Messages []letter }
	r := s.client().page("GET", "/dev/inbox.json?key="+devKey, nil)
	if err := json.Unmarshal(r.body, &in); err != nil {
		s.t.Fatal(err)
	}
	for _, l := range in.Messages {
		if l.To == address && strings.Contains(l.Subject, subject) {
			n++
		}
	}
	return n
}
