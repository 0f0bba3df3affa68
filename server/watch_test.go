//go:build linux

package server_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// An opsPort is where a process is watched.
type opsPort int

// watched starts the program with an operations listener.
func watched(t testing.TB, data string, more ...string) (*process, opsPort) {
	t.Helper()
	ops := freePort(t)
	p := serve(t, data, freePort(t), append(more, "--ops-listen", fmt.Sprintf("localhost:%d", ops))...)
	return p, opsPort(ops)
}

func (o opsPort) get(t testing.TB, path string) (int, string) {
	t.Helper()
	res, err := http.Get(fmt.Sprintf("http://localhost:%d%s", o, path))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// value returns one series, and whether it is there.
func (o opsPort) value(t testing.TB, series string) (float64, bool) {
	t.Helper()
	_, all := o.get(t, "/metrics")
	for line := range strings.Lines(all) {
		if text, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			return v, err == nil
		}
	}
	return 0, false
}

// becomes waits for what the server sees within some seconds.
func (o opsPort) becomes(t testing.TB, series string, want float64) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		got, ok := o.value(t, series)
		if ok && got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is %v (%v), want %v", series, got, ok, want)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// logs waits until a text stands in the log as often, for lines are held back for
// a tenth of a second.
func (p *process) logs(text string, times int) {
	p.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		n := strings.Count(p.out.String(), text)
		if n == times {
			return
		}
		if time.Now().After(deadline) {
			p.t.Errorf("%q is logged %d times, want %d:\n%s", text, n, times, tail(p.out.String(), 10))
			return
		}
	}
}

func TestMetricsTellWhatHappenedAndNobodysNames(t *testing.T) {
	p, ops := watched(t, t.TempDir())
	const name, password = "ann-of-the-metrics", "a long password of ann"
	token := p.ask("POST", "/api/v1/signup", "", m{"identifier": name, "password": password, "as": "token"}).Token
	for range 3 {
		p.ask("GET", "/api/v1/session", token, nil)
	}
	p.ask("POST", "/api/v1/signin", "", m{"identifier": name, "password": "wrong"})
	p.ask("POST", "/api/v1/signin", "", m{"identifier": name, "password": password, "as": "token"})
	p.ask("POST", "/api/v1/signup", "", m{"identifier": "sue@example.org", "password": password, "as": "token"})
	p.ask("POST", "/api/v1/guest", "", m{"as": "token"})
	p.ask("GET", "/api/v1/sessions/no-such-"+name, token, nil)
	p.ask("DELETE", "/api/v1/sessions", token, nil)
	p.ask("POST", "/api/v1/signout", token, nil)
	replayRefresh(t, p, name, password)
	for series, want := range map[string]float64{
		`admit_http_request_duration_seconds_count{method="GET",route="/api/v1/session",status="2xx"}`: 3,
		`admit_sign_ins_total{outcome="bad_credentials"}`:                                              1,
		`admit_sign_ins_total{outcome="ok"}`:                                                           2,
		`admit_refreshes_total{outcome="refresh_token_replayed"}`:                                      2,
		`admit_sign_ups_total{outcome="ok",step="begin"}`:                                              2,
		`admit_sessions_begun_total{kind="user"}`:                                                      3,
		`admit_sessions_begun_total{kind="guest"}`:                                                     1,
		`admit_sessions_ended_total{reason="signed_out"}`:                                              1,
		`admit_sessions_ended_total{reason="refresh_token_replayed"}`:                                  1,
		`admit_subjects_ended_total{reason="ended_by_user"}`:                                           1,
		`admit_feed_events_total{kind="sid"}`:                                                          2,
		`admit_feed_events_total{kind="sub"}`:                                                          1,
		`admit_feed_followers`:                                                                         0,
		`admit_problems_total{code="bad_credentials"}`:                                                 1,
		`admit_password_hashes_total`:                                                                  5,
		`admit_password_refused_total`:                                                                 0,
	} {
		if got, ok := ops.value(t, series); !ok || got != want {
			t.Errorf("%s is %v (%v), want %v", series, got, ok, want)
		}
	}
	ops.becomes(t, `admit_outbox_sent_total{channel="mail"}`, 1)
	_, all := ops.get(t, "/metrics")
	for _, secret := range []string{name, "example.org", token, "no-such"} {
		if strings.Contains(all, secret) {
			t.Errorf("the metrics hold %q", secret)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, body := ops.get(t, path); status != 200 || strings.Contains(body, "reasons") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	for _, path := range []string{"/", "/signin", "/api/v1/session", "/debug/pprof/"} {
		if status, _ := ops.get(t, path); status != 404 {
			t.Errorf("the operations listener answers %s with %d", path, status)
		}
	}
	res, err := http.Get(p.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 404 {
		t.Errorf("the public listener answers /metrics with %s", res.Status)
	}
}

// replayRefresh presents a refresh token that was replaced, twice.
func replayRefresh(t *testing.T, p *process, name, password string) {
	t.Helper()
	refresh := func(token string) (next string) {
		var got struct {
			Refresh string `json:"refresh_token"`
		}
		a := p.ask("POST", "/api/v1/refresh", "", m{"refresh_token": token})
		if err := json.Unmarshal([]byte(a.Body), &got); err != nil {
			t.Fatal(err)
		}
		return got.Refresh
	}
	var got struct {
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal([]byte(p.ask("POST", "/api/v1/signin", "", m{"identifier": name, "password": password, "as": "jwt"}).Body), &got); err != nil {
		t.Fatal(err)
	}
	refresh(refresh(got.Refresh))
	for range 2 {
		refresh(got.Refresh)
	}
}

var metricName = regexp.MustCompile(`\b(?:admit|go|process)_[a-z0-9_]+\b`)

// Every name in the documents is one that the server has, so that no alert waits
// for what never comes.
func TestEveryMetricInTheDocumentationExists(t *testing.T) {
	p, ops := watched(t, t.TempDir(), "--redis", "redis://127.0.0.1:1")
	token := p.ask("POST", "/api/v1/signup", "", m{"identifier": "ann", "password": goodPassword, "as": "token"}).Token
	p.ask("POST", "/api/v1/signin", "", m{"identifier": "ann", "password": "wrong"})
	p.ask("POST", "/api/v1/signin", "", m{"identifier": "ann", "password": goodPassword, "as": "token"})
	p.ask("DELETE", "/api/v1/sessions", token, nil) // the one that has just begun
	p.ask("POST", "/api/v1/signout", token, nil)
	_, all := ops.get(t, "/metrics")
	has := map[string]bool{}
	for _, name := range metricName.FindAllString(all, -1) {
		has[name] = true
	}
	has["admit_certificate_expiry_timestamp_seconds"] = true // only with a certificate
	pages, err := filepath.Glob("../docs/runbook/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(pages, "../docs/how-to/watch-the-server.md")
	seen, examples := 0, 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range metricName.FindAllString(string(text), -1) {
			seen++
			if !has[name] {
				t.Errorf("%s: there is no metric %s", page, name)
			}
		}
		for _, m := range regexp.MustCompile(`condition=~?"?([a-z_|]+)`).FindAllStringSubmatch(string(text), -1) {
			for code := range strings.SplitSeq(m[1], "|") {
				if code != "clock_jumped" && !strings.Contains(all, `condition="`+code+`"`) {
					t.Errorf("%s: there is no condition %s", page, code)
				}
			}
		}
		for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
			examples++
			var v any
			if err := yaml.Unmarshal([]byte(m[1]), &v); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
	// The rest is what an operator would have to guess.
	page, err := os.ReadFile("../docs/how-to/watch-the-server.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range has {
		name = regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")
		if strings.HasPrefix(name, "admit_") && !strings.Contains(string(page), name) {
			t.Errorf("the documentation does not know %s", name)
		}
	}
	if seen < 20 || examples < 2 {
		t.Errorf("%d metrics and %d examples: are the pages found?", seen, examples)
	}
}

func TestAServerThatIsToldToStopIsNotReady(t *testing.T) {
	p, ops := watched(t, t.TempDir())
	// A request that hangs keeps it from stopping for long enough to ask.
	conn := dialRaw(t, p.url)
	fmt.Fprintf(conn, "POST /api/v1/signin HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", strings.TrimPrefix(p.url, "http://"))
	p.ask("GET", "/healthz", "", nil) // so that the other was read
	syscall.Kill(p.cmd.Process.Pid, syscall.SIGTERM)
	for deadline := time.Now().Add(5 * time.Second); ; {
		status, body := ops.get(t, "/readyz")
		if status == 503 && strings.Contains(body, `"stopping"`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("while stopping: %d %s", status, body)
		}
	}
	conn.Close()
	<-p.done
}

// The flood comes from 256 addresses, as a botnet's does: the budget of one is
// soon spent.
func TestAFloodOfSignInsIsBoundedInMemoryAndSessionChecksGoOn(t *testing.T) {
	p, ops := watched(t, t.TempDir(), "--log-level", "warn")
	token := p.ask("POST", "/api/v1/signup", "", m{"identifier": "ann", "password": goodPassword, "as": "token"}).Token
	length := 4 * time.Second
	if testing.Short() {
		length = time.Second
	}
	end := time.Now().Add(length)
	statuses := make(chan int, 1<<16)
	flood := make(chan struct{})
	go func() {
		defer close(flood)
		each(256, func(i int) {
			client := clientFrom(fmt.Sprintf("127.9.%d.%d", i/200, i%200+1))
			defer client.CloseIdleConnections()
			for n := 0; time.Now().Before(end); n++ {
				res, err := client.Post(p.url4()+"/api/v1/signin", "application/json",
					strings.NewReader(fmt.Sprintf(`{"identifier":"nobody-%d-%d","password":"guess"}`, i, n)))
				if err != nil {
					statuses <- 0
					continue
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				statuses <- res.StatusCode
				// A thousand a second together: thirty times what can be hashed,
				// and few enough for this process to keep time.
				time.Sleep(250 * time.Millisecond)
			}
		})
	}()
	var took []time.Duration
	for time.Now().Before(end) {
		begun := time.Now()
		if a := p.ask("GET", "/api/v1/session", token, nil); a.status != 200 {
			t.Fatalf("a session check in the flood: %d %s", a.status, a.Body)
		}
		took = append(took, time.Since(begun))
		time.Sleep(2 * time.Millisecond)
	}
	<-flood
	close(statuses)
	counts := map[int]int{}
	for s := range statuses {
		counts[s]++
	}
	slices.Sort(took)
	at := func(q float64) time.Duration { return took[int(q*float64(len(took)-1))].Round(10 * time.Microsecond) }
	peak := peakMemory(t, p)
	t.Logf("answers by status: %v; %d session checks: p50 %v, p99 %v, slowest %v; resident at most %d MB, with %d processes that hash; %d cores",
		counts, len(took), at(.5), at(.99), at(1), peak>>20, len(children(t, p)), runtime.GOMAXPROCS(0))
	if counts[0] > 0 || counts[503] == 0 || counts[401] == 0 {
		t.Errorf("answers by status %v: want wrong passwords, refusals for want of a slot, and no broken connection", counts)
	}
	if peak > 400<<20 {
		t.Errorf("%d MB are resident", peak>>20)
	}
	ops.becomes(t, `admit_condition{condition="passwords_refused"}`, 1)
	p.logs("condition=passwords_refused", 1)
	if a := p.ask("POST", "/api/v1/signin", "", m{"identifier": "ann", "password": goodPassword, "as": "token"}); a.status != 200 {
		t.Errorf("a sign-in after the flood: %d %s", a.status, a.Body)
	}
}

// peakMemory is the most that was resident, in bytes.
func peakMemory(t testing.TB, p *process) (sum int) {
	t.Helper()
	for _, pid := range append(children(t, p), p.cmd.Process.Pid) {
		sum += peakOf(t, pid)
	}
	return sum
}

// children are the processes that the server runs beside itself.
func children(t testing.TB, p *process) (pids []int) {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.cmd.Process.Pid))
	if err != nil || len(lists) == 0 {
		t.Fatalf("the children of the server: %v", err)
	}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ESRCH) { // a thread that has ended
			t.Fatal(err)
		}
		for _, f := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

func peakOf(t testing.TB, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[0] == "VmHWM:" {
			kb, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// clockBinary is the program with a clock that SIGUSR1 sets forward by three
// hours and SIGUSR2 back: the standard library is built with one line more. Go
// asks the kernel for the time without libc, so that nothing preloaded can move
// it, and the machine's own clock is everybody's.
func clockBinary(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	library := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(library)
	if err != nil {
		t.Fatal(err)
	}
	const reads = "\tsec, nsec, mono := runtimeNow()\n\tif mono == 0 {"
	changed := strings.Replace(string(text), reads, "\tsec, nsec, mono := runtimeNow()\n\tsec += ShiftOfTheTest.Load()\n\tif mono == 0 {", 1)
	changed = strings.Replace(changed, "import (", "import (\n\t\"sync/atomic\"", 1) + "\nvar ShiftOfTheTest atomic.Int64\n"
	if !strings.Contains(changed, "ShiftOfTheTest.Load") {
		t.Fatal("time.Now is not written as it was: look at it")
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	here, err := filepath.Abs("cmd/admit/moved_clock.go")
	if err != nil {
		t.Fatal(err)
	}
	mover := write("clock.go", `package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

func init() {
	c := make(chan os.Signal, 8)
	signal.Notify(c, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for s := range c {
			step := int64(3 * 3600)
			if s == syscall.SIGUSR2 {
				step = -step
			}
			time.ShiftOfTheTest.Add(step)
		}
	}()
}
`)
	overlay := write("overlay.json", fmt.Sprintf(`{"Replace":{%q:%q,%q:%q}}`, library, write("time.go", changed), here, mover))
	file := filepath.Join(dir, "admit")
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", file, "./cmd/admit").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return file
}

func TestTheClockMovesByHoursBothWaysAndTheServerSaysSo(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the standard library anew")
	}
	t.Parallel() // it is another process
	file, port, ops := clockBinary(t), freePort(t), freePort(t)
	p := start(t, port, file, "serve", "--dev", "--listen", fmt.Sprintf("localhost:%d", port), "--ops-listen", fmt.Sprintf("localhost:%d", ops), "--data", t.TempDir())
	p.ready()
	at := opsPort(ops)
	at.becomes(t, `admit_clock_jumps_total{direction="back"}`, 0)
	moved := func(s syscall.Signal, direction string) {
		t.Helper()
		before, _ := at.value(t, fmt.Sprintf("admit_clock_jumps_total{direction=%q}", direction))
		syscall.Kill(p.cmd.Process.Pid, s)
		at.becomes(t, fmt.Sprintf("admit_clock_jumps_total{direction=%q}", direction), before+1)
	}
	check := func(token string) answer { t.Helper(); return p.ask("GET", "/api/v1/session", token, nil) }
	signIn := func(password string) answer {
		t.Helper()
		return p.ask("POST", "/api/v1/signin", "", m{"identifier": "ann", "password": password, "as": "token"})
	}
	first := p.ask("POST", "/api/v1/signup", "", m{"identifier": "ann", "password": goodPassword, "as": "token"}).Token
	for range 5 {
		signIn("wrong") // spends tries, which must not be owed for three hours more
	}

	moved(syscall.SIGUSR2, "back")
	if a := check(first); a.status != 200 {
		t.Errorf("a session begun before the clock was set back: %d %s", a.status, a.Body)
	}
	second := signIn(goodPassword)
	if second.status != 200 || check(second.Token).status != 200 {
		t.Errorf("a sign-in after the clock was set back: %d %s", second.status, second.Body)
	}
	if a := p.ask("POST", "/api/v1/signup", "", m{"identifier": "sue@example.org", "password": goodPassword, "as": "token"}); a.status != 202 {
		t.Errorf("a sign-up by mail after the clock was set back: %d %s", a.status, a.Body)
	}
	at.becomes(t, `admit_outbox_sent_total{channel="mail"}`, 1)
	if a := p.ask("POST", "/api/v1/signout", second.Token, nil); a.status != 204 || check(second.Token).status != 401 {
		t.Errorf("a sign-out after the clock was set back: %d %s", a.status, a.Body)
	}

	moved(syscall.SIGUSR1, "forward") // right again
	if a := check(first); a.status != 200 {
		t.Errorf("a session when the clock is right again: %d %s", a.status, a.Body)
	}
	moved(syscall.SIGUSR1, "forward")
	if a := check(first); a.status != 401 || a.Code != "session_expired" && a.Code != "no_session" {
		t.Errorf("a session that is unused for three hours, by the clock: %d %s", a.status, a.Body)
	}
	third := signIn(goodPassword)
	if third.status != 200 || check(third.Token).status != 200 {
		t.Errorf("a sign-in after the clock jumped: %d %s", third.status, third.Body)
	}
	moved(syscall.SIGUSR2, "back") // right again
	if a := check(third.Token); a.status != 200 {
		t.Errorf("a session begun while the clock was ahead: %d %s", a.status, a.Body)
	}
	if code := p.stop(); code != 0 {
		t.Errorf("the server exits %d", code)
	}
	for _, line := range []string{"the clock was set back", "the clock jumped forward", "condition=clock_jumped"} {
		if !strings.Contains(p.out.String(), line) {
			t.Errorf("the log does not say %q", line)
		}
	}
	if strings.Contains(p.out.String(), "panic") {
		t.Errorf("a panic:\n%s", p.out)
	}
}
