package account

import "time"

// tellFactor tells the owner what happened to its second factors. The way back takes
// those that were added since.
func (s *Service) tellFactor(tx Tx, a Asker, user *User, event string, now time.Time) error {
	if user.contact() == "" {
		return nil
	}
	return s.tell(tx, a, user, user.contact(), event, now)
}
