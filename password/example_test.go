package password_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/password"
)

func Example() {
	ctx := context.Background()
	passwords, err := password.New(nil)
	if err != nil {
		panic(err)
	}
	pw := admit.NewSecret("a few words to keep in mind")

	// At sign-up.
	if err := (password.Policy{}).Check(ctx, pw, "ann@example.org"); err != nil {
		panic(err)
	}
	hash, err := passwords.Hash(ctx, pw, password.Stranger)
	if err != nil {
		panic(err)
	}

	// At sign-in.
	ok, upgrade, err := passwords.Verify(ctx, pw, hash, password.Stranger)
	fmt.Println(ok, upgrade, err)
	// Output: true false <nil>
}

func ExampleHasher_Verify_upgrade() {
	ctx := context.Background()
	passwords, err := password.New(nil)
	if err != nil {
		panic(err)
	}
	pw := admit.NewSecret("U*U")
	hash := "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW" // of an older program

	ok, upgrade, err := passwords.Verify(ctx, pw, hash, password.Stranger)
	if err != nil {
		panic(err)
	}
	if ok && upgrade {
		hash, err = passwords.Hash(ctx, pw, password.Known)
		if err != nil {
			panic(err)
		}
	}
	scheme, _ := password.Identify(hash)
	fmt.Println(scheme)
	// Output: argon2id
}

func ExamplePolicy_Check() {
	err := password.Policy{}.Check(context.Background(), admit.NewSecret("Password1"))
	fmt.Println(err)
	fmt.Println(errors.Is(err, password.ErrBreached))
	// Output:
	// This password is known from breaches, so it is among the first that are tried.
	// true
}
