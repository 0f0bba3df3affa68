package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

// try sends a test message.
func (d *doctor) try(ctx context.Context, to string) {
	check, setting := "mail", "mail_server and mail_from"
	id, err := account.ParseIdentifier(to)
	if err == nil && id.Kind == account.Phone {
		check, setting = "text", "text_server and its secret"
	}
	switch {
	case err != nil || id.Kind.Channel() == "":
		d.fail(check, "give an address such as you@example.org, or a number such as +14155552671", "no message can go to %q", to)
		return
	case d.cfg.Dev:
		d.warn(check, "leave --dev out", "with --dev no message leaves this machine")
		return
	}
	if err := d.cfg.Check(); err != nil {
		d.refused(check, err)
		return
	}
	senders, err := d.cfg.senders()
	if err != nil {
		d.refused(check, err)
		return
	}
	if senders[check] == nil {
		d.fail(check, "give "+setting, "there is nothing to send it by")
		return
	}
	theme, err := readTheme(d.cfg.Theme)
	if err != nil {
		d.refused(check, err)
		return
	}
	letters, err := readLetters(d.cfg.Theme, theme)
	if err != nil {
		d.refused(check, err)
		return
	}
	m, err := letters.Test(id.Value, "en", cmp.Or(d.cfg.PublicURL, "http://localhost"), d.now)
	if err != nil {
		d.refused(check, err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := senders[check].Send(ctx, m); err != nil {
		text := err.Error()
		f, ok := errors.AsType[*account.Failure](err)
		if ok && f.Said != "" {
			text += " (" + strings.Join(strings.Fields(f.Said), " ") + ")"
		} else if !ok {
			f = &account.Failure{Err: err}
		}
		d.fail(check, mend(check, f), "a test message was not sent: %s", text)
		return
	}
	if check == "text" {
		d.ok(check, "a test message was handed over for %s: look whether it arrives, for carriers refuse later", id.Value)
		return
	}
	d.ok(check, "a test message was handed over for %s: look whether it arrives, and in the folder for spam; SPF, DKIM and DMARC of the domain in mail_from keep mail out of there", id.Value)
}

// mend says what an operator can do where a message was not sent.
func mend(channel string, f *account.Failure) string {
	text := f.Error()
	has := func(part string) bool { return strings.Contains(text, part) }
	if _, is := errors.AsType[*net.DNSError](f.Err); is {
		return "look at the host in " + channel + "_server, and whether this machine has DNS"
	}
	if _, is := errors.AsType[*tls.CertificateVerificationError](f.Err); is {
		return "name the server as its certificate does; an authority of your own goes into SSL_CERT_FILE"
	}
	switch {
	case has("connection refused"), has("took too long"), has("unreachable"):
		if channel == "text" {
			return "look at the URL in text_server, and whether a firewall lets this machine out"
		}
		return "look at the port (587 for smtp://, 465 for smtps://), and whether a firewall lets this machine out: many hosts close port 25"
	case has("does not support STARTTLS"):
		return "this port has no STARTTLS: use smtps:// if it has TLS from the first byte, or smtp+insecure:// in a private network"
	case has("first record does not look like a TLS handshake"):
		return "this port has no TLS from the first byte: use smtp://, which demands STARTTLS"
	case has("AUTH"):
		return "look at the user in mail_server and at its password; some providers want one made for programs"
	case has("the sender"):
		return "set mail_from to an address that this server lets its user send from"
	case strings.HasPrefix(f.Code, "mail 530"), has(": 5") && has(" 5.7."):
		return "the server does not send for us: name a user in mail_server and give its password, or let this machine relay there"
	case has("the recipient") && f.Final:
		return "the server knows no such recipient: try another address"
	case strings.HasPrefix(f.Code, "mail 4"):
		return "it wants it later: a server that runs tries again by itself"
	case f.Unsure:
		return "it may have been sent: look whether it arrives, and ask who runs that server why it does not answer"
	case strings.HasPrefix(f.Code, "text 401"), strings.HasPrefix(f.Code, "text 403"):
		return "look at text_secret_file: it is the secret that the webhook checks, or Twilio's token of the account in text_server"
	case strings.HasPrefix(f.Code, "text 404"):
		return "look at the path in text_server, or at the account"
	case has("code 21606"), has("code 21659"), has("code 21603"):
		return "set text_from to a number, or a messaging service, of this account"
	case has("code 21408"):
		return "allow the country in the account's settings"
	case has("code 21608"):
		return "a trial account sends only to numbers that it has proved"
	case f.Final:
		return "the server refuses this recipient: try another one"
	}
	return fmt.Sprintf("ask who runs the server in %s_server", channel)
}
