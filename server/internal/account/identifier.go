package account

import (
	"errors"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Kind of identifier is told from its spelling, so that values of different
// kinds never collide.
type Kind string

// The kinds.
const (
	Email    Kind = "email"
	Phone    Kind = "phone"
	Username Kind = "username"
)

// Channel is how messages reach who has such an identifier, which is also how it
// is proved: "mail", "text", or "" for a user name, which nobody proves.
func (k Kind) Channel() string {
	switch k {
	case Email:
		return "mail"
	case Phone:
		return "text"
	}
	return ""
}

// An Identifier is a name that a user signs in with. Its value has one
// spelling.
type Identifier struct {
	Value    string
	Kind     Kind
	Verified bool // somebody proved that it is theirs; a user name always is
	Primary  bool
}

// ParseIdentifier reads what a person typed: spaces around it are dropped and
// letters made small; of a phone number its digits are kept.
func ParseIdentifier(s string) (Identifier, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	switch {
	case !utf8.ValidString(s), len(s) < 2, len(s) > 254:
		return Identifier{}, ErrIdentifier
	case strings.Contains(s, "@"):
		if !emailLike(s) {
			return Identifier{}, ErrIdentifier
		}
		return Identifier{Value: s, Kind: Email}, nil
	case strings.HasPrefix(s, "+"), strings.HasPrefix(s, "＋"):
		number, err := parsePhone(s)
		if err != nil {
			return Identifier{}, err
		}
		return Identifier{Value: number, Kind: Phone}, nil
	case len(s) > 64:
		return Identifier{}, ErrIdentifier
	}
	for i, c := range s {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case (c == '.' || c == '-' || c == '_') && i > 0:
		default:
			// Other scripts would let one name look like another one's.
			return Identifier{}, ErrIdentifier
		}
	}
	return Identifier{Value: s, Kind: Username, Verified: true}, nil
}

// unmistakable returns ErrTaken where one of the user's names is the id of another
// user, or its id the name of one: whoever deals with people by either would
// deal with the wrong one.
func unmistakable(tx Tx, u *User) error {
	for _, id := range u.Identifiers {
		other, err := tx.User(id.Value)
		if err == nil && other.ID != u.ID {
			return ErrTaken
		}
		if err != nil && !errors.Is(err, ErrUnknownUser) {
			return err
		}
	}
	other, err := tx.UserByIdentifier(u.ID)
	if err == nil && other.ID != u.ID {
		return ErrTaken
	}
	if errors.Is(err, ErrUnknownUser) {
		err = nil
	}
	return err
}

// emailLike reports whether s can be an address that mail is sent to: a subset
// of RFC 5321 without quoted parts, comments and address literals, which are
// how headers are smuggled.
func emailLike(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || len(local) > 64 || len(domain) < 3 || strings.Contains(domain, "@") {
		return false
	}
	for _, c := range local {
		if c == ' ' || strings.ContainsRune(`"(),:;<>[\]`, c) || !unicode.IsPrint(c) {
			return false
		}
	}
	if strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..") {
		return false
	}
	if _, err := netip.ParseAddr(domain); err == nil {
		return false
	}
	labels := strings.Split(domain, ".")
	if len(labels) < 2 {
		return false
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
		for _, c := range l {
			if c < 0x80 && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' || !unicode.IsPrint(c) {
				return false
			}
		}
	}
	return true
}
