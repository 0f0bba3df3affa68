package redisstore

import "context"

// A Client sends one command to the server and returns its answer: a string or
// bytes, an int64, or a slice of them as []any. It is safe for use by several
// goroutines, and gives up when the context ends. What it does not hear of, it
// may send again. The key is args[3] and what follows are plain arguments, for
// those clients that need to know it:
//
//	// github.com/redis/rueidis
//	func(ctx context.Context, args ...string) (any, error) {
//		return c.Do(ctx, c.B().Arbitrary(args[:3]...).Keys(args[3]).Args(args[4:]...).Build()).ToAny()
//	}
//	// github.com/redis/go-redis/v9, with ContextTimeoutEnabled: true
//	func(ctx context.Context, args ...string) (any, error) {
//		return c.Do(ctx, redisstore.Any(args)...).Result()
//	}
//	// github.com/gomodule/redigo
//	func(ctx context.Context, args ...string) (any, error) {
//		conn, err := pool.GetContext(ctx)
//		if err != nil {
//			return nil, err
//		}
//		defer conn.Close()
//		return redis.DoContext(conn, ctx, args[0], redisstore.Any(args[1:])...)
//	}
type Client func(ctx context.Context, args ...string) (any, error)

// Any returns arguments in the form that some clients want them in.
func Any(args []string) []any {
	all := make([]any, len(args))
	for i, a := range args {
		all[i] = a
	}
	return all
}
