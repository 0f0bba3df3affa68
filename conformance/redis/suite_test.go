package redis

import (
	"testing"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/redisstore"
	"github.com/admit-auth/admit/session/sessiontest"
)

var (
	forgets   = []string{"--save", ""}
	snapshots = []string{"--save", "1 1"}
	onDisk    = []string{"--save", "", "--appendonly", "yes", "--appendfsync", "always"}
)

func TestRedisKeepsThePromisesThroughEveryClient(t *testing.T) {
	for _, program := range programs(t) {
		for _, c := range clients {
			t.Run(program+" "+c.name, func(t *testing.T) { run(t, c, nil, program, forgets) })
		}
	}
}

func TestRedisWithSnapshotsKeepsThePromises(t *testing.T) {
	for _, program := range programs(t) {
		for _, c := range []client{clients[0], pooled} {
			t.Run(program+" "+c.name, func(t *testing.T) { run(t, c, nil, program, snapshots) })
		}
	}
}

func TestRedisThatKeepsEverythingKeepsThePromises(t *testing.T) {
	for _, program := range programs(t) {
		for _, c := range []client{clients[0], pooled} {
			t.Run(program+" "+c.name, func(t *testing.T) {
				run(t, c, &redisstore.Options{Durability: session.SurvivesMachine}, program, onDisk)
			})
		}
	}
}

func run(t *testing.T, c client, o *redisstore.Options, program string, flags []string) {
	sessiontest.Run(t, func(t testing.TB) sessiontest.Backend {
		s := start(t, program, flags...)
		return sessiontest.Backend{Store: c.open(t, s, o), Restart: func() session.Store {
			s.restart()
			return c.open(t, s, o)
		}}
	})
}
