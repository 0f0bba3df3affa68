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
