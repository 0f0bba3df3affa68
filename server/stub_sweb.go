package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
)

// apps stands in for the rows of clients, consents and grants until the database has them.
func (s *Server) apps() provider.Store { return &standIn{stubMemory(s), s} }

// StubMemory is where tests register clients.
func (s *Server) StubMemory() *provider.Memory { return stubMemory(s) }

var stubs sync.Map

func stubMemory(s *Server) *provider.Memory {
	m, _ := stubs.LoadOrStore(s, provider.NewMemory(nil))
	return m.(*provider.Memory)
}

type standIn struct {
	*provider.Memory
	s *Server
}

type standInTx struct {
	provider.Tx
	ctx context.Context
	s   *Server
}

func (st *standIn) View(ctx context.Context, fn func(provider.Tx) error) error {
	return st.Memory.View(ctx, func(tx provider.Tx) error { return fn(standInTx{tx, ctx, st.s}) })
}

func (st *standIn) Update(ctx context.Context, fn func(provider.Tx) error) error {
	return st.Memory.Update(ctx, func(tx provider.Tx) error { return fn(standInTx{tx, ctx, st.s}) })
}

func (tx standInTx) Session(sid string, now time.Time) (*provider.Session, error) {
	i, err := tx.s.sessions.Find(tx.ctx, sid)
	if errors.Is(err, session.ErrUnknown) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &provider.Session{SID: i.SID, Subject: i.Subject, AuthTime: i.AuthTime, ACR: i.ACR, AMR: i.AMR(), Expires: i.ExpiresAt}, nil
}

func (tx standInTx) User(subject string) (*provider.User, error) {
	u, err := tx.s.accounts.User(tx.ctx, subject)
	if errors.Is(err, account.ErrUnknownUser) || err == nil && u.Disabled {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &provider.User{Subject: u.ID, Claims: map[string]any{"name": u.Name}}, nil
}
