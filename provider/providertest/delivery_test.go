package providertest

import (
	"time"

	"github.com/admit-auth/admit/provider"
)

func (tx *unlocked) Spent(purpose, id string) (bool, error) {
	return looks(tx, func(in provider.Tx) (bool, error) { return in.Spent(purpose, id) })
}
func (tx *unlocked) Deliveries(now time.Time, most int) ([]*provider.Delivery, error) {
	return looks(tx, func(in provider.Tx) ([]*provider.Delivery, error) { return in.Deliveries(now, most) })
}

func (tx *twice) PutDelivery(d *provider.Delivery) error {
	e := *d
	return tx.both(func(in provider.Tx) error { return in.PutDelivery(&e) })
}
func (tx *twice) DropDelivery(id string) error {
	return tx.both(func(in provider.Tx) error { return in.DropDelivery(id) })
}

func (tx *faultyTx) Spent(purpose, id string) (bool, error) {
	switch tx.s.fault {
	case "nothing was spent":
		return false, nil
	// As Spend has it, so that what is caught is that.
	case "purposes are one":
		purpose = ""
	case "purpose and id are run together":
		purpose, id = "", purpose+id
	}
	return tx.Tx.Spent(purpose, id)
}
func (tx *faultyTx) Deliveries(now time.Time, most int) ([]*provider.Delivery, error) {
	if tx.is("all deliveries are due") {
		now = now.Add(365 * 24 * time.Hour)
	}
	return tx.Tx.Deliveries(now, most)
}
func (tx *faultyTx) DropDelivery(id string) error {
	if tx.is("deliveries are not dropped") {
		return nil
	}
	return tx.Tx.DropDelivery(id)
}
