package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

const (
	goodPassword  = "correct horse battery"
	otherPassword = "staple another horse"
	devKey        = "key-of-the-test"
)

// chrome is the one browser of all tests, and axe what judges its pages.
var (
	chrome context.Context
	axe    string
	judged sync.Map                                               // the pages that axe has seen, by mode and content
	varies = regexp.MustCompile(`[A-Za-z_-]*[0-9][A-Za-z0-9_-]*`) // between pages that axe takes for one
)

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

// run starts the browser. Where there is none, it is a failure on the machine
// that is to test everything, and a loud skip elsewhere.
func run(m *testing.M) int {
	source, err := os.ReadFile(filepath.Join("node_modules", "axe-core", "axe.min.js"))
	path := ""
	if err == nil {
		path, err = find("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "browser: SKIPPED, nothing was tested: %v\nbrowser: run make test SETUP=1, or apt-get install chromium, and npm ci in conformance/browser\n", err)
		if os.Getenv("CI") == "true" {
			return 1
		}
		return 0
	}
	axe = string(source)
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("lang", "en"), chromedp.Flag("accept-lang", "en"),
	)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	defer stop()
	ctx, cancel := chromedp.NewContext(allocator)
	defer cancel()
	if err := chromedp.Do(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "browser: Chromium does not start:", err)
		return 1
	}
	chrome = ctx
	return m.Run()
}

func find(names ...string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("there is no Chromium")
}

// A site is a development server of its own.
type site struct {
	url   string
	setup string // the link that makes the administrator
	data  string // the folder
}

func newSite(t *testing.T) *site {
	t.Helper()
	data := t.TempDir()
	s, err := server.New(t.Context(), server.Config{
		Listen: "localhost:0", Data: data, Dev: true, DevKey: admit.NewSecret(devKey),
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		s.Close()
	})
	return &site{url: s.Ready().URL, setup: s.Ready().SetupLink.Reveal(), data: data}
}

// mailTo returns the code and the link that were mailed last to the address.
func (s *site) mailTo(t *testing.T, address string) (code, link string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		res, err := http.Get(s.url + "/dev/inbox.json?key=" + devKey)
		if err != nil {
			t.Fatal(err)
		}
		var in struct {
			Messages []struct {
				To, Code string
				Links    []string
			}
		}
		err = json.NewDecoder(res.Body).Decode(&in)
		res.Body.Close()
		if err != nil {
			t.Fatalf("the inbox answers %d: %v", res.StatusCode, err)
		}
		for _, m := range in.Messages {
			if m.To == address {
				return m.Code, strings.Join(m.Links, " ")
			}
		}
	}
	t.Fatalf("no mail to %s", address)
	return "", ""
}

// A profile is a browser with cookies of its own.
type profile struct {
	t    *testing.T
	site *site
	ctx  context.Context
	mode mode
	lang string // of its pages
}

// A mode changes how a profile looks at pages.
type mode struct {
	width, height int64
	lang          string // what the browser asks for
	dark          bool
	noScript      bool
	keyboard      bool // the keyboard is all there is
}

var desktop = mode{width: 1280, height: 900}

func (s *site) profile(t *testing.T, m mode) *profile {
	t.Helper()
	ctx, cancel := chromedp.NewContext(chrome, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // binds the tab to ctx, not to a step's timeout
		t.Fatal(err)
	}
	p := &profile{t: t, site: s, ctx: ctx, mode: m, lang: "en"}
	steps := []chromedp.Action[chromedp.Void]{chromedp.EmulateViewport(m.width, m.height)}
	if m.lang != "" {
		p.lang = m.lang
		agent, err := chromedp.Run(ctx, chromedp.Evaluate[string](`navigator.userAgent`))
		if err != nil {
			t.Fatal(err)
		}
		steps = append(steps, func(ctx context.Context, _ *chromedp.Target) (v chromedp.Void, err error) {
			_, err = chromedp.Call(ctx, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: agent, AcceptLanguage: m.lang})
			return v, err
		})
	}
	if m.dark {
		steps = append(steps, func(ctx context.Context, _ *chromedp.Target) (v chromedp.Void, err error) {
			_, err = chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
			})
			return v, err
		})
	}
	if !m.noScript { // axe is on every page: to send it to each takes longer than it does
		steps = append(steps, func(ctx context.Context, _ *chromedp.Target) (v chromedp.Void, err error) {
			_, err = chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: axe})
			return v, err
		})
	} else {
		steps = append(steps, func(ctx context.Context, _ *chromedp.Target) (v chromedp.Void, err error) {
			_, err = chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
			return v, err
		})
	}
	p.do(steps...)
	return p
}

// within bounds one step.
func (p *profile) within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(p.ctx, 30*time.Second)
}

func (p *profile) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := p.within()
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatalf("%v\n%s", err, p.text())
	}
}

// evaluate runs a script of the test, which no policy of the page stops.
func evaluate[T any](p *profile, script string, o ...chromedp.EvaluateOption) T {
	p.t.Helper()
	ctx, cancel := p.within()
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, o...))
	if err != nil {
		p.t.Fatalf("%.80s: %v", script, err)
	}
	return v
}

// arrive does what leads to a page, wants its status, and judges it.
func (p *profile) arrive(status int, steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := p.within()
	defer cancel()
	res, err := chromedp.RunResponse(ctx, steps...)
	if err != nil {
		p.t.Fatalf("%v\n%s", err, p.text())
	}
	if int(res.Status) != status {
		p.t.Fatalf("%s answers %v, want %d\n%s", res.URL, res.Status, status, p.text())
	}
	p.judge()
}

// open goes to a path, and wants a page there.
func (p *profile) open(path string) { p.t.Helper(); p.openTo(path, 200) }

func (p *profile) openTo(path string, status int) {
	p.t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = p.site.url + path
	}
	p.arrive(status, chromedp.Navigate(path))
}

// fill types into the field of this name.
func (p *profile) fill(name, value string) {
	p.t.Helper()
	if p.mode.keyboard {
		p.tabUntil(fmt.Sprintf(`e.matches("input[name=%s]")`, name))
		p.do(chromedp.KeyEvent(value))
		return
	}
	p.do(chromedp.SendKeys(chromedp.CSS(fmt.Sprintf("input[name=%q]", name)), value))
}

// press clicks the button whose text begins so, or where there is none the
// link of the content that does, or one that says just this. Texts are in
// English, and in what the profile reads them in on its pages.
func (p *profile) press(text string) { p.t.Helper(); p.pressTo(text, 200) }

func (p *profile) pressTo(text string, status int) { p.t.Helper(); p.arrive(status, p.pressing(text)) }

// pressing returns the last step of it.
func (p *profile) pressing(text string) chromedp.Action[chromedp.Void] {
	p.t.Helper()
	text = p.say(text)
	if p.mode.keyboard {
		p.tabUntil(fmt.Sprintf(`(() => {
			const says = e => e.textContent.replace(/\s+/g, " ").trim(), main = document.querySelector("main")
			const buttons = [...main.querySelectorAll("button")].filter(b => says(b).startsWith(%[1]q))
			return buttons.length ? buttons[0] === e : e.localName === "a" && (says(e) === %[1]q || main.contains(e) && says(e).startsWith(%[1]q))
		})()`, text))
		return chromedp.KeyEvent(kb.Enter)
	}
	return chromedp.Click(fmt.Sprintf(`//main//button[starts-with(normalize-space(), %[1]q)][not(ancestor::*[@hidden])] | (//main//a[starts-with(normalize-space(), %[1]q)] | //a[normalize-space() = %[1]q])[not(//main//button[starts-with(normalize-space(), %[1]q)])]`, text))
}

// tabUntil presses the tab key until the script says so of the element e that
// has the focus, and wants the focus to be seen all the way.
func (p *profile) tabUntil(script string) {
	p.t.Helper()
	for range 80 {
		switch got := evaluate[string](p, fmt.Sprintf(`(() => {
			const e = document.activeElement
			if (e === document.body || e.localName === "main" || e.matches(".refused")) return "no"
			const r = e.getBoundingClientRect(), s = getComputedStyle(e)
			if (s.outlineStyle === "none" || parseFloat(s.outlineWidth) < 2 || r.width === 0 || r.bottom < 0 || r.top > innerHeight) return e.outerHTML
			return %s ? "yes" : "no"
		})()`, script)); got {
		case "yes":
			return
		case "no":
		default:
			p.t.Errorf("the focus cannot be seen on %s", got)
		}
		p.do(chromedp.KeyEvent(kb.Tab))
	}
	p.t.Fatalf("the tab key does not lead to %s\n%s", script, p.text())
}

func (p *profile) text() string {
	ctx, cancel := p.within()
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.title + "\n" + document.body.innerText`))
	if err != nil {
		return err.Error()
	}
	return text
}

// sees fails the test unless the page says all of it.
func (p *profile) sees(texts ...string) {
	p.t.Helper()
	page := p.text()
	for _, text := range texts {
		if text = p.say(text); !strings.Contains(page, text) {
			p.t.Fatalf("no %q on this page:\n%s", text, page)
		}
	}
}

func (p *profile) at(path string) {
	p.t.Helper()
	if got := evaluate[string](p, `location.pathname + location.search`); got != path {
		p.t.Fatalf("at %s, want %s\n%s", got, path, p.text())
	}
}

// judge holds the page against what every page promises: axe finds nothing, it
// fits into the window, has one h1, a title and the right language, holds no script of
// its own, and asks nobody else for anything.
func (p *profile) judge() {
	p.t.Helper()
	if wide := evaluate[bool](p, `document.documentElement.scrollWidth > innerWidth`); wide {
		p.t.Errorf("this page scrolls sideways:\n%s", p.text())
	}
	if got := evaluate[string](p, crowded); got != "" {
		p.t.Errorf("there is no room for this:\n%s", got)
	}
	if got := evaluate[string](p, `[document.documentElement.lang, document.querySelectorAll("h1").length, document.querySelectorAll("script:not([src]), [style]").length, document.title.endsWith(" · admit")].join()`); got != p.lang+",1,0,true" {
		p.t.Errorf("language, headings, scripts and title are %s:\n%s", got, p.text())
	}
	if got := evaluate[string](p, `performance.getEntriesByType("resource").map(e => e.name).filter(u => new URL(u).origin !== location.origin).join()`); got != "" {
		p.t.Errorf("this page asks others for %s", got)
	}
	p.picture()
	if p.mode.noScript {
		return // nor can axe run
	}
	// Many steps lead to a page that axe has seen, but for numbers and random names.
	seen := varies.ReplaceAllStringFunc(evaluate[string](p, `document.documentElement.outerHTML`), func(s string) string {
		if strings.HasPrefix(s, "h") && len(s) == 2 {
			return s // a heading
		}
		return strings.Repeat("0", len(s))
	})
	if _, again := judged.LoadOrStore([2]any{p.mode, seen}, true); again {
		return
	}
	found := evaluate[string](p, `axe.run(document, {resultTypes: ["violations"], preload: false}).then(r => r.violations.map(v => v.id + ": " + v.help + "\n  " + v.nodes.map(n => n.html + "\n  " + n.failureSummary).join("\n  ")).join("\n"))`, chromedp.EvalAwaitPromise)
	if found != "" {
		p.t.Errorf("axe on this page:\n%s\n%s", found, p.text())
	}
}

// crowded names what lies over something else, and words that are squeezed into
// a column of letters: both fit into the window.
const crowded = `(() => {
	const seen = e => !e.closest(".unseen") && e.getClientRects().length > 0 && e.checkVisibility()
	const things = [...document.querySelectorAll("main :is(button, a, bdi, .tag, input:not([hidden]), h1, dt, time)")].filter(e => seen(e) && !e.closest(".reveal"))
	const over = things.filter((a, i) => things.slice(i + 1).some(b => !a.contains(b) && !b.contains(a) &&
		[...a.getClientRects()].some(r => [...b.getClientRects()].some(s =>
			Math.min(r.right, s.right) - Math.max(r.left, s.left) > 2 && Math.min(r.bottom, s.bottom) - Math.max(r.top, s.top) > 6))))
	const squeezed = [...document.querySelectorAll("main *")].filter(e => seen(e) && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim().length > 4)).filter(e => {
		const r = e.getBoundingClientRect(), em = parseFloat(getComputedStyle(e).fontSize)
		return r.width < 4 * em && r.height > 4 * em
	})
	return [...over, ...squeezed].map(e => e.outerHTML).join("\n")
})()`

// picture keeps what the page looks like in the folder that SHOTS names, for
// people.
func (p *profile) picture() {
	p.t.Helper()
	dir := os.Getenv("SHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := p.within()
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		name := strings.NewReplacer("/", "-", " ", "-").Replace(p.t.Name())
		err = os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d.png", name, time.Now().UnixMilli())), png, 0o600)
	}
	if err != nil {
		p.t.Error(err)
	}
}
