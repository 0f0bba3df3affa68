package otp_test

import (
	"fmt"
	"time"

	"github.com/admit-auth/admit/otp"
)

func Example() {
	// At enrolment: make a key, show it as a QR code and as text, keep its bytes
	// sealed.
	k, err := otp.Generate(nil)
	if err != nil {
		panic(err)
	}
	_ = k.URI("Example", "ann@example.org")
	_ = k.Secret()

	// At sign-in: the code that the person types, and the last step that counted,
	// which stands beside the secret.
	var last int64
	now := time.Now()
	typed := k.At(now) // by the app
	step, ok := k.Check(typed, last, now)
	fmt.Println(ok)
	last = step // by compare-and-set, so that of two at once one counts

	_, ok = k.Check(typed, last, now)
	fmt.Println("again:", ok)
	// Output:
	// true
	// again: false
}
