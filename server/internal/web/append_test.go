package web

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/session"
)

// FuzzAppend holds what is appended by hand to what encoding/json makes of the
// same session and user.
func FuzzAppend(f *testing.F) {
	f.Add("ann", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", int64(1_700_000_000_000), uint64(1))
	f.Add("", "", int64(0), uint64(2))
	f.Add(`安 "<&>"\`+"\x00\x7f\u2028\xff", "curl/8.5.0", int64(1_700_000_000_001), uint64(3))
	f.Fuzz(func(t *testing.T, text, userAgent string, ms int64, seed uint64) {
		dice := rand.New(rand.NewPCG(seed, 0))
		yes := func() bool { return dice.IntN(2) == 0 }
		at := func() time.Time { return time.UnixMilli(ms%1e13 + dice.Int64N(1e9)) }
		i := session.Info{
			SID: text, CreatedAt: at(), LastSeenAt: at(), IdleExpiresAt: at(), ExpiresAt: at(), ACR: text,
			Device: session.Device{UserAgent: userAgent, Address: text}, Bearer: yes(),
		}
		u := account.User{ID: text, Name: text, Locale: text, CreatedAt: at()}
		if yes() {
			i.Subject, i.AuthTime = text, at()
		}
		if yes() {
			i.Device.Name = text
		}
		for range dice.IntN(3) {
			u.Roles = append(u.Roles, text)
			u.Identifiers = append(u.Identifiers, account.Identifier{Value: text, Kind: account.Email, Verified: yes(), Primary: yes()})
		}
		current, data := "", Data{}
		if yes() {
			current, data.Guest = text, text
		}
		for _, tc := range []struct {
			got  []byte
			want any
		}{
			{appendSession(nil, &i, current, data), SessionOf(&i, current, data)},
			{appendUser(nil, &u), UserOf(&u)},
		} {
			want, err := json.Marshal(tc.want)
			if err != nil {
				t.Skip(err) // a year that JSON cannot hold
			}
			if string(tc.got) != string(want) {
				t.Errorf("appended\n%s, want\n%s", tc.got, want)
			}
		}
	})
}

func TestDeviceNamesAreWhatPeopleCallThem(t *testing.T) {
	for userAgent, want := range map[string]string{
		"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0":                                                                  "Firefox on Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0":           "Edge on Windows",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15":                   "Safari on macOS",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1": "Safari on iPhone",
		"Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36":                   "Chrome on Android",
		"Mozilla/5.0 (Linux; Android 14; HUAWEI) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/116.0 Mobile Safari/537.36 MicroMessenger/8.0.50":  "WeChat on Android",
		"curl/8.5.0":             "curl",
		"Go-http-client/1.1":     "Go-http-client",
		"AnnsApp/1.0 (Linux; x)": "AnnsApp on Linux",
		"":                       "",
		"?":                      "?",
		"Mozilla/5.0":            "",
		"<script>alert(1)</script> and more words": "",
	} {
		if got := deviceName(userAgent); got != want {
			t.Errorf("deviceName(%q) = %q, want %q", userAgent, got, want)
		}
	}
}
