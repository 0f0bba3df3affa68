package browser

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
)

// A device is a virtual authenticator in a profile's tab.
type device struct {
	p  *profile
	id webauthn.AuthenticatorID
}

// device adds one that is part of the machine and checks who sits there. With its
// own dialogs Chromium would wait for a click that nothing can make.
func (p *profile) device() *device {
	p.t.Helper()
	d := &device{p: p}
	d.do(func(ctx context.Context) error {
		if _, err := chromedp.Call(ctx, webauthn.Enable, webauthn.EnableParams{}); err != nil {
			return err
		}
		added, err := chromedp.Call(ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{
			Options: &webauthn.VirtualAuthenticatorOptions{
				Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
				HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
			},
		})
		d.id = added.AuthenticatorID
		return err
	})
	return d
}

func (d *device) do(fn func(context.Context) error) {
	d.p.t.Helper()
	d.p.do(func(ctx context.Context, _ *chromedp.Target) (v chromedp.Void, err error) { return v, fn(ctx) })
}

// touched says whether somebody touches it as soon as it is asked. What a page
// asks for among the suggestions of a field is answered at once, too.
func (d *device) touched(yes bool) {
	d.p.t.Helper()
	d.do(func(ctx context.Context) error {
		_, err := chromedp.Call(ctx, webauthn.SetAutomaticPresenceSimulation, webauthn.SetAutomaticPresenceSimulationParams{AuthenticatorID: d.id, Enabled: yes})
		return err
	})
}

// keys are those that it holds.
func (d *device) keys() (keys []*webauthn.Credential) {
	d.p.t.Helper()
	d.do(func(ctx context.Context) error {
		got, err := chromedp.Call(ctx, webauthn.GetCredentials, webauthn.GetCredentialsParams{AuthenticatorID: d.id})
		keys = got.Credentials
		return err
	})
	return keys
}

// addKey is webauthn.AddCredential without what it always sends along, and this
// authenticator does not know.
var addKey = cdp.Command[addedKey, cdp.Empty]{Method: webauthn.CommandAddCredential}

type (
	addedKey struct {
		Device webauthn.AuthenticatorID `json:"authenticatorId"`
		Key    storedKey                `json:"credential"`
	}
	storedKey struct {
		ID       []byte  `json:"credentialId"`
		Resident bool    `json:"isResidentCredential"`
		Site     string  `json:"rpId"`
		Private  []byte  `json:"privateKey"`
		Handle   []byte  `json:"userHandle"`
		Count    float64 `json:"signCount"`
	}
)

// put gives it a key, as it was at some time.
func (d *device) put(key *webauthn.Credential) {
	d.p.t.Helper()
	d.do(func(ctx context.Context) error {
		if _, err := chromedp.Call(ctx, webauthn.ClearCredentials, webauthn.ClearCredentialsParams{AuthenticatorID: d.id}); err != nil {
			return err
		}
		_, err := chromedp.Call(ctx, addKey, addedKey{d.id, storedKey{key.CredentialID, true, key.RpID, key.PrivateKey, key.UserHandle, key.SignCount}})
		return err
	})
}

// forgets waits until the browser has made it forget all its keys.
func (d *device) forgets() {
	d.p.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); len(d.keys()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			d.p.t.Fatalf("the device holds %d keys", len(d.keys()))
		}
	}
}

// waitAt waits until a page that leads on by itself has led to a path.
func (p *profile) waitAt(path string) {
	p.t.Helper()
	got := ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		ctx, cancel := p.within()
		// A page that is on its way away cannot be asked.
		if at, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.readyState === "complete" ? location.pathname : ""`)); err == nil {
			got = at
		}
		cancel()
		if got == path {
			return
		}
	}
	p.t.Fatalf("at %q, want %s\n%s", got, path, p.text())
}

// signOut signs out. Nobody touches the device meanwhile, so that no page signs in
// again.
func (d *device) signOut() {
	d.p.t.Helper()
	d.touched(false)
	d.p.open("/signout")
	d.p.press("Sign out")
	d.p.at("/")
}

// entrance opens the page to sign in, whose question among the suggestions waits.
func (d *device) entrance() {
	d.p.t.Helper()
	d.touched(false)
	d.p.open("/signin")
	d.touched(true)
}

// withScripts runs a journey in each way but without scripts.
func withScripts(t *testing.T, journey func(*testing.T, mode)) {
	everyWay(t, func(t *testing.T, m mode) {
		if !m.noScript {
			journey(t, m)
		}
	})
}

func TestAPersonAddsAPasskeySignsInByButtonAndBySuggestionAndRemovesIt(t *testing.T) {
	withScripts(t, func(t *testing.T, m mode) {
		p := newSite(t).profile(t, m)
		d := p.device()
		p.signUp("ann")
		p.open("/account/security")
		p.press("Passkeys")
		p.at("/account/passkeys")
		p.sees("There is no passkey.")
		p.press("Add a passkey")
		p.at("/account/passkeys")
		p.sees("The passkey is added.", "Chrome on Linux", "on one device")
		if keys := d.keys(); len(keys) != 1 || keys[0].UserName != "ann" {
			t.Fatalf("the device holds %v", keys)
		}
		// One that it holds it makes no second time.
		p.do(p.pressing("Add a passkey"))
		p.waitFor("There is a passkey of yours already.")

		d.signOut()
		d.entrance()
		p.press("Sign in with a passkey")
		p.at("/account")

		d.signOut()
		d.touched(true)
		p.do(chromedp.Navigate(p.site.url + "/signin?return_to=/account/sessions"))
		p.waitAt("/account/sessions")
		p.judge()

		p.open("/account/passkeys")
		p.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("details").open = true`))
		p.do(chromedp.SetValue(chromedp.CSS("details input"), "Blue key"))
		p.press("Save the name")
		p.sees("The passkey has its new name.", "Blue key")
		p.press("Remove")
		p.sees("The passkey is removed", "There is no passkey.")
		d.forgets()
	})
}

func TestAPasskeyIsTheSecondFactorAndProvesWhoIsSignedIn(t *testing.T) {
	withScripts(t, func(t *testing.T, m mode) {
		p := newSite(t).profile(t, m)
		d := p.device()
		p.signUp("ann")
		p.open("/account/passkeys")
		p.tick("second")
		p.press("Add a passkey")
		p.sees("Recovery codes")
		p.open("/account/passkeys")
		p.sees("asked for after the password")
		p.open("/account/confirm?return_to=/account/activity")
		p.press("Confirm with a passkey")
		p.at("/account/activity")

		d.signOut()
		p.open("/signin")
		p.fill("identifier", "ann")
		p.fill("password", goodPassword)
		p.press("Sign in")
		p.at("/signin/factor")
		d.touched(true)
		p.press("Go on with a passkey")
		p.at("/account")

		p.open("/account/passkeys")
		p.press("Do not ask for it after the password")
		p.sees("no more")
	})
}

func TestAPasskeyIsOfferedOnceAfterAPassword(t *testing.T) {
	withScripts(t, func(t *testing.T, m mode) {
		p := newSite(t).profile(t, m)
		d := p.device()
		d.touched(false)
		p.signUp("ann")
		d.signOut()
		d.entrance()
		p.fill("identifier", "ann")
		p.fill("password", goodPassword)
		p.press("Sign in")
		p.at("/account/passkeys/offer?return_to=")
		p.sees("Sign in faster next time")
		p.press("Not now")
		p.at("/account")
		d.signOut()
		d.entrance()
		p.fill("identifier", "ann")
		p.fill("password", goodPassword)
		p.press("Sign in")
		p.at("/account")
	})
}

func TestAnOfferedPasskeyIsAdded(t *testing.T) {
	p := newSite(t).profile(t, desktop)
	d := p.device()
	d.touched(false)
	p.signUp("ann")
	d.signOut()
	p.open("/signin?return_to=/account/sessions")
	p.fill("identifier", "ann")
	p.fill("password", goodPassword)
	p.press("Sign in")
	p.sees("Sign in faster next time")
	d.touched(true)
	p.press("Add a passkey")
	p.at("/account/sessions")
	p.sees("The passkey is added.")
	d.signOut()
	d.entrance()
	// It is only convenient: the password is enough as before.
	p.fill("identifier", "ann")
	p.fill("password", goodPassword)
	p.press("Sign in")
	p.at("/account")
}

func TestACopyOfAPasskeyIsRefusedAndToldAndAnUnknownOneForgotten(t *testing.T) {
	p := newSite(t).profile(t, desktop)
	d := p.device()
	p.signUp("ann")
	p.open("/account/passkeys")
	p.press("Add a passkey")
	copied := d.keys()[0]
	d.signOut()
	d.entrance()
	p.press("Sign in with a passkey")
	p.at("/account")
	d.signOut()
	d.put(copied)
	d.entrance()
	p.pressTo("Sign in with a passkey", 401)
	p.sees("This passkey seems to exist twice")

	d.touched(false)
	p.signIn("ann", goodPassword)
	p.open("/account/passkeys")
	p.sees("copied", "Somebody seems to have a copy of it")
	p.press("Remove")
	d.forgets()
	d.signOut()
	d.put(copied)
	d.entrance()
	p.pressTo("Sign in with a passkey", 401)
	p.sees("This passkey is not known here any more.")
	d.forgets()
}

func TestADeviceThatDoesNotCheckWhoHoldsItSignsNobodyIn(t *testing.T) {
	p := newSite(t).profile(t, desktop)
	d := p.device()
	p.signUp("ann")
	p.open("/account/passkeys")
	p.press("Add a passkey")
	d.signOut()
	d.entrance()
	d.do(func(ctx context.Context) error {
		bad := true
		_, err := chromedp.Call(ctx, webauthn.SetResponseOverrideBits, webauthn.SetResponseOverrideBitsParams{AuthenticatorID: d.id, IsBadUV: &bad})
		return err
	})
	p.pressTo("Sign in with a passkey", 401)
	p.sees("Your device did not check that it is you.")
}

func TestWithoutScriptsPagesSayThatPasskeysNeedThem(t *testing.T) {
	p := newSite(t).profile(t, mode{width: 375, height: 812, noScript: true})
	p.signUp("ann")
	p.open("/account/passkeys")
	p.sees("Passkeys need JavaScript")
	p.open("/signout")
	p.press("Sign out")
	p.open("/signin")
	p.sees("Passkeys need JavaScript")
	p.signIn("ann", goodPassword)
	p.at("/account")
}

// waitFor waits until a script has made the page say a text.
func (p *profile) waitFor(text string) {
	p.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !strings.Contains(p.text(), p.say(text)); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("no %q on this page:\n%s", p.say(text), p.text())
		}
	}
}
