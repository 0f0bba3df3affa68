package providertest

import (
	"errors"
	"time"

	"github.com/admit-auth/admit/provider"
)

func spentIsKnown(k *kit) {
	spent := func(purpose, id string) bool {
		k.Helper()
		return read(k, func(tx provider.Tx) (bool, error) { return tx.Spent(purpose, id) })
	}
	if spent("a", "1") {
		k.Error("an id was spent that nobody has")
	}
	k.update(func(tx provider.Tx) error {
		_, err := tx.Spend("a", "1", k.now.Add(time.Hour))
		return err
	})
	if !spent("a", "1") || spent("b", "1") || spent("a", "2") {
		k.Error("another id was spent than that one")
	}
}

func deliveriesAreDue(k *kit) {
	make := func(id string, after time.Duration) *provider.Delivery {
		return &provider.Delivery{ID: id, Client: app, Subject: k.subject, SID: k.sid, At: k.now, Due: k.now.Add(after)}
	}
	due := func(after time.Duration, most int) (ids string) {
		k.Helper()
		for _, d := range read(k, func(tx provider.Tx) ([]*provider.Delivery, error) { return tx.Deliveries(k.now.Add(after), most) }) {
			ids += d.ID
		}
		return ids
	}
	c := make("c", time.Second)
	k.update(func(tx provider.Tx) error {
		return errors.Join(tx.PutDelivery(make("a", 2*time.Second)), tx.PutDelivery(make("b", time.Minute)), tx.PutDelivery(c))
	})
	for _, w := range []struct {
		after time.Duration
		most  int
		want  string
	}{{0, 9, ""}, {time.Second, 9, "c"}, {2 * time.Second, 9, "ca"}, {time.Hour, 9, "cab"}, {time.Hour, 2, "ca"}} {
		if got := due(w.after, w.most); got != w.want {
			k.Errorf("due after %v are %q, want %q", w.after, got, w.want)
		}
	}
	c.Tries, c.Due, c.SID = 3, k.now.Add(time.Hour), ""
	k.update(func(tx provider.Tx) error {
		return errors.Join(tx.PutDelivery(c), tx.DropDelivery("a"), tx.DropDelivery("nobody's"))
	})
	if got := due(time.Hour, 9); got != "bc" {
		k.Errorf("due are %q, want %q", got, "bc")
	}
	all := read(k, func(tx provider.Tx) ([]*provider.Delivery, error) { return tx.Deliveries(k.now.Add(time.Hour), 9) })
	if len(all) == 2 {
		same(k, all[1], c)
	}
	broken := errors.New("broken")
	if err := k.Store.Update(k.ctx, func(tx provider.Tx) error {
		return errors.Join(tx.DropDelivery("b"), tx.PutDelivery(make("d", 0)), broken)
	}); !errors.Is(err, broken) {
		k.Errorf("Update: %v", err)
	}
	if got := due(time.Hour, 9); got != "bc" {
		k.Errorf("after an Update that failed due are %q", got)
	}
}
