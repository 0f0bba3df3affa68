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

// appendTime is many times as fast as time.Time.AppendFormat.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	b = append2(append2(append(b, '"'), year/100), year%100)
	b = append2(append(b, '-'), int(month))
	b = append2(append(b, '-'), day)
	b = append2(append(b, 'T'), hour)
	b = append2(append(b, ':'), minute)
	b = append2(append(b, ':'), second)
	if ms := t.Nanosecond() / 1e6; ms > 0 {
		b = append2(append(b, '.', byte('0'+ms/100)), ms%100)
		for b[len(b)-1] == '0' {
			b = b[:len(b)-1]
		}
	}
	return append(b, 'Z', '"')
}

// append2 appends a number of two digits.
func append2(b []byte, n int) []byte { return append(b, byte('0'+n/10), byte('0'+n%10)) }

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // a string always marshals
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
