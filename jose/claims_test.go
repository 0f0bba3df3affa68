package jose

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestADateIsReadToTheNanosecond(t *testing.T) {
	for text, want := range map[string]time.Time{
		"0": time.Unix(0, 0), "1.5": time.Unix(1, 500_000_000), "1.000000001": time.Unix(1, 1), "2.0000000019": time.Unix(2, 1),
		"253402300799.999999999": time.Unix(maxDate, 999_999_999),
	} {
		if got, ok := dateValue(text); !ok || !got.Equal(want) {
			t.Errorf("%s is %v, %t, want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", ".", "1.", ".5", "-1", "1e3", "1.5e3", "253402300800", "1.x", "1.123456789x", "1.1234567890123456789", "0x1", " 1", "9999999999999"} {
		if got, ok := dateValue(text); ok {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// Such as the claim "status".
func TestAClaimThatIsJSONAlreadyIsSignedAsItStands(t *testing.T) {
	type raw struct {
		Status json.RawMessage `json:"status,omitempty"`
	}
	s, err := NewSigner[raw](keyFor(t, ES256), "at+jwt", nil)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{`{"a": [1, "<&>"]}`: `{"a": [1, "<&>"]}`, "": "", "null": "null", `"x"`: `"x"`} {
		signed, err := s.Sign(&Claims[raw]{Expires: time.Unix(2e9, 0), Data: raw{json.RawMessage(text)}})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(signed, ".")[1])
		if err != nil || want != "" && !strings.Contains(string(payload), `,"status":`+want) || want == "" && strings.Contains(string(payload), "status") {
			t.Errorf("%s is signed as %s: %v", text, payload, err)
		}
	}
	for _, text := range []string{`{"a"`, `{}}`, `{},"sub":"somebody"`, "\"\xff\"", "{a:1}"} {
		if signed, err := s.Sign(&Claims[raw]{Expires: time.Unix(2e9, 0), Data: raw{json.RawMessage(text)}}); err == nil {
			t.Errorf("%q is signed: %s", text, signed)
		}
	}
}
