package password

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/admit-auth/admit"
)

// Why a new password is refused.
var (
	ErrTooShort = admit.Invalid.New("password_too_short", "The password is too short.")
	ErrTooLong  = admit.Invalid.New("password_too_long", "The password is longer than 1,000 characters.").WithHint("A few words are enough.")
	ErrBreached = admit.Invalid.New("password_breached", "This password is known from breaches, so it is among the first that are tried.").WithHint("Take several words that come to your mind and belong to nothing about you.")
	ErrYourName = admit.Invalid.New("password_is_your_name", "The password is your own name.").WithHint("Take something that nobody knows of you.")
	ErrNotText  = admit.Invalid.New("password_malformed", "The password is not valid text.").WithHint("Send it as UTF-8.")
)

const (
	// MinLength is the fewest characters of a new password (ASVS 5.0, 6.2.1).
	MinLength = 8
	// MinLengthAlone is what NIST SP 800-63B-4 (3.1.1.2) asks for where the
	// password is the only factor.
	MinLengthAlone = 15
	// MaxLength is the most, so that nobody can make the server hash a book.
	MaxLength = 1000
)

// A Policy says what a new password may be. Its zero value is good. There are
// no rules of composition: they make passwords worse (NIST SP 800-63B-4).
type Policy struct {
	// MinLength in characters; default MinLength, and never below it.
	MinLength int
	// Breached looks a password up in a full list of breached ones, beside
	// the built-in list of the commonest. A failure of it refuses nobody: the
	// built-in list has been asked.
	Breached func(ctx context.Context, pw admit.Secret) (bool, error)
}

// Check returns why a password may not be somebody's new one, or nil. Names
// are what everybody knows of that person. A password counts as breached in any
// case of its letters.
func (p Policy) Check(ctx context.Context, pw admit.Secret, names ...string) error {
	text := pw.Reveal()
	least := max(p.MinLength, MinLength)
	switch n := utf8.RuneCountInString(text); {
	case !utf8.ValidString(text):
		return ErrNotText
	case n < least:
		return ErrTooShort.WithHint(fmt.Sprintf("At least %d characters; a few words are easy to keep in mind.", least))
	case n > MaxLength:
		return ErrTooLong
	}
	for _, name := range names {
		local, _, _ := strings.Cut(name, "@")
		if strings.EqualFold(text, name) || strings.EqualFold(text, local) {
			return ErrYourName
		}
	}
	if Common(text) {
		return ErrBreached
	}
	if p.Breached != nil {
		if is, err := p.Breached(ctx, pw); err == nil && is {
			return ErrBreached
		}
	}
	return nil
}
