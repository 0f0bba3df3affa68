package providertest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/provider"
)

// Memory is the backend of the store in memory.
func Memory(t testing.TB) Backend {
	told := &sink{}
	m := provider.NewMemory(&provider.MemoryOptions{Feed: told})
	n := 0
	name := func() string { n++; return fmt.Sprint("name", n) }
	return Backend{
		Store:  m,
		Client: m.PutClient,
		Invite: m.PutInvite,
		User: func() string {
			subject := name()
			m.PutUser(provider.User{Subject: subject})
			return subject
		},
		Session: func(subject string, expires time.Time) string {
			sid := name()
			m.PutSession(provider.Session{SID: sid, Subject: subject, AuthTime: time.Now(), Expires: expires})
			return sid
		},
		EndSession: m.RemoveSession,
		Told:       told.all,
	}
}

// A sink keeps what it is told.
type sink struct {
	mu   sync.Mutex
	told []feed.Event // guarded by mu
}

func (s *sink) Append(_ context.Context, _ time.Time, all ...feed.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, all...)
	return nil
}

func (s *sink) all() []feed.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told
}
