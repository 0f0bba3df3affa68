package provider

import (
	"encoding/base64"
	"strings"
	"testing"
)

// claimsText is the payload of a JWT, unverified.
func claimsText(t testing.TB, text string) string {
	t.Helper()
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", text)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	return string(payload)
}
