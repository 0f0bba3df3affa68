package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/revocation"
	"github.com/admit-auth/admit/server/internal/keyring"
	"github.com/admit-auth/admit/server/internal/web"
)

func TestRotatingUnderFullLoadFailsNoVerification(t *testing.T) {
	for _, tt := range []struct {
		name         string
		every, ahead time.Duration
		remote       jose.RemoteOptions
		long         time.Duration
		signers      int // that are seen at least
	}{
		{"every 2 s, with nothing set", 2 * time.Second, publishedAhead, jose.RemoteOptions{}, 7 * time.Second, 2},
		// Shorter times, with room for a slow fetch: a key that is new is waited for.
		{"every 100 ms", 100 * time.Millisecond, 3 * time.Second, jose.RemoteOptions{CoolDown: 200 * time.Millisecond}, 8 * time.Second, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := New(t.Context(), Config{Data: t.TempDir(), Dev: true, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			s.keys, err = keyring.Open(t.Context(), s.db, keyring.Options{Life: web.SealedLife, Signed: signedLife, Ahead: tt.ahead}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if err := s.show(); err != nil {
				t.Fatal(err)
			}
			edge := httptest.NewServer(s.Handler())
			defer edge.Close()
			away, err := jose.NewRemoteKeySet(edge.URL+"/oauth/jwks", &tt.remote)
			if err != nil {
				t.Fatal(err)
			}
			verify := func(keys jose.KeySource) *jose.Verifier[struct{}] {
				v, err := jose.NewVerifier(keys, jose.Expected{
					Algorithms: []jose.Algorithm{jose.ES256}, Issuer: "us", Audience: []string{"you"}, Type: "at+jwt",
				}, &jose.VerifierOptions[struct{}]{Remember: 1000})
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
			here, there := verify(s.keys), verify(away)
			sign := func() (string, string, error) {
				key := s.keys.Signing()
				by, err := jose.NewSigner[struct{}](key, "at+jwt", nil)
				if err != nil {
					return "", "", err
				}
				token, err := by.Sign(&jose.Claims[struct{}]{Issuer: "us", Audience: []string{"you"}, Expires: time.Now().Add(5 * time.Minute)})
				return token, key.ID(), err
			}
			ctx, stop := context.WithTimeout(t.Context(), tt.long)
			defer stop()
			var work sync.WaitGroup
			var verified atomic.Int64
			var signers sync.Map
			for range 2 * runtime.GOMAXPROCS(0) {
				work.Go(func() {
					first, _, err := sign() // which is verified to the end
					for ctx.Err() == nil && err == nil {
						var token, kid string
						if token, kid, err = sign(); err != nil {
							break
						}
						signers.Store(kid, true)
						for _, v := range []*jose.Verifier[struct{}]{here, there} {
							for _, token := range []string{token, token, first} {
								if _, bad := v.Verify(t.Context(), token); bad != nil {
									t.Errorf("%s: %v", map[bool]string{true: "here", false: "elsewhere"}[v == here], bad)
									return
								}
								verified.Add(1)
							}
						}
					}
					if err != nil {
						t.Error(err)
					}
				})
			}
			rotations := 0
			for tick := time.NewTicker(tt.every); ctx.Err() == nil; {
				select {
				case <-ctx.Done():
					tick.Stop()
				case now := <-tick.C:
					if _, err := s.keys.Rotate(t.Context(), keyring.Signing, "operator", now); err != nil {
						t.Fatal(err)
					}
					rotations++
				}
			}
			work.Wait()
			seen := 0
			signers.Range(func(any, any) bool { seen++; return true })
			t.Logf("%d rotations, %d verifications, %d keys have signed", rotations, verified.Load(), seen)
			if rotations < 3 || verified.Load() < 1000 || seen < tt.signers {
				t.Error("that was no load")
			}
			// And then the key leaks: what is remembered of it dies with it.
			token, kid, err := sign()
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range []*jose.Verifier[struct{}]{here, there, here, there} {
				if _, err := v.Verify(t.Context(), token); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := s.keys.Retire(t.Context(), kid, true, "operator", time.Now()); err != nil {
				t.Fatal(err)
			}
			if _, err := here.Verify(t.Context(), token); !errors.Is(err, jose.ErrKey) {
				t.Errorf("here, at once: %v", err)
			}
			if err := away.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := there.Verify(t.Context(), token); !errors.Is(err, jose.ErrKey) {
				t.Errorf("elsewhere, once its set was fetched: %v", err)
			}
			if token, _, err = sign(); err != nil {
				t.Fatal(err)
			}
			for _, v := range []*jose.Verifier[struct{}]{here, there} {
				if _, err := v.Verify(t.Context(), token); err != nil {
					t.Errorf("by the fresh key: %v", err)
				}
			}
		})
	}
}

func TestWhoFollowsTheFeedRefusesTokensOfAKeyThatWasTakenBackInUnderASecond(t *testing.T) {
	s, err := New(t.Context(), Config{Data: t.TempDir(), Dev: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	edge := httptest.NewServer(s.Handler())
	defer edge.Close()
	away, err := jose.NewRemoteKeySet(edge.URL+"/oauth/jwks", nil)
	if err != nil {
		t.Fatal(err)
	}
	ended := revocation.New(nil)
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	defer work.Wait()
	defer stop()
	work.Go(func() { _ = ended.Run(ctx, s.db.Feed()) }) // it ends with ctx
	type ids struct {
		digests revocation.Digests
	}
	v, err := jose.NewVerifier(away, jose.Expected{
		Algorithms: []jose.Algorithm{jose.ES256}, Issuer: "us", Audience: []string{"you"}, Type: "at+jwt",
	}, &jose.VerifierOptions[ids]{
		Remember: 1000,
		Prepare:  func(c *jose.Claims[ids]) { c.Data.digests = revocation.IDs{Key: c.Header.KeyID}.Digest() },
		Check: func(_ context.Context, c *jose.Claims[ids], now time.Time) error {
			return ended.Check(&c.Data.digests, now)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	by, err := jose.NewSigner[ids](s.keys.Signing(), "at+jwt", nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := by.Sign(&jose.Claims[ids]{Issuer: "us", Audience: []string{"you"}, Expires: time.Now().Add(5 * time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); ; {
		if _, err := v.Verify(t.Context(), token); err == nil {
			break
		} else if !errors.Is(err, revocation.ErrStale) || time.Since(begun) > 10*time.Second {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	if _, err := s.keys.Retire(t.Context(), s.keys.Signing().ID(), true, "operator", time.Now()); err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); ; {
		_, err := v.Verify(t.Context(), token)
		took := time.Since(begun)
		if err != nil {
			if !errors.Is(err, revocation.ErrEnded) {
				t.Error(err)
			}
			t.Logf("refused after %v", took)
			return
		}
		if took > time.Second {
			t.Fatal("it is not refused")
		}
	}
}
