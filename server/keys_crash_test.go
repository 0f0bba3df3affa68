//go:build unix

package server_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/server"
)

func TestKillNineWhileKeysChangeLosesNone(t *testing.T) {
	data, port := t.TempDir(), freePort(t)
	a, b := cookie.GenerateKey(), cookie.GenerateKey()
	master := filepath.Join(t.TempDir(), "master.key")
	if err := os.WriteFile(master, []byte(a+"\n"+b+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rounds, changes := 6, 0
	if testing.Short() {
		rounds = 2
	}
	token := ""
	for round := range rounds {
		p := serve(t, data, port, "--master-key-file", master)
		if token == "" {
			token = p.ask("POST", "/api/v1/signup", "", m{"identifier": "ann", "password": goodPassword, "as": "token"}).Token
		}
		if got := p.ask("GET", "/api/v1/session", token, nil); got.status != 200 {
			t.Fatalf("after crash %d: %d %s", round, got.status, got.Body)
		}
		o, err := server.Connect(t.Context(), server.Config{Data: data})
		if err != nil {
			t.Fatal(err)
		}
		before, err := o.Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// Keys change as fast as they can until the crash.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		acknowledged := make(chan []string)
		first := make(chan struct{})
		go func() {
			var made []string
			defer func() { acknowledged <- made }()
			for n := 0; ; n++ {
				k, err := o.RotateKey(ctx, []string{"cookies", "signing"}[n%2])
				if err != nil {
					return
				}
				if made = append(made, k.ID); n == 0 {
					close(first)
				}
				with := map[bool]string{true: a, false: b}[n%4 < 2]
				if _, err := o.ResealKeys(ctx, server.Reseal{Masters: admit.NewSecret(with)}); err != nil {
					return
				}
			}
		}()
		<-first
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond) // anywhere in the middle
		p.kill()
		made := <-acknowledged
		cancel()
		o.Close()
		changes += len(made)
		// Without the server: all keys are there, and all of them open.
		o, err = server.Connect(t.Context(), server.Config{Data: data, MasterKeyFile: master})
		if err != nil {
			t.Fatalf("after crash %d: %v", round+1, err)
		}
		all, err := o.Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		known := map[string]bool{}
		states := map[string]int{}
		for _, k := range all {
			known[k.ID] = true
			states[k.Purpose+" "+string(k.State)]++
			if k.MasterKey != all[0].MasterKey || k.MasterKey == "" {
				t.Errorf("keys are sealed by %q and by %q", k.MasterKey, all[0].MasterKey)
			}
		}
		for _, k := range before {
			made = append(made, k.ID)
		}
		for _, id := range made {
			if !known[id] {
				t.Errorf("key %s is lost", id)
			}
		}
		for _, one := range []string{"cookies active", "signing active"} {
			if states[one] != 1 {
				t.Errorf("keys are %v", states)
			}
		}
		if states["signing next"] == 0 {
			t.Errorf("keys are %v", states)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d acknowledged rotations, %d crashes", changes, rounds)
	if changes < rounds {
		t.Errorf("only %d changes: nothing was tested", changes)
	}
}
