package account

import "context"

type originKey struct{}

// From returns a context under which what is recorded of what applications were allowed, by
// code of the library that knows of no audit, says where it came from.
func From(ctx context.Context, from Origin) context.Context {
	return context.WithValue(ctx, originKey{}, from)
}

// Placed completes a record with where it came from, as [From] has it.
func Placed(ctx context.Context, r *Record) *Record {
	from, _ := ctx.Value(originKey{}).(Origin)
	return from.mark(r)
}
