package account

import (
	"strings"
	"testing"
	"time"
)

func TestMailIsAWholePageInItsLanguage(t *testing.T) {
	const link = "https://id.example.org/link/a?b=1&c=2"
	for _, locale := range []string{"en", "zh-CN", "", "de"} {
		lang := "en"
		if locale == "zh-CN" {
			lang = locale
		}
		for _, m := range []Message{
			codeMail(locale, "ann@example.org", "204816", link),
			takenMail(locale, "ann@example.org", "https://id.example.org"),
			additionMail(locale, "ann@example.org", "204816", link),
			additionTakenMail(locale, "ann@example.org", "https://id.example.org"),
			goodbyeMail(locale, "ann@example.org", "https://id.example.org"),
			changeMail(locale, "ann@example.org", "disowned", Origin{Address: "192.0.2.7"}, "", "https://id.example.org", time.Now()),
		} {
			for _, want := range []string{
				"<!doctype html>", `<html lang="` + lang + `">`, "<h1 ", m.Subject + "</h1>", "</html>",
				`<a href="` + strings.ReplaceAll(m.Links[0], "&", "&amp;") + `">`,
			} {
				if !strings.Contains(m.HTML, want) {
					t.Errorf("%s in %q lacks %s:\n%s", m.Subject, locale, want, m.HTML)
				}
			}
		}
	}
}
