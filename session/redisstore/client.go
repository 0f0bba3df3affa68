package redisstore

import "context"

// A Client sends one command to the server and returns its answer: a string or
// bytes, an int64, or a slice of them as []any. It is safe for use by several
// goroutines, and gives up when the context ends. A cluster's client routes by
// args[3], which is the key.
//
//	// github.com/redis/rueidis, with AlwaysPipelining: true and PipelineMultiplex: -1;
//	// otherwise a caller who gives up may take others along
//	func(ctx context.Context, args ...string) (any, error) {
//		return c.Do(ctx, c.B().Arbitrary(args[:3]...).Keys(args[3]).Args(args[4:]...).Build()).ToAny()
//	}
//
//	// github.com/redis/go-redis/v9, with ContextTimeoutEnabled: true, for it is not
//	// the default, and MaxRetries: -1
//	func(ctx context.Context, args ...string) (any, error) {
//		return c.Do(ctx, redisstore.Any(args)...).Result()
//	}
//
//	// github.com/gomodule/redigo
//	func(ctx context.Context, args ...string) (any, error) {
//		conn, err := pool.GetContext(ctx)
//		if err != nil {
//			return nil, err
//		}
//		defer conn.Close()
//		return redis.DoContext(conn, ctx, args[0], redisstore.Any(args[1:])...)
//	}
//
// A client that sends a write again because it did not hear the answer does no
// harm by itself. Only if another write came between the two is what happened
// told as a conflict: so let it not.
type Client func(ctx context.Context, args ...string) (any, error)

// Any returns arguments in the form that some clients want them in.
func Any(args []string) []any {
	all := make([]any, len(args))
	for i, a := range args {
		all[i] = a
	}
	return all
}
