package account

import (
	"cmp"

	"github.com/admit-auth/admit/token"
)

// signInLetter is what goes out where somebody asks to sign in. Where there is no
// account the owner of an address is told so. A user name without an account has
// no owner, and a text would cost money: a letter to nobody is as much work.
func (s *Service) signInLetter(user *User, to Identifier, c *Challenge, link token.Token, a asking, device, locale string) letter {
	l := letter{
		name: "signin_code", to: to.Value, locale: locale, needs: c,
		Facts: Facts{Code: s.code(c.ID), At: a.At, From: a.Address, Device: device},
	}
	if a.Linked {
		l.Link = s.o.PublicURL + "/link/" + link.Reveal()
	}
	switch {
	case user != nil:
		l.about, l.locale = user.ID, cmp.Or(user.Locale, locale)
	case to.Kind == Email:
		l.name, l.Facts = "signin_nobody", Facts{Link: s.o.PublicURL + "/signup"}
	default:
		l.to = ""
	}
	return l
}
