package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/securecookie"
	"golang.org/x/crypto/argon2"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/password"
	"github.com/admit-auth/admit/token"
)

// groups make the rows. One is made when those of the one before are measured: what it
// needs, as the 100,000 endings of a service, is nothing that their collector should see.
var groups = []func() (all []row, stop func()){
	plain(sessionRows), plain(sealedRows), redisRows, plain(cookieRows), plain(tokenRows), plain(otherRows),
}

func plain(rows func() []row) func() ([]row, func()) {
	return func() ([]row, func()) { return rows(), func() {} }
}

func sessionRows() []row {
	compare := func(what string, kept int, g goal, handler func(site) http.Handler) row {
		of := func(newSite func() site) contender {
			return func() work {
				s := newSite()
				return serve(handler(s), signIns(s.signIn), kept)
			}
		}
		return row{What: what, Goal: g, FloorName: "hand-made, in memory", PeerName: "scs memstore",
			bare: of(bareSite), ours: of(ourSite), floor: of(floorSite), peer: of(scsSite)}
	}
	return []row{
		compare("session: who is it (Check)", 1, goal{CPU: 1000, Allocs: 3, Bounded: true}, func(s site) http.Handler { return s.check }),
		compare("session: with its data (Load, JSON)", 1, goal{CPU: 3000, Allocs: 9, Bounded: true}, func(s site) http.Handler { return s.load }),
		compare("session: who is it (Handler, Check)", 1, goal{CPU: 1000, Allocs: 3, Bounded: true}, func(s site) http.Handler { return s.noted }),
		compare("session: the same, 1,024 requests kept", live, goal{CPU: 1000, Allocs: 3, Bounded: true}, func(s site) http.Handler { return s.noted }),
		compare("session: with its data (Handler, Load, JSON)", 1, goal{CPU: 3000, Allocs: 9, Bounded: true}, func(s site) http.Handler { return s.touch }),
		compare("session: read, modify, write (Update)", 1, goal{CPU: 4000}, func(s site) http.Handler { return s.update }),
	}
}

func cookieRows() []row {
	value := []byte(strings.Repeat("0123456789abcdef", 4))
	keys, err := cookie.ParseKeys(cookie.GenerateKey())
	must(err)
	now := time.Now()
	dst := make([]byte, 0, 512)
	sealed := string(keys.Seal(nil, "session", value, now))
	signed := string(keys.Sign(nil, "session", value, now))

	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	must(err)
	gcm, err := cipher.NewGCM(block)
	must(err)
	mac := hmac.New(sha256.New, key)
	buf := make([]byte, 512)
	out := make([]byte, 0, 512)
	rawSeal := func() {
		rand.Read(buf[:12])
		out = base64.RawURLEncoding.AppendEncode(out[:0], gcm.Seal(buf[:12], buf[:12], value, nil))
	}
	rawSeal()
	rawSealed := append([]byte(nil), out...)
	rawSign := func() {
		mac.Reset()
		mac.Write(value)
		b := append(buf[:0], value...)
		out = base64.RawURLEncoding.AppendEncode(out[:0], mac.Sum(b))
	}
	rawSign()
	rawSigned := append([]byte(nil), out...)

	aesCookie := securecookie.New(key, key).SetSerializer(securecookie.NopEncoder{})
	macCookie := securecookie.New(key, nil).SetSerializer(securecookie.NopEncoder{})
	aesText, err := aesCookie.Encode("session", value)
	must(err)
	macText, err := macCookie.Encode("session", value)
	must(err)
	encode := func(c *securecookie.SecureCookie) contender {
		return loop(func() {
			_, err := c.Encode("session", value)
			check(err == nil)
		})
	}
	decode := func(c *securecookie.SecureCookie, text string) contender {
		return loop(func() {
			var v []byte
			check(c.Decode("session", text, &v) == nil)
		})
	}
	near := goal{Ratio: 1.5, Bounded: true}
	header := request("theme=dark; session=" + sealed + "; _ga=GA1.2.1234567.7654321")
	var values [4]string
	const aesName, macName = "AES-256-GCM, base64", "HMAC-SHA256, base64"
	return []row{
		{What: "cookie: seal 64 bytes", Goal: near, FloorName: aesName, PeerName: "securecookie, hash and AES",
			ours: loop(func() { keys.Seal(dst, "session", value, now) }), floor: loop(rawSeal), peer: encode(aesCookie)},
		{What: "cookie: open 64 bytes", Goal: near, FloorName: aesName, PeerName: "securecookie, hash and AES",
			ours: loop(func() {
				_, _, err := keys.Open(dst, "session", sealed, time.Hour, now)
				check(err == nil)
			}),
			floor: loop(func() {
				b, _ := base64.RawURLEncoding.AppendDecode(out[:0], rawSealed)
				_, err := gcm.Open(buf[:0], b[:12], b[12:], nil)
				check(err == nil)
			}), peer: decode(aesCookie, aesText)},
		{What: "cookie: sign 64 bytes", Goal: near, FloorName: macName, PeerName: "securecookie, hash",
			ours: loop(func() { keys.Sign(dst, "session", value, now) }), floor: loop(rawSign), peer: encode(macCookie)},
		{What: "cookie: verify 64 bytes", Goal: near, FloorName: macName, PeerName: "securecookie, hash",
			ours: loop(func() {
				_, _, err := keys.Verify(dst, "session", signed, time.Hour, now)
				check(err == nil)
			}),
			floor: loop(func() {
				b, _ := base64.RawURLEncoding.AppendDecode(out[:0], rawSigned)
				mac.Reset()
				mac.Write(b[:len(value)])
				check(hmac.Equal(mac.Sum(buf[:0]), b[len(value):]))
			}), peer: decode(macCookie, macText)},
		{What: "cookie: find the values of one name", FloorName: "first match by hand", PeerName: "net/http CookiesNamed",
			ours: loop(func() { check(len(cookie.Values(header.Header, "session", values[:0])) == 1) }),
			floor: loop(func() {
				_, ok := findCookie(header.Header, "session")
				check(ok)
			}),
			peer: loop(func() { check(len(header.CookiesNamed("session")) == 1) })},
	}
}

func otherRows() []row {
	t := token.New(token.Session)
	text, digest := t.Reveal(), t.Digest()
	secret := []byte(text)[:33]
	want := sha256.Sum256(secret)

	news := feed.NewLog(nil)
	ctx := context.Background()
	now := time.Now()

	hasher, err := password.New(nil)
	must(err)
	const pw = "correct horse battery staple"
	hash, err := hasher.Hash(ctx, admit.NewSecret(pw), password.Known)
	must(err)
	salt := make([]byte, 16)
	return []row{
		{What: "token: Parse, Matches", FloorName: "one SHA-256",
			ours: loop(func() {
				t, err := token.Parse(token.Session, text)
				check(err == nil && t.Matches(digest))
			}),
			floor: loop(func() {
				sum := sha256.Sum256(secret)
				check(subtle.ConstantTimeCompare(sum[:], want[:]) == 1)
			})},
		{What: "feed: Append, 10,000 endings alive",
			ours: loop(func() {
				now = now.Add(10 * time.Millisecond)
				must(news.Append(ctx, now, feed.SessionEnded(uid, "", "signed_out", now.Add(100*time.Second))))
			})},
		{What: "password: Verify", Goal: goal{Ratio: 1.1}, FloorName: "argon2id alone, 19 MiB, 2 passes",
			ours: loop(func() {
				ok, _, err := hasher.Verify(ctx, admit.NewSecret(pw), hash, password.Stranger)
				check(ok && err == nil)
			}),
			floor: loop(func() { argon2.IDKey([]byte(pw), salt, 2, 19456, 1, 32) })},
	}
}

func loop(f func()) contender {
	return func() work {
		return func(n int) {
			for range n {
				f()
			}
		}
	}
}

func check(ok bool) {
	if !ok {
		panic("a benchmark did not do its work")
	}
}
