package providertest

import (
	"errors"
	"strings"
	"time"

	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/token"
)

// newPushed is a request that was pushed, in which every field says something. A long one
// is no shorter when it is read.
func (k *kit) newPushed() *provider.Pushed {
	t := token.New(token.OneTime)
	return &provider.Pushed{
		Selector: t.Selector(), Digest: t.Digest(), Client: app, Query: "claims=%7B%7D&state=" + strings.Repeat("'\"%00+", 2000),
		At: k.now.Add(-time.Millisecond), Expires: k.now.Add(time.Hour),
	}
}

func (k *kit) pushed(selector string) *provider.Pushed {
	k.Helper()
	return read(k, func(tx provider.Tx) (*provider.Pushed, error) { return tx.Pushed(selector) })
}

func pushedGoesOnce(k *kit) {
	a, b := k.newPushed(), k.newPushed()
	b.Client = other
	k.update(func(tx provider.Tx) error { return errors.Join(tx.AddPushed(a), tx.AddPushed(b)) })
	same(k, k.pushed(a.Selector), a)
	same(k, k.pushed(b.Selector), b)
	if p := k.pushed(token.New(token.OneTime).Selector()); p != nil {
		k.Errorf("there is %+v that nobody has pushed", p)
	}
	if err := k.Store.Update(k.ctx, func(tx provider.Tx) error {
		c := *a
		c.Query = "2"
		return tx.AddPushed(&c)
	}); err == nil {
		k.Error("one is added in the place of another")
	}
	same(k, k.pushed(a.Selector), a)
	broken := errors.New("broken")
	if err := k.Store.Update(k.ctx, func(tx provider.Tx) error {
		_, err := tx.DropPushed(a.Selector)
		return errors.Join(err, tx.AddPushed(k.newPushed()), broken)
	}); !errors.Is(err, broken) {
		k.Errorf("Update: %v", err)
	}
	same(k, k.pushed(a.Selector), a)
	for _, want := range []bool{true, false} {
		k.update(func(tx provider.Tx) error {
			first, err := tx.DropPushed(a.Selector)
			if first != want {
				k.Errorf("DropPushed = %t, want %t", first, want)
			}
			return err
		})
	}
	if k.pushed(a.Selector) != nil {
		k.Error("what was dropped is there")
	}
	same(k, k.pushed(b.Selector), b)
}

func oneDropsPushed(k *kit) {
	p := k.newPushed()
	k.update(func(tx provider.Tx) error { return tx.AddPushed(p) })
	k.once("drop a request", func(tx provider.Tx, _ int) (bool, error) { return tx.DropPushed(p.Selector) })
}
