package providertest

import (
	"errors"
	"time"

	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/token"
)

// newDevice is a device for which every field says something that a new one can.
func (k *kit) newDevice() *provider.Device {
	t := token.New(token.OneTime)
	return &provider.Device{
		Code: provider.Code{
			Selector: t.Selector(), Digest: t.Digest(), Expires: k.now.Add(20 * time.Minute),
			Asked: provider.Asked{Client: app, Scopes: []string{"openid", "email"}, Audiences: []string{"https://api.example"}, At: k.now.Add(-2 * time.Second)},
		},
		UserCode: token.New(token.OneTime).Selector(), Address: "2001:db8::1", Interval: 5 * time.Second,
	}
}

func (k *kit) addDevice() *provider.Device {
	k.Helper()
	d := k.newDevice()
	k.update(func(tx provider.Tx) error { return tx.AddDevice(d) })
	return d
}

// decider is who decides.
func (k *kit) decider() *provider.Session { s := k.newCode().Session; return &s }

func (k *kit) deviceOf(userCode string) *provider.Device {
	k.Helper()
	return read(k, func(tx provider.Tx) (*provider.Device, error) { return tx.DeviceOf(userCode) })
}

// decides returns whether a decision was the first.
func (k *kit) decides(selector string, d provider.Decision) (first bool) {
	k.Helper()
	k.update(func(tx provider.Tx) (err error) {
		first, err = tx.DecideDevice(selector, d, k.decider())
		return err
	})
	return first
}

func (k *kit) spendsDevice(selector, grant string) (first bool) {
	k.Helper()
	k.update(func(tx provider.Tx) (err error) {
		first, err = tx.SpendDevice(selector, grant)
		return err
	})
	return first
}

func deviceComesBack(k *kit) {
	a, b := k.newDevice(), k.newDevice()
	b.Asked, b.Address = provider.Asked{Client: other, At: k.now}, ""
	k.update(func(tx provider.Tx) error { return errors.Join(tx.AddDevice(a), tx.AddDevice(b)) })
	for _, d := range []*provider.Device{a, b} {
		same(k, k.device(d.Selector), d)
		same(k, k.deviceOf(d.UserCode), d)
	}
	if k.device(a.UserCode) != nil || k.deviceOf(a.Selector) != nil || k.deviceOf("") != nil || k.device("") != nil {
		k.Error("a device is found by another name")
	}
	for what, change := range map[string]func(*provider.Device){
		"device code": func(d *provider.Device) { d.Selector = a.Selector },
		"user code":   func(d *provider.Device) { d.UserCode = a.UserCode },
	} {
		d := k.newDevice()
		change(d)
		if err := k.Store.Update(k.ctx, func(tx provider.Tx) error { return tx.AddDevice(d) }); err == nil {
			k.Errorf("a device is added with the %s of another one", what)
		}
	}
	same(k, k.device(a.Selector), a)
	same(k, k.deviceOf(a.UserCode), a)
}

func deviceIsDecided(k *kit) {
	a, b := k.addDevice(), k.addDevice()
	if k.spendsDevice(a.Selector, "g0") {
		k.Error("a device that nobody has allowed is spent")
	}
	same(k, k.device(a.Selector), a)
	if !k.decides(a.Selector, provider.Allow) {
		k.Fatal("who decides first is told that he is not the first")
	}
	if k.decides(a.Selector, provider.Deny) || k.decides(a.Selector, provider.Allow) {
		k.Error("a device is decided about twice")
	}
	want := *a
	want.Decision, want.Session = provider.Allow, *k.decider()
	same(k, k.device(a.Selector), &want)
	if !k.spendsDevice(a.Selector, "g1") || k.spendsDevice(a.Selector, "g2") {
		k.Error("a device is not spent once")
	}
	want.Grant = "g1"
	same(k, k.deviceOf(a.UserCode), &want)
	same(k, k.device(b.Selector), b)
	gone := k.newDevice().Selector
	if k.decides(gone, provider.Allow) || k.spendsDevice(gone, "g") {
		k.Error("a device that is not there is decided about, or spent")
	}
}

func deniedIsNothing(k *kit) {
	d := k.addDevice()
	if !k.decides(d.Selector, provider.Deny) || k.decides(d.Selector, provider.Allow) || k.spendsDevice(d.Selector, "g") {
		k.Error("a device that was denied is allowed, or spent")
	}
	if got := k.device(d.Selector); got == nil || got.Decision != provider.Deny || got.Grant != "" || got.Session.SID != k.sid {
		k.Errorf("it is %+v", got)
	}
}

func deviceSlows(k *kit) {
	d, e := k.addDevice(), k.addDevice()
	k.update(func(tx provider.Tx) error { return tx.SlowDevice(d.Selector, 10*time.Second) })
	want := *d
	want.Interval = 10 * time.Second
	same(k, k.device(d.Selector), &want)
	same(k, k.device(e.Selector), e)
}

func oneDecides(k *kit) {
	d := k.addDevice()
	k.once("decide about a device", func(tx provider.Tx, i int) (bool, error) {
		return tx.DecideDevice(d.Selector, []provider.Decision{provider.Allow, provider.Deny}[i%2], k.decider())
	})
}

func oneSpendsDevice(k *kit) {
	d := k.addDevice()
	k.decides(d.Selector, provider.Allow)
	k.once("spend a device", func(tx provider.Tx, i int) (bool, error) {
		return tx.SpendDevice(d.Selector, []string{"g1", "g2"}[i%2])
	})
}
