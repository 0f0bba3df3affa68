package provider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/token"
)

// The device authorization grant (RFC 8628): a device that has no browser, or no keyboard,
// shows a code. A person types it elsewhere and decides, while the device asks again and
// again for tokens.

const (
	deviceLife     = 10 * time.Minute
	deviceInterval = 5 * time.Second
	// slower is what a device that asks too early has to wait more each time (section 3.5).
	slower = 5 * time.Second
	// slowest bounds what that writes: from there on it is refused, and nothing is noted.
	slowest = time.Minute
	// pollSlack is how much earlier a poll may arrive than it was to be sent.
	pollSlack = time.Second

	deviceFlowName = "oauth device"
)

// What a page refuses. An unknown code, one that has expired and one that was decided are
// one answer: it would help whoever guesses.
var (
	ErrUserCode      = admit.Invalid.New("invalid_user_code", "This is not a code that a device shows just now.").WithHint("Look at the device again, and type the code that it shows. It is good for ten minutes.")
	ErrManyUserCodes = admit.RateLimited.New("too_many_user_codes", "Too many codes were wrong.").WithHint("Wait a while before you try again.")
	ErrDevicePage    = admit.Invalid.New("device_page_outdated", "This page is too old, or was made for somebody else.").WithHint("Type the code again.")

	errManyDevices = admit.Unavailable.New("too_many_devices", "There are too many devices just now.")
)

// A Device is one that waits for somebody, and its device code: the Code in it, whose
// Session is that of who has decided. Asked.At is when it was asked for. It is kept for
// twice as long as it is good, so that a device that comes late is told why.
type Device struct {
	Code
	UserCode string // digest of what the person types
	Address  string // that it has asked from, "" where that is not known
	Decision Decision
	Interval time.Duration // that it must wait between two polls
}

func (d *Device) ends() time.Time { return d.Asked.At.Add(deviceLife) }

// waits reports whether a device can be decided about.
func (d *Device) waits(now time.Time) bool { return d != nil && now.Before(d.ends()) }

// devices is what the grant needs beside the store.
type devices struct {
	misses counts // of people, who type codes
	begun  counts // by clients that prove nothing

	mu    sync.Mutex
	polls map[string]time.Time // the last one, by selector; guarded by mu
	swept time.Time            // guarded by mu
}

func checkDevicePage(page string) error {
	u, err := url.Parse(page)
	switch {
	case page == "":
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())):
		return fmt.Errorf("provider: the page for devices %q is not of the form https://id.example.org/device", page)
	}
	return nil
}

// A deviceAnswer is what a device gets (section 3.2).
type deviceAnswer struct {
	DeviceCode string `json:"device_code"`
	UserCode   string `json:"user_code"`
	Page       string `json:"verification_uri"`
	Complete   string `json:"verification_uri_complete"`
	ExpiresIn  int64  `json:"expires_in"`
	Interval   int64  `json:"interval"`
}

// device is the device authorization endpoint (section 3.1).
func (p *Provider) device(w http.ResponseWriter, r *http.Request) {
	now := p.now()
	f, err := posted(w, r)
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	a, err := p.begin(r, f, now)
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	write(w, http.StatusOK, a)
}

// begin keeps what a device asks for.
func (p *Provider) begin(r *http.Request, f form, now time.Time) (*deviceAnswer, error) {
	asked := Asked{At: now}
	var refused error
	c, err := p.asker(r, f, now, func(_ Tx, c *Client) error {
		asked.Client = c.ID
		if refused = asked.ask(f, c); !c.may(DeviceCode) {
			refused = because(ErrUnauthorizedClient, "This client is not registered for device codes.")
		}
		return nil // for first it proves which one it is
	})
	if err != nil {
		return nil, err
	}
	if refused != nil {
		return nil, refused
	}
	from := p.o.Address(r)
	if c.Auth == NoAuth {
		if _, wait := p.begun.take(charge{}, now, charge{network(from), devicesOfNetwork}); wait > 0 {
			return nil, errManyDevices
		}
	}
	t := token.New(token.OneTime)
	d := &Device{
		Code:     Code{Selector: t.Selector(), Digest: t.Digest(), Asked: asked, Expires: now.Add(2 * deviceLife)},
		Interval: deviceInterval,
	}
	if from.IsValid() {
		d.Address = from.Unmap().WithZone("").String()
	}
	var code userCode
	key := p.o.Secrets.Derive(userCodePurpose)
	err = p.o.Store.Update(r.Context(), func(tx Tx) error {
		for {
			code = newUserCode()
			d.UserCode = code.digest(key)
			if taken, err := tx.DeviceOf(d.UserCode); err != nil {
				return fmt.Errorf("look for a user code: %w", err)
			} else if taken == nil {
				return tx.AddDevice(d)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return &deviceAnswer{
		DeviceCode: t.Reveal(), UserCode: code.String(), Page: p.o.DevicePage, Complete: p.o.DevicePage + "?user_code=" + code.String(),
		ExpiresIn: int64(deviceLife / time.Second), Interval: int64(deviceInterval / time.Second),
	}, nil
}

// A DeviceRequest is what a device asks a person for.
type DeviceRequest struct {
	Client   *Client
	Asked    Asked  // At is when
	UserCode string // for the person to compare with what the device shows
	// Address is where the device has asked from, "" where that is not known, and Near says
	// that the person is in the same network: who is not may have got the code from a
	// stranger (section 5.4).
	Address string
	Near    bool
	// Scopes are what the person is asked for. New are those of them that this client has
	// not been allowed yet, and NewAudiences the resources.
	Scopes, New, NewAudiences []string
	Expires                   time.Time

	flow string
}

// Flow is the request, sealed and bound to the session: for the form of the page.
func (d *DeviceRequest) Flow() string { return d.flow }

// A deviceFlow is what a page carries from its making to the decision: which device, and
// for whom it was shown. Somebody else can make none for a session that is not his.
type deviceFlow struct {
	Selector string `json:"d"`
	Code     string `json:"c"`
	Shown    string `json:"to"`
}

// Device returns the request behind the code that a person has typed, for a page that shows
// it and asks. Call it for what was posted to that page, and not for a link, which anybody
// can have sent; nothing is allowed by it. r is the request of the page: People say who has
// sent it.
//
// Wrong codes are counted, for who is signed in, for the network and for everybody, in the
// process's memory: ErrManyUserCodes is in an *admit.RetryError. Nobody signed in is
// ErrLoginRequired.
func (p *Provider) Device(r *http.Request, typed string) (*DeviceRequest, error) {
	now := p.now()
	s, err := p.decider(r)
	if err != nil {
		return nil, err
	}
	code, ok := parseUserCode(typed)
	if !ok { // that it is none everybody can tell
		return nil, ErrUserCode
	}
	from := p.o.Address(r)
	refund, wait := p.misses.take(charge{everybody, missesOfEverybody}, now,
		charge{"subject " + s.Subject, missesOfPerson}, charge{network(from), missesOfNetwork})
	if wait > 0 {
		return nil, &admit.RetryError{After: wait, Err: ErrManyUserCodes}
	}
	var q *DeviceRequest
	err = p.o.Store.View(r.Context(), func(tx Tx) error {
		d, err := p.deviceOf(tx, code)
		if err != nil {
			return err
		}
		if !d.waits(now) || d.Decision != Undecided {
			return ErrUserCode
		}
		q, _, err = p.requestOf(tx, d, s, from)
		return err
	})
	if errors.Is(err, ErrUserCode) {
		return nil, err
	}
	refund()
	if err != nil {
		return nil, err
	}
	q.UserCode = code.String()
	q.flow, err = p.seal(deviceFlowName, deviceFlow{q.flow, q.UserCode, s.SID}, now)
	return q, err
}

// decider is who is signed in, and decides.
func (p *Provider) decider(r *http.Request) (*Session, error) {
	s, err := p.o.People.Session(r)
	switch {
	case err != nil:
		return nil, fmt.Errorf("who is signed in: %w", err)
	case s == nil || s.Subject == "":
		return nil, ErrLoginRequired
	}
	return s, nil
}

// deviceOf finds a device by its user code, of whichever key the digest is.
func (p *Provider) deviceOf(tx Tx, code userCode) (*Device, error) {
	for _, key := range p.o.Secrets.DeriveAll(userCodePurpose) {
		if d, err := tx.DeviceOf(code.digest(key)); err != nil || d != nil {
			return d, err
		}
	}
	return nil, nil
}

// requestOf is what a device asks somebody for, and what that has allowed already.
func (p *Provider) requestOf(tx Tx, d *Device, s *Session, from netip.Addr) (*DeviceRequest, *Consent, error) {
	c, err := tx.Client(d.Asked.Client)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("load client: %w", err)
	case c == nil || c.Disabled:
		return nil, nil, ErrUserCode
	}
	q := &DeviceRequest{
		Client: c, Asked: d.Asked, Address: d.Address, Scopes: d.Asked.Scopes, Expires: d.ends(), flow: d.Selector,
	}
	if at, err := netip.ParseAddr(d.Address); err == nil && from.IsValid() {
		q.Near = network(at) == network(from)
	}
	k, err := tx.Consent(s.Subject, c.ID)
	if err != nil {
		return nil, nil, fmt.Errorf("load consent: %w", err)
	}
	q.New, q.NewAudiences = k.lacks(q.Scopes, q.Asked.Audiences)
	return q, k, nil
}

// DecideDevice notes what the person has decided on a page that shows what [Provider.Device]
// has returned: flow is of that. It counts where the session is the one that the page was
// made for and lives, and r comes from a page of the provider's own host. What is allowed
// stands on that session, and is remembered as on the consent page.
//
// To decide the same again is no error: a form may be sent twice.
func (p *Provider) DecideDevice(r *http.Request, flow string, allow bool) (*DeviceRequest, error) {
	now := p.now()
	if p.cross.Check(r) != nil {
		return nil, ErrDevicePage
	}
	s, err := p.decider(r)
	if err != nil {
		return nil, err
	}
	var shown deviceFlow
	if p.unseal(deviceFlowName, flow, deviceLife, now, &shown) != nil || shown.Shown != s.SID {
		return nil, ErrDevicePage
	}
	decision := Deny
	if allow {
		decision = Allow
	}
	from := p.o.Address(r)
	var q *DeviceRequest
	err = p.o.Store.Update(context.WithoutCancel(r.Context()), func(tx Tx) error {
		live, err := tx.Session(s.SID, now)
		if err != nil {
			return fmt.Errorf("load session: %w", err)
		}
		if live == nil || live.Subject != s.Subject {
			return ErrLoginRequired
		}
		d, err := tx.Device(shown.Selector)
		switch {
		case err != nil:
			return fmt.Errorf("load a device: %w", err)
		case !d.waits(now):
			return ErrUserCode
		}
		var had *Consent
		if q, had, err = p.requestOf(tx, d, live, from); err != nil {
			return err
		}
		q.UserCode, q.flow = shown.Code, ""
		if d.Decision == decision && d.Session.SID == live.SID {
			return nil
		}
		first, err := tx.DecideDevice(d.Selector, decision, live)
		switch {
		case err != nil:
			return fmt.Errorf("note a decision: %w", err)
		case !first:
			return ErrUserCode
		case !allow:
			return nil
		case q.Client.FirstParty:
			return tx.Note(Note{At: now, Event: "client_authorized", Subject: live.Subject, Client: q.Client.ID})
		}
		return remember(tx, had, live.Subject, q.Client.ID, q.Scopes, q.Asked.Audiences, now)
	})
	if err != nil {
		return nil, err
	}
	return q, nil
}

var errDevice = because(ErrInvalidGrant, "The device_code is not one of this client's, or no longer good.")

// deviceShown returns the device whose code is presented, which may have been spent.
func (x *exchange) deviceShown(tx Tx) (*Device, error) {
	text := x.f.get("device_code")
	if text == "" {
		return nil, because(ErrInvalidRequest, "The parameter device_code is missing.")
	}
	t, err := token.Parse(token.OneTime, text)
	if err != nil {
		return nil, errDevice
	}
	d, err := tx.Device(t.Selector())
	switch {
	case err != nil:
		return nil, err
	case d == nil || !t.Matches(d.Digest) || d.Asked.Client != x.client.ID || !x.now.Before(d.Expires):
		return nil, errDevice
	}
	return d, nil
}

// state says what stands against giving tokens to a device, nil for nothing.
func (x *exchange) state(d *Device) error {
	switch {
	case d.Grant != "":
		return nil // it was used before, which ends what came of it
	case d.Decision == Deny:
		return ErrAccessDenied
	case !x.now.Before(d.ends()):
		return ErrExpiredToken
	case d.Decision == Undecided && x.early(d):
		return ErrSlowDown
	case d.Decision == Undecided:
		return ErrAuthorizationPending
	}
	return nil
}

// lookAtDevice refuses what needs no write for it: most polls are nothing but a look.
func (x *exchange) lookAtDevice(tx Tx) error {
	d, err := x.deviceShown(tx)
	if err != nil {
		return err
	}
	if err = x.state(d); err == ErrSlowDown && d.Interval < slowest {
		return nil // it is noted
	}
	return err
}

// redeemDevice makes a grant of a device code that somebody has allowed (section 3.4).
func (x *exchange) redeemDevice(tx Tx) error {
	d, err := x.deviceShown(tx)
	if err != nil {
		return err
	}
	if err := x.state(d); err != nil {
		if err == ErrSlowDown && d.Interval < slowest {
			x.noted = true
			if err := tx.SlowDevice(d.Selector, min(d.Interval+slower, slowest)); err != nil {
				return fmt.Errorf("slow a device down: %w", err)
			}
		}
		return err
	}
	if d.Grant != "" {
		return x.end(tx, d.Grant, reasonCodeReplayed)
	}
	return x.become(tx, &d.Code)
}

// early reports whether a device asks earlier than it may, and notes that it has asked:
// once for each request, which looks at it twice. When it has asked last is kept in
// memory, for a write at each poll would cost more than what it is to prevent. Where
// several processes serve one device, each has its own count, and is patient.
func (x *exchange) early(d *Device) bool {
	if x.polled == nil {
		early := x.poll(d.Selector, d.Interval, x.now)
		x.polled = &early
	}
	return *x.polled
}

func (d *devices) poll(selector string, interval time.Duration, now time.Time) (early bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.polls == nil {
		d.polls = map[string]time.Time{}
	}
	if now.Sub(d.swept) > deviceLife {
		maps.DeleteFunc(d.polls, func(_ string, last time.Time) bool { return now.Sub(last) > slowest })
		d.swept = now
	}
	last, known := d.polls[selector]
	d.polls[selector] = now
	return known && now.Sub(last) < interval-pollSlack
}

// spend notes what a code has become, and reports whether it is the first time.
func (x *exchange) spend(tx Tx, selector, grant string) (first bool, err error) {
	if x.kind == DeviceCode {
		return tx.SpendDevice(selector, grant)
	}
	return tx.SpendCode(selector, grant)
}

// spent returns a code that was spent.
func (x *exchange) spent(tx Tx, selector string) (*Code, error) {
	if x.kind != DeviceCode {
		return tx.Code(selector)
	}
	d, err := tx.Device(selector)
	if d == nil {
		return nil, err
	}
	return &d.Code, err
}
