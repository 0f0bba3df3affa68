package redis

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/sessiontest"
)

func TestSealedSessionsKeepThePromisesWithTheirGuardsInRedis(t *testing.T) {
	for _, program := range programs(t) {
		for _, c := range []client{clients[0], pooled} {
			t.Run(program+" "+c.name, func(t *testing.T) {
				s := start(t, program, forgets...)
				sessiontest.RunSealed(t, func(t testing.TB) sessiontest.Backend {
					if _, err := s.ask("FLUSHALL"); err != nil {
						t.Fatal(err)
					}
					return sessiontest.Backend{Store: c.open(t, s, nil)}
				})
			})
		}
	}
}

type basket struct {
	Cart string `json:"cart"`
	Turn int    `json:"turn,omitempty"`
}

// kinds of sessions: all of the data in Redis, or a guard.
func kinds(b *testing.B, store session.Store) map[string]*session.Manager[basket] {
	b.Helper()
	keys, err := cookie.ParseKeys(cookie.GenerateKey())
	if err != nil {
		b.Fatal(err)
	}
	kept, err := session.New[basket](store, nil)
	if err != nil {
		b.Fatal(err)
	}
	sealed, err := session.NewSealed[basket](store, keys, nil)
	if err != nil {
		b.Fatal(err)
	}
	return map[string]*session.Manager[basket]{"kept": kept, "sealed": sealed}
}

// BenchmarkSealedMemory shows what Redis needs for a session, all in:
//
//	go test ./redis -run - -bench SealedMemory -benchtime 1000000x
func BenchmarkSealedMemory(b *testing.B) {
	for _, kind := range []string{"kept", "sealed"} {
		for _, subject := range []string{"", "u_%020d"} {
			for _, size := range []int{64, 1000} {
				b.Run(fmt.Sprintf("%s/subject=%v/data=%d", kind, subject != "", size), func(b *testing.B) {
					s := start(b, programs(b)[0], forgets...)
					m := kinds(b, open(b, clients[0].dial(s), nil))[kind]
					before := s.memory(b)
					data := strings.Repeat("x", size-len(`{"cart":""}`))
					var n atomic.Int64
					b.SetParallelism(32)
					b.RunParallel(func(p *testing.PB) {
						for p.Next() {
							who := subject
							if i := n.Add(1); who != "" {
								who = fmt.Sprintf(subject, i)
							}
							r := httptest.NewRequest("GET", "https://example.org/", nil)
							if _, err := m.StartWith(httptest.NewRecorder(), r, who, nil, func(v *basket) { v.Cart = data }); err != nil {
								b.Error(err)
								return
							}
						}
					})
					b.ReportMetric(float64(s.memory(b)-before)/float64(b.N), "bytes/session")
				})
			}
		}
	}
}

// memory is what the server says that it uses.
func (s *server) memory(b *testing.B) int {
	b.Helper()
	answer, err := s.ask("INFO", "memory")
	if err != nil {
		b.Fatal(err)
	}
	found := regexp.MustCompile(`used_memory:(\d+)`).FindSubmatch(answer.([]byte))
	if found == nil {
		b.Fatalf("INFO says %s", answer)
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkSealedCalls shows what a check and a change cost with 1,000 bytes of
// data, kept in Redis and sealed in the cookie.
func BenchmarkSealedCalls(b *testing.B) {
	s := start(b, programs(b)[0], forgets...)
	var trips atomic.Int64
	dialled := clients[0].dial(s)
	managers := kinds(b, open(b, func(ctx context.Context, args ...string) (any, error) {
		trips.Add(1)
		return dialled(ctx, args...)
	}, nil))
	for _, kind := range []string{"kept", "sealed"} {
		m := managers[kind]
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "https://example.org/", nil)
		if _, err := m.StartWith(w, r, "alice", nil, func(v *basket) { v.Cart = strings.Repeat("x", 990) }); err != nil {
			b.Fatal(err)
		}
		for _, c := range w.Result().Cookies() {
			r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
		b.Run(kind+"/Load", func(b *testing.B) {
			measure(b, &trips, func() error { _, err := m.Load(r); return err })
		})
		b.Run(kind+"/Update", func(b *testing.B) {
			measure(b, &trips, func() error {
				_, err := m.Update(httptest.NewRecorder(), r, func(v *basket) error { v.Turn++; return nil })
				return err
			})
		})
	}
}
