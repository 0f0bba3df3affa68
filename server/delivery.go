package server

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/notify"
)

// ErrConfigSender is a mail server, or one of text messages, that cannot be used.
var ErrConfigSender = admit.Invalid.New("sender_contradiction", "The settings of mail or of text messages do not fit together.")

// checkSenders reports settings that do not fit together. Files are read at start.
func (c Config) checkSenders() error {
	mail, _ := notify.ParseMailServer(c.MailServer)
	text, _ := notify.ParseTextServer(c.TextServer)
	for _, wrong := range []struct {
		is   bool
		hint string
	}{
		{c.MailServer != "" && c.MailFrom == "", "with mail_server give mail_from, such as Example <no-reply@example.org>"},
		{c.MailServer == "" && (c.MailFrom != "" || c.MailPasswordFile != "" || !c.MailPassword.IsZero()), "mail_from and the password are for a mail_server, and there is none"},
		{c.MailPasswordFile != "" && !c.MailPassword.IsZero(), "give the password of the mail server by mail_password_file or by ADMIT_MAIL_PASSWORD, not by both"},
		{mail.User != "" && c.MailPasswordFile == "" && c.MailPassword.IsZero(), "mail_server names a user: give its password by mail_password_file"},
		{c.MailServer != "" && mail.User == "" && (c.MailPasswordFile != "" || !c.MailPassword.IsZero()), "there is a password for the mail server but no user: name it in mail_server, such as smtp://user@mail.example.org, with %40 for an @"},
		{c.TextServer == "" && (c.TextFrom != "" || c.TextSecretFile != "" || !c.TextSecret.IsZero()), "text_from and the secret are for a text_server, and there is none"},
		{c.TextSecretFile != "" && !c.TextSecret.IsZero(), "give the secret of text messages by text_secret_file or by ADMIT_TEXT_SECRET, not by both"},
		{c.TextServer != "" && c.TextSecretFile == "" && c.TextSecret.IsZero(), "with text_server give text_secret_file: it signs what is posted, or is Twilio's token"},
		{text.Twilio && c.TextFrom == "", "with Twilio give text_from: a number of yours, or the id of a messaging service"},
	} {
		if wrong.is {
			return ErrConfigSender.WithHint(wrong.hint)
		}
	}
	return nil
}

// senders returns what sends messages, by channel. In development nothing leaves
// this machine.
func (c Config) senders() (map[string]notify.Sender, error) {
	senders := map[string]notify.Sender{}
	if c.Dev {
		return senders, nil
	}
	if c.MailServer != "" {
		password, err := secretOf(c.MailPassword, c.MailPasswordFile)
		if err != nil {
			return nil, fmt.Errorf("mail_password_file: %w", err)
		}
		server, _ := notify.ParseMailServer(c.MailServer) // Check has seen it
		from, err := notify.ParseSender(c.MailFrom)
		if err != nil {
			return nil, err
		}
		senders["mail"] = notify.NewSMTP(server, password, from)
	}
	if c.TextServer != "" {
		secret, err := secretOf(c.TextSecret, c.TextSecretFile)
		if err != nil {
			return nil, fmt.Errorf("text_secret_file: %w", err)
		}
		server, _ := notify.ParseTextServer(c.TextServer)
		if senders["text"], err = notify.NewText(server, secret, c.TextFrom); err != nil {
			return nil, fmt.Errorf("text_secret: %w: %w", ErrConfigSender.WithHint("the secret is 24 bytes or more of any text, or whsec_ and base64"), err)
		}
	}
	return senders, nil
}

// secretOf returns a secret that stands in the environment, or in a file.
func secretOf(text admit.Secret, file string) (admit.Secret, error) {
	if file == "" {
		return text, nil
	}
	b, err := os.ReadFile(file)
	if err == nil && len(b) > 4<<10 {
		err = fmt.Errorf("%s is larger than a secret", file)
	}
	if err != nil {
		return admit.Secret{}, fmt.Errorf("%w: %w", ErrConfigSender.WithHint("name a file with nothing in it but the secret"), err)
	}
	secret := strings.TrimRight(string(b), "\r\n")
	if secret == "" || strings.ContainsAny(secret, "\r\n") {
		return admit.Secret{}, fmt.Errorf("%w: %s is empty, or has several lines", ErrConfigSender.WithHint("name a file with nothing in it but the secret"), file)
	}
	return admit.NewSecret(secret), nil
}

// deliver sends what the outbox holds until ctx ends.
func (s *Server) deliver(ctx context.Context) {
	if len(s.senders) == 0 {
		return
	}
	if !s.db.Shared() {
		// The folder is ours alone: who had claimed a message was killed.
		if err := s.accounts.Unclaim(ctx, time.Now()); err != nil && ctx.Err() == nil {
			s.log.Error("messages that a killed server was sending wait for a minute and a half", slog.Any("error", err))
		}
	}
	notify.Run(ctx, s.accounts, s.senders, s.log)
	if mail, ok := s.senders["mail"].(*notify.SMTP); ok {
		mail.Close()
	}
}
