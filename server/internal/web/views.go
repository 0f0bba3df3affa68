package web

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
)

//go:embed templates/*.html static/*
var files embed.FS

// views is what pages are made of: templates and texts in each language, and
// files that carry the digest of their content in their name, so that browsers
// may keep them for ever.
type views struct {
	templates map[string]*template.Template // by language
	ours      map[string]*template.Template // without the theme's, nil where there are none
	texts     map[string]map[string]string  // the theme's, by language and phrase
	assets    map[string]asset              // by path
	links     map[string][]link             // by language
	brand     string

	css, themeCSS, script, passkeyScript, mark string // paths
}

type asset struct {
	kind, etag string
	content    []byte
}

// A link is one of the theme's, in the footer.
type link struct{ Text, URL string }

var languages = []struct{ Tag, Name string }{{"en", "English"}, {"zh-CN", "简体中文"}}

// newViews makes the pages of a theme; nil is ours.
func newViews(t *Theme) (*views, error) {
	v := &views{templates: map[string]*template.Template{}, assets: map[string]asset{}, brand: "admit"}
	v.css = v.embedded("admit.css", "text/css; charset=utf-8")
	v.script = v.embedded("admit.js", "text/javascript; charset=utf-8")
	v.passkeyScript = v.embedded("passkey.js", "text/javascript; charset=utf-8")
	v.mark = v.embedded("mark.svg", "image/svg+xml")
	if err := v.take(t); err != nil {
		return nil, err
	}
	// Templates are parsed once; what they say is bound to each copy.
	parsed := template.Must(template.New("").Funcs(v.phrasesIn("en")).ParseFS(files, "templates/*.html"))
	var err error
	if v.templates, err = v.bind(parsed, nil); err != nil {
		return nil, err
	}
	if t != nil && len(t.Templates) > 0 {
		v.ours = v.templates
		v.templates, err = v.bind(parsed, t.Templates)
	}
	return v, err
}

// bind gives each language its copy, in which the sources shadow what is there.
func (v *views) bind(parsed *template.Template, shadows []Source) (map[string]*template.Template, error) {
	all := map[string]*template.Template{}
	for _, l := range languages {
		t := template.Must(parsed.Clone()).Funcs(v.phrasesIn(l.Tag))
		for _, s := range shadows {
			if _, err := t.New(s.Where).Parse(s.Text); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrTheme, err) // which says the file and the line
			}
		}
		all[l.Tag] = t
	}
	return all, nil
}

func (v *views) phrasesIn(lang string) template.FuncMap {
	return template.FuncMap{"say": func(name string, args ...any) string { return v.say(lang, name, args...) }, "marked": marked}
}

// say returns a phrase in a language, in the theme's words where it has some.
func (v *views) say(lang, name string, args ...any) string {
	text, ok := v.texts[lang][name]
	switch {
	case !ok:
		return say(lang, name, args...)
	case len(args) > 0:
		return fmt.Sprintf(text, args...)
	}
	return text
}

// embedded takes in a file of ours and returns the path that it is served at.
func (v *views) embedded(file, kind string) string {
	content, err := files.ReadFile("static/" + file)
	if err != nil { // it is compiled in
		panic(err)
	}
	return v.asset(file, kind, content)
}

func (v *views) asset(file, kind string, content []byte) string {
	sum := sha256.Sum256(content)
	digest := hex.EncodeToString(sum[:8])
	ext := path.Ext(file)
	at := "/static/" + strings.TrimSuffix(file, ext) + "-" + digest + ext
	v.assets[at] = asset{kind, `"` + digest + `"`, content}
	return at
}

// serve answers with the file at the request's path.
func (c *call) serve() error {
	a, ok := c.views.assets[c.r.URL.Path]
	if !ok {
		return problem.ErrNotFound
	}
	h := c.w.Header()
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Etag", a.etag)
	if c.r.Header.Get("If-None-Match") == a.etag {
		c.begin(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", a.kind)
	h.Set("Content-Length", strconv.Itoa(len(a.content)))
	c.begin(http.StatusOK)
	c.w.Write(a.content)
	return nil
}

// A page is what a template shows, and its frame around it.
type page struct {
	Name  string // of the template
	Title string
	User  *account.User // who is signed in, nil on pages that do not ask
	Form  *form
	Data  any
	Flow  string // what the page is about comes in its address

	target string   // where it leads on, where a cookie has kept that and not the form
	app    *waiting // who waits there, where that is known
	c      *call    // which finds that out, set by render

	UserCode string // and here the code of a device

	// Set by show.
	Lang, Dir string
	Languages []choice
	Notice    string
	Why       string // a second sentence of the notice: why somebody was signed out
	Dev       bool
	Inbox     bool // this browser may open it
	Path      string

	Passkey       *passkeyForm // nil where the page asks for none
	PasskeyScript string

	Brand                       string
	CSS, ThemeCSS, Script, Mark string
	Links                       []link
}

// Called is the name that the user is greeted by.
func (p *page) Called() string { return called(p.User) }

// Initial is its first letter, for where there is room for no more.
func (p *page) Initial() string {
	for _, letter := range p.Called() {
		return strings.ToUpper(string(letter))
	}
	return ""
}

// A choice is a language to read the page in.
type choice struct {
	Tag, Name, URL string
	Current        bool
}

// Failed reports whether the page says that something was refused.
func (p *page) Failed() bool { return p.Form != nil && p.Form.failed() }

// ForApp reports whether an application waits for what the page asks.
func (p *page) ForApp() bool { return p.Form != nil && leadsToApp(p.Form.ReturnTo) }

// App is who waits for what the page asks, nil for nobody. It is looked up where a template
// shows it.
func (p *page) App() *waiting {
	if p.app == nil && p.c != nil {
		target := p.target
		if p.Form != nil {
			target = cmp.Or(p.Form.ReturnTo, target)
		}
		p.app = p.c.waiting(target)
	}
	return p.app
}

// Section is the tab of the account that the page stands under, "" elsewhere.
func (p *page) Section() string {
	switch p.Name {
	case "account", "identifiers", "addition", "data", "confirm", "asked":
		return "/account"
	case "activity", "disown":
		return "/account/activity"
	case "security", "sessions", "apps":
		return "/account/" + p.Name
	case "apikeys", "apikey", "passkeys", "factors", "totp", "codes", "devices":
		return "/account/security"
	}
	return ""
}

// In returns the aria-current of a tab: this page, one under it, or "".
func (p *page) In(tab string) string {
	switch tab {
	case p.Path:
		return "page"
	case p.Section():
		return "true"
	}
	return ""
}

// Up is the page that this one hangs under, "" where a tab leads here.
func (p *page) Up() string {
	switch p.Name {
	case "addition":
		return "/account/identifiers"
	case "identifiers", "data", "confirm":
		return "/account"
	case "apikeys", "passkeys", "factors", "devices":
		return "/account/security"
	case "totp", "codes":
		return "/account/factors"
	}
	return "" // a page that asks offers the way back as an answer
}

// page begins one whose title is the phrase "NAME.title".
func (c *call) page(name string) *page {
	return &page{Name: name, Title: c.say(name + ".title")}
}

// show answers with a page. Nothing was written if it returns an error.
func (c *call) show(status int, p *page) error {
	p.Dev = c.Dev != nil
	p.Inbox = p.Dev && c.unlocked()
	if p.Notice != "" {
		p.Why = cmp.Or(p.Why, c.why)
	}
	if status < 400 {
		c.takeNotice(p)
	}
	b := c.buffers.Get().(*bytes.Buffer)
	defer c.buffers.Put(b)
	if err := c.render(b, p); err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", p.Lang)
	body := c.light(p, b.Bytes())
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.begin(status)
	c.w.Write(body)
	return nil
}

// render writes a page with the frame around it. What a theme's template cannot
// show, ours does: nobody is kept from signing in by how a page looks.
func (c *call) render(b *bytes.Buffer, p *page) error {
	v := c.views
	p.Lang, p.Languages, p.Path = c.language(), c.choices(p), cmp.Or(p.Path, c.r.URL.Path)
	p.Dir, p.PasskeyScript, p.c = cmp.Or(p.Dir, "ltr"), v.passkeyScript, c
	p.Brand, p.CSS, p.ThemeCSS, p.Script, p.Mark, p.Links = v.brand, v.css, v.themeCSS, v.script, v.mark, v.links[p.Lang]
	b.Reset()
	err := v.templates[p.Lang].ExecuteTemplate(b, p.Name, p)
	if err != nil && v.ours != nil && !c.strict {
		c.Log.LogAttrs(c.r.Context(), slog.LevelError, "the theme cannot show a page; ours is shown", slog.String("request_id", c.id), slog.String("error", err.Error()))
		b.Reset()
		err = v.ours[p.Lang].ExecuteTemplate(b, p.Name, p)
	}
	if err != nil {
		return fmt.Errorf("render %s: %w", p.Name, err)
	}
	return nil
}

// choices are links to the same page in each language.
func (c *call) choices(p *page) []choice {
	q := url.Values{}
	if p.Form != nil && p.Form.ReturnTo != "" {
		q.Set("return_to", p.Form.ReturnTo)
	}
	if p.Flow != "" {
		q.Set("flow", p.Flow)
	}
	if p.UserCode != "" {
		q.Set("user_code", p.UserCode)
	}
	if c.switches() {
		q.Set("switch", "yes")
	}
	var all []choice
	for _, l := range languages {
		q.Set("lang", l.Tag)
		all = append(all, choice{l.Tag, l.Name, "?" + q.Encode(), l.Tag == c.language()})
	}
	return all
}

// language returns the language to speak: what was chosen here, else what the
// browser asks for.
func (c *call) language() string {
	if c.lang != "" {
		return c.lang
	}
	c.lang = languageOf(c.r.Header.Get("Accept-Language"))
	if chosen, err := c.tongue.Get(c.r); err == nil {
		for _, l := range languages {
			if string(chosen) == l.Tag {
				c.lang = l.Tag
			}
		}
	}
	return c.lang
}

// choose notes the language that ?lang= names and leads to the page without
// it. It reports whether it did.
func (c *call) choose() (bool, error) {
	q := c.r.URL.Query()
	for _, l := range languages {
		if q.Get("lang") != l.Tag {
			continue
		}
		if err := c.tongue.Set(c.w, []byte(l.Tag), 365*24*time.Hour); err != nil {
			return false, err
		}
		q.Del("lang")
		to := c.r.URL.EscapedPath()
		if len(q) > 0 {
			to += "?" + q.Encode()
		}
		return true, c.seeOther(to)
	}
	return false, nil
}

// seeOther leads the browser on with a GET.
func (c *call) seeOther(to string) error {
	c.w.Header().Set("Location", to)
	c.begin(http.StatusSeeOther)
	return nil
}

// done leads on to a page that says what was done: the phrase "done.WHAT". It
// travels in a sealed cookie, for a link could make a page lie.
func (c *call) done(what, to string) error {
	if err := c.notice.Set(c.w, []byte(what)); err != nil {
		return err
	}
	return c.seeOther(to)
}

// takeNotice says once what was done. Whoever has just ended the session does
// not need to be told why it is no more.
func (c *call) takeNotice(p *page) {
	what, err := c.notice.Get(nil, c.r)
	if err != nil {
		return
	}
	c.notice.Delete(c.w)
	p.Notice, p.Why = c.say("done."+string(what)), ""
}

// A form is what a person fills in.
type form struct {
	Action   string
	Submit   string
	ReturnTo string
	Fields   []field
	Username string // under which password managers keep what is typed
	Remember bool   // offer to stay signed in
	Checked  bool   // it was wanted
	Trust    bool   // offer to trust this browser
	Trusted  bool   // it was wanted
	Hidden   []wished
	Able     bool   // a script says whether this browser could keep a passkey
	Proof    string // the field that a refusal without a field is about
	Other    *link  // a second button, which sends the form elsewhere
	AtOnce   bool   // a script presses the button
	Texted   bool   // a script takes the code from a text message

	Refusal *refusal // of the whole
}

// A field is one input with its label.
type field struct {
	Name, Label, Type, Complete string
	Hint                        string
	Value                       string // never of a password
	Optional, Digits, Focus     bool
	Refusal                     *refusal
}

// Described returns the ids of the texts that belong to the input.
func (f field) Described() string {
	var ids []string
	if f.Refusal != nil {
		ids = append(ids, f.Name+"-error")
	}
	if f.Hint != "" {
		ids = append(ids, f.Name+"-hint")
	}
	return strings.Join(ids, " ")
}

func (f *form) failed() bool {
	if f.Refusal != nil {
		return true
	}
	for _, each := range f.Fields {
		if each.Refusal != nil {
			return true
		}
	}
	return false
}

// fill keeps what was typed, but for secrets.
func (f *form) fill(in url.Values) {
	f.Checked = in.Get("remember") != ""
	f.Trusted = in.Get("trust") != ""
	for i := range f.Fields {
		if f.Fields[i].Type != "password" && !f.Fields[i].Digits {
			f.Fields[i].Value = in.Get(f.Fields[i].Name)
		}
	}
}

// input reads a page's form. Each field that is not optional must be filled in,
// which is refused for all of them at once.
func (c *call) input(f *form) (url.Values, error) {
	in, err := c.posted()
	if err != nil {
		return nil, err
	}
	if f.ReturnTo, err = c.returnTo(in.Get("return_to")); err != nil {
		return nil, err
	}
	c.target = f.ReturnTo
	f.fill(in)
	var missing []error
	for _, each := range f.Fields {
		if !each.Optional && in.Get(each.Name) == "" {
			missing = append(missing, &admit.FieldError{Field: each.Name, Err: errMissing})
		}
	}
	return in, errors.Join(missing...)
}

// posted reads the body as a form in which no field stands twice.
func (c *call) posted() (url.Values, error) {
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, problem.ErrContentType
	}
	if err := c.r.ParseForm(); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", problem.ErrMalformed, err)
	}
	for _, values := range c.r.PostForm {
		if len(values) > 1 {
			return nil, problem.ErrMalformed
		}
	}
	return c.r.PostForm, nil
}

// refuse shows the form again with what is wrong, in place. What is no answer
// to what was typed is returned, for a page of its own.
func (c *call) refuse(p *page, err error) error {
	seen := problem.Of(err)
	kind := admit.KindOf(err)
	if kind == admit.Internal || kind == admit.Invalid && len(seen.Errors) == 0 || unsigned(err) || c.detour(err) != "" {
		return err
	}
	c.cause = err
	whole := c.explain(seen)
	if len(seen.Errors) == 0 && kind == admit.Unauthenticated && p.Form.Proof != "" {
		seen.Errors = []problem.Field{{Field: p.Form.Proof, Code: seen.Code, Detail: seen.Detail, Hint: seen.Hint}}
	}
	first := true
	for i := range p.Form.Fields {
		f := &p.Form.Fields[i]
		for _, wrong := range seen.Errors {
			if wrong.Field == f.Name {
				r := c.refusalOf(wrong.Code, refusal{wrong.Detail, wrong.Hint})
				f.Refusal, f.Focus, first = &r, first, false
			}
		}
	}
	if first {
		p.Form.Refusal = &whole
	}
	return c.show(seen.Status, p)
}

// explain returns what a page says of a problem, and sets the headers that go
// with it.
func (c *call) explain(p problem.Problem) refusal {
	c.code = p.Code
	r := c.refusalOf(p.Code, refusal{p.Detail, p.Hint})
	if p.RetryAfter > 0 {
		c.w.Header().Set("Retry-After", strconv.Itoa(p.RetryAfter))
		r.Hint = c.wait(p.RetryAfter)
	}
	if p.Challenge != "" {
		c.w.Header().Set("WWW-Authenticate", p.Challenge)
	}
	return r
}

// wait says when to try again.
func (c *call) wait(seconds int) string {
	if seconds < 100 {
		return c.say("wait.s", seconds)
	}
	return c.say("wait.min", (seconds+59)/60)
}

// unsigned reports whether a session is wanting.
func unsigned(err error) bool {
	for _, e := range []error{session.ErrNone, session.ErrEnded, session.ErrExpired, session.ErrAmbiguous} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// A fault is what a page of its own says of a refusal.
type fault struct {
	refusal
	Status  int
	Request string // to be told to who runs the server, where it is our fault
	Ways    []link // on from here
}

// waysOn leads on from a refusal with this status: there is always one.
func (c *call) waysOn(status int) []link {
	start := link{c.say("home"), "/"}
	switch status {
	case http.StatusUnauthorized: // a code or a link that is no longer good
		return []link{{c.say("signin.title"), "/signin"}, {c.say("signup.title"), "/signup"}, start}
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable:
		// The path alone: a secret in the query must not go on into a link.
		return []link{{c.say("again"), c.r.URL.EscapedPath()}, start}
	case http.StatusMisdirectedRequest: // whose start page is refused, too
		return []link{{c.say("home"), c.PublicURL + "/"}}
	}
	return []link{start}
}

// failPage answers with a page that says why. Who has no session is asked to
// sign in, and comes back.
func (c *call) failPage(err error) {
	seen := problem.Of(err)
	if unsigned(err) {
		c.code = seen.Code
		q := url.Values{"return_to": {c.r.URL.Path}}
		c.seeOther("/signin?" + q.Encode())
		return
	}
	if to := c.detour(err); to != "" {
		c.code = seen.Code
		c.keepAsked(err)
		c.seeOther(to)
		return
	}
	f := fault{refusal: c.explain(seen)}
	if err := c.show(seen.Status, c.faultPage(&f, seen, err)); err != nil {
		c.cause = errors.Join(c.cause, err)
		c.failAPI(err)
	}
}

// faultPage is the page of a refusal that is nobody's answer to a form.
func (c *call) faultPage(f *fault, seen problem.Problem, err error) *page {
	f.Status, f.Ways = seen.Status, c.waysOn(seen.Status)
	if seen.Status >= 500 {
		f.Request = c.id
	}
	p := &page{Name: "fault", Title: c.say("status." + strconv.Itoa(seen.Status)), Data: f}
	if errors.Is(err, errInbox) {
		p.Title, f.Text, f.Hint = c.say("inbox.shut"), f.Hint, ""
	}
	if errors.Is(err, account.ErrFlowEnded) {
		f.Hint = c.say("ended.opened")
	}
	return p
}

// A moment is a time as people read it, with the whole of it behind.
type moment struct {
	at, now time.Time
	c       *call
}

func (c *call) moment(t time.Time) moment { return moment{t.UTC(), c.now, c} }

// Machine is for the datetime attribute.
func (m moment) Machine() string { return m.at.Format(time.RFC3339) }

// Full is in UTC, for the server does not know where the reader is.
func (m moment) Full() string {
	if m.c.language() == "zh-CN" {
		return m.at.Format("2006年1月2日 15:04:05 UTC")
	}
	return m.at.Format("2 January 2006, 15:04:05 UTC")
}

// Day is the date alone.
func (m moment) Day() string {
	if m.c.language() == "zh-CN" {
		return m.at.Format("2006年1月2日")
	}
	return m.at.Format("2 January 2006")
}

// Short is how long it is since, and where that is long the day; with the time
// of day, which tells apart what happened close together.
func (m moment) Short() string {
	when := m.Day()
	switch d := m.now.Sub(m.at); {
	case d < time.Minute:
		when = m.c.say("time.now")
	case d < time.Hour:
		when = m.c.say("time.min", int(d.Minutes()))
	case d < 24*time.Hour:
		when = m.c.say("time.hour", int(d.Hours()))
	}
	return when + " · " + m.at.Format("15:04 UTC")
}
