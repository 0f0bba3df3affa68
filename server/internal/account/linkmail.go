package account

import (
	"cmp"
	"fmt"

	"github.com/admit-auth/admit/token"
)

// What is sent to sign somebody in.

var signInTexts = map[string]struct{ subject, intro, when, code, link, fine, warn string }{
	"en": {
		"Sign in: %s",
		"Somebody, hopefully you, wants to sign in to your account.",
		"It was asked for on %s, from the network address %s.",
		"Your code is %s. Type it on the page that waits for it.",
		"Or open this link. In the same browser it signs you in; on another device it shows you what to do:",
		"All is good once, for 10 minutes.",
		"If this was not you, do nothing: nobody is signed in. Never give the code, or the link, to anyone who asks for it: nobody who works here does.",
	},
	"zh-CN": {
		"登录验证码：%s",
		"有人（希望就是您）想登录您的账号。",
		"请求时间：%s，来自网络地址 %s。",
		"验证码是 %s。请在等待输入的页面填写。",
		"或者打开下面的链接。在同一个浏览器里打开即可登录；在其他设备上打开会告诉您怎么做：",
		"只能用一次，10 分钟内有效。",
		"如果不是您本人，什么也不用做：不会有人登录。不要把验证码或链接交给任何索要它的人：我们的工作人员从不索要。",
	},
}

var nobodyTexts = map[string]mailText{
	"en": {
		"There is no account to sign in to",
		"Somebody, hopefully you, wanted to sign in with this address. No account can be signed in to with it.",
		"", "If you want an account, sign up here. If you have one already, use the address that you signed up with:", "If this was not you, you need do nothing.",
	},
	"zh-CN": {
		"没有可以登录的账号",
		"有人（希望就是您）想用这个邮箱登录，但没有可以用它登录的账号。",
		"", "如果您想要一个账号，请在这里注册；如果您已经有账号，请使用注册时的邮箱：", "如果不是您本人，什么也不用做。",
	},
}

// signInMessage is what goes out where somebody asks to sign in. Where there is no
// account its owner is told so; a user name without an account has no owner, and
// the message to nobody is as much work.
func (s *Service) signInMessage(user *User, to Identifier, id string, link token.Token, a asking, locale string) Message {
	switch {
	case user == nil && to.Kind == Email:
		t, there := textOf(nobodyTexts, locale), s.o.PublicURL+"/signup"
		return compose(locale, to.Value, t.subject, there, t.intro, t.linkLine, there, t.ignore)
	case user == nil:
		to.Value = ""
		user = &User{}
	}
	locale = cmp.Or(user.Locale, locale)
	if to.Kind == Phone {
		return codeText(locale, to.Value, s.code(id), s.o.PublicURL)
	}
	t, ok := signInTexts[locale]
	if !ok {
		locale, t = "en", signInTexts["en"]
	}
	code := s.code(id)
	lines := []string{t.intro, fmt.Sprintf(t.when, moment(locale, a.At), a.Address), fmt.Sprintf(t.code, code)}
	there := ""
	if a.Linked {
		there = s.o.PublicURL + "/link/" + link.Reveal()
		lines = append(lines, t.link, there)
	}
	m := compose(locale, to.Value, fmt.Sprintf(t.subject, code), there, append(lines, t.fine, t.warn)...)
	m.Code = code
	if there == "" {
		m.Links = nil
	}
	return m
}
