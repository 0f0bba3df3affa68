package express

import (
	"encoding/json"
	"os"
	"testing"
)

// vectors are what the npm packages that it names have answered.
type vectors struct {
	Sign   []struct{ Value, Secret, Signed, Cookie string }
	Unsign []struct {
		Input, Secret string
		Result        any
	}
	ResCookie []struct {
		Value     json.RawMessage
		Options   jsOptions
		SetCookie string `json:"set_cookie"`
	} `json:"res_cookie"`
	Clear string `json:"res_clear_cookie"`
	Parse []struct {
		Header          string
		Cookies, Signed map[string]any
	}
	Keygrip       []struct{ Algorithm, Data, Key, Digest string }
	CookieSession struct {
		Write []struct {
			Body      json.RawMessage
			SetCookie []string `json:"set_cookie"`
		}
		Read        map[string]exchange
		Clear       exchange
		EmptyNew    exchange `json:"empty_new"`
		WithOptions exchange `json:"not_http_only_with_options"`
	} `json:"cookie_session"`
}

type exchange struct {
	Cookie    string
	Seen      json.RawMessage
	SetCookie []string `json:"set_cookie"`
}

func readVectors(t *testing.T) *vectors {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return &v
}
