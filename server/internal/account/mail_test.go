package account

import (
	"strings"
	"testing"
)

func TestMailIsAWholePageInItsLanguage(t *testing.T) {
	const link = "https://id.example.org/link/a?b=1&c=2"
	for locale, lang := range map[string]string{"en": "en", "zh-CN": "zh-CN", "": "en", "de": "en"} {
		m := compose(locale, "ann@example.org", "Mail for <Ann>", link, "Open this link:", link)
		for _, want := range []string{
			"<!doctype html>", `<html lang="` + lang + `">`, "Mail for &lt;Ann&gt;</h1>", "</html>",
			`<a href="https://id.example.org/link/a?b=1&amp;c=2">https://id.example.org/link/a?b=1&amp;c=2</a>`,
		} {
			if !strings.Contains(m.HTML, want) {
				t.Errorf("mail in %q lacks %s:\n%s", locale, want, m.HTML)
			}
		}
	}
}
