package server_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
)

func TestAProgramAroundTheServerSpendsAOneTimeTokenOnceAndAcrossRestarts(t *testing.T) {
	for name, jwt := range map[string]bool{"opaque": false, "JWT": true} {
		t.Run(name, func(t *testing.T) {
			cfg := server.Config{Data: t.TempDir(), Dev: true, PublicURL: "http://localhost:3000"}
			begin := func() *server.Server {
				t.Helper()
				s, err := server.New(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			s := begin()
			token, err := s.IssueOneTime(t.Context(), server.OneTime{Purpose: "invite", Subject: "ann", JWT: jwt})
			if err != nil {
				t.Fatal(err)
			}
			refused := func(purpose string, token admit.Secret) {
				t.Helper()
				if who, err := s.SpendOneTime(t.Context(), purpose, token); admit.KindOf(err) != admit.Unauthenticated || who != "" {
					t.Errorf("for %q it is %q's: %v", purpose, who, err)
				}
			}
			for _, text := range []string{"", "adm_o_nobody", "a.b.c", token.Reveal() + "x", token.Reveal()[:len(token.Reveal())-1]} {
				refused("invite", admit.NewSecret(text))
			}
			refused("reset", token) // which spends nothing
			s.Close()
			s = begin()
			var good atomic.Int32
			var work sync.WaitGroup
			for range 20 {
				work.Go(func() {
					if who, err := s.SpendOneTime(t.Context(), "invite", token); err == nil && who == "ann" {
						good.Add(1)
					}
				})
			}
			work.Wait()
			if n := good.Load(); n != 1 {
				t.Errorf("it was spent %d times", n)
			}
			s.Close()
			s = begin()
			defer s.Close()
			refused("invite", token)
		})
	}
}
