package providertest

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit/provider"
)

func clientGoes(k *kit) {
	_, digest := provider.NewSecret()
	c := provider.Client{
		ID: "sELF-registered_1", Name: "Ein Gerät", Auth: provider.AnySecret, Secrets: []provider.ClientSecret{digest}, Grants: []provider.GrantType{provider.AuthorizationCode},
		RedirectURIs: []string{"https://self.example/back"}, Scopes: []string{"openid"}, CreatedAt: k.now,
		Registered: &provider.Registered{Selector: digest.Selector, Digest: digest.Digest, Invite: "invite", Limits: provider.Limits{
			Grants: []provider.GrantType{provider.AuthorizationCode}, Scopes: []string{"openid", "orders"}, Audiences: []string{"https://api.example"},
		}},
	}
	client := func(id string) *provider.Client {
		k.Helper()
		return read(k, func(tx provider.Tx) (*provider.Client, error) { return tx.Client(id) })
	}
	put := func(c provider.Client) {
		k.Helper()
		k.update(func(tx provider.Tx) error { return tx.PutClient(&c) })
	}
	put(c)
	same(k, client(c.ID), &c)
	c.Name, c.Registered = "Another", &provider.Registered{Selector: "x"}
	put(c)
	same(k, client(c.ID), &c)

	g, code, device, pushed := k.newGrant(), k.newCode(), k.newDevice(), k.newPushed()
	g.Client, code.Asked.Client, device.Asked.Client, pushed.Client = c.ID, c.ID, c.ID, c.ID
	kept := k.addGrant()
	k.update(func(tx provider.Tx) error {
		return errors.Join(tx.AddGrant(g), tx.AddCode(code), tx.AddDevice(device), tx.AddPushed(pushed), tx.PutConsent(&provider.Consent{Subject: k.subject, Client: c.ID, GivenAt: k.now, LastUsed: k.now}))
	})
	broken := errors.New("broken")
	if err := k.Store.Update(k.ctx, func(tx provider.Tx) error { return errors.Join(tx.DeleteClient(c.ID), broken) }); !errors.Is(err, broken) {
		k.Errorf("Update: %v", err)
	}
	if client(c.ID) == nil || k.grant(g.ID) == nil || k.code(code.Selector) == nil {
		k.Error("after an Update that failed the client has gone, or what it was allowed")
	}
	for _, id := range []string{c.ID, c.ID, "nobody"} {
		k.update(func(tx provider.Tx) error { return tx.DeleteClient(id) })
	}
	consents := read(k, func(tx provider.Tx) ([]*provider.Consent, error) { return tx.Consents(k.subject) })
	waits := read(k, func(tx provider.Tx) (*provider.Device, error) { return tx.DeviceOf(device.UserCode) })
	asked := read(k, func(tx provider.Tx) (*provider.Pushed, error) { return tx.Pushed(pushed.Selector) })
	if client(c.ID) != nil || k.grant(g.ID) != nil || k.code(code.Selector) != nil || waits != nil || asked != nil || len(consents) > 0 {
		k.Error("a client has gone, and not all that it was allowed")
	}
	live := read(k, func(tx provider.Tx) ([]*provider.Grant, error) { return tx.GrantsOf(k.subject, "") })
	if client(app) == nil || len(live) != 1 || live[0].ID != kept.ID {
		k.Error("with a client another's grants have gone")
	}
}

// newInvite makes an invite that is good so often, for an hour.
func (k *kit) newInvite(uses int) provider.Invite {
	_, i := provider.NewInvite(uses, k.now.Add(time.Hour), provider.Limits{Grants: []provider.GrantType{provider.AuthorizationCode}, Scopes: []string{"openid"}, Audiences: []string{"https://api.example"}})
	k.Invite(i)
	return i
}

func inviteIsUsed(k *kit) {
	i := k.newInvite(2)
	is := func() *provider.Invite {
		k.Helper()
		return read(k, func(tx provider.Tx) (*provider.Invite, error) { return tx.Invite(i.ID) })
	}
	use := func(id string, after time.Duration) (used bool) {
		k.Helper()
		k.update(func(tx provider.Tx) (err error) {
			used, err = tx.UseInvite(id, k.now.Add(after))
			return err
		})
		return used
	}
	same(k, is(), &i)
	if use(i.ID, time.Hour) || use("nobody's", 0) {
		k.Error("an invite is used that is not good")
	}
	if !use(i.ID, 0) || !use(i.ID, time.Hour-time.Millisecond) || use(i.ID, 0) {
		k.Error("an invite is not used as often as it says")
	}
	if i.Uses = 0; is() != nil {
		same(k, is(), &i)
	}
}

func someUseInvite(k *kit) {
	i := k.newInvite(3)
	var n atomic.Int32
	k.atOnce(func(int) error {
		used := false
		err := k.Store.Update(k.ctx, func(tx provider.Tx) (err error) {
			used, err = tx.UseInvite(i.ID, k.now)
			return err
		})
		if err == nil && used {
			n.Add(1)
		}
		return err
	})
	if n := n.Load(); n != 3 {
		k.Errorf("%d have used an invite for 3", n)
	}
}
