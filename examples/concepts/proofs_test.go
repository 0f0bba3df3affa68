package concepts

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/password"
)

// A hash needs no key: whoever has the text can make it too.
func Example_hash() {
	text := []byte("pay 10 to Bob")
	changed := []byte("pay 90 to Bob")
	fmt.Println(sha256.Sum256(text) == sha256.Sum256([]byte("pay 10 to Bob")))
	fmt.Println(sha256.Sum256(text) == sha256.Sum256(changed))
	// Output:
	// true
	// false
}

// The hash of a password is slow, and never twice the same: a table of hashes
// made before is of no use.
func Example_password() {
	ctx := context.Background()
	passwords, err := password.New(nil)
	if err != nil {
		panic(err)
	}
	pw := admit.NewSecret("a few words to keep in mind")
	first, err := passwords.Hash(ctx, pw, password.Stranger)
	if err != nil {
		panic(err)
	}
	second, err := passwords.Hash(ctx, pw, password.Stranger)
	if err != nil {
		panic(err)
	}
	ok, _, err := passwords.Verify(ctx, pw, first, password.Stranger)
	fmt.Println(first == second, ok, err)
	// Output: false true <nil>
}

// A MAC needs one key at both ends. Everybody can read the value, and whoever
// can check it can also make another.
func Example_mac() {
	now := time.Now()
	keys, err := cookie.ParseKeys(cookie.GenerateKey())
	if err != nil {
		panic(err)
	}
	signed := string(keys.Sign(nil, "amount", []byte("10"), now))
	value, _, err := keys.Verify(nil, "amount", signed, time.Hour, now)
	fmt.Println(string(value), err)

	_, _, err = keys.Verify(nil, "amount", strings.Replace(signed, "10", "90", 1), time.Hour, now)
	fmt.Println(errors.Is(err, cookie.ErrTampered))

	strangers, err := cookie.ParseKeys(cookie.GenerateKey())
	if err != nil {
		panic(err)
	}
	_, _, err = strangers.Verify(nil, "amount", signed, time.Hour, now)
	fmt.Println(errors.Is(err, cookie.ErrTampered))
	// Output:
	// 10 <nil>
	// true
	// true
}

// A signature is made with a private key and checked with the public one,
// which makes none.
func Example_signature() {
	private, err := jose.GenerateKey(jose.ES256, "2026-11")
	if err != nil {
		panic(err)
	}
	public := private.Public()
	text, err := jose.Sign(private, jose.Header{Type: "order"}, []byte("pay 10 to Bob"))
	if err != nil {
		panic(err)
	}
	orders, err := jose.NewPayloadVerifier(jose.NewKeySet(public), []jose.Algorithm{jose.ES256}, "order", nil)
	if err != nil {
		panic(err)
	}
	payload, _, err := orders.Verify(context.Background(), text)
	fmt.Println(string(payload), err)

	_, err = jose.Sign(public, jose.Header{Type: "order"}, []byte("pay 90 to Bob"))
	fmt.Println(err != nil)
	// Output:
	// pay 10 to Bob <nil>
	// true
}

// Encryption hides the value. This one, as any that should be used, also
// refuses what was changed.
func Example_encryption() {
	now := time.Now()
	keys, err := cookie.ParseKeys(cookie.GenerateKey())
	if err != nil {
		panic(err)
	}
	sealed := string(keys.Seal(nil, "note", []byte("pay 10 to Bob"), now))
	fmt.Println(strings.Contains(sealed, "Bob"))

	value, _, err := keys.Open(nil, "note", sealed, time.Hour, now)
	fmt.Println(string(value), err)

	_, _, err = keys.Open(nil, "note", sealed[:len(sealed)-1], time.Hour, now)
	fmt.Println(err != nil)
	// Output:
	// false
	// pay 10 to Bob <nil>
	// true
}
