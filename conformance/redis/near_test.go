package redis

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/redisstore"
)

// Two ways in which a process hears what another one has written into Redis, so that
// copies may be near: the server's own tracking of what its clients read, and messages
// that writers publish. Both drive a session.Near in a few lines; how fast each is, and
// what it costs, is printed.
var ways = []struct {
	name string
	// hear drives the copies until the test ends.
	hear func(t testing.TB, s *server, prefix string, near *session.Near, heard func(key string))
	// tell is what a writer does after a write, nil for nothing.
	tell func(ctx context.Context, c rueidis.Client, prefix, key string) error
}{
	{name: "tracking", hear: track},
	{name: "messages", hear: listen, tell: func(ctx context.Context, c rueidis.Client, prefix, key string) error {
		return c.Do(ctx, c.B().Publish().Channel(prefix+"changes").Message(key).Build()).Error()
	}},
}

const beat = 500 * time.Millisecond

// track has Redis tell of every write under the prefix, on the connection that a ping
// goes over too: its answer comes after what was told before.
func track(t testing.TB, s *server, prefix string, near *session.Near, heard func(string)) {
	c := dialRueidis(t, s, func(o *rueidis.ClientOption) {
		o.DisableCache = false
		o.ClientTrackingOptions = []string{"PREFIX", prefix + "r:", "BCAST"}
		o.OnInvalidations = func(keys []rueidis.RedisMessage) {
			if keys == nil { // the connection broke, or FLUSHALL
				near.ForgetAll()
			}
			for _, k := range keys {
				name, _ := k.ToString()
				key := strings.TrimPrefix(name, prefix+"r:")
				near.Forget(key)
				heard(key)
			}
		}
	})
	near.ForgetAll()
	every(t, func(ctx context.Context) {
		sent := time.Now()
		if c.Do(ctx, c.B().Ping().Build()).Error() == nil {
			near.Heard(sent)
		}
	})
}

// listen subscribes. A message to ourselves comes after what was published before.
func listen(t testing.TB, s *server, prefix string, near *session.Near, heard func(string)) {
	c := dialRueidis(t, s, nil)
	beats := fmt.Sprintf("%sbeat:%p", prefix, near)
	ready := make(chan struct{}, 1) // it may be before anybody waits
	ctx := t.Context()
	go c.Receive(rueidis.WithOnSubscriptionHook(ctx, func(rueidis.PubSubSubscription) {
		near.ForgetAll()
		select {
		case ready <- struct{}{}:
		default:
		}
	}), c.B().Subscribe().Channel(prefix+"changes", beats).Build(), func(m rueidis.PubSubMessage) {
		if m.Channel == beats {
			if at, err := strconv.ParseInt(m.Message, 10, 64); err == nil {
				near.Heard(time.Unix(0, at))
			}
			return
		}
		near.Forget(m.Message)
		heard(m.Message)
	})
	<-ready
	every(t, func(ctx context.Context) {
		c.Do(ctx, c.B().Publish().Channel(beats).Message(strconv.FormatInt(time.Now().UnixNano(), 10)).Build())
	})
}

// every calls fn at once and at each beat until the test ends.
func every(t testing.TB, fn func(context.Context)) {
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	fn(ctx)
	go func() {
		for ctx.Err() == nil {
			time.Sleep(beat)
			fn(ctx)
		}
	}()
}

func dialRueidis(t testing.TB, s *server, change func(*rueidis.ClientOption)) rueidis.Client {
	t.Helper()
	o := rueidis.ClientOption{
		InitAddress: []string{"127.0.0.1:0"}, ForceSingleClient: true, DisableCache: true, AlwaysPipelining: true, PipelineMultiplex: -1,
		DialCtxFn: func(ctx context.Context, _ string, _ *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return s.dial(ctx)
		},
	}
	if change != nil {
		change(&o)
	}
	c, err := rueidis.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// used is the processor time of the server.
func (s *server) used() (all time.Duration) {
	text, _ := s.must("INFO", "cpu").([]byte)
	for line := range strings.Lines(string(text)) {
		for _, name := range []string{"used_cpu_sys:", "used_cpu_user:"} {
			if v, ok := strings.CutPrefix(line, name); ok {
				f, _ := strconv.ParseFloat(strings.TrimSpace(v), 64)
				all += time.Duration(f * float64(time.Second))
			}
		}
	}
	return all
}

func TestTrackingAndMessagesBothDriveANear(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			s := start(t, programs(t)[0], forgets...)
			const prefix = "near:"
			heard := make(chan string, 10_000)
			var last atomic.Int64
			client := dialRueidis(t, s, nil)
			truth := open(t, viaRueidis(client), &redisstore.Options{Prefix: prefix})
			near := session.NewSharedNear(open(t, viaRueidis(dialRueidis(t, s, nil)), &redisstore.Options{Prefix: prefix}), 0)
			way.hear(t, s, prefix, near, func(key string) {
				last.Store(time.Now().UnixNano())
				heard <- key
			})
			ctx := t.Context()
			const writes = 2000
			far := time.Now().Add(time.Hour)
			v, err := truth.Add(ctx, "k", session.Item{Value: "0", Expires: far})
			if err != nil {
				t.Fatal(err)
			}
			if way.tell == nil {
				<-heard // of the Add
			}
			var took []time.Duration
			before := s.used()
			for i := 1; i <= writes; i++ {
				if _, err := near.Get(ctx, "k"); err != nil {
					t.Fatal(err)
				}
				want := strconv.Itoa(i)
				begun := time.Now()
				if v, err = truth.Swap(ctx, "k", v, session.Item{Value: want, Expires: far}); err != nil {
					t.Fatal(err)
				}
				if way.tell != nil {
					if err := way.tell(ctx, client, prefix, "k"); err != nil {
						t.Fatal(err)
					}
				}
				for key := ""; key != "k"; key = <-heard {
				}
				took = append(took, time.Duration(last.Load()-begun.UnixNano()))
				if it, err := near.Get(ctx, "k"); err != nil || it.Value != want {
					t.Fatalf("after news of %s: %q, %v", want, it.Value, err)
				}
			}
			cpu := (s.used() - before) / writes
			slices.Sort(took)
			t.Logf("from the begin of a write until others have heard: p50 %v, p99 %v; %v of the server's time a write with two reads", took[writes/2], took[writes*99/100], cpu)
			if hits := near.Stats().Hits; hits == 0 {
				t.Error("no hits: the test tests nothing")
			}
		})
	}
}
