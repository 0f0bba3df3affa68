package web

import (
	"bytes"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
)

// ErrTheme is the kind of every error of a theme; what it wraps says where.
var ErrTheme = admit.Invalid.New("bad_theme", "The theme cannot be used.").WithHint("docs/how-to/use-your-own-theme.md says what a theme may hold")

// A Theme is how a team makes the pages its own. What is not set is ours.
type Theme struct {
	Name       string
	Accent     string // of buttons and links, such as #0b6e63
	AccentDark string // the same on a dark page; made of Accent where there is none
	Where      string // says where the accents stand, for errors
	Logo       []byte
	LogoKind   string // "image/svg+xml" or "image/png"
	CSS        []byte // goes after ours
	Links      []Link
	Texts      []Text
	Templates  []Source
}

// A Link stands in the footer of every page.
type Link struct {
	URL  string
	Text map[string]string // by language
}

// A Text is what the pages say in place of one of our phrases.
type Text struct{ Lang, Name, Text, Where string }

// A Source is a file of templates. Those with the name of one of ours shadow it.
type Source struct{ Where, Text string }

// wear sets what pages look like. A theme that cannot show every story is
// refused.
func (s *server) wear(t *Theme, before *Edge) (err error) {
	if s.look, err = newViews(t); err != nil {
		return err
	}
	if t != nil && len(t.Templates) > 0 {
		if err := s.tryOn(s.look); err != nil {
			return err
		}
	}
	if before == nil {
		return nil
	}
	// Pages that are open ask for the files of the theme they were made of.
	old := before.look
	for _, at := range []string{old.css, old.themeCSS, old.script, old.mark} {
		if a, ok := old.assets[at]; ok {
			s.look.assets[at] = a
		}
	}
	return nil
}

// Try reports why a theme could not be worn. It needs no server: of the accounts,
// stories ask only what none at all can say.
func Try(t *Theme) error {
	s := &server{Options: Options{Accounts: new(account.Service)}, public: new(url.URL)}
	return s.wear(t, nil)
}

// tryOn shows every story in every language, and looks whether a form of each
// can still be filled in.
func (s *server) tryOn(v *views) error {
	var b bytes.Buffer
	for _, l := range languages {
		for _, story := range stories {
			c := s.teller(v, l.Tag, &http.Request{Method: "GET", URL: &url.URL{Path: "/dev/stories/" + story.name}})
			c.strict = true
			p := story.page(c)
			if err := c.render(&b, p); err != nil {
				return fmt.Errorf("%w: %w", ErrTheme, err)
			}
			if p.Form == nil {
				continue
			}
			need := []string{`action="` + p.Form.Action + `"`}
			for _, f := range p.Form.Fields {
				if f.Type != "" { // it is one input
					need = append(need, `name="`+f.Name+`"`)
				}
			}
			for _, text := range need {
				if !bytes.Contains(b.Bytes(), []byte(text)) {
					return fmt.Errorf("%w: the template %q shows the story %s without %s", ErrTheme, p.Name, story.name, text)
				}
			}
		}
	}
	return nil
}

// verb is a place of a phrase that something is put into.
var verb = regexp.MustCompile(`%(\[\d\])?[a-z]`)

// places returns what a phrase takes, however it orders it.
func places(text string) []string {
	all := verb.FindAllString(text, -1)
	slices.Sort(all)
	return all
}

// take gives the views what a theme has beside its templates.
func (v *views) take(t *Theme) error {
	if t == nil {
		return nil
	}
	if t.Name != "" {
		v.brand = t.Name
	}
	if len(t.Logo) > 0 {
		ext := ".png"
		if t.LogoKind == "image/svg+xml" {
			ext = ".svg"
		}
		v.mark = v.asset("logo"+ext, t.LogoKind, t.Logo)
	}
	css, err := t.colours()
	if err != nil {
		return err
	}
	if css = append(css, t.CSS...); len(css) > 0 {
		v.themeCSS = v.asset("theme.css", "text/css; charset=utf-8", css)
	}
	v.links = map[string][]link{}
	for _, l := range languages {
		for _, each := range t.Links {
			v.links[l.Tag] = append(v.links[l.Tag], link{each.Text[l.Tag], each.URL})
		}
	}
	v.texts = map[string]map[string]string{}
	for _, text := range t.Texts {
		ours, ok := phrases[text.Name]
		if !ok {
			return fmt.Errorf("%s: %w: there is no text %q", text.Where, ErrTheme, text.Name)
		}
		if want := ours.in(text.Lang); !slices.Equal(places(want), places(text.Text)) {
			return fmt.Errorf("%s: %w: %s must take what ours does: %q", text.Where, ErrTheme, text.Name, want)
		}
		if v.texts[text.Lang] == nil {
			v.texts[text.Lang] = map[string]string{}
		}
		v.texts[text.Lang][text.Name] = text.Text
	}
	return nil
}

// A colour is red, green and blue, 0 to 1 each.
type colour [3]float64

func parseColour(text string) (c colour, ok bool) {
	if len(text) != 7 || text[0] != '#' {
		return c, false
	}
	for i := range c {
		n, err := strconv.ParseUint(text[1+2*i:3+2*i], 16, 8)
		if err != nil {
			return c, false
		}
		c[i] = float64(n) / 255
	}
	return c, true
}

func (c colour) String() string {
	return fmt.Sprintf("#%02x%02x%02x", int(math.Round(c[0]*255)), int(math.Round(c[1]*255)), int(math.Round(c[2]*255)))
}

// with mixes in a part of another colour.
func (c colour) with(part float64, o colour) colour {
	for i := range c {
		c[i] += (o[i] - c[i]) * part
	}
	return c
}

// luminance and contrast are those of WCAG 2.2.
func (c colour) luminance() float64 {
	for i, x := range c {
		if x <= 0.04045 {
			c[i] = x / 12.92
		} else {
			c[i] = math.Pow((x+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*c[0] + 0.7152*c[1] + 0.0722*c[2]
}

func contrast(a, b colour) float64 {
	x, y := a.luminance(), b.luminance()
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// readable is the contrast that text must have (WCAG 2.2, 1.4.3).
const readable = 4.5

// Of admit.css: the paper and the sheet of each scheme.
var (
	white, black          = colour{1, 1, 1}, colour{}
	lightPaper, lightTint = colour{.961, .949, .922}, colour{1, .996, .984}
	darkPaper, darkTint   = colour{.098, .129, .133}, colour{.098, .129, .133}
)

// colours returns the style that the accents make. An accent that people could
// not read is refused with the nearest that they can.
func (t *Theme) colours() (css []byte, err error) {
	if t.Accent == "" {
		return nil, nil
	}
	light, ok := parseColour(t.Accent)
	if !ok {
		return nil, fmt.Errorf("%s: %w: accent %q is no colour such as #0b6e63", t.Where, ErrTheme, t.Accent)
	}
	if err := t.readable("accent", light, lightPaper, black); err != nil {
		return nil, err
	}
	dark := nearest(light, darkPaper, white)
	if t.AccentDark != "" {
		if dark, ok = parseColour(t.AccentDark); !ok {
			return nil, fmt.Errorf("%s: %w: accent_dark %q is no colour such as #63cdbb", t.Where, ErrTheme, t.AccentDark)
		}
		if err := t.readable("accent_dark", dark, darkPaper, white); err != nil {
			return nil, err
		}
	}
	const form = ":root{--accent:%s;--accent-deep:%s;--on-accent:%s;--tint:%s}"
	css = fmt.Appendf(css, form+"\n", light, light.with(.25, black), white, lightTint.with(.1, light))
	return fmt.Appendf(css, "@media (prefers-color-scheme:dark){"+form+"}\n", dark, dark.with(.3, white), dark.with(.85, black), darkTint.with(.16, dark)), nil
}

func (t *Theme) readable(name string, c, on, toward colour) error {
	if has := contrast(c, on); has < readable {
		return fmt.Errorf("%s: %w: %s %s has a contrast of %.1f to 1 where links are read, and needs %.1f; %s has it", t.Where, ErrTheme, name, c, has, readable, nearest(c, on, toward))
	}
	return nil
}

// nearest mixes in no more than makes the colour readable.
func nearest(c, on, toward colour) colour {
	for part := 0.0; part < 1; part += 0.02 {
		if mixed := c.with(part, toward); contrast(mixed, on) >= readable+.1 {
			return mixed
		}
	}
	return toward
}
