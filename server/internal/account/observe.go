package account

import "sync/atomic"

// An Observer hears what came of what people tried: nil, or why it was refused.
// Its methods are quick and safe for several goroutines.
type Observer interface {
	SignIn(err error)
	SignUp(step string, err error) // "begin", or "prove" that mail arrived
	Refresh(repeated bool, err error)
	SessionEnded(reason string) // by the service itself; sessions tell their own feed what ends them
}

// nobody is the Observer where there is none.
type nobody struct{}

func (nobody) SignIn(error)         {}
func (nobody) SignUp(string, error) {}
func (nobody) Refresh(bool, error)  {}
func (nobody) SessionEnded(string)  {}

// A MailCount is what became of messages since New.
type MailCount struct{ Sent, Failed, GivenUp uint64 }

type mailCounters struct{ sent, failed, givenUp atomic.Uint64 }

// MailCount returns how many messages were handed over, how often that failed,
// and how many were given up after a day.
func (s *Service) MailCount() MailCount {
	return MailCount{s.mails.sent.Load(), s.mails.failed.Load(), s.mails.givenUp.Load()}
}

func (m *mailCounters) count(err error, givenUp bool) {
	switch {
	case err == nil:
		m.sent.Add(1)
	case givenUp:
		m.givenUp.Add(1)
		fallthrough
	default:
		m.failed.Add(1)
	}
}
