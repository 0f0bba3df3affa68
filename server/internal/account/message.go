package account

import (
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/admit-auth/admit"
)

// All that is written to people comes from templates, one file for each message
// and language. The folder messages is the list of them: who adds a message puts
// files there, in both languages, and posts a letter with their name.
//
//	en/NAME.txt      subject and plain text; HTML is made of it
//	en/NAME.html     HTML of its own, where the plain text is not enough
//	en/NAME.sms.txt  as a text message; without one _notice.sms.txt says the subject and the link
//	en/_NAME.txt     a part, for {{template "_NAME.txt" .}} in others
//	mail.html        HTML of every mail without its own
//
//go:embed all:messages
var ourLetters embed.FS

// ErrLetter is the kind of every error of a team's own templates; what it wraps
// says in which file and line.
var ErrLetter = admit.Invalid.New("bad_message_template", "A template of messages cannot be used.").WithHint("docs/how-to/write-your-own-messages.md says what a template may hold")

// Facts are what a message can tell. All of it is taken for text from strangers:
// it is made one line, and escaped in HTML.
type Facts struct {
	Code   string    // six digits
	Link   string    // of ours
	Back   bool      // the link is a way back
	Lost   bool      // the owner may be shut out
	At     time.Time // when it happened; without it, when it is written
	From   string    // network address of who did it
	Device string    // browser or app of who did it
	What   string    // what was added, removed or used
}

// A letter is a message before it is written.
type letter struct {
	name   string // of its templates
	to     string // an e-mail address, or a phone number that begins with +
	locale string
	about  string     // the user whom it is about: it goes with the account; "" for nobody
	needs  *Challenge // whose code or link it carries: it is not sent once that is over
	Facts
}

// textSuffix is how templates of text messages end.
const textSuffix = ".sms.txt"

// channelOf says how a message gets to somebody. A user name is never asked for.
func channelOf(to string) string {
	if strings.HasPrefix(to, "+") {
		return Phone.Channel()
	}
	return Email.Channel()
}

// Letters are the templates of messages. They do not change.
type Letters struct {
	service string                            // whose messages they are
	texts   map[string]*texttemplate.Template // by locale
	pages   map[string]*template.Template     // by locale
}

// A Shadow is a file that stands in the place of one of ours, or beside them.
type Shadow struct {
	Name  string // such as en/signup_code.txt
	Where string // the file, for errors
	Text  string
}

// NewLetters returns the templates with a team's own. What these cannot write, of
// all that may be asked of them, is an error that says where.
func NewLetters(service string, shadows []Shadow) (*Letters, error) {
	l, err := parseLetters(service, shadows)
	if err != nil || len(shadows) == 0 {
		return l, err
	}
	ours, err := parseLetters(service, nil)
	if err != nil {
		return nil, err
	}
	names := ours.Names()
	for _, s := range shadows {
		base := path.Base(s.Name)
		name := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(base, ".html"), ".txt"), ".sms")
		if s.Name != "mail.html" && (name == base || !strings.HasPrefix(name, "_") && !slices.Contains(names, name)) {
			return nil, fmt.Errorf("%s: %w: there is no message %q; there are %s", s.Where, ErrLetter, name, strings.Join(names, ", "))
		}
	}
	return l, l.try(ours, shadows)
}

func parseLetters(service string, shadows []Shadow) (*Letters, error) {
	l := &Letters{oneLine(service), map[string]*texttemplate.Template{}, map[string]*template.Template{}}
	for _, locale := range locales {
		l.texts[locale], l.pages[locale] = texttemplate.New(""), template.New("")
	}
	files, err := fs.Glob(ourLetters, "messages/*/*")
	if err != nil {
		return nil, err
	}
	for _, file := range append(files, "messages/mail.html") {
		text, err := ourLetters.ReadFile(file)
		if err == nil {
			err = l.add(strings.TrimPrefix(file, "messages/"), string(text))
		}
		if err != nil {
			return nil, fmt.Errorf("message %s: %w", file, err)
		}
	}
	for _, s := range shadows {
		if err := l.add(s.Name, s.Text); err != nil {
			return nil, placed(err, []Shadow{s})
		}
	}
	return l, nil
}

// add takes in a file.
func (l *Letters) add(name, text string) (err error) {
	locale, base := path.Split(name)
	if strings.TrimSpace(text) == "" { // which would shadow nothing
		return fmt.Errorf("template: %s:1: it is empty", base)
	}
	for _, each := range locales {
		switch {
		case locale != "" && locale != each+"/":
			continue
		case strings.HasSuffix(base, ".html"):
			_, err = l.pages[each].New(base).Parse(text)
		default:
			_, err = l.texts[each].New(base).Parse(text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// shadowed is what a template's error begins with: its name, and the line.
var shadowed = regexp.MustCompile(`(?:html/)?template: ?([^:]+):`)

// placed returns an error of a template with its file in place of its name.
func placed(err error, shadows []Shadow) error {
	text := err.Error()
	if found := shadowed.FindStringSubmatch(text); found != nil {
		for _, s := range shadows {
			if path.Base(s.Name) == found[1] {
				text = strings.Replace(text, found[0], s.Where+":", 1)
			}
		}
	}
	return fmt.Errorf("%w: %s", ErrLetter, text)
}

// Names returns the names of all messages.
func (l *Letters) Names() (names []string) {
	for _, t := range l.texts["en"].Templates() {
		name := strings.TrimSuffix(t.Name(), ".txt")
		if name != t.Name() && !strings.HasPrefix(name, "_") && !strings.HasSuffix(t.Name(), textSuffix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// try writes every message with all that it could tell, and with none of it.
func (l *Letters) try(ours *Letters, shadows []Shadow) error {
	all := Facts{
		Code: "123456", Link: "https://id.example.org/link/adm_sample", At: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC),
		From: "192.0.2.1", Device: "Firefox <b>", What: "a \"key\" & <more>",
	}
	back, lost := all, all
	back.Back, lost.Lost = true, true
	for _, locale := range locales {
		of := slices.DeleteFunc(slices.Clone(shadows), func(s Shadow) bool { return path.Dir(s.Name) != "." && path.Dir(s.Name) != locale })
		for _, name := range l.Names() {
			for _, to := range []string{"ann@example.org", "+15005550006"} {
				for _, f := range []Facts{all, back, lost, {}} {
					m, err := l.write(letter{name: name, to: to, locale: locale, Facts: f}, "https://id.example.org", all.At)
					if err != nil {
						return placed(err, of)
					}
					want, err := ours.write(letter{name: name, to: to, locale: locale, Facts: f}, "https://id.example.org", all.At)
					if err != nil {
						return err
					}
					for _, must := range []string{f.Code, f.Link} {
						if must == "" || !strings.Contains(want.Text, must) {
							continue
						}
						if !strings.Contains(m.Text, must) || m.HTML != "" && !strings.Contains(m.HTML, must) {
							return fmt.Errorf("%w: %s/%s, as %s, is written without %s", ErrLetter, locale, name, m.Channel, must)
						}
					}
				}
			}
		}
	}
	return nil
}

// A view is what templates see.
type view struct {
	Facts
	Service string // the name of the service
	Host    string // its host, for @host #code
	Lang    string
	When    string
	Subject string // of what the rest is written

	Paragraphs []string // of the plain text, for HTML
}

var errUnwritten = errors.New("there is no subject: the first line of a mail is Subject: and what it is about")

// write writes a message.
func (l *Letters) write(w letter, publicURL string, now time.Time) (m Message, err error) {
	if !slices.Contains(locales, w.locale) {
		w.locale = "en"
	}
	v := view{Facts: w.Facts.clean(), Service: l.service, Lang: w.locale, When: moment(w.locale, now)}
	if !w.At.IsZero() {
		v.When = moment(w.locale, w.At)
	}
	if u, err := url.Parse(publicURL); err == nil {
		v.Host = u.Hostname()
		if v.Service == "" {
			v.Service = u.Host
		}
	}
	m = Message{To: w.to, Channel: channelOf(w.to), Name: w.name, Code: v.Code}
	texts, pages := l.texts[w.locale], l.pages[w.locale]
	var b strings.Builder
	if err := texts.ExecuteTemplate(&b, w.name+".txt", v); err != nil {
		return m, err
	}
	head, body, _ := strings.Cut(strings.TrimLeft(b.String(), "\n"), "\n")
	subject, ok := strings.CutPrefix(head, "Subject:")
	if v.Subject = oneLine(subject); !ok || v.Subject == "" {
		return m, fmt.Errorf("template: %s.txt:1: %w", w.name, errUnwritten)
	}
	b.Reset()
	if m.Channel == "text" {
		name := w.name + textSuffix
		if texts.Lookup(name) == nil {
			name = "_notice" + textSuffix
		}
		err := texts.ExecuteTemplate(&b, name, v)
		m.Text = strings.TrimSpace(b.String())
		if v.Link != "" && strings.Contains(m.Text, v.Link) {
			m.Links = []string{v.Link}
		}
		return m, err
	}
	if v.Link != "" {
		m.Links = []string{v.Link}
	}
	v.Paragraphs = paragraphs(body)
	m.Subject, m.Text = v.Subject, strings.Join(v.Paragraphs, "\n\n")+"\n"
	name := w.name + ".html"
	if pages.Lookup(name) == nil {
		name = "mail.html"
	}
	err = pages.ExecuteTemplate(&b, name, v)
	m.HTML = b.String()
	return m, err
}

// Test returns the message by which an operator tries whether messages arrive.
func (l *Letters) Test(to, locale, publicURL string, now time.Time) (Message, error) {
	m, err := l.write(letter{name: "test_message", to: to, locale: locale}, publicURL, now)
	m.Key, m.At = strings.ToLower(rand.Text()), now
	return m, err
}

// paragraphs parts a text at its empty lines.
func paragraphs(text string) (all []string) {
	var p []string
	for line := range strings.Lines(text + "\n\n") {
		if line = strings.TrimRight(line, " \t\r\n"); line != "" {
			p = append(p, line)
		} else if p != nil {
			all, p = append(all, strings.Join(p, "\n")), nil
		}
	}
	return all
}

// clean makes each fact one line, so that none can look like a part of a message
// that it is not.
func (f Facts) clean() Facts {
	for _, text := range []*string{&f.Code, &f.Link, &f.From, &f.Device, &f.What} {
		*text = oneLine(*text)
	}
	return f
}

// maxFact bounds what a message tells, in characters. A link of ours is the
// longest.
const maxFact = 500

func oneLine(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	text = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) {
			return -1
		}
		return c
	}, text)
	if utf8.RuneCountInString(text) > maxFact {
		text = string([]rune(text)[:maxFact])
	}
	return text
}

// moment writes a time for people.
func moment(locale string, now time.Time) string {
	if locale == "zh-CN" {
		return now.UTC().Format("2006年1月2日 15:04 UTC")
	}
	return now.UTC().Format("2 January 2006, 15:04 UTC")
}
