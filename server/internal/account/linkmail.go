package account

import (
	"cmp"

	"github.com/admit-auth/admit/token"
)

// signInLetter is what goes out where somebody asks to sign in. Where there is no
// account its owner is told so; a user name without an account has no owner, and
// the letter to nobody is as much work.
func (s *Service) signInLetter(user *User, to Identifier, c *Challenge, link token.Token, a asking, locale string) letter {
	switch {
	case user == nil && to.Kind == Email:
		return letter{name: "signin_nobody", to: to.Value, locale: locale, Facts: Facts{Link: s.o.PublicURL + "/signup"}}
	case user == nil:
		to.Value = ""
		user = &User{}
	}
	l := letter{
		name: "signin_code", to: to.Value, locale: cmp.Or(user.Locale, locale), about: a.User, needs: c,
		Facts: Facts{Code: s.code(c.ID), At: a.At, From: a.Address},
	}
	if a.Linked {
		l.Link = s.o.PublicURL + "/link/" + link.Reveal()
	}
	return l
}
