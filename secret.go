package admit

import "log/slog"

const redacted = "[redacted]"

// A Secret is text that never prints: fmt, slog, encoding/json and panics show
// "[redacted]" in its place. The zero Secret is empty.
type Secret struct{ s string }

// NewSecret wraps s.
func NewSecret(s string) Secret { return Secret{s} }

// Reveal returns the text itself. Every call is a place to review.
func (s Secret) Reveal() string { return s.s }

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.s == "" }

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
	s.s = string(text)
	return nil
}
