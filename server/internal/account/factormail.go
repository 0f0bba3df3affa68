package account

import "time"

// tellFactor tells the owner, by everything that was proved, what happened to its
// second factors.
func (s *Service) tellFactor(tx Tx, a Asker, user *User, event string, now time.Time) error {
	for _, id := range s.reached(user) {
		err := s.post(tx, letter{
			name: event, to: id.Value, locale: user.Locale, about: user.ID,
			Facts: Facts{Link: s.o.PublicURL + "/account/security", From: a.From.Address, Device: a.From.Browser},
		}, now)
		if err != nil {
			return err
		}
	}
	return nil
}
