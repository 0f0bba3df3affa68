package web

import (
	"fmt"
	"strings"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/handover"
)

// A phrase is one text of the pages in each language.
type phrase struct{ en, zh string }

// phrases are what the pages say. %s and %d stand in the same order in both.
var phrases = map[string]phrase{
	"skip":     {"Skip to the content", "跳到正文"},
	"dev":      {"Development server. Mail and text messages are not sent:", "开发服务器，邮件和短信不会真正发出："},
	"dev.key":  {"Mail waits in the inbox: its link is in the terminal.", "邮件在收件箱里，链接见终端。"},
	"error":    {"Error: %s", "出错了：%s"},
	"optional": {"(optional)", "（选填）"},
	"pair":     {"%s: %s", "%s：%s"},
	"look":     {"Please look at this again", "请检查以下内容"},
	"language": {"Language", "语言"},
	"you":      {"Your account", "您的账号"},
	"parts":    {"Parts of your account", "账号的各个部分"},
	"request":  {"Request %s", "请求编号 %s"},
	"back":     {"Back", "返回"},
	"home":     {"To the start page", "回到首页"},
	"show":     {"Show", "显示"},
	"hide":     {"Hide", "隐藏"},
	"shown":    {"The password can be seen.", "密码现在可见。"},
	"hidden":   {"The password is hidden.", "密码已隐藏。"},
	"again":    {"Try again", "重试"},
	"wait.s":   {"Wait %d s, then try again.", "请在 %d 秒后重试。"},
	"wait.min": {"Wait %d min, then try again.", "请在 %d 分钟后重试。"},

	"problems.title": {"What can go wrong", "可能出现的错误"},
	"problems.lead":  {"Each refusal has a code that does not change. A page, an answer of the API and a line at the terminal say the same.", "每种错误都有一个固定的代码，在页面、API 响应和终端提示中保持一致。"},
	"problem.code":   {"Code", "代码"},
	"problem.status": {"HTTP status", "HTTP 状态"},
	"problem.do":     {"What to do", "解决办法"},
	"problem.more":   {"For programs", "供程序参考"},
	"problem.all":    {"All codes", "所有代码"},
	"problem.where":  {"Said by commands at the terminal only.", "只出现在终端命令中。"},
	"api.title":      {"The API", "编程接口（API）"},
	"api.lead":       {"What programs may ask of this server. The same for programs:", "程序可以调用的接口。供程序读取的同一份描述："},
	"api.codes":      {"What can go wrong", "可能出现的错误"},
	"api.body":       {"Body", "请求体"},
	"api.query":      {"In the query", "查询参数"},
	"api.answers":    {"Answers", "响应"},
	"api.refusals":   {"Refusals of its own", "特有的错误"},
	"api.objects":    {"Objects", "对象"},
	"api.calls":      {"All calls", "所有接口"},
	"api.session":    {"asks for a session", "需要会话"},

	"forms": {"This page takes forms only.", "这个页面只接受表单提交。"},

	"home.title":   {"Welcome", "欢迎"},
	"home.lead":    {"One place to sign in, and to see and end every session you have.", "在这里登录，并随时查看和结束您的所有会话。"},
	"home.guest":   {"You are here as a guest. What you do is kept when you sign up or sign in.", "您正以访客身份浏览。注册或登录后，现有的内容会保留。"},
	"home.hello":   {"You are signed in as %s.", "您已登录为 %s。"},
	"home.account": {"Go to your account", "进入您的账号"},

	"signin.title": {"Sign in", "登录"},
	"signin.new":   {"New here?", "还没有账号？"},

	"factor.title":         {"One more step", "还差一步"},
	"factor.lead":          {"Your account asks for a second proof that it is you.", "您的账号需要再验证一次，以确认是您本人。"},
	"factor.totp":          {"Code of your authenticator app", "验证器应用中的验证码"},
	"factor.totp.hint":     {"Six digits. Each code is good once.", "六位数字，每个验证码只能使用一次。"},
	"factor.recovery":      {"Recovery code", "恢复码"},
	"factor.recovery.hint": {"Sixteen letters and digits, from the list that you kept. Each is good once.", "十六个字母和数字，来自您保存的列表，每个只能使用一次。"},
	"factor.submit":        {"Go on", "继续"},
	"factor.trust":         {"Do not ask on this device for 30 days", "30 天内不再在这台设备上询问"},
	"factor.others":        {"Another way", "其他方式"},
	"factor.by.totp":       {"Use the authenticator app", "使用验证器应用"},
	"factor.by.passkey":    {"Use a passkey", "使用通行密钥"},
	"factor.by.recovery":   {"Use a recovery code", "使用恢复码"},

	"signup.title":     {"Sign up", "注册"},
	"signup.lead":      {"With an e-mail address, to which we send a code, or with a user name.", "请用邮箱（我们会发送验证码）或用户名注册。"},
	"signup.any":       {"With an e-mail address or a phone number, to which we send a code, or with a user name.", "请用邮箱或手机号码（我们会发送验证码），或者用户名注册。"},
	"signup.texts":     {"With a phone number, to which we send a code, or with a user name.", "请用手机号码（我们会发送验证码）或用户名注册。"},
	"signup.mailless":  {"Choose a user name.", "请设置一个用户名。"},
	"signup.have":      {"Have an account already?", "已经有账号了？"},
	"setup.title":      {"Become the administrator", "成为管理员"},
	"setup.lead":       {"This link makes one account with the role of administrator, once. You will be the administrator.", "这个链接用于创建管理员账号，只能使用一次。您将成为管理员。"},
	"setup.submit":     {"Sign up as administrator", "注册为管理员"},
	"verify.title":     {"Type the code", "输入验证码"},
	"verify.lead":      {"We sent six digits to %s. They are good once, for 15 minutes.", "我们已向 %s 发送六位验证码，15 分钟内有效，只能使用一次。"},
	"verify.somewhere": {"your address", "您的邮箱"},
	"verify.nothing":   {"Nothing came? Look for a typing mistake in the address, look in the spam folder, then", "没有收到？请检查邮箱地址是否有误，查看垃圾邮件，然后"},
	"verify.silence":   {"Nothing came? Look for a typing mistake in the number, wait a minute, then", "没有收到？请检查号码是否有误，稍等一分钟，然后"},
	"verify.again":     {"sign up again", "重新注册"},
	"verify.submit":    {"Finish sign-up", "完成注册"},
	"link.title":       {"Finish sign-up", "完成注册"},
	"link.here":        {"You are in the browser in which you began. One press makes the account for %s.", "您正在使用开始注册时的浏览器。点击按钮，即可为 %s 创建账号。"},
	"link.code":        {"Your code", "您的验证码"},
	"link.elsewhere":   {"Type these six digits in the browser in which you signed up. This page itself signs nobody in.", "请在您注册时使用的浏览器中输入这六位数字。打开本页面不会让任何人登录。"},
	"link.warn":        {"Never give them to anyone who asks for them. If you did not sign up, close this page: nothing happens.", "不要把验证码告诉任何索要它的人。如果不是您在注册，关闭本页面即可，什么也不会发生。"},
	"signout.title":    {"Sign out", "退出登录"},
	"signout.lead":     {"This ends the session of this browser. Your other sessions go on.", "这会结束当前浏览器的会话。您的其他会话不受影响。"},
	"signout.stay":     {"Stay signed in", "保持登录"},
	"signout.button":   {"Sign out", "退出登录"},
	"account.title":    {"Profile", "个人资料"},
	"security.title":   {"Security", "安全"},
	"sessions.title":   {"Sessions", "会话"},
	"activity.title":   {"Activity", "活动记录"},
	"label.who":        {"E-mail address or user name", "邮箱或用户名"},
	"label.any":        {"E-mail address, phone number or user name", "邮箱、手机号码或用户名"},
	"label.phone":      {"Phone number or user name", "手机号码或用户名"},
	"label.user":       {"User name", "用户名"},
	"label.name":       {"Your name", "您的名字"},
	"label.password":   {"Password", "密码"},
	"label.current":    {"Current password", "当前密码"},
	"label.new":        {"New password", "新密码"},
	"label.code":       {"Code", "验证码"},
	"label.remember":   {"Stay signed in here for 30 days", "在这台设备上保持登录 30 天"},
	"hint.password":    {"At least %d characters. A few words that have nothing to do with each other are good.", "至少 %d 个字符。建议把几个互不相关的词连在一起。"},
	"short":            {"The password is too short: it needs at least %d characters.", "密码太短：至少需要 %d 个字符。"},
	"hint.code":        {"Six digits", "六位数字"},
	"security.change":  {"Change the password", "修改密码"},
	"security.lead":    {"All your other sessions end when the password changes.", "修改密码后，您的其他会话会全部结束。"},
	"security.submit":  {"Change the password", "修改密码"},

	"ask.title":         {"Sign in without a password", "免密码登录"},
	"ask.lead":          {"We send you what signs you in, once, in this browser.", "我们会给您发送登录所需的内容，只能用一次，并且只在这个浏览器里有效。"},
	"ask.link":          {"Send me a link", "给我发送登录链接"},
	"ask.any":           {"Send me a link or a code", "给我发送登录链接或验证码"},
	"ask.code":          {"Send me a code", "给我发送验证码"},
	"ask.password":      {"Sign in with a password", "用密码登录"},
	"code.title":        {"Look at your mail", "请查看邮件"},
	"code.lead":         {"If %s has an account here, a message is on its way. Open its link in this browser, or type the six digits here. They are good once, for 10 minutes.", "如果 %s 在这里有账号，邮件已经发出。请在这个浏览器里打开其中的链接，或者在这里输入六位数字。只能用一次，10 分钟内有效。"},
	"code.texted":       {"Type the code", "输入验证码"},
	"code.number":       {"If %s has an account here, a text message with six digits is on its way. They are good once, for 10 minutes.", "如果 %s 在这里有账号，带有六位验证码的短信已经发出。只能用一次，10 分钟内有效。"},
	"code.again":        {"ask again", "重新发送"},
	"arrive.title":      {"You are nearly in", "马上就好"},
	"arrive.lead":       {"You are in the browser in which you asked. One press signs you in as %s.", "您正在使用请求登录的浏览器。点击按钮，即可登录为 %s。"},
	"elsewhere.title":   {"Are you signing in?", "是您在登录吗？"},
	"elsewhere.lead":    {"Somebody asked to sign in to your account, in another browser than this one. This page signs nobody in.", "有人在另一个浏览器里请求登录您的账号。打开本页面不会让任何人登录。"},
	"elsewhere.device":  {"Browser", "浏览器"},
	"elsewhere.when":    {"Asked", "请求时间"},
	"elsewhere.far":     {"It was asked for from another network than yours. If you do not know why, it was not you.", "请求来自与您不同的网络。如果您不知道原因，那就不是您本人。"},
	"elsewhere.you":     {"It is me, and that browser is before me", "是我本人，那个浏览器就在我面前"},
	"elsewhere.type":    {"Type these six digits there, yourself:", "请亲自在那里输入这六位数字："},
	"elsewhere.warn":    {"Never read them out, send them or type them anywhere else: whoever gets them is signed in as you. Nobody who works here asks for them.", "不要念给别人听，不要发给别人，也不要在其他任何地方输入：得到它们的人会以您的身份登录。我们的工作人员从不索要。"},
	"elsewhere.not":     {"It is not me", "不是我本人"},
	"elsewhere.nothing": {"Then close this page: nothing happens. You may also tell us, which counts against whoever asked.", "关闭本页面即可，什么也不会发生。您也可以告诉我们，请求的人会因此受到限制。"},
	"elsewhere.report":  {"Not me", "不是我"},

	"profile.name":       {"Name", "名字"},
	"profile.unnamed":    {"none given", "未填写"},
	"profile.ids":        {"You sign in with", "登录名"},
	"profile.verified":   {"verified", "已验证"},
	"profile.unverified": {"not verified", "未验证"},
	"profile.roles":      {"Roles", "角色"},
	"profile.since":      {"Member since", "注册时间"},

	"sessions.lead":    {"Every place where you are signed in. If you do not know one of them, end it and change your password.", "您当前登录的所有地方。如果有不认识的会话，请结束它并修改密码。"},
	"sessions.this":    {"This session", "当前会话"},
	"sessions.token":   {"an app with a token", "使用令牌的应用"},
	"sessions.unknown": {"Unknown device", "未知设备"},
	"sessions.from":    {"Address", "IP 地址"},
	"sessions.here":    {"this machine", "本机"},
	"sessions.first":   {"Signed in", "登录时间"},
	"sessions.last":    {"Last seen", "最近使用"},
	"sessions.end":     {"End", "结束"},
	"sessions.ending":  {"the session of %s, signed in %s", "%s 的会话，登录于 %s"},
	"sessions.others":  {"End all other sessions", "结束其他所有会话"},
	"sessions.alone":   {"There is no other session.", "没有其他会话。"},
	"activity.lead":    {"What happened to your account, latest first.", "您账号的操作记录，最新的在前。"},
	"activity.none":    {"Nothing yet.", "暂无记录。"},
	"activity.by":      {"by the operator", "由管理员操作"},
	"device":           {"%[1]s on %[2]s", "%[2]s 上的 %[1]s"},

	"profile.change":      {"Change your name", "修改名字"},
	"profile.save":        {"Save", "保存"},
	"profile.language":    {"Language of mail", "邮件语言"},
	"identifiers.title":   {"What you sign in with", "登录名"},
	"identifiers.lead":    {"The names, addresses and numbers that sign in to your account. What changes in it is told to every one that is verified.", "可用来登录您账号的用户名、邮箱和手机号码。账号的变动会通知到每一个已验证的邮箱和号码。"},
	"identifiers.primary": {"primary", "主登录名"},
	"identifiers.prefer":  {"Make primary", "设为主登录名"},
	"identifiers.verify":  {"Verify", "验证"},
	"identifiers.remove":  {"Remove", "移除"},
	"identifiers.add":     {"Add one more", "再添加一个"},
	"identifiers.submit":  {"Add", "添加"},
	"identifiers.change":  {"Add, verify or remove", "添加、验证或移除"},
	"addition.title":      {"Type the code", "输入验证码"},
	"addition.submit":     {"Add it", "添加"},
	"addition.again":      {"add it again", "重新添加"},
	"arrival.title":       {"Add the address", "添加邮箱"},
	"arrival.here":        {"You are in the browser in which you began. One press adds %s to your account.", "您正在使用开始添加时的浏览器。点击按钮，即可把 %s 添加到您的账号。"},
	"arrival.elsewhere":   {"Type these six digits in the browser in which you added the address. This page itself adds nothing.", "请在您添加邮箱时使用的浏览器中输入这六位数字。打开本页面不会添加任何内容。"},
	"arrival.warn":        {"Never give them to anyone who asks for them. If you did not add the address to an account, close this page: nothing happens.", "不要把验证码告诉任何索要它的人。如果不是您在添加这个邮箱，关闭本页面即可，什么也不会发生。"},
	"wayback.title":       {"Take your account back", "找回您的账号"},
	"wayback.lead":        {"This makes %s the primary address of your account again.", "这会把 %s 恢复为您账号的主邮箱。"},
	"wayback.effect":      {"All sessions end, names that were added or removed in the week before are undone, and the password is the one that you choose here. Nothing has happened yet.", "所有会话会结束，此前一周内添加或移除的登录名会还原，密码会改为您在这里设置的密码。目前还没有做任何更改。"},
	"wayback.submit":      {"Take it back", "找回账号"},
	"confirm.title":       {"Confirm that it is you", "请确认是您本人"},
	"confirm.lead":        {"What comes next could take your account away from you, so please give your password once more. It is good for 10 minutes.", "接下来的操作关系到账号的归属，请再输入一次密码。确认后 10 分钟内有效。"},
	"confirm.submit":      {"Confirm", "确认"},
	"asked.title":         {"Go on with what you asked for", "继续刚才的操作"},
	"asked.lead":          {"Nothing has happened yet. One press does it.", "目前还没有做任何更改，点击按钮即可执行。"},
	"asked.not":           {"No, leave it as it is", "算了，保持原样"},
	"asked.go":            {"Go on", "继续"},
	"asked.identifier":    {"Add %s", "添加 %s"},
	"asked.primary":       {"Make %s primary", "将 %s 设为主登录名"},
	"asked.remove":        {"Remove %s", "移除 %s"},
	"asked.confirm":       {"Delete the account of %s", "删除 %s 的账号"},
	"asked.name":          {"Make the key %s", "新建密钥 %s"},
	"security.must":       {"Choose a new password first", "请先设置新密码"},
	"security.because":    {"You told us that something in this account was not done by you. Whoever did it may know your password.", "您报告过，这个账号里有一项操作不是您本人所为。操作的人可能知道您的密码。"},
	"security.others":     {"When that is done, see whether you know everything that signs in here:", "修改之后，请确认以下登录名都是您的："},
	"activity.disown":     {"This was not me", "不是我本人操作"},
	"activity.older":      {"Older", "更早的"},
	"activity.latest":     {"Latest", "最近的"},
	"disown.title":        {"This was not you?", "不是您本人操作？"},
	"disown.lead":         {"Then all your sessions end, this one too, for nobody can tell which of them is the stranger's. You sign in again with your password and choose a new one before anything else.", "如果不是，您的所有会话都会结束，包括当前会话，因为无法分辨哪一个属于陌生人。您需要用密码重新登录，并先设置新密码。"},
	"disown.submit":       {"End all sessions", "结束所有会话"},
	"disown.back":         {"It was me: go back", "是我本人操作，返回"},
	"data.title":          {"Your data", "您的数据"},
	"data.ways":           {"Take all that is known of you with you, or delete the account.", "导出有关您的全部数据，或者删除账号。"},
	"data.open":           {"Export or delete", "导出或删除"},
	"data.export":         {"Take it with you", "导出数据"},
	"data.file":           {"A file with your profile, what you sign in with, your sessions and your activity, for people and for programs (JSON).", "一个 JSON 文件，包含您的个人资料、登录名、会话和活动记录，人和程序都能读取。"},
	"data.download":       {"Download", "下载"},
	"data.delete":         {"Delete the account", "删除账号"},
	"data.gone":           {"All that is known of you is gone at once and cannot be brought back. What stays is a list of events without a name or an address.", "有关您的一切会立即删除，无法恢复，只留下一份不含姓名和地址的事件记录。"},
	"data.confirm":        {"To delete it, type %s", "如要删除，请输入 %s"},

	"apikeys.title":     {"API keys", "API 密钥"},
	"apikeys.ways":      {"Let a program act for you, without your password.", "让程序代表您操作，而不必使用您的密码。"},
	"apikeys.open":      {"See and make API keys", "查看和新建 API 密钥"},
	"apikeys.lead":      {"With an API key a program acts for you. It may do only what you choose here, and nothing with your password, names, sessions and keys. If you do not know one of them, end it.", "程序凭 API 密钥代表您操作，只能做您在这里选择的事，不能碰您的密码、登录名、会话和密钥。如果有不认识的，请结束它。"},
	"apikeys.none":      {"There is no API key.", "还没有 API 密钥。"},
	"apikeys.may":       {"May", "权限"},
	"apikeys.used":      {"Last used", "最近使用"},
	"apikeys.unused":    {"not yet", "尚未使用"},
	"apikeys.expires":   {"Expires", "到期"},
	"apikeys.expired":   {"expired", "已过期"},
	"apikeys.never":     {"never", "永不"},
	"apikeys.end":       {"End", "结束"},
	"apikeys.ending":    {"the API key %s, made %s", "API 密钥 %s，创建于 %s"},
	"apikeys.make":      {"Make an API key", "新建 API 密钥"},
	"apikeys.confirm":   {"Before you make one, confirm that it is you.", "新建之前，请先确认是您本人。"},
	"apikeys.name":      {"Name", "名称"},
	"apikeys.named":     {"What uses it, such as “nightly report”", "由什么程序使用，例如“每日报表”"},
	"apikeys.scopes":    {"What it may do", "允许做什么"},
	"apikeys.choose":    {"Choose one at least.", "请至少选择一项。"},
	"apikeys.audiences": {"Audiences", "受众（audience）"},
	"apikeys.heard":     {"Whose news it may hear, with spaces between", "可以接收哪些受众的消息，用空格分隔"},
	"apikeys.life":      {"Good for", "有效期"},
	"apikeys.month":     {"30 days", "30 天"},
	"apikeys.quarter":   {"90 days", "90 天"},
	"apikeys.year":      {"a year", "一年"},
	"apikeys.ever":      {"ever: it does not expire", "永不过期"},
	"apikeys.submit":    {"Make the key", "新建密钥"},
	"apikey.title":      {"Your new API key", "您的新 API 密钥"},
	"apikey.lead":       {"Give it to the program as a secret: %s.", "请作为机密交给程序：%s。"},
	"apikey.once":       {"It is shown this once. Copy it now; if it is lost, end it and make another.", "它只显示这一次，请现在复制。如果丢失，请结束它并另建一个。"},
	"apikey.done":       {"I have copied it", "我已复制"},
	"scope.profile":     {"read who you are", "读取您的个人资料"},
	"scope.feed":        {"hear what ends, for its audiences", "接收其受众的失效消息"},
	"scope.read":        {"read users, roles and the audit", "读取用户、角色和审计记录"},
	"scope.admin":       {"change users and roles", "修改用户和角色"},

	"inbox.title": {"Development inbox", "开发收件箱"},
	"inbox.shut":  {"The inbox is locked", "收件箱已锁定"},
	"inbox.lead":  {"What would have been mailed or texted, latest first. It is kept in memory until the server stops.", "本应发出的邮件和短信，最新的在前。它们只保存在内存里，服务器停止后就会消失。"},
	"inbox.none":  {"No mail yet.", "还没有邮件。"},
	"inbox.text":  {"Text message", "短信"},
	"inbox.fresh": {"Look again", "刷新"},
	"inbox.to":    {"To", "收件人"},
	"inbox.at":    {"Time", "时间"},
	"inbox.code":  {"Code", "验证码"},
	"inbox.open":  {"Open the link", "打开链接"},

	"done.signed_out":             {"You are signed out.", "您已退出登录。"},
	"done.password_changed":       {"The password is changed. Your other sessions have ended.", "密码已修改。您的其他会话已结束。"},
	"done.session_ended":          {"The session has ended.", "该会话已结束。"},
	"done.other_sessions_ended":   {"All other sessions have ended.", "其他会话已全部结束。"},
	"done.profile_saved":          {"Saved.", "已保存。"},
	"done.identifier_added":       {"Added: you can sign in with it now.", "已添加，现在可以用它登录了。"},
	"done.identifier_primary_set": {"The primary one is changed.", "主登录名已更换。"},
	"done.identifier_removed":     {"Removed: it can no longer sign in.", "已移除，不能再用它登录了。"},
	"done.confirmed":              {"Thank you. Now you can go on.", "已确认，可以继续了。"},
	"done.disowned":               {"All sessions have ended. Sign in, and choose a new password.", "所有会话已结束。请登录并设置新密码。"},
	"done.way_back_taken":         {"The account is yours again. Sign in with the new password.", "账号已找回。请用新密码登录。"},
	"done.user_deleted":           {"Your account is deleted. Goodbye.", "您的账号已删除。再见。"},
	"done.api_key_ended":          {"The API key has ended.", "该 API 密钥已结束。"},
	"done.sign_in_disowned":       {"Thank you. It is noted, and your account shows it. Nobody was signed in, and nothing of yours was changed.", "谢谢，已记录，您的账号里可以看到。没有人因此登录，您的账号没有任何变化。"},
	"done.signed_up":              {"Your account is ready. You are signed in.", "您的账号已创建，您已登录。"},

	"time.now":  {"just now", "刚刚"},
	"time.min":  {"%d min ago", "%d 分钟前"},
	"time.hour": {"%d h ago", "%d 小时前"},

	"status.400": {"This cannot be done", "无法完成"},
	"status.401": {"This is no longer good", "已失效"},
	"status.403": {"This is not allowed", "不允许"},
	"status.404": {"There is nothing here", "页面不存在"},
	"status.405": {"Not like this", "请求方式不对"},
	"status.409": {"Something else came first", "有冲突"},
	"status.413": {"Too large", "内容太大"},
	"status.415": {"Not like this", "请求方式不对"},
	"status.421": {"Not this address", "地址不对"},
	"status.429": {"Too many tries", "尝试次数过多"},
	"status.500": {"Something went wrong", "出错了"},
	"status.503": {"Busy just now", "服务繁忙"},

	"stories.title": {"Storybook", "页面样本"},
	"stories.lead":  {"Every page in every state, made of canned data. A theme must show all of them.", "每个页面的每种状态，用固定的数据展示。主题必须能显示其中的每一个。"},
	"stories.rtl":   {"right to left", "从右到左"},

	"why.ended":     {"It was ended on another of your devices, by a change of your password, or by whoever runs this server. If that is news to you, sign in, look at your activity and change your password.", "可能是您在其他设备上结束了它，可能是密码被修改，也可能是服务器的管理员结束了它。如果您不知情，请登录后查看活动记录，并修改密码。"},
	"why.news":      {"If that is news to you, sign in, look at your activity and change your password.", "如果您不知情，请登录后查看活动记录，并修改密码。"},
	"why.expired":   {"Sessions end by themselves after a time, so that a device that is left behind does not stay open.", "会话过一段时间会自动结束，以免遗忘在别处的设备一直保持登录。"},
	"why.ambiguous": {"Sign in again, and one session remains.", "请重新登录，之后就只剩一个会话。"},
}

// events are what the activity page calls the events of the audit.
var events = map[string]phrase{
	"signed_up":               {"Signed up", "注册"},
	"signed_in":               {"Signed in", "登录"},
	"signed_out":              {"Signed out", "退出登录"},
	"sign_in_refused":         {"A sign-in was refused: wrong password", "登录被拒绝：密码错误"},
	"new_device":              {"The owner was told of a sign-in from a new device", "已通知主人：有新设备登录"},
	account.Stuffing:          {"Many accounts were tried from one network", "有人从同一个网络尝试了许多账号"},
	account.Spraying:          {"One password was tried on many accounts", "有人用同一个密码尝试了许多账号"},
	"sign_in_asked":           {"A link or a code to sign in was asked for", "请求了登录链接或验证码"},
	"code_refused":            {"A sign-in was refused: wrong code", "登录被拒绝：验证码错误"},
	"sign_in_disowned":        {"A sign-in that was asked for was reported: it was somebody else", "报告了一次非本人的登录请求"},
	"session_ended":           {"A session was ended", "结束了一个会话"},
	"restored":                {"A backup was restored", "恢复了备份"},
	"sessions_ended":          {"All sessions were ended", "结束了所有会话"},
	"other_sessions_ended":    {"All other sessions were ended", "结束了其他所有会话"},
	"session_displaced":       {"The oldest session was ended to make room", "为腾出位置，结束了最旧的会话"},
	"password_changed":        {"Password changed", "修改了密码"},
	"password_change_refused": {"A change of the password was refused: wrong current password", "修改密码被拒绝：当前密码错误"},
	"password_upgraded":       {"The stored password was protected better", "密码的存储方式得到了加强"},
	"message_given_up":        {"A message to you could not be delivered", "一条发给您的消息未能送达"},
	"first_proof_took_all":    {"The address was proved; what was set before is gone", "邮箱已验证；此前的设置已全部清除"},
	"password_set":            {"Password set", "设置了密码"},
	"user_added":              {"Account made", "创建了账号"},
	"user_imported":           {"Account imported", "导入了账号"},
	"user_disabled":           {"Account disabled", "停用了账号"},
	"user_enabled":            {"Account enabled", "启用了账号"},
	"user_deleted":            {"Account deleted", "删除了账号"},
	"profile_changed":         {"Name or language changed", "修改了名字或语言"},
	"proved_again":            {"The password was confirmed", "确认了密码"},
	"proof_refused":           {"A confirmation was refused: wrong password", "确认被拒绝：密码错误"},
	"identifier_asked":        {"A code was mailed to add an address", "为添加邮箱发送了验证码"},
	"identifier_added":        {"A name or an address that signs in was added", "添加了登录名或邮箱"},
	"identifier_verified":     {"An address was verified", "验证了邮箱"},
	"identifier_primary_set":  {"Another name was made primary", "更换了主登录名"},
	"identifier_removed":      {"A name or an address that signs in was removed", "移除了登录名或邮箱"},
	"identifier_lost":         {"An address that was never verified was proved by its owner elsewhere", "一个未验证的邮箱已由其主人在别处验证"},
	"disowned":                {"Something was reported that its owner has not done; all sessions ended", "报告了非本人操作；所有会话已结束"},
	"way_back_taken":          {"The account was taken back by an address; all sessions ended", "通过原来的邮箱找回了账号；所有会话已结束"},
	"api_key_made":            {"An API key was made", "新建了 API 密钥"},
	"api_key_ended":           {"An API key was ended", "结束了 API 密钥"},
	"approved":                {"Something was approved", "批准了一项操作"},
	"approval_spent":          {"What was approved was done", "执行了已批准的操作"},
	"approval_refused":        {"Something else than what was approved was refused", "拒绝了与批准内容不符的操作"},
	"data_exported":           {"The data was exported", "导出了数据"},
	"role_granted":            {"A role was granted", "授予了角色"},
	"role_revoked":            {"A role was taken back", "收回了角色"},
	"user_renamed":            {"Name changed", "修改了名字"},
	"audit_exported":          {"The audit was exported", "导出了审计记录"},
	"handed_over":             {"Another site took the sign-in over", "另一个网站沿用了登录"},
	"hand_over_refused":       {"A server that wanted to take a sign-in over was refused", "拒绝了一个想沿用登录的服务器"},
	"session_ended_at_site":   {"A session was ended at another site that had taken it over", "沿用登录的另一个网站结束了会话"},
	"refresh_token_replayed":  {"An old token of an app was presented again, so somebody had copied it; its session was ended", "一个应用的旧令牌被再次使用，说明有人复制了它；该会话已结束"},
}

// reasons are what the pages and the API tell of why a session ended.
var reasons = map[string]phrase{
	"signed_out":             {"You signed out.", "您已退出登录。"},
	"signed_in_again":        {"You have signed in again since.", "您之后又重新登录了。"},
	"proved_again":           {"You have confirmed your password since, in another window.", "您之后在另一个窗口确认了密码。"},
	"ended_by_user":          {"You were signed out because you ended this session from another device.", "您已退出登录，因为您在另一台设备上结束了这个会话。"},
	"ended_by_operator":      {"You were signed out by the operator of this server.", "服务器的管理员结束了您的会话。"},
	"ended_at_site":          {"You were signed out at another site that you had gone to from here.", "您在另一个沿用此登录的网站退出了登录。"},
	"displaced":              {"You were signed out because you had too many sessions.", "您已退出登录，因为您的会话太多了。"},
	"password_changed":       {"You were signed out because the password was changed.", "您已退出登录，因为密码已被修改。"},
	"disowned":               {"You were signed out because you told us that something in your account was not done by you.", "您已退出登录，因为您报告了一项非本人操作。"},
	"way_back_taken":         {"You were signed out because the account was taken back by its address.", "您已退出登录，因为账号已通过原来的邮箱找回。"},
	"identifier_verified":    {"You were signed out because an address of the account was verified.", "您已退出登录，因为账号的一个邮箱通过了验证。"},
	"refresh_token_replayed": {"You were signed out because an old token of this session was presented again: somebody may have copied it.", "您已退出登录，因为这个会话的一个旧令牌被再次使用：可能有人复制了它。"},
	"first_proof_took_all":   {"You were signed out because the owner of the address proved it.", "您已退出登录，因为邮箱的主人完成了验证。"},
}

// A refusal is what a page says of an error: what happened and what to do.
type refusal struct{ Text, Hint string }

// refusals are the sentences of admit.Error in Chinese, by their codes.
var refusals = map[string]refusal{
	account.ErrBadCredentials.Code():  {"登录名或密码不正确。", ""},
	account.ErrBadPassword.Code():     {"当前密码不正确。", ""},
	account.ErrBadCode.Code():         {"验证码不正确。", "请查看最新的一封邮件；验证码是六位数字。"},
	account.ErrFlowEnded.Code():       {"这个验证码或链接已经失效。", "请重新开始：寄出的验证码和链接只能用一次，15 分钟内有效，最多试五次。如果这是管理员链接：用过就请登录，没用过就重启服务器，它会给出新的链接。"},
	account.ErrChanged.Code():         {"密码刚刚被改过了。", ""},
	account.ErrJWTShown.Code():        {"这个 JWT 也会出示给其他服务，它们都可能用它做这件事。", "请把它绑定到密钥（DPoP），或者用 cookie 或令牌登录。"},
	account.ErrTaken.Code():           {"这个名字已被使用。", "请换一个，或者直接登录。"},
	account.ErrMail.Code():            {"这里还不能发送邮件。", "请使用用户名注册。"},
	account.ErrPhone.Code():           {"这里还不能使用手机号码。", "请使用用户名。"},
	account.ErrPhoneMalformed.Code():  {"没有这样的手机号码。", "请以加号和国家代码开头，例如 +86 138 1234 5678。"},
	account.ErrIdentifier.Code():      {"这既不是邮箱，也不是手机号码或用户名。", "用户名是 2 到 64 个字母、数字、点、横线或下划线；手机号码以加号和国家代码开头。"},
	account.ErrNameTooLong.Code():     {"名字最多 200 个字符。", ""},
	account.ErrRefreshToken.Code():    {"这个刷新令牌无效。", "请重新登录。"},
	account.ErrRefreshReplayed.Code(): {"这个刷新令牌已经用过，所以它的会话已被结束。", "请重新登录。客户端只保留最新的令牌，丢弃旧的；出示旧令牌的人可能是偷来的。"},
	account.ErrOneTime.Code():         {"这个令牌无效，或已经失效。", "它只能用一次，有效期也很短。请重新获取一个。"},
	account.ErrJWT.Code():             {"这个 JWT 在这里无效。", ""},
	jose.ErrExpired.Code():            {"令牌已过期。", "请刷新它。"},
	session.ErrStale.Code():           {"这个令牌的内容已经过时。", "请刷新它；会话可能仍然有效。"},
	account.ErrTooMany.Code():         {"尝试次数过多。", "请稍后再试。"},
	account.ErrGuesses.Code():         {"错误密码过多。", "请稍等。用邮件里的链接、验证码或通行密钥可以立即登录；在您以前登录过的浏览器里，密码也照常可用。"},
	account.ErrUnknownUser.Code():     {"没有这个用户。", ""},
	account.ErrDisabled.Code():        {"这个用户已被停用。", ""},

	admit.ErrProof.Code():               {"请先确认是您本人。", "请再输入一次密码，或者重新登录。"},
	account.ErrMustChange.Code():        {"请先设置新密码。", "这个账号报告过非本人操作，所以要先修改密码。"},
	account.ErrSamePassword.Code():      {"这就是您现在的密码。", "请换一个：操作的人可能知道它。"},
	account.ErrConfirmation.Code():      {"这不是您的登录名。", ""},
	account.ErrLocale.Code():            {"这里不支持这种语言。", "请选择 English 或简体中文。"},
	account.ErrNoRecord.Code():          {"没有这条记录。", ""},
	account.ErrYours.Code():             {"您已经可以用它登录。", ""},
	account.ErrManyIdentifiers.Code():   {"您已经有十个登录名了。", "请先移除一个。"},
	account.ErrUnknownIdentifier.Code(): {"您没有这个登录名。", ""},
	account.ErrUnverified.Code():        {"这个邮箱还没有验证。", "请先验证：重新添加它，并输入寄给它的验证码。"},
	account.ErrPrimary.Code():           {"这是主登录名。", "请先把另一个设为主登录名。"},
	account.ErrLastIdentifier.Code():    {"这是您最后一个可以登录的名字。", "请先添加另一个。"},
	account.ErrWayBackEnded.Code():      {"这个链接已经失效。", "它只能用一次，七天内有效。请登录并查看您的账号。"},

	account.ErrAPIKey.Code():        {"这个 API 密钥无效或已经失效。", "请查看它是否完整、已过期或已结束；它的用户可以另建一个。"},
	errNoKey.Code():                 {"失效消息只提供给能表明身份的服务。", "请在 Authorization 请求头中发送有 feed 权限的 API 密钥。"},
	account.ErrScope.Code():         {"这个 API 密钥没有这个接口所需的权限。", ""},
	account.ErrUnknownAPIKey.Code(): {"没有这个 API 密钥。", ""},
	account.ErrManyAPIKeys.Code():   {"已经有 50 个 API 密钥了。", "请先结束一个。"},
	account.ErrKeyName.Code():       {"API 密钥需要一个名称，最多 100 个字符。", "请写明由什么程序使用，以便一年后还认得它。"},
	account.ErrScopes.Code():        {"API 密钥至少需要一项权限，并且只能从已有的权限中选择。", "权限有 " + strings.Join(account.Scopes, "、") + "。"},
	account.ErrScopeRole.Code():     {"只有管理员可以给 API 密钥这项权限。", ""},
	account.ErrAudience.Code():      {"受众是 1 到 256 个字符，不含空格；一个密钥最多 20 个。", ""},
	account.ErrNoAudience.Code():    {"接收失效消息的权限需要填写受众。", ""},
	account.ErrKeyLife.Code():       {"API 密钥的有效期是一分钟到 366 天，或者明确要求永不过期。", ""},

	account.ErrAction.Code():          {"操作名由 1 到 100 个字母、数字、点、冒号、横线或下划线组成。", ""},
	account.ErrParams.Code():          {"这些参数无法批准。", "只能是由文字、布尔值、null、不超过 2^53 的整数、列表和对象组成的对象，最多 4 KiB；其他数字请写成文字。"},
	account.ErrApprovalEnded.Code():   {"这个批准已经失效，或者从未有过。", "请重新申请（POST /api/v1/approvals），5 分钟内有效。"},
	account.ErrApprovalSpent.Code():   {"这个批准已经用过了。", "每个批准只能用一次，请重新申请。"},
	account.ErrApprovalOther.Code():   {"批准的内容与现在请求的不同。", "请为这个操作和这些参数申请批准，必须完全一致。"},
	account.ErrApprovalSession.Code(): {"这个批准是在另一个会话里给出的。", "请在使用它的会话里申请。"},

	"password_too_long":     {"密码不能超过 1,000 个字符。", ""},
	"password_breached":     {"这个密码出现在泄露名单里，别人会最先尝试它。", "请把几个词连在一起，但不要与您本人有关。"},
	"password_is_your_name": {"密码与您的名字相同。", "请换一个没人知道的。"},
	"password_malformed":    {"密码不是有效的文字。", ""},
	"password_busy":         {"同时登录的人太多了。", "请稍后再试。"},

	session.ErrNone.Code():        {"您还没有登录。", ""},
	session.ErrEnded.Code():       {"这个会话已被结束。", ""},
	session.ErrExpired.Code():     {"这个会话已过期。", ""},
	session.ErrAmbiguous.Code():   {"您的浏览器发送了两个不同的会话，因此都无效。", ""},
	session.ErrUnknown.Code():     {"没有这个会话。", ""},
	session.ErrBusy.Code():        {"这个会话正被太多请求同时修改。", ""},
	session.ErrUnavailable.Code(): {"现在无法读取会话。", "请稍后再试。"},
	"store_full":                  {"现在无法保存更多会话。", "请稍后再试。"},
	"database_unavailable":        {"现在无法使用数据库。", "请稍后再试。"},
	"database_corrupt":            {"数据库已损坏。", "请联系管理员。"},
	"disk_full":                   {"磁盘已满。", "请稍后再试。"},

	"invalid":         {"这个请求无效。", ""},
	"unauthenticated": {"您还没有登录。", ""},
	"forbidden":       {"您不能这样做。", ""},
	"conflict":        {"与刚才的更改冲突。", ""},
	"rate_limited":    {"请求过多。", ""},
	"unavailable":     {"暂时无法完成。", ""},

	problem.ErrMalformed.Code():   {"无法读取请求的内容。", ""},
	problem.ErrCrossSite.Code():   {"这个请求来自其他网站的页面。", "请打开本站自己的页面再试。"},
	problem.ErrNotFound.Code():    {"这个地址下没有内容。", ""},
	problem.ErrMethod.Code():      {"这个地址不接受这种方法。", ""},
	problem.ErrTooLarge.Code():    {"请求太大了。", ""},
	problem.ErrHeader.Code():      {"请求头太大了。", "请删除本站的 cookie 再试。"},
	problem.ErrContentType.Code(): {"请求的内容必须是 application/json。", ""},
	problem.ErrHost.Code():        {"服务器不为这个主机名服务。", "请使用服务器启动时给出的地址。"},
	"internal":                    {"我们这边出了问题。", "请重试；如果仍然出错，请把请求编号告诉服务器的管理员。"},

	errHTTPS.Code():             {"这里只用 HTTPS 回答。", "请使用 https 地址。"},
	errProxy.Code():             {"服务器前面的代理没有说明它在替谁请求。", proxyLines},
	errPeer.Code():              {"服务器只回答它的代理。", "请使用 https 地址；管理员请看 --trusted-proxy。"},
	errRole.Code():              {"只有管理员可以这样做。", ""},
	errParameter.Code():         {"地址中的某个参数不能是这个值。", ""},
	errUnknown.Code():           {"地址中有一个未知的参数。", ""},
	errNoPassword.Code():        {"这里没有密码。", "要去掉密码，请用 DELETE。"},
	account.ErrReason.Code():    {"原因最多 500 个字符。", ""},
	account.ErrLastAdmin.Code(): {"这是最后一位可以登录的管理员。", "请先设立另一位。"},

	handover.ErrSite.Code():        {"这里没有登记可以这样请求的网站。", ""},
	handover.ErrCode.Code():        {"这次登录延续已经结束、用过，或者不属于这个网站。", "请从您原来要去的地方重新开始。"},
	handover.ErrUnsolicited.Code(): {"这个浏览器不是从这里出发去登录的。", "请从您原来要去的地方重新开始。"},
	handover.ErrReturn.Code():      {"登录延续只能回到同一网站的某个路径。", ""},
	"handover_malformed":           {"这不是延续登录的请求。", ""},

	errReturnTo.Code(): {"带您来这里的链接要把您引向其他网站，这是不允许的。", "请从首页继续。"},
	errMissing.Code():  {"请填写这一项。", ""},
	errInbox.Code():    {"收件箱已锁定。", "请打开启动服务器的终端里显示的链接。"},
}

// say returns a phrase in a language.
func say(lang, name string, args ...any) string {
	p, ok := phrases[name]
	if !ok {
		panic("web: no phrase " + name)
	}
	return p.in(lang, args...)
}

func (p phrase) in(lang string, args ...any) string {
	text := p.en
	if lang == "zh-CN" {
		text = p.zh
	}
	if len(args) > 0 {
		text = fmt.Sprintf(text, args...)
	}
	return text
}

// event names an event of the audit, as it is written where it has no name.
func event(lang, name string) string {
	if p, ok := events[name]; ok {
		return p.in(lang)
	}
	return strings.ReplaceAll(name, "_", " ")
}

// refusalOf returns what a page says of a refusal with this code, whose
// sentence in English is en.
func (c *call) refusalOf(code string, en refusal) refusal {
	if code == "password_too_short" {
		return refusal{Text: c.say("short", c.Accounts.MinPassword())} // the list of what is wrong shows no hint
	}
	if code == problem.ErrContentType.Code() {
		return refusal{Text: c.say("forms")}
	}
	if r, ok := refusals[code]; ok && c.language() == "zh-CN" {
		return r
	}
	return en
}

func (c *call) say(name string, args ...any) string { return c.views.say(c.language(), name, args...) }

// What the pages themselves refuse.
var (
	errMissing = admit.Invalid.New("field_missing", "Please fill this in.")
	errInbox   = admit.Forbidden.New("inbox_locked", "The inbox is locked.").WithHint("Open it with the link that the terminal shows where the server was started.")
)
