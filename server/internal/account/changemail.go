package account

import (
	"fmt"
	"time"
)

// Mail about changes of an account.

var additionTexts = map[string]mailText{
	"en": {
		"Your code: %s",
		"Somebody, hopefully you, is adding this address to an account.",
		"Your code is %s. Type it on the page where you added the address.",
		"Or open this link in the same browser:",
		"Both are good once, for 15 minutes. If this was not you, do nothing: nothing is added. Never give the code to anyone who asks for it.",
	},
	"zh-CN": {
		"您的验证码：%s",
		"有人（希望就是您）正在把这个邮箱添加到一个账号。",
		"验证码是 %s。请在您添加邮箱的那个页面输入它。",
		"或者在同一个浏览器里打开这个链接：",
		"两者都只能用一次，15 分钟内有效。如果不是您本人，什么也不用做：不会添加任何内容。不要把验证码交给任何索要它的人。",
	},
}

var additionTakenTexts = map[string]mailText{
	"en": {
		"This address has an account already",
		"Somebody, hopefully you, tried to add this address to another account. It belongs to an account already, so nothing was changed.",
		"", "If you want to move it, sign in here and remove it first:", "If this was not you, you need do nothing.",
	},
	"zh-CN": {
		"这个邮箱已经有账号了",
		"有人（希望就是您）想把这个邮箱添加到另一个账号。它已经属于一个账号，所以没有做任何更改。",
		"", "如果您想转移它，请先在这里登录并移除它：", "如果不是您本人，什么也不用做。",
	},
}

var goodbyeTexts = map[string]mailText{
	"en": {
		"Your account is deleted",
		"As you asked, your account is deleted, with all that was known of you. All sessions have ended.",
		"", "If you want to come back, you can sign up anew:", "This is the last mail about this account.",
	},
	"zh-CN": {
		"您的账号已删除",
		"按照您的要求，您的账号和有关您的一切资料都已删除，所有会话已结束。",
		"", "如果您想回来，可以重新注册：", "这是关于这个账号的最后一封邮件。",
	},
}

// changeTexts are a subject and what happened, by the event.
var changeTexts = map[string]map[string][2]string{
	"identifier_added": {
		"en":    {"A new name can sign in to your account", "Somebody, hopefully you, added a name that signs in to your account."},
		"zh-CN": {"您的账号添加了新的登录名", "有人（希望就是您）为您的账号添加了一个可以登录的名字。"},
	},
	"identifier_verified": {
		"en":    {"An address of your account is verified", "Somebody, hopefully you, verified an address of your account. Its other sessions have ended."},
		"zh-CN": {"您账号的一个邮箱已验证", "有人（希望就是您）验证了您账号的一个邮箱。其他会话已结束。"},
	},
	"identifier_primary_set": {
		"en":    {"Your account has another primary name", "Somebody, hopefully you, made another name the primary one of your account."},
		"zh-CN": {"您账号的主登录名已更换", "有人（希望就是您）把另一个名字设成了您账号的主登录名。"},
	},
	"identifier_removed": {
		"en":    {"This address was removed from your account", "Somebody, hopefully you, removed this address from your account. It can no longer sign in."},
		"zh-CN": {"这个邮箱已从您的账号移除", "有人（希望就是您）把这个邮箱从您的账号移除了。它不能再用来登录。"},
	},
	"password_changed": {
		"en":    {"Your password was changed", "Somebody, hopefully you, changed the password of your account. Its other sessions have ended."},
		"zh-CN": {"您的密码已更改", "有人（希望就是您）更改了您账号的密码。其他会话已结束。"},
	},
	"api_key_made": {
		"en":    {"Your account has a new API key", "Somebody, hopefully you, made an API key, with which a program can act for your account."},
		"zh-CN": {"您的账号新建了一个 API 密钥", "有人（希望就是您）为您的账号新建了一个 API 密钥，程序可以用它代表您操作。"},
	},
	reasonReplayed: {
		"en":    {"A session was ended: its token may be stolen", "Somebody, perhaps an app of yours by mistake, used a refresh token of your account that had been replaced. It may have been copied, so its session has ended."},
		"zh-CN": {"一个会话已结束：它的令牌可能被盗", "有人（也许是您的应用出错）使用了您账号的一个已被替换的刷新令牌。它可能被复制了，因此对应的会话已结束。"},
	},
	"disowned": {
		"en":    {"All your sessions were ended", "Somebody, hopefully you, said that something in your account was not done by its owner. All sessions have ended, and the next sign-in must choose a new password."},
		"zh-CN": {"您的所有会话已结束", "有人（希望就是您）报告说，您账号里有一项操作不是本人所为。所有会话已结束，下次登录必须设置新密码。"},
	},
}

var changeFrames = map[string]struct{ when, fine, back, bare, lost string }{
	"en": {
		"%s, from the network address %s.",
		"If this was you, you need do nothing.",
		"If it was not, open this link. It is good once, for seven days, and gives the account back to you at this address: you choose a new password, all sessions end, and what was added or removed in the week before is undone.",
		"If it was not, sign in and change your password:",
		"If it was not, and the password that you know no longer signs you in, ask the people who run this service. Here you can try:",
	},
	"zh-CN": {
		"%s，来自网络地址 %s。",
		"如果是您本人，什么也不用做。",
		"如果不是，请打开下面的链接。它只能用一次，七天内有效，会把账号交还给使用这个邮箱的您：您设置一个新密码，所有会话结束，一周内添加或移除的登录名全部还原。",
		"如果不是，请登录并修改密码：",
		"如果不是，并且您知道的密码已无法登录，请联系本服务的管理人员。您可以在这里尝试登录：",
	},
}

// setTexts are of what an administrator has done.
var setTexts = map[bool]map[string]mailText{
	true: {
		"en": {
			"Your password was set by an administrator",
			"An administrator of this service gave your account a new password. All sessions have ended.",
			"", "If you asked for it, sign in with the new password, then change it to one that only you know:",
			"If you know nothing of it, ask the people who run this service, in a way that you know already. They never need your password.",
		},
		"zh-CN": {
			"管理员重设了您的密码",
			"本服务的管理员为您的账号设置了新密码。所有会话已结束。",
			"", "如果这是您要求的，请用新密码登录，然后改成只有您自己知道的密码：",
			"如果您对此毫不知情，请用您已知的方式联系本服务的管理人员。他们从不需要您的密码。",
		},
	},
	false: {
		"en": {
			"Your password was removed by an administrator",
			"An administrator of this service removed the password of your account, which nobody can sign in with now. All sessions have ended.",
			"", "This is where you sign in once you have been given a new one:",
			"If you know nothing of it, ask the people who run this service, in a way that you know already. They never need your password.",
		},
		"zh-CN": {
			"管理员移除了您的密码",
			"本服务的管理员移除了您账号的密码，现在谁也不能用它登录。所有会话已结束。",
			"", "得到新密码后，请在这里登录：",
			"如果您对此毫不知情，请用您已知的方式联系本服务的管理人员。他们从不需要您的密码。",
		},
	},
}

// setMail tells that an administrator set a password, or removed it. It has no
// way back: who runs the service may shut somebody out.
func setMail(locale, to string, set bool, publicURL string, now time.Time) Message {
	t := textOf(setTexts[set], locale)
	link := publicURL + "/signin"
	return compose(locale, to, t.subject, link, t.intro, moment(locale, now), t.linkLine, link, t.ignore)
}

// moment writes a time for people.
func moment(locale string, now time.Time) string {
	if locale == "zh-CN" {
		return now.UTC().Format("2006年1月2日 15:04 UTC")
	}
	return now.UTC().Format("2 January 2006, 15:04 UTC")
}

func additionMail(locale, to, code, link string) Message {
	t := textOf(additionTexts, locale)
	m := compose(locale, to, fmt.Sprintf(t.subject, code), link, t.intro, fmt.Sprintf(t.codeLine, code), t.linkLine, link, t.ignore)
	m.Code = code
	return m
}

func additionTakenMail(locale, to, publicURL string) Message {
	t := textOf(additionTakenTexts, locale)
	link := publicURL + "/signin"
	return compose(locale, to, t.subject, link, t.intro, t.linkLine, link, t.ignore)
}

func goodbyeMail(locale, to, publicURL string) Message {
	t := textOf(goodbyeTexts, locale)
	link := publicURL + "/signup"
	return compose(locale, to, t.subject, link, t.intro, t.linkLine, link, t.ignore)
}

// changeMail tells of a change. Back is the token of the way back, "" where there
// is none.
func changeMail(locale, to, event string, from Origin, back, publicURL string, now time.Time) Message {
	if _, ok := changeFrames[locale]; !ok {
		locale = "en"
	}
	text, frame := changeTexts[event][locale], changeFrames[locale]
	link, last := publicURL+"/account/security", frame.bare
	if event == "password_changed" {
		last = frame.lost
	}
	if back != "" {
		link, last = publicURL+"/link/"+back, frame.back
	}
	return compose(locale, to, text[0], link, text[1], fmt.Sprintf(frame.when, moment(locale, now), from.Address), frame.fine, last, link)
}
