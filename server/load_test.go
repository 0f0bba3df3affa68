//go:build unix

package server_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// dialRaw opens a connection on which a test speaks for itself.
func dialRaw(t testing.TB, base string) net.Conn {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// clientFrom is a client at a loopback address of its own.
func clientFrom(address string) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, to string) (net.Conn, error) { return dialer.DialContext(ctx, "tcp4", to) },
	}}
}

// url4 is the server by its IPv4 address, which other loopback addresses reach.
func (p *process) url4() string { return strings.Replace(p.url, "localhost", "127.0.0.1", 1) }

// Pages under 200 requests a second, by the clock of the client: what the
// loopback and the client's own queue take is in it. An iteration is five
// seconds: -benchtime 1x.
func BenchmarkPagesAt200ASecond(b *testing.B) {
	s := benchServer(b, "admit", b.TempDir())
	s.url = strings.Replace(s.url, "127.0.0.1", "localhost", 1) // where pages are
	cookie := signUpAt(b, s.url)
	pages := []string{"/signin", "/signup", "/account", "/account/sessions", "/account/security"}
	client := &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	var mu sync.Mutex
	var took []time.Duration
	for b.Loop() {
		var all sync.WaitGroup
		tick := time.NewTicker(time.Second / 200)
		for n := range 1000 {
			<-tick.C
			all.Go(func() {
				page := pages[n%len(pages)]
				req, err := http.NewRequest("GET", s.url+page, http.NoBody)
				if err != nil {
					b.Error(err)
					return
				}
				if strings.HasPrefix(page, "/account") {
					req.Header.Set("Cookie", cookie)
				}
				begun := time.Now()
				res, err := client.Do(req)
				if err != nil {
					b.Error(err)
					return
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				d := time.Since(begun)
				if res.StatusCode != 200 {
					b.Errorf("%s: %s", page, res.Status)
				}
				mu.Lock()
				defer mu.Unlock()
				took = append(took, d)
			})
		}
		tick.Stop()
		all.Wait()
	}
	slices.Sort(took)
	ms := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000 }
	b.ReportMetric(0, "ns/op") // of an iteration: says nothing
	b.ReportMetric(ms(.5), "p50-ms")
	b.ReportMetric(ms(.95), "p95-ms")
	b.ReportMetric(ms(.99), "p99-ms")
}

var loaded = regexp.MustCompile(`<(?:link|script|img)[^>]+(?:href|src)="([^"]+)"`)

func TestAFirstViewIsAtMostSixtyKilobytesAndAllOfItOurs(t *testing.T) {
	p := serve(t, t.TempDir(), freePort(t))
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	size := func(path string) (int, string) {
		t.Helper()
		res, err := client.Get(p.url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != 200 {
			t.Fatalf("%s: %s", path, res.Status)
		}
		n := len(b)
		for name, values := range res.Header {
			for _, v := range values {
				n += len(name) + len(v) + 4
			}
		}
		return n, string(b)
	}
	for _, page := range []string{"/signin", "/signup"} {
		total, html := size(page)
		parts := loaded.FindAllStringSubmatch(html, -1)
		for _, m := range parts {
			if !strings.HasPrefix(m[1], "/") || strings.HasPrefix(m[1], "//") {
				t.Errorf("%s loads %s", page, m[1])
				continue
			}
			n, _ := size(m[1])
			total += n
		}
		t.Logf("%s: %d bytes in %d answers, headers included, nothing compressed", page, total, 1+len(parts))
		if len(parts) == 0 || total > 60_000 {
			t.Errorf("%s: %d bytes in %d answers", page, total, 1+len(parts))
		}
	}
}
