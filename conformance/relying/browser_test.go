package relying

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// chromium is the one browser of all tests.
var chromium struct {
	sync.Mutex
	ctx  context.Context
	stop context.CancelFunc
}

// A tab is one of the browser's.
type tab struct {
	t   testing.TB
	ctx context.Context
}

// newTab opens a tab: of a browser that knows nobody, or one more of another tab's.
func newTab(t testing.TB, beside *tab) *tab {
	t.Helper()
	chromium.Lock()
	defer chromium.Unlock()
	if chromium.ctx == nil {
		path := find(t, "chromium", "chromium-browser", "google-chrome")
		allocator, stop := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-component-update", true),
			chromedp.Flag("lang", "en"), chromedp.Flag("accept-lang", "en"))...)
		ctx, cancel := chromedp.NewContext(allocator)
		if err := chromedp.Do(ctx); err != nil {
			t.Fatalf("Chromium does not start: %v", err)
		}
		chromium.ctx, chromium.stop = ctx, func() { cancel(); stop() }
	}
	var ctx context.Context
	var cancel context.CancelFunc
	if beside == nil {
		ctx, cancel = chromedp.NewContext(chromium.ctx, chromedp.WithNewBrowserContext())
	} else {
		ctx, cancel = chromedp.NewContext(beside.ctx)
	}
	t.Cleanup(cancel)
	b := &tab{t, ctx}
	if err := chromedp.Do(ctx); err != nil { // binds the tab to ctx, not to a step's timeout
		t.Fatal(err)
	}
	return b
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%v\n%s", err, b.text())
	}
}

func (b *tab) open(address string) { b.t.Helper(); b.do(chromedp.Navigate(address)) }

func (b *tab) fill(name, value string) {
	b.t.Helper()
	b.do(chromedp.SendKeys(chromedp.CSS(fmt.Sprintf("input[name=%q]", name)), value))
}

// press presses a button, or follows a link, and waits until that has led somewhere.
func (b *tab) press(text string) {
	b.t.Helper()
	b.do(func(ctx context.Context, at *chromedp.Target) (chromedp.Void, error) {
		_, err := chromedp.Evaluate[any](`document.pressed = true`)(ctx, at)
		return chromedp.Void{}, err
	}, chromedp.Click(fmt.Sprintf(`//button[normalize-space() = %[1]q] | //a[normalize-space() = %[1]q]`, text)))
	eventually(b.t, func() error {
		ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
		defer cancel()
		same, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.pressed === true || document.readyState !== "complete"`))
		if err == nil && same {
			err = fmt.Errorf("%q leads nowhere", text)
		}
		return err
	})
}

func (b *tab) text() string {
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.origin + "\n" + document.title + "\n" + document.body.innerText`))
	if err != nil {
		return err.Error()
	}
	return text
}

// comesTo waits until the browser is where a page says all of this.
func (b *tab) comesTo(texts ...string) {
	b.t.Helper()
	eventually(b.t, func() error {
		page := b.text()
		for _, text := range texts {
			if !strings.Contains(page, text) {
				return fmt.Errorf("no %q on this page:\n%s", text, page)
			}
		}
		return nil
	})
}

func (b *tab) signIn(user string) {
	b.t.Helper()
	b.fill("identifier", user)
	b.fill("password", password)
	b.press("Sign in")
}

// The pages of two clients are open in two tabs at once, and the steps of one come between
// those of the other.
func TestABrowserSignsInAtTwoClientsInTwoTabsAtOnce(t *testing.T) {
	h := home(t)
	one, other := goApp(t, h, "first-shop"), nodeApp(t, h, "second-shop")
	h.user(t, "bob", "Bob of the tabs")
	left := newTab(t, nil)
	right := newTab(t, left)

	left.open(one.url)
	left.press("Sign in")
	left.comesTo(h.url, "Password")
	right.open(other.url)
	right.press("Sign in")
	right.comesTo(h.url, "Password")
	left.signIn("bob")
	left.comesTo("Let The first-shop in?")
	right.signIn("bob") // again, though he is by now
	right.comesTo("Let The second-shop in?")
	// The consent page of the left was made for the session before, and is shown again.
	left.press("Allow")
	left.comesTo("Let The first-shop in?")
	left.press("Allow")
	left.comesTo(one.url, "Hello Bob of the tabs.")
	right.press("Allow")
	right.comesTo(other.url, "Hello Bob of the tabs.")

	// At two apps of one session, the one signs out, and the other one hears.
	left.press("Sign out")
	left.comesTo(one.url, "Sign in")
	eventually(t, func() error {
		right.open(other.url)
		if text := right.text(); !strings.Contains(text, "Sign in") {
			return fmt.Errorf("the other app has not heard:\n%s", text)
		}
		return nil
	})
	right.open(h.url + "/account")
	right.comesTo("Sign in", "Password")
}

// frames are the addresses of the documents that stand in frames, as far as they may be seen.
func (b *tab) frames() string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	all, err := chromedp.Run(ctx, chromedp.Evaluate[string](`[...document.querySelectorAll("iframe")].map(f => {
		try { return String(f.contentWindow.location.href) } catch (e) { return "of another origin" } }).join(" ")`))
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}
