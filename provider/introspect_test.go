package provider

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/admit-auth/admit/jose"
)

// signedly asks about a token for a signed answer.
func (h *hall) signedly(client, text string, accept ...string) *httptest.ResponseRecorder {
	h.Helper()
	r := httptest.NewRequest("POST", deskIssuer+"/oauth/introspect", strings.NewReader(fields("token", text).Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header["Accept"] = accept
	r.SetBasicAuth(client, h.secrets[client])
	return h.serve(r)
}

// RFC 9701: the same that is told without a signature, for the asker.
func TestAnAnswerToAnIntrospectionIsSignedForWhoAsksForThat(t *testing.T) {
	h := newHall(t)
	h.app("app", func(c *Client) { c.Signs = jose.EdDSA })
	h.app("stranger", nil)
	text := h.tokens("app", nil).string("access_token")
	for client, alg := range map[string]jose.Algorithm{"app": jose.EdDSA, "stranger": jose.ES256} {
		w := h.signedly(client, text, "application/json;q=0.5, application/token-introspection+jwt")
		if w.Code != 200 || w.Header().Get("Content-Type") != "application/token-introspection+jwt" || w.Header().Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %v: %s", w.Code, w.Header(), w.Body)
		}
		v, err := jose.NewPayloadVerifier(deskSigning(), []jose.Algorithm{alg}, "token-introspection+jwt", nil)
		if err != nil {
			t.Fatal(err)
		}
		said, _, err := v.Verify(t.Context(), w.Body.String())
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(said, &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{"iss": deskIssuer, "aud": client, "iat": float64(h.now.Unix()), "token_introspection": h.inspected(client, text)}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s is told %v, want %v", client, got, want)
		}
	}
	for accept, signed := range map[string]bool{
		"": false, "*/*": false, "application/*": false, "application/json": false, "application/token-introspection+jwt;q=0": false,
		"application/token-introspection+jwt; q=0.1": true, "APPLICATION/Token-Introspection+JWT": true, "application/token-introspection+jwt;q=x": false, "application/token-introspection+jwts": false,
	} {
		if got := h.signedly("app", text, accept).Header().Get("Content-Type") != "application/json"; got != signed {
			t.Errorf("for %q it is signed: %v", accept, got)
		}
	}
	// A refusal is JSON, whatever is asked for.
	if w := h.signedly("nobody", text, "application/token-introspection+jwt"); w.Code != http.StatusUnauthorized || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("a refusal: %d %v", w.Code, w.Header())
	}
}

// A service has been told of a token, and presents what it was told in that one's place.
func TestAttackASignedAnswerIsTakenForAToken(t *testing.T) {
	h := trading(t, true)
	a := h.tokens("app", forOrders)
	for _, text := range []string{a.string("access_token"), a.string("refresh_token"), "none"} {
		said := h.signedly("app", text, "application/token-introspection+jwt").Body.String()
		h.silent("app", said)
		if w := h.userinfo(said); w.Code != 401 {
			t.Errorf("userinfo answers %d", w.Code)
		}
		h.refused(h.swaps("orders", said), "invalid_request")
		h.refused(h.post(fields("grant_type", "client_credentials", "client_assertion_type", assertionType, "client_assertion", said)), "invalid_client")
		if _, _, _, _, err := h.hint(t.Context(), said, h.now); err == nil {
			t.Error("it is taken for an ID token")
		}
		if c := payload(t, said); c["sub"] != nil || c["exp"] != nil || c["active"] != nil {
			t.Errorf("it says %v", c)
		}
	}
}

func FuzzWantsSigned(f *testing.F) {
	f.Add("application/json, application/token-introspection+jwt;q=1")
	f.Fuzz(func(t *testing.T, accept string) {
		if wantsSigned([]string{accept}) && !strings.Contains(strings.ToLower(accept), "token-introspection+jwt") {
			t.Errorf("%q wants a signature", accept)
		}
	})
}

// The attack: two clients that know people by ids of their own put together what each is
// told, and find who is the same person. Epochs are times, to the millisecond.
func TestAttackClientsFindOutWhoIsTheSamePerson(t *testing.T) {
	h := newHall(t)
	told := map[string][]map[string]any{}
	for _, id := range []string{"a", "b"} {
		h.app(id, func(c *Client) { c.Sector, c.Audiences = id+".example.org", nil })
		r := h.tokens(id, scoped("openid", "offline_access"))
		var user map[string]any
		if w := h.userinfo(r.string("access_token")); json.Unmarshal(w.Body.Bytes(), &user) != nil || user["sub"] == nil {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		told[id] = []map[string]any{user, payload(t, r.string("id_token")), h.inspected(id, r.string("access_token")), h.inspected(id, r.string("refresh_token"))}
	}
	// What many people have alike, or what the clients bring about themselves.
	for _, name := range []string{"active", "scope", "token_type", "iss", "aud", "iat", "exp", "auth_time", "acr", "amr", "nonce"} {
		for _, all := range told {
			for _, one := range all {
				delete(one, name)
			}
		}
	}
	for n := range told["a"] {
		for name, v := range told["a"][n] {
			if reflect.DeepEqual(v, told["b"][n][name]) {
				t.Errorf("answer %d: both are told that %s is %v", n, name, v)
			}
		}
	}
}
