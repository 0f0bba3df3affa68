package redis

import (
	"syscall"
	"testing"
	"time"

	"github.com/admit-auth/admit/session/express"
	"github.com/admit-auth/admit/session/express/expresstest"
	"github.com/admit-auth/admit/session/redisstore"
)

func TestRedisKeepsExpressRecords(t *testing.T) {
	for _, program := range programs(t) {
		for _, c := range clients {
			t.Run(program+" with "+c.name, func(t *testing.T) {
				s := start(t, program)
				client := c.dial(s)
				expresstest.Run(t, func(t testing.TB) express.Store { return openExpress(t, client, nil) })
			})
		}
	}
}

func openExpress(t testing.TB, client redisstore.Client, o *express.RedisOptions) express.Store {
	t.Helper()
	e, err := express.NewRedis(client, o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestAPausedRedisIsUnavailableToExpressSessions(t *testing.T) {
	s := start(t, programs(t)[0])
	client := clients[0].dial(s)
	expresstest.Outage(t, openExpress(t, client, &express.RedisOptions{Timeout: 300 * time.Millisecond}), func() func() {
		s.cmd.Process.Signal(syscall.SIGSTOP)
		return func() { s.cmd.Process.Signal(syscall.SIGCONT) }
	})
}
