package web

import (
	"time"

	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
)

// A User is an account as the API shows it.
type User struct {
	ID          string       `json:"id"`
	Name        string       `json:"name"`
	Identifiers []Identifier `json:"identifiers"`
	Roles       []string     `json:"roles"`
	Locale      string       `json:"locale"`
	CreatedAt   time.Time    `json:"created_at"`
}

// An Identifier is a name that a user signs in with, as the API shows it.
type Identifier struct {
	Value    string `json:"value"`
	Kind     string `json:"kind" enum:"email|phone|username"`
	Verified bool   `json:"verified"`
	Primary  bool   `json:"primary"`
}

// UserOf returns u as the API shows it.
func UserOf(u *account.User) User {
	out := User{
		ID:          u.ID,
		Name:        u.Name,
		Identifiers: make([]Identifier, len(u.Identifiers)),
		Roles:       append([]string{}, u.Roles...),
		Locale:      u.Locale,
		CreatedAt:   shown(u.CreatedAt),
	}
	for i, id := range u.Identifiers {
		out.Identifiers[i] = Identifier{id.Value, string(id.Kind), id.Verified, id.Primary}
	}
	return out
}

// A Session is a session as the API shows it.
type Session struct {
	SID           string     `json:"sid" doc:"The public id."`
	Current       bool       `json:"current" doc:"This is the session that asks."`
	Guest         bool       `json:"guest" doc:"Nobody has signed in."`
	GuestID       string     `json:"guest_id,omitempty" doc:"Under which an application keeps what a guest does. It stays when the guest signs up or in; absent where the session was never a guest's, and in lists."`
	CreatedAt     time.Time  `json:"created_at"`
	LastSeenAt    time.Time  `json:"last_seen_at" doc:"To the minute."`
	IdleExpiresAt time.Time  `json:"idle_expires_at" doc:"The session's end unless it is used before."`
	ExpiresAt     time.Time  `json:"expires_at" doc:"The session's end whatever happens."`
	AuthTime      *time.Time `json:"auth_time,omitempty" doc:"When the user last proved who it is; absent of a guest."`
	AMR           []string   `json:"amr" doc:"How: RFC 8176, such as pwd."`
	ACR           string     `json:"acr" doc:"The assurance reached: 1fa, one factor; 2fa, two; phr, what resists phishing as well. Empty of a guest."`
	Device        Device     `json:"device"`
	Credential    string     `json:"credential" enum:"cookie|token|jwt"`
}

// A Device is what a user recognises a session by, as the API shows it.
type Device struct {
	Name      string `json:"name" doc:"Such as “Firefox on Linux”, as the device says of itself."`
	UserAgent string `json:"user_agent"`
	Address   string `json:"address" doc:"Where the session was begun from."`
}

// shown returns a time as it is kept and shown: in UTC, to the millisecond.
func shown(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// SessionOf returns a session as the API shows it to the session whose id is
// current.
func SessionOf(i *session.Info, current string, data Data) Session {
	s := Session{
		SID:           i.SID,
		Current:       i.SID == current,
		Guest:         i.Guest(),
		GuestID:       data.Guest,
		CreatedAt:     shown(i.CreatedAt),
		LastSeenAt:    shown(i.LastSeenAt),
		IdleExpiresAt: shown(i.IdleExpiresAt),
		ExpiresAt:     shown(i.ExpiresAt),
		AMR:           append([]string{}, i.AMR()...),
		ACR:           i.ACR,
		Device:        Device{i.Device.Name, i.Device.UserAgent, i.Device.Address},
		Credential:    i.Credential(),
	}
	if !i.AuthTime.IsZero() {
		at := shown(i.AuthTime)
		s.AuthTime = &at
	}
	if s.Device.Name == "" {
		s.Device.Name = deviceName(i.Device.UserAgent)
	}
	return s
}
