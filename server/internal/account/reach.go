package account

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
