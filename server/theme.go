package server

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/web"
	"go.yaml.in/yaml/v3"
)

// maxThemeFile bounds each file of a theme, so that a wrong folder is refused
// rather than read.
const maxThemeFile = 1 << 20

// themeLanguages are the languages that a theme can have texts in.
var themeLanguages = []string{"en", "zh-CN"}

// readTheme reads a theme's folder; "" is no theme. Its errors say in which file
// and line something is wrong.
func readTheme(dir string) (*web.Theme, error) {
	if dir == "" {
		return nil, nil
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("theme %s: %w: it is no folder", dir, web.ErrTheme)
	}
	t := &web.Theme{}
	if err := readYAML(filepath.Join(dir, "theme.yaml"), func(file string, key, value *yaml.Node) error {
		return setTheme(t, file, key, value)
	}); err != nil {
		return nil, err
	}
	for _, logo := range []struct{ name, kind string }{{"logo.svg", "image/svg+xml"}, {"logo.png", "image/png"}} {
		content, err := readThemeFile(filepath.Join(dir, logo.name))
		if err != nil {
			return nil, err
		}
		if content != nil && t.Logo == nil {
			t.Logo, t.LogoKind = content, logo.kind
		}
	}
	var err error
	if t.CSS, err = readThemeFile(filepath.Join(dir, "theme.css")); err != nil {
		return nil, err
	}
	for _, lang := range themeLanguages {
		err := readYAML(filepath.Join(dir, "texts", lang+".yaml"), func(file string, key, value *yaml.Node) error {
			if value.Kind != yaml.ScalarNode || value.Tag == "!!null" {
				return themeError(file, value, key.Value+" is no text")
			}
			t.Texts = append(t.Texts, web.Text{Lang: lang, Name: key.Value, Text: value.Value, Where: at(file, key)})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if err := onlyThese(filepath.Join(dir, "texts"), "en.yaml", "zh-CN.yaml"); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "templates", "*.html"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := readThemeFile(file)
		if err != nil {
			return nil, err
		}
		t.Templates = append(t.Templates, web.Source{Where: file, Text: string(text)})
	}
	return t, nil
}

// tryTheme reports why a server would not take the theme in this folder.
func tryTheme(dir string) error {
	t, err := readTheme(dir)
	if err == nil && t != nil {
		err = web.Try(t)
	}
	if err == nil {
		_, err = readLetters(dir, t)
	}
	return err
}

// readLetters reads the templates of messages in a theme's folder, which shadow
// ours. A theme without a name leaves the host's.
func readLetters(dir string, t *web.Theme) (*account.Letters, error) {
	if dir == "" {
		return account.NewLetters("", nil)
	}
	dir = filepath.Join(dir, "messages")
	found, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", account.ErrLetter, err)
	}
	var shadows []account.Shadow
	take := func(name string) error {
		file := filepath.Join(dir, filepath.FromSlash(name))
		text, err := readThemeFile(file)
		if err == nil && text != nil {
			shadows = append(shadows, account.Shadow{Name: name, Where: file, Text: string(text)})
		}
		return err
	}
	for _, f := range found {
		if f.Name() == "mail.html" {
			err = take(f.Name())
		} else if !slices.Contains(themeLanguages, f.Name()) {
			err = fmt.Errorf("%s: %w: only mail.html and the folders %s are read here", filepath.Join(dir, f.Name()), account.ErrLetter, strings.Join(themeLanguages, " and "))
		} else if files, missing := os.ReadDir(filepath.Join(dir, f.Name())); missing != nil {
			err = fmt.Errorf("%w: %w", account.ErrLetter, missing)
		} else {
			err = nil
			for _, each := range files {
				if err == nil {
					err = take(f.Name() + "/" + each.Name())
				}
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return account.NewLetters(t.Name, shadows)
}

func setTheme(t *web.Theme, file string, key, value *yaml.Node) error {
	if key.Value == "links" {
		return setLinks(t, file, value)
	}
	if value.Kind != yaml.ScalarNode || value.Tag == "!!null" {
		return themeError(file, value, key.Value+" is no text")
	}
	switch key.Value {
	case "name":
		t.Name = value.Value
	case "accent":
		t.Accent, t.Where = value.Value, at(file, value)
	case "accent_dark":
		t.AccentDark, t.Where = value.Value, at(file, value)
	default:
		return themeError(file, key, fmt.Sprintf("there is no %q; a theme has a name, an accent, an accent_dark and links", key.Value))
	}
	return nil
}

func setLinks(t *web.Theme, file string, list *yaml.Node) error {
	for _, each := range list.Content {
		l := web.Link{Text: map[string]string{}}
		var byName map[string]string
		if err := each.Decode(&byName); err != nil {
			return themeError(file, each, "a link has a url, and a text for en and for zh-CN")
		}
		for name, text := range byName {
			if l.URL = byName["url"]; name != "url" {
				l.Text[name] = text
			}
		}
		u, err := url.Parse(l.URL)
		if err != nil || l.URL == "" || u.Scheme != "https" && (u.Scheme != "" || !strings.HasPrefix(l.URL, "/")) {
			return themeError(file, each, fmt.Sprintf("url %q is neither https nor a path", l.URL))
		}
		for _, lang := range themeLanguages {
			if l.Text[lang] == "" {
				return themeError(file, each, "the link has no text for "+lang)
			}
		}
		if len(l.Text) != len(themeLanguages) {
			return themeError(file, each, "a link has a url, and a text for en and for zh-CN")
		}
		t.Links = append(t.Links, l)
	}
	return nil
}

func at(file string, n *yaml.Node) string { return fmt.Sprintf("%s:%d", file, n.Line) }

func themeError(file string, n *yaml.Node, text string) error {
	return fmt.Errorf("%s: %w: %s", at(file, n), web.ErrTheme, text)
}

// readYAML calls fn for each key of a file, which may be missing.
func readYAML(file string, fn func(file string, key, value *yaml.Node) error) error {
	text, err := readThemeFile(file)
	if text == nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&doc); err != nil {
		if len(bytes.TrimSpace(text)) == 0 {
			return nil
		}
		return fmt.Errorf("%s: %w: %w", file, web.ErrTheme, err) // which says the line
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return themeError(file, root, "there are no lines such as name: Example")
	}
	seen := map[string]bool{}
	for i := 0; i < len(root.Content); i += 2 {
		key := root.Content[i]
		if seen[key.Value] {
			return themeError(file, key, key.Value+" stands twice")
		}
		seen[key.Value] = true
		if err := fn(file, key, root.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// readThemeFile returns a file's content, nil where there is none.
func readThemeFile(file string) ([]byte, error) {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err == nil && info.Size() > maxThemeFile:
		return nil, fmt.Errorf("%s: %w: it is larger than 1 MiB", file, web.ErrTheme)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", web.ErrTheme, err)
	}
	if text == nil {
		text = []byte{}
	}
	return text, nil
}

// onlyThese refuses other files of a folder: a text for a language that is not
// ours would never be read.
func onlyThese(dir string, names ...string) error {
	found, err := os.ReadDir(dir)
	if err != nil {
		return nil // there is none, or readThemeFile has told
	}
	for _, f := range found {
		known := false
		for _, name := range names {
			known = known || f.Name() == name
		}
		if !known {
			return fmt.Errorf("%s: %w: only %s are read here", filepath.Join(dir, f.Name()), web.ErrTheme, strings.Join(names, " and "))
		}
	}
	return nil
}
