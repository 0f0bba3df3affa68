package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
)

// A TextServer is where text messages are handed over.
type TextServer struct {
	URL     string // that is posted to
	Twilio  bool
	User    string // of Twilio: its account, or an API key
	Account string // of Twilio
}

// ParseTextServer reads https://… of a webhook, which on this machine may be
// http://; and twilio://ACCOUNT@api.twilio.com, or twilio://KEY@api.twilio.com/ACCOUNT,
// of a server that speaks as Twilio does. There is no secret in it.
func ParseTextServer(text string) (t TextServer, ok bool) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Fragment != "" || u.Opaque != "" {
		return t, false
	}
	if _, secret := u.User.Password(); secret {
		return t, false
	}
	t.URL = text
	switch {
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return t, u.User == nil
	case u.Scheme != "twilio" || u.RawQuery != "" || u.User.Username() == "":
		return t, false
	}
	t.Twilio, t.User, t.Account = true, u.User.Username(), strings.Trim(u.Path, "/")
	if t.Account == "" {
		t.Account = t.User
	}
	if strings.Contains(t.Account, "/") {
		return t, false
	}
	scheme := "https://"
	if isLoopback(u.Hostname()) {
		scheme = "http://"
	}
	t.URL = scheme + u.Host + "/2010-04-01/Accounts/" + url.PathEscape(t.Account) + "/Messages.json"
	return t, true
}

// NewText returns a sender of text messages. Of a webhook the secret signs, of
// Twilio it is the token; from is needed by Twilio: a number, or the id of a
// messaging service.
func NewText(server TextServer, secret admit.Secret, from string) (Sender, error) {
	if server.Twilio {
		return &Twilio{server, secret, from, newClient()}, nil
	}
	key, err := SigningKey(secret)
	return &Webhook{server.URL, key, from, newClient()}, err
}

// newClient returns a client that goes nowhere else: what it posts holds codes.
func newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: atOnce, IdleConnTimeout: time.Minute,
			TLSHandshakeTimeout: reachTime, ResponseHeaderTimeout: sendTime, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// minSigningKey is the shortest secret of a webhook, in bytes (Standard Webhooks).
const minSigningKey = 24

// SigningKey reads the secret of a webhook: whsec_ and base64, as Standard Webhooks
// writes it, or any text.
func SigningKey(secret admit.Secret) ([]byte, error) {
	text := secret.Reveal() // is the key
	key := []byte(text)
	if encoded, ok := strings.CutPrefix(text, "whsec_"); ok {
		var err error
		if key, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return nil, errors.New("what follows whsec_ is not base64")
		}
	}
	if len(key) < minSigningKey {
		return nil, fmt.Errorf("it has %d bytes and needs %d", len(key), minSigningKey)
	}
	return key, nil
}

// A Webhook posts each text message to a URL, signed as Standard Webhooks does, so
// that a few lines there can hand it to any provider.
type Webhook struct {
	url    string
	key    []byte
	from   string
	client *http.Client
}

// posted is the body of a webhook's request.
type posted struct {
	ID      string    `json:"id"`
	Channel string    `json:"channel"`
	From    string    `json:"from,omitempty"`
	To      string    `json:"to"`
	Text    string    `json:"text"`
	Message string    `json:"message"` // its name
	Code    string    `json:"code,omitempty"`
	Links   []string  `json:"links,omitempty"`
	At      time.Time `json:"at"`
}

// Send implements Sender.
func (w *Webhook) Send(ctx context.Context, m account.Message) error {
	body, err := json.Marshal(posted{m.Key, m.Channel, w.from, m.To, m.Text, m.Name, m.Code, m.Links, m.At.UTC()})
	if err != nil {
		return fmt.Errorf("encode a text message: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, "POST", w.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	now := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", m.Key)
	req.Header.Set("Webhook-Id", m.Key)
	req.Header.Set("Webhook-Timestamp", now)
	req.Header.Set("Webhook-Signature", sign(w.key, m.Key, now, body))
	status, answer, err := do(w.client, req)
	if f, ok := errors.AsType[*account.Failure](err); ok {
		f.Unsure = false // a double is known by its key
	}
	switch {
	case err != nil:
		return err
	case status/100 == 2:
		return nil
	}
	// These are about the message; a wrong path or secret is not, and waits until
	// it is mended.
	final := slices.Contains([]int{http.StatusBadRequest, http.StatusGone, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity}, status)
	return &account.Failure{Code: fmt.Sprintf("text %d", status), Final: final, Err: fmt.Errorf("the webhook answered %d", status), Said: string(answer)}
}

// sign returns the signature of a body that was sent at a time.
func sign(key []byte, id, at string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, at, body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// do sends a request and returns the status and the beginning of the answer.
func do(client *http.Client, req *http.Request) (status int, body []byte, err error) {
	res, err := client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the address, which tells of an account
		}
		op, ok := errors.AsType[*net.OpError](err)
		return 0, nil, &account.Failure{Unsure: !ok || op.Op != "dial", Err: fmt.Errorf("reach the server of text messages: %w", cutShort(err))}
	}
	defer res.Body.Close()
	body, err = io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil && res.StatusCode/100 != 2 { // else it was taken
		return 0, nil, &account.Failure{Unsure: true, Err: fmt.Errorf("read the answer of the server of text messages: %w", cutShort(err))}
	}
	return res.StatusCode, body, nil
}

// Twilio sends text messages by the API of Twilio, which others speak, too.
type Twilio struct {
	server TextServer
	token  admit.Secret
	from   string
	client *http.Client
}

// refusedForGood are the codes of Twilio that are about the recipient or the
// message: no number, none of theirs, a landline, somebody who wrote STOP.
var refusedForGood = []int{
	21211, 21214, 21217, 21219, 21265, 21401, 21408, 21602, 21604, 21605, 21608, 21610, 21612, 21614, 21617, 21635,
}

// Send implements Sender.
func (t *Twilio) Send(ctx context.Context, m account.Message) error {
	form := url.Values{"To": {m.To}, "Body": {m.Text}}
	if strings.HasPrefix(t.from, "MG") {
		form.Set("MessagingServiceSid", t.from)
	} else {
		form.Set("From", t.from)
	}
	req, err := http.NewRequestWithContext(ctx, "POST", t.server.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(t.server.User, t.token.Reveal()) // for the server alone
	status, body, err := do(t.client, req)
	if err != nil {
		return err
	}
	var said struct {
		Status    any `json:"status"` // of a message that was taken a text, of an error a number
		Code      int `json:"code"`
		ErrorCode int `json:"error_code"`
	}
	if json.Unmarshal(body, &said) != nil && status/100 == 2 {
		return &account.Failure{Code: "text unreadable", Unsure: true, Err: errors.New("what answers is not Twilio")}
	}
	refused := max(said.Code, said.ErrorCode)
	if status/100 == 2 && said.Status != "failed" {
		return nil
	}
	// The message of an error is left out: it names the recipient.
	return &account.Failure{
		Code: strings.TrimSpace(fmt.Sprintf("text %d %d", status, refused)), Final: slices.Contains(refusedForGood, refused),
		Err: fmt.Errorf("the server of text messages answered %d, code %d", status, refused), Said: string(body),
	}
}
