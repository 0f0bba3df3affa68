package account

import (
	"fmt"
	"net/url"
	"slices"

	"github.com/admit-auth/admit/token"
)

// Messages that go by mail or by text, whichever reaches an identifier.

// reaches refuses a kind of identifier that no message reaches from here; a user
// name needs none.
func (s *Service) reaches(k Kind) error {
	switch {
	case k == Email && !s.o.CanMail:
		return ErrMail
	case k == Phone && !s.o.CanText:
		return ErrPhone
	}
	return nil
}

// shortTexts are text messages, which are paid by 160 letters, or 70 Chinese
// characters: they say what must be said.
var shortTexts = map[string]map[string]string{
	"code": {
		"en":    "Your code is %s. Nobody from here will ask you for it.",
		"zh-CN": "您的验证码是 %s，请勿告诉任何人。",
	},
	"taken": {
		"en":    "You have an account with this number already. Sign in: %s",
		"zh-CN": "这个号码已经有账号了，请登录：%s",
	},
	"addition_taken": {
		"en":    "Somebody tried to add this number to another account. It has an account already; nothing was changed. %s",
		"zh-CN": "有人想把这个号码添加到另一个账号。它已经有账号了，没有做任何更改。%s",
	},
}

func short(name, locale string, args ...any) string {
	texts := shortTexts[name]
	if text, ok := texts[locale]; ok {
		return fmt.Sprintf(text, args...)
	}
	return fmt.Sprintf(texts["en"], args...)
}

func text(to, text string, links ...string) Message {
	return Message{To: to, Channel: "text", Text: text + "\n", Links: links}
}

// codeText is a text with a code. Its last line binds the code to this origin:
// phones that know it offer the code here and nowhere else
// (https://wicg.github.io/sms-one-time-codes/).
func codeText(locale, to, code, publicURL string) Message {
	host := ""
	if u, err := url.Parse(publicURL); err == nil {
		host = u.Hostname()
	}
	m := text(to, short("code", locale, code)+fmt.Sprintf("\n\n@%s #%s", host, code))
	m.Code = code
	return m
}

func codeMessage(locale string, to Identifier, code, publicURL string, link token.Token) Message {
	if to.Kind == Phone {
		return codeText(locale, to.Value, code, publicURL)
	}
	return codeMail(locale, to.Value, code, publicURL+"/link/"+link.Reveal())
}

func takenMessage(locale string, to Identifier, publicURL string) Message {
	if to.Kind == Phone {
		link := publicURL + "/signin"
		return text(to.Value, short("taken", locale, link), link)
	}
	return takenMail(locale, to.Value, publicURL)
}

func additionMessage(locale string, to Identifier, code, publicURL string, link token.Token) Message {
	if to.Kind == Phone {
		return codeText(locale, to.Value, code, publicURL)
	}
	return additionMail(locale, to.Value, code, publicURL+"/link/"+link.Reveal())
}

func additionTakenMessage(locale string, to Identifier, publicURL string) Message {
	if to.Kind == Phone {
		link := publicURL + "/signin"
		return text(to.Value, short("addition_taken", locale, link), link)
	}
	return additionTakenMail(locale, to.Value, publicURL)
}

// reached are the identifiers by which the owner of an account hears of it: all that
// were proved and can be written to, the primary one first, then mail before text.
func (s *Service) reached(u *User) []Identifier {
	var all []Identifier
	for _, id := range u.Identifiers {
		if id.Verified && id.Kind.Channel() != "" && s.reaches(id.Kind) == nil {
			all = append(all, id)
		}
	}
	rank := func(id Identifier) int {
		switch {
		case id.Primary:
			return 0
		case id.Kind == Email:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(all, func(a, b Identifier) int { return rank(a) - rank(b) })
	return all
}
