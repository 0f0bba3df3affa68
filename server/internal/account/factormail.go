package account

import "time"

// tellFactor tells the owner what happened to its second factors.
func (s *Service) tellFactor(tx Tx, a Asker, user *User, event string, now time.Time) error {
	to := user.contact()
	if !s.o.CanMail || to == "" {
		return nil
	}
	return s.post(tx, letter{
		name: event, to: to, locale: user.Locale, about: user.ID,
		Facts: Facts{Link: s.o.PublicURL + "/account/security", From: a.From.Address},
	}, now)
}
