package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/admit-auth/admit/server/internal/cli"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"admit": cli.Main, "client": client})
}

func TestCommandsDoWhatTheReferenceSays(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true, Cmds: commands,
		Condition: func(what string) (bool, error) {
			if what != "root" {
				return false, fmt.Errorf("no condition %q", what)
			}
			return os.Getuid() == 0, nil // whom no mode of a file stops
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", noSleep)
			e.Setenv("URL", "http://localhost:"+freePort(t))
			e.Setenv("ADDR", strings.TrimPrefix(e.Getenv("URL"), "http://"))
			return nil
		},
	})
}

// noSleep: the race detector lets each process sleep a second when it ends.
const noSleep = "atexit_sleep_ms=0"

// freePort returns a loopback port that was free a moment ago.
func freePort(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

// client is a program for scripts: client METHOD URL [TOKEN [BODY]] writes the
// status and the body of the answer; client ready URL waits for a server.
func client() {
	status, body, err := 0, "", error(nil)
	if args := os.Args[1:]; args[0] == "ready" {
		for range 500 {
			if status, _, err = call("GET", args[1]+"/readyz", "", ""); status == http.StatusOK {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	} else {
		args = append(args, "", "")
		status, body, err = call(args[0], args[1], args[2], args[3])
	}
	fmt.Println(status, body)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func call(method, url, token, body string) (status int, answer string, err error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// The examples of the help are those of the reference page, which a test of the
// command line holds to be exact.
func TestExamplesOfTheHelpRun(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no shell: the examples are not run")
	}
	page, err := os.ReadFile("../../../docs/reference/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GORACE", noSleep)
	dir := t.TempDir()
	url := "http://localhost:" + freePort(t)
	serve := exec.Command("admit", "serve", "--dev", "--listen", strings.TrimPrefix(url, "http://"))
	serve.Dir = dir
	var log strings.Builder
	serve.Stderr = &log
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceValue(func() error {
		serve.Process.Signal(os.Interrupt)
		return serve.Wait()
	})
	t.Cleanup(func() { stop() })
	sh := func(script string, env ...string) (string, error) {
		cmd := exec.Command(shell, "-euc", script)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := sh("client ready " + url); err != nil {
		t.Fatalf("%v: %s%s", err, out, &log)
	}
	const password = "a long walk by the shore"
	for name, text := range map[string]string{
		"password": password, "users": `{"identifiers":[{"value":"mary@example.org"}]}`,
		"users.csv": "user_email,name\nmaria@example.org,Maria\n",
		"pwned-passwords-sha1-ordered-by-hash.txt": strings.Repeat("F", 40),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for part := range strings.SplitSeq(string(page), "\n## ") {
		name, _, _ := strings.Cut(part, "\n")
		_, example, ok := strings.Cut(part, "\nexample:\n")
		example, _, _ = strings.Cut(example, "```")
		switch {
		case !ok, name == "admit serve", name == "admit key reset": // one runs already
			continue
		}
		n++
		t.Run(name, func(t *testing.T) {
			out, err := sh(`
				admit user delete ada@example.org || true
				admit user add --identifier ada@example.org --verified --password-file password
				admit cookie keygen > keys
				admit jwt keygen --alg ES256 --public public.jwk > private.jwk
				echo '{"iss":"https://auth.example.org","exp":4102444800}' | admit jwt sign --alg ES256 --key private.jwk > token
				admit jwt keygen --alg ECDH-ES --public theirs.jwk > ours.jwk
				admit jwt encrypt --alg ECDH-ES --enc A256GCM --key theirs.jwk < token > jwe
				echo 'a long walk by the sea' | admit password hash > hash
				admit token issue --kind api-key --user ada@example.org --name example --scope profile > key
				cp users users.jsonl
				admit client remove shop || true
				test '` + name + `' = 'admit client add' || admit client add --id shop --name Shop --grant authorization_code --redirect https://shop.example.net/cb`)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			status, body, err := call("POST", url+"/api/v1/signin", "", `{"identifier":"ada@example.org","password":"`+password+`","as":"token"}`)
			if err != nil || status != http.StatusOK {
				t.Fatal(status, body, err)
			}
			invite, err := sh("admit client invite --json")
			if err != nil {
				t.Fatalf("%v\n%s", err, invite)
			}
			keys, err := sh("admit key list --json")
			if err != nil {
				t.Fatalf("%v\n%s", err, keys)
			}
			if out, err := sh(example, "SID="+field(body, "sid"), "ID="+field(keys, "id"), "INVITE="+field(invite, "id")); err != nil {
				t.Errorf("%v\n%s%s", err, example, out)
			}
		})
	}
	if n < 20 {
		t.Errorf("%d examples found", n)
	}
	if err := stop(); err != nil {
		t.Errorf("the server: %v\n%s", err, &log)
	}
}

// Who follows a page of the runbook at night must not be the first to try it.
func TestEachCommandOfTheRunbookIsRunByAScript(t *testing.T) {
	var pages []string
	for _, pattern := range []string{"runbook/*.md", "how-to/back-up.md", "how-to/upgrade.md"} {
		found, err := filepath.Glob("../../../docs/" + pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		pages = append(pages, found...)
	}
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	run := map[string]bool{}
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if _, command, ok := strings.Cut(line, "exec "); ok {
				run[strings.TrimSpace(command)] = true
			}
		}
	}
	n := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			command := strings.TrimSpace(line)
			if !strings.HasPrefix(line, "    ") || !strings.HasPrefix(command, "admit ") {
				continue
			}
			n++
			if !run[command] {
				t.Errorf("%s: no script runs %s", filepath.Base(page), command)
			}
		}
	}
	if n < 15 {
		t.Errorf("%d commands found", n)
	}
}
