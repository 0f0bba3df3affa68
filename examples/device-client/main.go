// Command device-client signs somebody in as a command line does, or a television: it
// shows a code, the person types it in a browser anywhere, and it asks until they have
// decided (RFC 8628).
//
//	admit client add --id cli --name 'Example CLI' --public --grant device_code,refresh_token
//	go run ./examples/device-client signin
//	go run ./examples/device-client whoami
//
// ISSUER is where admit is, and TOKEN_FILE, ./refresh-token unless it is set, where it
// stays signed in.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// A Device is one program that somebody signs in to.
type Device struct {
	Issuer, ClientID string
	HTTP             *http.Client
	// Show shows the person where to go and what to type there. The second address has the
	// code in it: for a QR code, or a browser that can be opened.
	Show func(page, code, complete string)
	// Load and Save keep the refresh token, where only this user can read it.
	Load func() (string, error)
	Save func(refresh string) error
}

// What there is at an issuer.
type endpoints struct {
	Device   string `json:"device_authorization_endpoint"`
	Token    string `json:"token_endpoint"`
	UserInfo string `json:"userinfo_endpoint"`
}

type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

// A Refusal is the code of an error, such as access_denied.
type Refusal string

func (r Refusal) Error() string { return string(r) }

// SignIn asks until somebody has decided.
func (d *Device) SignIn(ctx context.Context) error {
	at, err := d.discover(ctx)
	if err != nil {
		return err
	}
	if at.Device == "" {
		return errors.New("the issuer has no device authorization endpoint")
	}
	var asked struct {
		DeviceCode string `json:"device_code"`
		UserCode   string `json:"user_code"`
		Page       string `json:"verification_uri"`
		Complete   string `json:"verification_uri_complete"`
		ExpiresIn  int    `json:"expires_in"`
		Interval   int    `json:"interval"`
	}
	// offline_access: it stays signed in when the person's browser signs out.
	if err := d.post(ctx, at.Device, url.Values{"scope": {"openid profile offline_access"}}, &asked); err != nil {
		return fmt.Errorf("ask for a code: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(asked.ExpiresIn)*time.Second)
	defer cancel()
	d.Show(asked.Page, asked.UserCode, asked.Complete)
	for wait := time.Duration(cmp.Or(asked.Interval, 5)) * time.Second; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		var t tokens
		err := d.post(ctx, at.Token, url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {asked.DeviceCode},
		}, &t)
		refused, answered := errors.AsType[Refusal](err)
		switch {
		case err == nil:
			return d.Save(t.Refresh)
		case refused == "authorization_pending":
		case refused == "slow_down":
			wait += 5 * time.Second // from now on (section 3.5)
		case answered:
			return err // access_denied, expired_token
		default:
			wait *= 2 // the net is away
		}
	}
}

// WhoAmI says who has signed in.
func (d *Device) WhoAmI(ctx context.Context) (name string, err error) {
	at, err := d.discover(ctx)
	if err != nil {
		return "", err
	}
	refresh, err := d.Load()
	if err != nil {
		return "", err
	}
	var t tokens
	if err := d.post(ctx, at.Token, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}}, &t); err != nil {
		return "", fmt.Errorf("sign in again: %w", err)
	}
	if err := d.Save(t.Refresh); err != nil { // the one before is of no use any more
		return "", err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.UserInfo, nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+t.Access)
	var who struct {
		Subject  string `json:"sub"`
		Name     string `json:"name"`
		Username string `json:"preferred_username"`
	}
	err = d.do(r, &who)
	return cmp.Or(who.Name, who.Username, who.Subject), err
}

func (d *Device) discover(ctx context.Context) (at endpoints, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.Issuer+"/.well-known/oauth-authorization-server", nil)
	if err != nil {
		return at, err
	}
	return at, d.do(r, &at)
}

func (d *Device) post(ctx context.Context, to string, form url.Values, into any) error {
	form.Set("client_id", d.ClientID)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return d.do(r, into)
}

func (d *Device) do(r *http.Request, into any) error {
	answer, err := d.HTTP.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err != nil {
		return err
	}
	if answer.StatusCode == http.StatusOK {
		return json.Unmarshal(text, into)
	}
	var refused struct{ Error Refusal }
	if answer.StatusCode >= 500 || json.Unmarshal(text, &refused) != nil || refused.Error == "" {
		return fmt.Errorf("%s answers %s", r.URL, answer.Status)
	}
	return refused.Error
}

func main() {
	log.SetFlags(0)
	file := cmp.Or(os.Getenv("TOKEN_FILE"), "refresh-token")
	d := &Device{
		Issuer: cmp.Or(os.Getenv("ISSUER"), "http://localhost:8080"), ClientID: cmp.Or(os.Getenv("CLIENT_ID"), "cli"),
		HTTP: &http.Client{Timeout: 10 * time.Second},
		Show: func(page, code, complete string) {
			fmt.Fprintf(os.Stderr, "open %s and type %s\nor open %s\n", page, code, complete)
		},
		Load: func() (string, error) { text, err := os.ReadFile(file); return string(text), err },
		Save: func(refresh string) error { return os.WriteFile(file, []byte(refresh), 0o600) },
	}
	if err := run(context.Background(), d, os.Args[1:], os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, d *Device, args []string, out io.Writer) error {
	switch {
	case len(args) == 1 && args[0] == "signin":
		err := d.SignIn(ctx)
		if err == nil {
			_, err = fmt.Fprintln(out, "signed in")
		}
		return err
	case len(args) == 1 && args[0] == "whoami":
		name, err := d.WhoAmI(ctx)
		if err == nil {
			_, err = fmt.Fprintln(out, name)
		}
		return err
	}
	return errors.New("usage: signin, or whoami")
}
