package admit

import (
	"crypto/subtle"
	"log/slog"
)

const redacted = "[redacted]"

// A Secret is text that never prints: fmt, slog, encoding/json and panics show
// "[redacted]" in its place, or an address at worst. The zero Secret is empty.
// It does not compile with ==: see [Secret.Equal].
type Secret struct {
	_ [0]func()
	// Behind a pointer because fmt calls no method of an unexported field, nor
	// after a wrong verb, and shows the fields themselves.
	s *string
}

// NewSecret wraps s.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{s: &s}
}

// Reveal returns the text itself. Every call is a place to review.
func (s Secret) Reveal() string {
	if s.s == nil {
		return ""
	}
	return *s.s
}

// Equal reports whether two secrets are the same text, in time that depends on
// their lengths alone.
func (s Secret) Equal(t Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(t.Reveal())) == 1
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.s == nil }

// String returns "[redacted]".
func (s Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (s Secret) GoString() string { return redacted }

// LogValue returns "[redacted]".
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]": a secret leaves a program only through
// Reveal.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText keeps text as the secret.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}
