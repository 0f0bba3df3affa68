package account

import (
	"slices"
	"time"
)

// How the owner of an account is reached: by mail, or by text message.

// reaches refuses a kind of identifier that no message reaches from here; a user
// name needs none.
func (s *Service) reaches(k Kind) error {
	switch {
	case k == Email && !s.o.CanMail:
		return ErrMail
	case k == Phone && !s.o.CanText:
		return ErrPhone
	}
	return nil
}

// proved are the identifiers that a message proved to be the user's: the primary one
// first, then mail before text.
func (u *User) proved() []Identifier {
	var all []Identifier
	for _, id := range u.Identifiers {
		if id.Verified && id.Kind.Channel() != "" {
			all = append(all, id)
		}
	}
	rank := func(id Identifier) int {
		switch {
		case id.Primary:
			return 0
		case id.Kind == Email:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(all, func(a, b Identifier) int { return rank(a) - rank(b) })
	return all
}

// reached are those of them that can be written to from here: by each of these the
// owner hears of what changes.
func (s *Service) reached(u *User) []Identifier {
	return slices.DeleteFunc(u.proved(), func(id Identifier) bool { return s.reaches(id.Kind) != nil })
}

// contact is what a user is written to where one message will do, "" where there is
// nothing.
func (u *User) contact() string {
	if all := u.proved(); len(all) > 0 {
		return all[0].Value
	}
	return ""
}

// tellProved is tell where an identifier was proved. Else there is nobody to tell, and
// no way back is kept, either.
func (s *Service) tellProved(tx Tx, a Asker, user *User, event string, now time.Time) error {
	if user.contact() == "" {
		return nil
	}
	return s.tell(tx, a, user, event, now)
}
