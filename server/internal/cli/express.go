package cli

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
)

// The signed cookies of Express: "s:", the value, a dot, HMAC-SHA256 of the
// value in base64 without padding, all as encodeURIComponent writes it. Neither
// the cookie's name nor a time is signed.

var errNotText = admit.Invalid.New("not_utf8", "Express signs text, and this is not UTF-8.")

// readExpressSecrets returns the secrets of a file, one a line as it is.
func readExpressSecrets(file string) (secrets []string, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, unreadable(file, err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"); line != "" {
			secrets = append(secrets, line)
		}
	}
	if len(secrets) == 0 {
		return nil, fmt.Errorf("%s: %w", file, errEmpty)
	}
	return secrets, nil
}

func expressMAC(value, secret string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(value))
	return value + "." + base64.RawStdEncoding.EncodeToString(m.Sum(nil))
}

func signExpress(value, secret string) (string, error) {
	if !utf8.ValidString(value) {
		return "", errNotText
	}
	var b strings.Builder
	for _, c := range []byte("s:" + expressMAC(value, secret)) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_.!~*'()", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String(), nil
}

// verifyExpress takes a value as Express does: quoted or not, encoded or not.
// The whole text is compared, so that no other spelling of the MAC is good.
func verifyExpress(text string, secrets []string) (value string, old bool, err error) {
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' {
		text = text[1 : n-1]
	}
	if plain, err := url.PathUnescape(text); err == nil && utf8.ValidString(plain) {
		text = plain
	}
	signed, ok := strings.CutPrefix(text, "s:")
	dot := strings.LastIndexByte(signed, '.')
	if !ok || dot < 0 {
		return "", false, cookie.ErrMalformed
	}
	for i, secret := range secrets {
		if hmac.Equal([]byte(expressMAC(signed[:dot], secret)), []byte(signed)) {
			return signed[:dot], i > 0, nil
		}
	}
	return "", false, cookie.ErrTampered
}
