package express

import (
	"io"
	"net/http"
	"sync"
	"testing"
)

// BenchmarkVisits counts visits over 32 connections, with the session's cookie,
// in Express and in the Go peer. Times are of the whole: the client, the server
// and Redis on one machine.
func BenchmarkVisits(b *testing.B) {
	need(b)
	program := peer(b)
	redis, _ := redisServer(b)
	node, _ := start(b, listening, "node", "server.mjs", "--redis", redis)
	ours, _ := start(b, listening, program, "--port", "0", "--redis", redis)
	for _, load := range []struct {
		name     string
		sessions int
	}{{"one hot session", 1}, {"1000 sessions", 1000}} {
		for _, site := range []struct{ name, url string }{{"Express", node}, {"Go", ours}} {
			b.Run(load.name+"/"+site.name, func(b *testing.B) {
				client := http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
				cookies := make([]string, load.sessions)
				for i := range cookies {
					res, err := client.Get(site.url + "/visit")
					if err != nil {
						b.Fatal(err)
					}
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
					cookies[i] = res.Header.Get("Set-Cookie")
				}
				work := make(chan string)
				var all sync.WaitGroup
				for range 32 {
					all.Go(func() {
						for c := range work {
							r, _ := http.NewRequest("GET", site.url+"/visit", nil)
							r.Header.Set("Cookie", c)
							res, err := client.Do(r)
							if err != nil {
								b.Error(err)
								return
							}
							io.Copy(io.Discard, res.Body)
							res.Body.Close()
							if res.StatusCode != 200 {
								b.Error(res.Status)
							}
						}
					})
				}
				b.ResetTimer()
				for i := range b.N {
					work <- cookies[i%len(cookies)]
				}
				close(work)
				all.Wait()
			})
		}
	}
}
