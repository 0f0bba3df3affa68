package account

import "context"

// OriginKey is the key under which a context has a func() Origin: with it, what is recorded
// of what applications were allowed, by code of the library that knows of no audit, says
// where it came from. It is called only then: most requests record nothing.
type OriginKey struct{}

// Placed completes a record with where it came from.
func Placed(ctx context.Context, r *Record) *Record {
	if from, ok := ctx.Value(OriginKey{}).(func() Origin); ok {
		return from().mark(r)
	}
	return r
}
