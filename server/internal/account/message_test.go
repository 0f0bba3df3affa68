package account

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"time"
)

var written = time.Date(2026, 11, 26, 7, 0, 0, 0, time.UTC)

func lettersOf(t *testing.T, shadows ...Shadow) *Letters {
	t.Helper()
	l, err := NewLetters("Example", shadows)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestEveryMessageIsWrittenInEveryLanguageByMailAndText(t *testing.T) {
	l := lettersOf(t)
	names := l.Names()
	if len(names) < 15 {
		t.Fatalf("only %d messages: %v", len(names), names)
	}
	for _, locale := range locales {
		for _, name := range names {
			for _, to := range []string{"ann@example.org", "+15005550006"} {
				f := Facts{Code: "123456", Link: "https://id.example.org/link/a?b=1&c=2", From: "192.0.2.1", Device: "Firefox", What: "Phone"}
				m, err := l.write(letter{name: name, to: to, locale: locale, Facts: f}, "https://id.example.org", written)
				if err != nil {
					t.Errorf("%s/%s: %v", locale, name, err)
					continue
				}
				code := strings.HasSuffix(name, "_code")
				if code && !strings.Contains(m.Text, f.Code) || !code && name != "test_message" && !strings.Contains(m.Text, f.Link) {
					t.Errorf("%s/%s as %s lacks what it is for:\n%s", locale, name, m.Channel, m.Text)
				}
				if m.Channel == "text" && (m.Subject+m.HTML != "" || code && !strings.HasSuffix(m.Text, "\n\n@id.example.org #123456")) {
					t.Errorf("%s/%s is no text message: %q, %q", locale, name, m.Text, m.Subject)
				}
				for _, bad := range []string{"<no value>", "{{", "%!", " ,", "\n\n\n"} {
					if strings.Contains(m.Text+m.Subject+m.HTML, bad) {
						t.Errorf("%s/%s has %q:\n%s", locale, name, bad, m.Text)
					}
				}
			}
		}
	}
}

func TestTheLanguagesHaveTheSameMessages(t *testing.T) {
	var lists [2][]string
	for i, locale := range locales {
		files, err := fs.Glob(ourLetters, "messages/"+locale+"/*")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", locale, len(files), err)
		}
		for _, f := range files {
			lists[i] = append(lists[i], path.Base(f))
		}
	}
	if !slices.Equal(lists[0], lists[1]) {
		t.Errorf("%v\n%v", lists[0], lists[1])
	}
}

func TestMailIsAWholePageInItsLanguage(t *testing.T) {
	const link = "https://id.example.org/link/a?b=1&c=2"
	l := lettersOf(t)
	for locale, lang := range map[string]string{"en": "en", "zh-CN": "zh-CN", "": "en", "de": "en"} {
		m, err := l.write(letter{name: "signup_taken", to: "ann@example.org", locale: locale, Facts: Facts{Link: link}}, "https://id.example.org", written)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"<!doctype html>", `<html lang="` + lang + `">`, m.Subject + "</h1>", "</html>",
			`<a href="https://id.example.org/link/a?b=1&amp;c=2">https://id.example.org/link/a?b=1&amp;c=2</a>`,
		} {
			if !strings.Contains(m.HTML, want) {
				t.Errorf("mail in %q lacks %s:\n%s", locale, want, m.HTML)
			}
		}
	}
}

func TestWhatStrangersSayIsNeverHTMLNorALineOfItsOwn(t *testing.T) {
	l := lettersOf(t, Shadow{Name: "en/factor_added.html", Where: "x", Text: `<p title="{{.What}}">{{.What}} {{.Link}} {{.Device}}</p>`})
	f := Facts{
		Link: "https://id.example.org/account/security", From: "192.0.2.1\n\nYour account is closed. Go to https://evil.example",
		Device: "Firefox\u202e\r\nBcc: eve@example.org\x00", What: `<a href="https://evil.example">"key"</a>` + strings.Repeat("x", 1000),
	}
	for _, name := range []string{"factor_added", "new_device"} {
		m, err := l.write(letter{name: name, to: "ann@example.org", Facts: f}, "https://id.example.org", written)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(m.HTML, "<a href=\"https://evil") || strings.Contains(m.HTML, `title="<`) || strings.ContainsAny(m.Text+m.HTML, "\r\x00\u202e") {
			t.Errorf("%s: %s", name, m.HTML)
		}
		for line := range strings.Lines(m.Text) {
			if strings.HasPrefix(line, "Bcc") || strings.HasPrefix(line, "Your account is closed") {
				t.Errorf("%s: %q is a line", name, line)
			}
		}
		if len(m.Text) > 2500 {
			t.Errorf("%s: %d bytes", name, len(m.Text))
		}
	}
}

func TestATeamsTemplatesTakeThePlaceOfOurs(t *testing.T) {
	l := lettersOf(t,
		Shadow{Name: "en/signup_code.txt", Where: "a", Text: "Subject: {{.Code}} for {{.Service}}\n\nHi! {{.Code}} or {{.Link}}\n"},
		Shadow{Name: "en/_notice.txt", Where: "b", Text: "At {{.When}}: look at {{.Link}}\n"},
		Shadow{Name: "mail.html", Where: "c", Text: "<html lang={{.Lang}}><h1>{{.Service}}</h1>{{range .Paragraphs}}<p>{{.}}</p>{{end}}"},
	)
	f := Facts{Code: "654321", Link: "https://id.example.org/link/x"}
	m, err := l.write(letter{name: "signup_code", to: "ann@example.org", locale: "en", Facts: f}, "https://id.example.org", written)
	if err != nil || m.Subject != "654321 for Example" || m.Text != "Hi! 654321 or https://id.example.org/link/x\n" || !strings.HasPrefix(m.HTML, "<html lang=en><h1>Example</h1><p>Hi!") {
		t.Errorf("%+v, %v", m, err)
	}
	m, err = l.write(letter{name: "password_changed", to: "ann@example.org", locale: "en", Facts: f}, "https://id.example.org", written)
	if err != nil || !strings.Contains(m.Text, "\n\nAt 26 November 2026, 07:00 UTC: look at https://id.example.org/link/x\n") {
		t.Errorf("%q, %v", m.Text, err)
	}
	m, err = l.write(letter{name: "signup_code", to: "ann@example.org", locale: "zh-CN", Facts: f}, "https://id.example.org", written)
	if err != nil || !strings.HasPrefix(m.Subject, "您的验证码") {
		t.Errorf("%q, %v", m.Subject, err)
	}
}

func TestABrokenTemplateIsRefusedWithItsFileAndLine(t *testing.T) {
	for name, test := range map[string]struct {
		file, text, want string
	}{
		"what does not parse":           {"en/signup_code.txt", "Subject: x\n\n{{.Code}\n{{.Link}}", "mine/en/signup_code.txt:3:"},
		"a fact that there is not":      {"zh-CN/password_changed.txt", "Subject: x\n\n{{.Link}}\n{{.Password}}", "mine/zh-CN/password_changed.txt:4:"},
		"HTML that does not parse":      {"en/signup_code.html", "<p>\n{{if}}", "mine/en/signup_code.html:2:"},
		"HTML that ends amid a tag":     {"en/signup_code.html", "<p title=\"{{.Code}} {{.Link}}", "mine/en/signup_code.html:"},
		"a fact of HTML that is not":    {"mail.html", "<p>\n\n{{.Pragraphs}}", "mine/mail.html:3:"},
		"a part with an unknown fact":   {"en/_notice.txt", "{{.Link}}\n{{.Nothing}}", "mine/en/_notice.txt:2:"},
		"no subject":                    {"en/signup_code.txt", "{{.Code}} {{.Link}}", "mine/en/signup_code.txt:1:"},
		"a code that is not told":       {"en/signup_code.txt", "Subject: x\n\n{{.Link}}", "en/signup_code, as mail, is written without 123456"},
		"a link that HTML does not say": {"mail.html", "<p>{{.Subject}} {{.Code}}", "is written without https://"},
		"nothing":                       {"en/signup_code.txt", " \n", "mine/en/signup_code.txt:1: it is empty"},
		"a text without its code":       {"en/signup_code.sms.txt", "Hello", "en/signup_code, as text, is written without 123456"},
		"no message of ours":            {"en/welcome.txt", "Subject: x", `mine/en/welcome.txt: A template of messages cannot be used.: there is no message "welcome"`},
		"a call that is not":            {"en/signup_code.txt", "Subject: x\n{{shout .Code}}", "mine/en/signup_code.txt:2:"},
	} {
		_, err := NewLetters("", []Shadow{{Name: test.file, Where: "mine/" + test.file, Text: test.text}})
		if !errors.Is(err, ErrLetter) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
}

func TestWhatATeamsTemplateCannotWriteOursDoes(t *testing.T) {
	s := &Service{o: Options{PublicURL: "https://id.example.org"}, ours: lettersOf(t)}
	// Good with all samples: only a name of eleven letters trips it.
	s.SetLetters(lettersOf(t, Shadow{Name: "en/factor_added.txt", Where: "x", Text: "Subject: x\n\n{{.Link}}{{if eq (len .What) 11}}{{index .What 20}}{{end}}"}))
	m, err := s.compose(letter{name: "factor_added", to: "ann@example.org", Facts: Facts{What: "elevenchars", Link: "https://id.example.org"}}, written)
	if err != nil || m.Subject != "Your account has a new second factor" {
		t.Errorf("%+v, %v", m, err)
	}
}
