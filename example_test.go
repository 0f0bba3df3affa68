package admit_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/admit-auth/admit"
)

func Example() {
	errTaken := admit.Conflict.New("name_taken", "This name is taken.").WithHint("Choose another one.")

	// Whoever passes it on says where; strangers are shown the sentence only.
	err := fmt.Errorf("add user 4711: %w", errTaken)

	fmt.Println(err)
	fmt.Println(errors.Is(err, errTaken), errors.Is(err, admit.Conflict), admit.KindOf(err))
	if e, ok := errors.AsType[*admit.Error](err); ok {
		fmt.Println(e.Code(), "·", e, "·", e.Hint())
	}
	// Output:
	// add user 4711: This name is taken.
	// true true conflict
	// name_taken · This name is taken. · Choose another one.
}

func ExampleSecret() {
	password := admit.NewSecret("correct horse")
	fmt.Printf("%v %+v %#v\n", password, password, struct{ P admit.Secret }{password})
	fmt.Println(len(password.Reveal()))
	// Output:
	// [redacted] [redacted] struct { P admit.Secret }{P:[redacted]}
	// 13
}

func ExampleFromContext() {
	ctx := admit.NewContext(context.Background(), admit.Principal{Subject: "alice", Roles: []string{"editor"}})

	p, ok := admit.FromContext(ctx)
	fmt.Println(ok, p.Subject, p.HasRole("editor"), p.HasRole("admin"))
	// Output:
	// true alice true false
}
