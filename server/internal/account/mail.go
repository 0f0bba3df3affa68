package account

import (
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/admit-auth/admit/server/internal/trace"
)

// A Message is one piece of mail.
type Message struct {
	ID      int64 // of its row in the outbox
	To      string
	Channel string // "mail"
	Subject string
	Text    string
	HTML    string
	Links   []string
	Code    string
	At      time.Time
	Trace   string `json:",omitempty"` // of what posted it
}

// String keeps addresses, codes and links out of logs.
func (m Message) String() string { return "message of " + m.At.UTC().Format(time.RFC3339) }

type mailText struct{ subject, intro, codeLine, linkLine, ignore string }

var codeTexts = map[string]mailText{
	"en": {
		"Your code: %s",
		"Somebody, hopefully you, is signing up with this address.",
		"Your code is %s. Type it on the page where you signed up.",
		"Or open this link in the same browser:",
		"Both are good once, for 15 minutes. If this was not you, do nothing: no account is made. Never give the code to anyone who asks for it.",
	},
	"zh-CN": {
		"您的验证码：%s",
		"有人（希望就是您）正在用这个邮箱注册。",
		"验证码是 %s。请在您注册的那个页面输入它。",
		"或者在同一个浏览器里打开这个链接：",
		"两者都只能用一次，15 分钟内有效。如果不是您本人，什么也不用做：不会创建任何账号。不要把验证码交给任何索要它的人。",
	},
}

var takenTexts = map[string]mailText{
	"en": {
		"You already have an account",
		"Somebody, hopefully you, tried to sign up with this address, which already has an account. Nothing was changed.",
		"", "Sign in here:", "If this was not you, you need do nothing.",
	},
	"zh-CN": {
		"您已经有账号了",
		"有人（希望就是您）想用这个邮箱注册，但它已经有账号了。没有做任何更改。",
		"", "请在这里登录：", "如果不是您本人，什么也不用做。",
	},
}

func textOf(texts map[string]mailText, locale string) mailText {
	if t, ok := texts[locale]; ok {
		return t
	}
	return texts["en"]
}

func codeMail(locale, to, code, link string) Message {
	t := textOf(codeTexts, locale)
	m := compose(locale, to, fmt.Sprintf(t.subject, code), link, t.intro, fmt.Sprintf(t.codeLine, code), t.linkLine, link, t.ignore)
	m.Code = code
	return m
}

func takenMail(locale, to, publicURL string) Message {
	t := textOf(takenTexts, locale)
	link := publicURL + "/signin"
	return compose(locale, to, t.subject, link, t.intro, t.linkLine, link, t.ignore)
}

// Mail programs know no style sheet of ours. The link is written out, for
// people who look where it leads before they open it.
var mailPage = template.Must(template.New("mail").Parse(`<!doctype html>
<html lang="{{.Lang}}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark"><title>{{.Subject}}</title></head>
<body style="margin:0;padding:24px 16px;font:16px/1.6 system-ui,-apple-system,'Segoe UI',Roboto,'PingFang SC','Microsoft YaHei',sans-serif;overflow-wrap:anywhere">
<div style="max-width:34em;margin:0 auto">
<h1 style="font-size:1.5em;line-height:1.3;margin:0 0 .8em">{{.Subject}}</h1>
{{range .Lines}}<p style="margin:0 0 1em">{{if eq . $.Link}}<a href="{{.}}">{{.}}</a>{{else}}{{.}}{{end}}</p>
{{end}}</div>
</body>
</html>
`))

func compose(locale, to, subject, link string, lines ...string) Message {
	if locale != "zh-CN" {
		locale = "en" // as the texts are
	}
	var html strings.Builder
	// A strings.Builder does not fail, and the template is constant.
	_ = mailPage.Execute(&html, map[string]any{"Lang": locale, "Subject": subject, "Lines": lines, "Link": link})
	return Message{To: to, Channel: "mail", Subject: subject, Text: strings.Join(lines, "\n\n") + "\n", HTML: html.String(), Links: []string{link}}
}

// post puts a message into the outbox, sealed: it holds a code and an address.
func (s *Service) post(tx Tx, m Message, now time.Time) error { return s.postTo(tx, "", m, now) }

// postTo is post of mail about a user, which goes with the account.
func (s *Service) postTo(tx Tx, user string, m Message, now time.Time) error {
	m.At, m.Trace = now, tx.Trace()
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	return tx.Post(user, string(s.o.Keys.Seal(nil, "outbox", b, now)), now)
}

func (s *Service) wake() {
	select {
	case s.mail <- struct{}{}:
	default:
	}
}

// Mail reports that there may be something to deliver.
func (s *Service) Mail() <-chan struct{} { return s.mail }

// Deliver hands every message that is due to send, once or, after a crash
// between sending and forgetting, twice. One that fails is tried again later,
// and given up after a day. It returns how many were sent.
func (s *Service) Deliver(ctx context.Context, now time.Time, send func(context.Context, Message) error) (sent int, err error) {
	var due []Posted
	err = s.store.View(ctx, func(tx Tx) (err error) {
		due, err = tx.Posted(now, 100)
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, p := range due {
		var m Message
		// Sealed ahead of time is refused, and so would be all that waits when
		// the clock is set back: when it was posted is known here.
		at := now
		if p.At.After(at) {
			at = p.At
		}
		b, _, err := s.o.Keys.Open(nil, "outbox", p.Sealed, 0, at)
		if err == nil {
			err = json.Unmarshal(b, &m)
		}
		m.ID = p.ID
		// What cannot be read waits too: a clock that was set back, or a key that
		// comes with the next start, will do.
		if err == nil && m.To != "" { // to nobody is as much work to write, and no more
			err = s.send(ctx, m, send)
		}
		late := now.Sub(p.At) > 24*time.Hour
		s.mails.count(err, late)
		err = s.store.Update(context.WithoutCancel(ctx), func(tx Tx) error {
			if err == nil || late {
				return tx.Unpost(p)
			}
			return tx.Postpone(p, now.Add(min(time.Hour, time.Second<<min(p.Tries, 12))))
		})
		if err != nil {
			return sent, err
		}
		sent++
	}
	return sent, nil
}

// send hands over a message, as part of the trace that posted it.
func (s *Service) send(ctx context.Context, m Message, send func(context.Context, Message) error) (err error) {
	if s.o.Tracer == nil {
		return send(ctx, m)
	}
	span := s.o.Tracer.Begin(trace.Consumer, "mail deliver", m.Trace)
	defer func() { span.End(err) }()
	return send(trace.With(ctx, span), m)
}
