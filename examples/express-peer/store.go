package main

import (
	"context"
	"database/sql"
	"flag"
	"fmt"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/rueidis"
	"go.mongodb.org/mongo-driver/v2/mongo"
	mongooptions "go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/express"
	"github.com/admit-auth/admit/session/memcachestore"
	"github.com/admit-auth/admit/session/mongostore"
	"github.com/admit-auth/admit/session/redisstore"
	"github.com/admit-auth/admit/session/sqlstore"
)

// storeOptions say where the sessions are.
type storeOptions struct{ kind, prefix, redis, memcached, mongo, postgres string }

func (o *storeOptions) flags() {
	flag.StringVar(&o.kind, "store", "redis", "where the sessions are: redis, memcached, mongo or postgres")
	flag.StringVar(&o.redis, "redis", "redis://127.0.0.1:6379", "`URL` of the Redis server")
	flag.StringVar(&o.memcached, "memcached", "127.0.0.1:11211", "`HOST:PORT` of the memcached server")
	flag.StringVar(&o.mongo, "mongo", "mongodb://127.0.0.1:27017", "`URL` of the MongoDB server")
	flag.StringVar(&o.postgres, "postgres", "postgres://127.0.0.1:5432", "`URL` of the PostgreSQL server, in which Express has made its table")
	flag.StringVar(&o.prefix, "prefix", "", "`prefix` of the keys; default: that of Express's package, sess: in Redis")
}

// places are where things are kept on one server.
type places struct {
	sessions express.Store
	guards   session.Store // of the sealed sessions
}

func (o *storeOptions) open(ctx context.Context) (places, error) {
	switch o.kind {
	case "redis":
		return o.openRedis()
	case "memcached":
		return o.openMemcached()
	case "mongo":
		return o.openMongo(ctx)
	case "postgres":
		return o.openPostgres(ctx)
	}
	return places{}, fmt.Errorf("unknown store %q", o.kind)
}

func (o *storeOptions) openRedis() (p places, err error) {
	ro, err := rueidis.ParseURL(o.redis)
	if err != nil {
		return p, fmt.Errorf("--redis: %w", err)
	}
	ro.ForceSingleClient, ro.DisableCache, ro.DisableRetry = true, true, true
	ro.AlwaysPipelining, ro.PipelineMultiplex = true, -1
	c, err := rueidis.NewClient(ro)
	if err != nil {
		return p, fmt.Errorf("connect to %s: %w", ro.InitAddress, err)
	}
	client := func(ctx context.Context, args ...string) (any, error) {
		return c.Do(ctx, c.B().Arbitrary(args[:3]...).Keys(args[3]).Args(args[4:]...).Build()).ToAny()
	}
	if p.sessions, err = express.NewRedis(client, &express.RedisOptions{Prefix: o.prefix}); err != nil {
		return p, err
	}
	p.guards, err = redisstore.New(client, nil)
	return p, err
}

func (o *storeOptions) openMemcached() (p places, err error) {
	if p.sessions, err = memcachestore.NewExpress(o.memcached, &memcachestore.ExpressOptions{Prefix: o.prefix}); err != nil {
		return p, err
	}
	p.guards, err = memcachestore.New([]string{o.memcached}, nil)
	return p, err
}

func (o *storeOptions) openMongo(ctx context.Context) (p places, err error) {
	where, err := connstring.ParseAndValidate(o.mongo)
	if err != nil {
		return p, fmt.Errorf("--mongo: %w", err)
	}
	c, err := mongo.Connect(mongooptions.Client().ApplyURI(o.mongo))
	if err != nil {
		return p, fmt.Errorf("--mongo: %w", err)
	}
	name := where.Database
	if name == "" {
		name = "test" // as Node's driver has it
	}
	if p.sessions, err = mongostore.NewExpress(c.Database(name).Collection("sessions"), nil); err != nil {
		return p, err
	}
	p.guards, err = mongostore.New(ctx, c.Database(name).Collection("guards"), nil)
	return p, err
}

func (o *storeOptions) openPostgres(ctx context.Context) (p places, err error) {
	db, err := sql.Open("pgx", o.postgres)
	if err != nil {
		return p, fmt.Errorf("--postgres: %w", err)
	}
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	if _, err := db.ExecContext(ctx, sqlstore.PostgreSQL.Schema()); err != nil {
		return p, fmt.Errorf("make the table of guards: %w", err)
	}
	if p.sessions, err = express.NewPostgres(db, nil); err != nil {
		return p, err
	}
	p.guards, err = sqlstore.PostgreSQL.New(ctx, db, db)
	return p, err
}
