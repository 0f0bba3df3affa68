package providertest

import (
	"time"

	"github.com/admit-auth/admit/provider"
)

func (tx *unlocked) Invite(id string) (*provider.Invite, error) {
	return looks(tx, func(in provider.Tx) (*provider.Invite, error) { return in.Invite(id) })
}

func (tx *twice) PutClient(c *provider.Client) error {
	return tx.both(func(in provider.Tx) error { return in.PutClient(c) })
}
func (tx *twice) DeleteClient(id string) error {
	return tx.both(func(in provider.Tx) error { return in.DeleteClient(id) })
}
func (tx *twice) UseInvite(id string, now time.Time) (bool, error) {
	return tx.first(func(in provider.Tx) (bool, error) { return in.UseInvite(id, now) })
}

func (tx *faultyTx) PutClient(c *provider.Client) error {
	d := *c
	if tx.is("limits of a client are forgotten") && d.Registered != nil {
		of := *d.Registered
		of.Limits = provider.Limits{}
		d.Registered = &of
	}
	return tx.Tx.PutClient(&d)
}
func (tx *faultyTx) DeleteClient(id string) error {
	if tx.is("clients do not go") {
		return nil
	}
	return tx.Tx.DeleteClient(id)
}
func (tx *faultyTx) UseInvite(id string, now time.Time) (bool, error) {
	switch i, err := tx.Tx.Invite(id); {
	case tx.is("invites are used for ever"):
		return i != nil && now.Before(i.Expires), err
	case tx.is("an invite that has expired is used"):
		now = time.Time{}
	}
	return tx.Tx.UseInvite(id, now)
}
