package account

import (
	"fmt"
	"time"
)

// Mail about second factors.

// factorTexts are a subject and what happened, by the event.
var factorTexts = map[string]map[string][2]string{
	"factor_added": {
		"en":    {"Your account has a new second factor", "Somebody, hopefully you, added a second factor to your account: an authenticator app or a passkey."},
		"zh-CN": {"您的账号添加了新的第二重验证", "有人（希望就是您）为您的账号添加了第二重验证：验证器应用或通行密钥。"},
	},
	"factor_removed": {
		"en":    {"A second factor was removed from your account", "Somebody, hopefully you, removed a second factor of your account."},
		"zh-CN": {"您账号的一个第二重验证已移除", "有人（希望就是您）移除了您账号的一个第二重验证。"},
	},
	"factors_reset": {
		"en":    {"The second factors of your account were removed", "All second factors of your account were removed. Its sessions have ended."},
		"zh-CN": {"您账号的第二重验证已全部移除", "您账号的第二重验证已全部移除，所有会话已结束。"},
	},
	"recovery_codes_made": {
		"en":    {"Your account has new recovery codes", "Somebody, hopefully you, made new recovery codes. Those from before are void."},
		"zh-CN": {"您的账号生成了新的恢复码", "有人（希望就是您）生成了新的恢复码。以前的恢复码已作废。"},
	},
	"recovery_code_used": {
		"en":    {"A recovery code was used", "Somebody, hopefully you, signed in to your account or confirmed something with a recovery code. It is void now."},
		"zh-CN": {"有人使用了您的恢复码", "有人（希望就是您）用恢复码登录了您的账号或确认了操作。这个恢复码已作废。"},
	},
	"factor_guessed": {
		"en":    {"Somebody knows how to get as far as your second factor", "Somebody has passed the first step of a sign-in to your account, by your password or your mail, and then gave wrong codes until there were too many. Nobody got in. If it was not you, change your password now."},
		"zh-CN": {"有人通过了您账号的第一步登录", "有人通过密码或邮件通过了您账号的第一步登录，然后多次输入了错误的验证码，直到次数用尽。没有人登录成功。如果不是您本人，请立即修改密码。"},
	},
}

// factorMail tells of what happened to second factors.
func factorMail(locale, to, event string, from Origin, publicURL string, now time.Time) Message {
	if _, ok := changeFrames[locale]; !ok {
		locale = "en"
	}
	text, frame := factorTexts[event][locale], changeFrames[locale]
	link := publicURL + "/account/security"
	return compose(locale, to, text[0], link, text[1], fmt.Sprintf(frame.when, moment(locale, now), from.Address), frame.fine, frame.bare, link)
}

// tellFactor tells the owner what happened to its second factors.
func (s *Service) tellFactor(tx Tx, a Asker, user *User, event string, now time.Time) error {
	to := user.contact()
	if !s.o.CanMail || to == "" {
		return nil
	}
	return s.postTo(tx, user.ID, factorMail(user.Locale, to, event, a.From, s.o.PublicURL, now), now)
}

// lossTexts are of the removal of factors that somebody says are lost.
var lossTexts = map[string]map[string]mailText{
	"factor_loss_begun": {
		"en": {
			"Somebody says that your second factors are lost",
			"Somebody, hopefully you, has passed the first step of a sign-in to your account and says that its second factors are lost. They can be removed from %s on, and not before.",
			"", "If this is not you, stop it here, then change your password. A sign-in with one of your factors stops it, too:",
			"If it is you, wait: we write again when it is time.",
		},
		"zh-CN": {
			"有人说您的第二重验证已丢失",
			"有人（希望就是您）通过了您账号的第一步登录，并说第二重验证已丢失。从 %s 起才能移除它们，在此之前不会。",
			"", "如果不是您本人，请在这里阻止，然后修改密码。用任何一种第二重验证登录，也会阻止它：",
			"如果是您本人，请等待：到时我们会再次通知您。",
		},
	},
	"factor_loss_halfway": {
		"en": {
			"Still: somebody says that your second factors are lost",
			"Half of the time is over. The second factors of your account can be removed from %s on.",
			"", "If this is not you, stop it here, then change your password:",
			"If it is you, wait: we write again when it is time.",
		},
		"zh-CN": {
			"再次提醒：有人说您的第二重验证已丢失",
			"等待时间已过半。从 %s 起可以移除您账号的第二重验证。",
			"", "如果不是您本人，请在这里阻止，然后修改密码：",
			"如果是您本人，请等待：到时我们会再次通知您。",
		},
	},
	"factor_loss_due": {
		"en": {
			"The second factors of your account can be removed now",
			"Somebody said that they are lost, and nobody stopped it. Since %s they can be removed, with a code that is mailed to this address.",
			"", "If this is not you, stop it here, then change your password:",
			"If it is you, sign in, and say once more that your factor is lost.",
		},
		"zh-CN": {
			"现在可以移除您账号的第二重验证",
			"有人说它们已丢失，没有人阻止。自 %s 起，凭寄到这个邮箱的验证码就可以移除。",
			"", "如果不是您本人，请在这里阻止，然后修改密码：",
			"如果是您本人，请登录，并再次选择“丢失了验证方式”。",
		},
	},
}

func lossMail(locale, to, event string, due time.Time, link string) Message {
	t := textOf(lossTexts[event], locale)
	return compose(locale, to, t.subject, link, fmt.Sprintf(t.intro, moment(locale, due)), t.linkLine, link, t.ignore)
}

var lossCodeTexts = map[string]mailText{
	"en": {
		"Your code: %s",
		"Somebody, hopefully you, is about to remove the second factors of your account.",
		"Your code is %s. Type it on the page where you asked for it. It is good once, for 15 minutes.",
		"", "If this was not you, change your password now. Never give the code to anyone who asks for it.",
	},
	"zh-CN": {
		"您的验证码：%s",
		"有人（希望就是您）正要移除您账号的第二重验证。",
		"验证码是 %s。请在索取它的页面输入，只能用一次，15 分钟内有效。",
		"", "如果不是您本人，请立即修改密码。不要把验证码交给任何索要它的人。",
	},
}

func lossCodeMail(locale, to, code, publicURL string) Message {
	t := textOf(lossCodeTexts, locale)
	link := publicURL + "/account/security"
	m := compose(locale, to, fmt.Sprintf(t.subject, code), link, t.intro, fmt.Sprintf(t.codeLine, code), t.ignore, link)
	m.Code = code
	return m
}
