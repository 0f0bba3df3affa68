package sharing

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// newPrograms has the server at id.one.test and the example of a second domain at
// shop.two.test, each the real program behind a proxy that speaks HTTPS.
func newPrograms(t *testing.T) (w *web, admit func(args ...string)) {
	t.Helper()
	w = newWeb(t)
	dir := t.TempDir()
	built := func(module, name string) string {
		program := filepath.Join(dir, filepath.Base(name))
		build := exec.Command("go", "build", "-o", program, name)
		build.Dir = filepath.Join("..", "..", module)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return program
	}
	file := func(name, text string) string {
		at := filepath.Join(dir, name)
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return at
	}
	const secret = "0123456789abcdef0123456789abcdef"
	program, example, data := built("server", "./cmd/admit"), built("examples", "./second-domain"), filepath.Join(dir, "data")
	server, shop := freePort(t), freePort(t)
	launch(t, w, "id.one.test", server, program, "serve", "--listen", fmt.Sprint("localhost:", server), "--data", data,
		"--public-url", "https://id.one.test", "--trusted-proxy", "127.0.0.1",
		"--handover-sites", "shop=https://shop.two.test/handover/callback", "--handover-secrets-file", file("secrets", "shop="+secret))
	// The shop's server asks through the proxy, too.
	w.serve(w.server.Listener.Addr().String(), w.host("id.one.test"))
	t.Setenv("SSL_CERT_FILE", file("roots", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.server.Certificate().Raw}))))
	launch(t, w, "shop.two.test", shop, example, "--listen", fmt.Sprint("localhost:", shop), "--secret-file", file("secret", secret),
		"--admit", "https://id.one.test", "--asked-at", w.server.URL)
	return w, func(args ...string) {
		t.Helper()
		c := exec.Command(program, append(args, "--data", data, "--password-file", file("password", "correct horse battery"))...)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("admit %v: %v\n%s", args, err, out)
		}
	}
}

// launch runs a program until the test ends, as what answers for a host.
func launch(t *testing.T, w *web, host string, port int, program string, args ...string) {
	t.Helper()
	var said bytes.Buffer
	c := exec.Command(program, args...)
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", host, &said)
		}
	})
	to := &url.URL{Scheme: "http", Host: fmt.Sprint("localhost:", port)}
	w.serve(host, &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(to)
		p.Out.Host = host
		p.SetXForwarded()
	}})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		res, err := http.Get(to.String() + "/readyz")
		if err == nil {
			res.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer: %v", program, err)
		}
	}
}

// freePort returns a loopback port that was free a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// The browser is sent on from the form to another origin, which its policy must
// let it.
func TestChromiumSignsInAtTheServerForASecondDomain(t *testing.T) {
	web, admit := newPrograms(t)
	admit("user", "add", "--identifier", "ann")
	ann := web.browser("")
	signIn := func() {
		t.Helper()
		ann.open("https://shop.two.test/", "https://id.one.test/signin?return_to=")
		evaluate[bool](ann, `document.querySelector("[name=identifier]").value = "ann"; document.querySelector("[name=password]").value = "correct horse battery"; true`)
		ann.press("form[action='/signin'] button:not([type=button])", "https://shop.two.test/\nWelcome, ")
	}
	signIn()
	if got := evaluate[string](ann, `document.cookie`); got != "" {
		t.Errorf("scripts of the shop see the cookies %q", got)
	}
	ann.press("button", "You are signed out here and there.")
	ann.open("https://id.one.test/account", "https://id.one.test/signin?return_to=")
	signIn()
	tab := ann.tab()
	tab.open("https://id.one.test/signout", "https://id.one.test/signout")
	tab.press("form[action='/signout'] button", "You are signed out.")
	for deadline := time.Now().Add(7 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		tab.open("https://shop.two.test/", "https://")
		if text := tab.text(); !bytes.Contains([]byte(text), []byte("Welcome")) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("seven seconds after a sign-out at the server the shop welcomes ann")
		}
	}
	// A name that is not registered leads nowhere.
	ann.open("https://id.one.test/handover/begin?site=evil&challenge=a&state=b", "No site is registered here that may ask for this.")
}
