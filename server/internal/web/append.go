package web

import (
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
)

// An application asks GET /api/v1/session once for each request of its own, so
// that answer is appended by hand, in 1 µs; encoding/json takes 6. A test holds
// it to what [SessionOf] and [UserOf] encode to.

// buffers for such answers.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

func appendSession(b []byte, i *session.Info, current string, data Data) []byte {
	b = appendString(append(b, `{"sid":`...), i.SID)
	b = strconv.AppendBool(append(b, `,"current":`...), i.SID == current)
	b = strconv.AppendBool(append(b, `,"guest":`...), i.Guest())
	if data.Guest != "" {
		b = appendString(append(b, `,"guest_id":`...), data.Guest)
	}
	b = appendTime(append(b, `,"created_at":`...), i.CreatedAt)
	b = appendTime(append(b, `,"last_seen_at":`...), i.LastSeenAt)
	b = appendTime(append(b, `,"idle_expires_at":`...), i.IdleExpiresAt)
	b = appendTime(append(b, `,"expires_at":`...), i.ExpiresAt)
	if !i.AuthTime.IsZero() {
		b = appendTime(append(b, `,"auth_time":`...), i.AuthTime)
	}
	b = append(b, `,"amr":[`...)
	for n, method := range i.AMR() {
		if n > 0 {
			b = append(b, ',')
		}
		b = appendString(b, method)
	}
	b = appendString(append(b, `],"acr":`...), i.ACR)
	name := i.Device.Name
	if name == "" {
		name = deviceName(i.Device.UserAgent)
	}
	b = appendString(append(b, `,"device":{"name":`...), name)
	b = appendString(append(b, `,"user_agent":`...), i.Device.UserAgent)
	b = appendString(append(b, `,"address":`...), i.Device.Address)
	b = appendString(append(b, `},"credential":`...), i.Credential())
	return append(b, '}')
}

func appendUser(b []byte, u *account.User) []byte {
	b = appendString(append(b, `{"id":`...), u.ID)
	b = appendString(append(b, `,"name":`...), u.Name)
	b = append(b, `,"identifiers":[`...)
	for n, id := range u.Identifiers {
		if n > 0 {
			b = append(b, ',')
		}
		b = appendString(append(b, `{"value":`...), id.Value)
		b = appendString(append(b, `,"kind":`...), string(id.Kind))
		b = strconv.AppendBool(append(b, `,"verified":`...), id.Verified)
		b = strconv.AppendBool(append(b, `,"primary":`...), id.Primary)
		b = append(b, '}')
	}
	b = append(b, `],"roles":[`...)
	for n, role := range u.Roles {
		if n > 0 {
			b = append(b, ',')
		}
		b = appendString(b, role)
	}
	b = appendString(append(b, `],"locale":`...), u.Locale)
	b = appendTime(append(b, `,"created_at":`...), u.CreatedAt)
	return append(b, '}')
}

// appendTime is five times as fast as time.Time.AppendFormat.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	b = append(b, '"')
	b = append(appendDigits(b, year, 1000), '-')
	b = append(appendDigits(b, int(month), 10), '-')
	b = append(appendDigits(b, day, 10), 'T')
	b = append(appendDigits(b, hour, 10), ':')
	b = append(appendDigits(b, minute, 10), ':')
	b = appendDigits(b, second, 10)
	if ms := t.Nanosecond() / 1e6; ms > 0 {
		b = appendDigits(append(b, '.'), ms, 100)
		for b[len(b)-1] == '0' {
			b = b[:len(b)-1]
		}
	}
	return append(b, 'Z', '"')
}

// appendDigits appends n, whose first digit counts units of first.
func appendDigits(b []byte, n, first int) []byte {
	for ; first > 0; first /= 10 {
		b = append(b, byte('0'+n/first%10))
	}
	return b
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // a string always marshals
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
