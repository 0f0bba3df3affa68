package mongostore

import (
	"context"
	"crypto/rand"
	"os"
	"testing"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/mongostore/mongotest"
	"github.com/admit-auth/admit/session/sessiontest"
)

// connect returns a client of a process that begins.
func connect(t testing.TB, uri string) *mongo.Client {
	t.Helper()
	c, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Disconnect(context.Background()) })
	return c
}

func open(t testing.TB, c *mongo.Client, name string, o *Options) *Store {
	t.Helper()
	s, err := New(t.Context(), c.Database("admit_test").Collection(name), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheStandInKeepsThePromises(t *testing.T) {
	sessiontest.Run(t, func(t testing.TB) sessiontest.Backend {
		s := mongotest.Start(t)
		return sessiontest.Backend{Store: open(t, connect(t, s.URI()), "sessions", nil), Restart: func() session.Store {
			s.Stop()
			s.Resume()
			return open(t, connect(t, s.URI()), "sessions", nil)
		}}
	})
}

// On MongoDB itself, which the test cannot kill: a restart is one of the client.
func TestMongoDBKeepsThePromises(t *testing.T) {
	uri := os.Getenv("MONGODB_URI")
	if uri == "" {
		t.Skip("SKIPPED: MONGODB_URI names no server; none can be installed here")
	}
	sessiontest.Run(t, func(t testing.TB) sessiontest.Backend {
		name := "sessions_" + rand.Text()
		c := connect(t, uri)
		t.Cleanup(func() { c.Database("admit_test").Collection(name).Drop(context.Background()) })
		return sessiontest.Backend{Store: open(t, c, name, nil), Restart: func() session.Store { return open(t, connect(t, uri), name, nil) }}
	})
}
