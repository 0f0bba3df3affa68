package providertest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/token"
)

// tries are how many do something at once.
const tries = 64

// patience is for how long a transaction is waited for that may itself wait.
const patience = 100 * time.Millisecond

// atOnce runs fn so many times at once, and fails with what they say.
func (k *kit) atOnce(fn func(i int) error) {
	k.Helper()
	var wg sync.WaitGroup
	begin := make(chan struct{})
	errs := make([]error, tries)
	for i := range tries {
		wg.Go(func() {
			<-begin
			errs[i] = fn(i)
		})
	}
	close(begin)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		k.Fatal(err)
	}
}

// once checks that of many that do something at once one is told that it was the first.
func (k *kit) once(what string, do func(tx provider.Tx, i int) (bool, error)) {
	k.Helper()
	var firsts atomic.Int32
	k.atOnce(func(i int) error {
		first := false
		err := k.Store.Update(k.ctx, func(tx provider.Tx) (err error) {
			first, err = do(tx, i)
			return err
		})
		if err == nil && first {
			firsts.Add(1)
		}
		return err
	})
	if n := firsts.Load(); n != 1 {
		k.Errorf("of %d that %s at once %d were the first", tries, what, n)
	}
}

func oneSpendsCode(k *kit) {
	c := k.addCode()
	k.once("spend a code", func(tx provider.Tx, i int) (bool, error) {
		g := k.newGrant()
		first, err := tx.SpendCode(c.Selector, g.ID)
		if first {
			err = errors.Join(err, tx.AddGrant(g))
		}
		return first, err
	})
	all := read(k, func(tx provider.Tx) ([]*provider.Grant, error) { return tx.GrantsOf(k.subject, app) })
	if len(all) != 1 || k.code(c.Selector).Grant != all[0].ID {
		k.Errorf("one code is %d grants", len(all))
	}
}

func oneSpendsID(k *kit) {
	k.once("spend an id", func(tx provider.Tx, _ int) (bool, error) {
		return tx.Spend("assertion", "an id", k.now.Add(time.Hour))
	})
}

func oneEnds(k *kit) {
	g := k.addGrant()
	k.once("end a grant", func(tx provider.Tx, _ int) (bool, error) { return tx.EndGrant(g.ID, "gone", k.now) })
}

// Each reads at which rotation the grant is, and makes the next.
func noLostRotation(k *kit) {
	g := k.addGrant()
	k.atOnce(func(int) error {
		return k.Store.Update(k.ctx, func(tx provider.Tx) error {
			now, err := tx.Grant(g.ID)
			if err != nil {
				return err
			}
			return tx.RotateGrant(g.ID, now.N, token.New(token.Refresh).Digest(), k.now)
		})
	})
	if got := k.grant(g.ID); got.N != tries {
		k.Errorf("after %d rotations the grant is at %d", tries, got.N)
	}
}

// Two grants are always rotated together: nobody may see one without the other. While
// one is read both are rotated, in a transaction that may have to wait.
func oneMoment(k *kit) {
	a, b := k.addGrant(), k.addGrant()
	rotated := make(chan error, 1)
	begun := false
	k.view(func(tx provider.Tx) error {
		g, err := tx.Grant(a.ID)
		if err != nil {
			return err
		}
		if !begun { // a transaction may run again
			begun = true
			go func() {
				rotated <- k.Store.Update(k.ctx, func(tx provider.Tx) error {
					return errors.Join(tx.RotateGrant(a.ID, 0, token.New(token.Refresh).Digest(), k.now), tx.RotateGrant(b.ID, 0, token.New(token.Refresh).Digest(), k.now))
				})
			}()
			select {
			case err := <-rotated:
				rotated <- err
			case <-time.After(patience):
			}
		}
		h, err := tx.Grant(b.ID)
		if err == nil && g.N != h.N {
			k.Errorf("one grant is seen at rotation %d, and the other at %d", g.N, h.N)
		}
		return err
	})
	if err := <-rotated; err != nil {
		k.Fatal(err)
	}
	if g, h := k.grant(a.ID), k.grant(b.ID); g.N != 1 || h.N != 1 {
		k.Errorf("the grants are at rotations %d and %d", g.N, h.N)
	}
}

// Of two grants one must live: each transaction looks at the other one before it ends
// its own. Where two may commit that have each read what the other has changed, both
// end.
func noWriteSkew(k *kit) {
	const pairs = tries / 2
	var all [pairs][2]*provider.Grant
	for i := range all {
		all[i] = [2]*provider.Grant{k.addGrant(), k.addGrant()}
	}
	k.atOnce(func(i int) error {
		own, others := all[i/2][i%2], all[i/2][1-i%2]
		return k.Store.Update(k.ctx, func(tx provider.Tx) error {
			g, err := tx.Grant(others.ID)
			if err != nil || g.Ended != "" {
				return err
			}
			_, err = tx.EndGrant(own.ID, "gone", k.now)
			return err
		})
	})
	for _, p := range all {
		ended := 0
		for _, g := range p {
			if k.grant(g.ID).Ended != "" {
				ended++
			}
		}
		if ended != 1 {
			k.Errorf("of two grants of which one must live %d have ended", ended)
		}
	}
}

func endedContext(k *kit) {
	g := k.newGrant()
	ctx, end := context.WithCancel(k.ctx)
	end()
	if err := k.Store.Update(ctx, func(tx provider.Tx) error { return tx.AddGrant(g) }); !errors.Is(err, context.Canceled) {
		k.Errorf("Update = %v, want the context's error", err)
	}
	if err := k.Store.View(ctx, func(provider.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
		k.Errorf("View = %v, want the context's error", err)
	}
	if k.grant(g.ID) != nil {
		k.Error("it was done all the same")
	}
}
