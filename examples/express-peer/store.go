package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/redis/rueidis"

	"github.com/admit-auth/admit/session/express"
)

// storeOptions say where the sessions are.
type storeOptions struct{ kind, prefix, redis string }

func (o *storeOptions) flags() {
	flag.StringVar(&o.kind, "store", "redis", "where the sessions are: redis")
	flag.StringVar(&o.redis, "redis", "redis://127.0.0.1:6379", "`URL` of the Redis server")
	flag.StringVar(&o.prefix, "prefix", "sess:", "`prefix` of the keys")
}

func (o *storeOptions) open(context.Context) (express.Store, error) {
	switch o.kind {
	case "redis":
		return o.openRedis()
	}
	return nil, fmt.Errorf("unknown store %q", o.kind)
}

func (o *storeOptions) openRedis() (express.Store, error) {
	ro, err := rueidis.ParseURL(o.redis)
	if err != nil {
		return nil, fmt.Errorf("--redis: %w", err)
	}
	ro.ForceSingleClient, ro.DisableCache, ro.DisableRetry = true, true, true
	ro.AlwaysPipelining, ro.PipelineMultiplex = true, -1
	c, err := rueidis.NewClient(ro)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", ro.InitAddress, err)
	}
	return express.NewRedis(func(ctx context.Context, args ...string) (any, error) {
		return c.Do(ctx, c.B().Arbitrary(args[:3]...).Keys(args[3]).Args(args[4:]...).Build()).ToAny()
	}, &express.RedisOptions{Prefix: o.prefix})
}
