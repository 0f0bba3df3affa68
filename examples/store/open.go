package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"strings"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/rueidis"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	_ "modernc.org/sqlite"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/memcachestore"
	"github.com/admit-auth/admit/session/mongostore"
	"github.com/admit-auth/admit/session/redisstore"
	"github.com/admit-auth/admit/session/sqlstore"
)

// open opens a store. The last line of each case is what a program of yours has:
// the others make the client, which it has anyway.
func open(ctx context.Context, where string) (session.Store, error) {
	kind, rest, _ := strings.Cut(where, ":")
	switch kind {
	case "memory":
		return session.NewMemory(nil), nil

	case "sqlite":
		write, err := database(ctx, "sqlite", "file:"+rest+"?_pragma=busy_timeout(10000)&_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)", 1, sqlstore.SQLite)
		if err != nil {
			return nil, err
		}
		read, err := sql.Open("sqlite", "file:"+rest+"?_pragma=busy_timeout(10000)&_pragma=query_only(1)")
		if err != nil {
			return nil, err
		}
		return sqlstore.SQLite.New(ctx, write, read)

	case "postgres", "postgresql":
		db, err := database(ctx, "pgx", where, 16, sqlstore.PostgreSQL)
		if err != nil {
			return nil, err
		}
		return sqlstore.PostgreSQL.New(ctx, db, db)

	case "mysql":
		db, err := database(ctx, "mysql", strings.TrimPrefix(rest, "//"), 16, sqlstore.MySQL)
		if err != nil {
			return nil, err
		}
		return sqlstore.MySQL.New(ctx, db, db)

	case "redis", "rediss", "unix":
		o, err := rueidis.ParseURL(where)
		if err != nil {
			return nil, err
		}
		o.AlwaysPipelining, o.PipelineMultiplex = true, -1
		c, err := rueidis.NewClient(o)
		if err != nil {
			return nil, err
		}
		return redisstore.New(func(ctx context.Context, args ...string) (any, error) {
			return c.Do(ctx, c.B().Arbitrary(args[:3]...).Keys(args[3]).Args(args[4:]...).Build()).ToAny()
		}, nil)

	case "memcached":
		return memcachestore.New(strings.Split(strings.TrimPrefix(rest, "//"), ","), nil)

	case "mongodb", "mongodb+srv":
		client, err := mongo.Connect(options.Client().ApplyURI(where))
		if err != nil {
			return nil, err
		}
		u, err := url.Parse(where)
		if err != nil {
			return nil, err
		}
		name := strings.Trim(u.Path, "/")
		if name == "" {
			name = "app"
		}
		return mongostore.New(ctx, client.Database(name).Collection("sessions"), nil)
	}
	return nil, fmt.Errorf("no store is called %q: memory, sqlite:FILE, postgres://, mysql://, redis://, memcached:// or mongodb://", kind)
}

// database opens a pool and makes the table where it is missing.
func database(ctx context.Context, driver, dsn string, connections int, d sqlstore.Dialect) (*sql.DB, error) {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	_, err = db.ExecContext(ctx, d.Schema())
	return db, err
}
