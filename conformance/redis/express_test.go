package redis

import (
	"encoding/json"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/admit-auth/admit/session"
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

func TestAKeyOfAnotherTypeIsARecordThatCannotBeRead(t *testing.T) {
	s := start(t, programs(t)[0])
	client := clients[0].dial(s)
	if _, err := client(t.Context(), "HSET", "sess:x", "a", "b"); err != nil {
		t.Fatal(err)
	}
	e := openExpress(t, client, nil)
	if rec, err := e.Get(t.Context(), "x"); err != nil || json.Valid([]byte(rec.JSON)) {
		t.Errorf("%q, %v", rec.JSON, err)
	}
	if err := e.Delete(t.Context(), "x", express.Record{}); err != nil {
		t.Error(err)
	}
	if _, err := e.Get(t.Context(), "x"); !errors.Is(err, session.ErrNotFound) {
		t.Error(err)
	}
}

func TestASessionOfExpressMayLastLongerThanADuration(t *testing.T) {
	s := start(t, programs(t)[0])
	client := clients[0].dial(s)
	if _, err := client(t.Context(), "SET", "sess:x", `{"cookie":{}}`, "EX", "10000000000"); err != nil {
		t.Fatal(err)
	}
	if rec, err := openExpress(t, client, nil).Get(t.Context(), "x"); err != nil || rec.Until.Before(time.Now()) {
		t.Errorf("%v, %v", rec.Until, err)
	}
}
