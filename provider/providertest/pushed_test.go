package providertest

import "github.com/admit-auth/admit/provider"

func (tx *unlocked) Pushed(s string) (*provider.Pushed, error) {
	return looks(tx, func(in provider.Tx) (*provider.Pushed, error) { return in.Pushed(s) })
}

func (tx *twice) AddPushed(p *provider.Pushed) error {
	q := *p
	return tx.both(func(in provider.Tx) error { return in.AddPushed(&q) })
}
func (tx *twice) DropPushed(s string) (bool, error) {
	return tx.first(func(in provider.Tx) (bool, error) { return in.DropPushed(s) })
}

func (tx *faultyTx) AddPushed(p *provider.Pushed) error {
	q := *p
	switch {
	case tx.is("a long request is cut") && len(q.Query) > 4096:
		q.Query = q.Query[:4096]
	case tx.is("requests are of one client"):
		q.Client = app
	}
	return tx.Tx.AddPushed(&q)
}
func (tx *faultyTx) DropPushed(s string) (bool, error) {
	first, err := tx.Tx.DropPushed(s)
	return first || tx.is("every drop is the first"), err
}
