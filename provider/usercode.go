package provider

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"unicode"
)

// A userCode is what people type to tell which device they mean (RFC 8628 section 6.1):
// eight of the section's twenty consonants, which make no words and are on every keyboard.
//
// That is 20^8, or 34.6 bits. It is enough since it is good for ten minutes, and guesses
// are counted: everybody together gets 1600 in that time before whoever has missed must
// wait, so that one device is hit with a chance of 6 in 10^8, and any of 1000 that always
// wait once in 300 days. A hit gives nothing of anybody else's: who guesses may let a
// stranger's device into his own account.
type userCode [userCodeLen]byte

const (
	userCodeLen     = 8
	userCodeLetters = "BCDFGHJKLMNPQRSTVWXZ"
	maxUserCode     = 64 // characters of what is typed
	userCodePurpose = "provider user code"
)

func newUserCode() (c userCode) {
	var random [1]byte
	for i := range c {
		for {
			rand.Read(random[:])
			// Above it the first letters would come more often than the last.
			if int(random[0]) < 256/len(userCodeLetters)*len(userCodeLetters) {
				break
			}
		}
		c[i] = userCodeLetters[int(random[0])%len(userCodeLetters)]
	}
	return c
}

// parseUserCode reads what somebody has typed: in any case, with whatever stands between
// the letters, and in the wide letters of Chinese and Japanese keyboards.
func parseUserCode(text string) (c userCode, ok bool) {
	if len(text) > maxUserCode*4 {
		return c, false
	}
	n := 0
	for _, r := range strings.ToUpper(text) {
		if 'Ａ' <= r && r <= 'Ｚ' {
			r += 'A' - 'Ａ'
		}
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			continue
		case r > unicode.MaxASCII || strings.IndexByte(userCodeLetters, byte(r)) < 0 || n == len(c):
			return userCode{}, false
		}
		c[n] = byte(r)
		n++
	}
	return c, n == len(c)
}

// String is the code as people read it.
func (c userCode) String() string { return string(c[:4]) + "-" + string(c[4:]) }

// digest is what is kept. Without the key 2^34 of them are made in minutes, and who reads
// the store would know the codes.
func (c userCode) digest(key []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write(c[:])
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}
