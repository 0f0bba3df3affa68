package relying

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Who has fewer defaults: clients that check signatures, too, and prove themselves in each
// way; every algorithm of ID tokens; answers that are posted.
func TestStrictClientsFindNothingWrong(t *testing.T) {
	h, program := home(t), find(t, "node")
	if _, err := os.Stat(filepath.Join("node_modules", "openid-client")); err != nil {
		missing(t, "node_modules of conformance/relying")
	}
	h.user(t, "carol", "Carol Example")
	b := newPerson(t)
	b.open(h.url + "/signin")
	b.signIn("carol")

	c := exec.Command(program, "strict.mjs")
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); c.Wait() })
	lines := bufio.NewScanner(out)
	type result struct {
		Name, Alg, Refused     string
		SID, At, Before, After bool
	}
	ask := func(what any) (said struct {
		Open   string
		Result result
		Failed string
	}) {
		t.Helper()
		if err := json.NewEncoder(in).Encode(what); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() {
			t.Fatalf("Node says nothing: %v", lines.Err())
		}
		if err := json.Unmarshal(lines.Bytes(), &said); err != nil {
			t.Fatalf("%s: %v", lines.Bytes(), err)
		}
		return said
	}

	const odd = `a+b%20c&d=e:f "g" \\/~?#'`
	for _, tt := range []struct{ name, id, auth, key, alg, mode, secret string }{
		{name: "a secret by Basic", id: "strict-basic", auth: "basic", alg: "ES256"},
		{name: "a secret by POST", id: "strict-post", auth: "post", alg: "RS256"},
		{name: "a secret of odd characters by Basic", id: "strict-odd-basic", auth: "basic", alg: "ES256", secret: odd},
		{name: "a secret of odd characters by POST", id: "strict-odd-post", auth: "post", alg: "ES256", secret: odd},
		{name: "a signature with ES256", id: "strict-es256", auth: "jwt", key: "ES256", alg: "EdDSA"},
		{name: "a signature with EdDSA", id: "strict-eddsa", auth: "jwt", key: "EdDSA", alg: "ES256"},
		{name: "a signature with PS256", id: "strict-ps256", auth: "jwt", key: "PS256", alg: "RS256"},
		{name: "nothing", id: "strict-public", auth: "none", alg: "ES256"},
		{name: "a secret, and the answer is posted", id: "strict-form", auth: "basic", alg: "ES256", mode: "form_post"},
	} {
		t.Run("it proves itself by "+tt.name, func(t *testing.T) {
			args := []string{"--grant", "authorization_code,refresh_token", "--redirect", redirect, "--signing-alg", tt.alg, "--first-party"}
			ours := map[string]any{"issuer": h.url, "id": tt.id, "auth": tt.auth, "alg": tt.alg, "mode": tt.mode, "redirect": redirect}
			switch {
			case tt.auth == "jwt":
				public := filepath.Join(t.TempDir(), "public")
				key, err := exec.Command(built(t, "server", "./cmd/admit"), "jwt", "keygen", "--alg", tt.key, "--public", public).Output()
				if err != nil {
					t.Fatal(err)
				}
				ours["key"] = json.RawMessage(key)
				args = append(args, "--jwks-file", public)
			case tt.auth == "none":
				args = append(args, "--public")
			case tt.secret != "":
				args = append(args, "--secret-file", secretFile(t, tt.secret))
			}
			secret := h.client(t, tt.id, args...)
			if ours["secret"] = secret; tt.secret != "" {
				ours["secret"] = tt.secret
			}
			said := ask(ours)
			if said.Open == "" {
				t.Fatalf("it begins with %+v", said)
			}
			led := map[string]any{}
			if tt.mode == "form_post" {
				b.open(said.Open)
				led["to"], led["body"] = b.form()
			} else {
				led["to"] = redirect + "?" + b.leads(said.Open).Encode()
			}
			said = ask(led)
			want := result{Name: "Carol Example", Alg: tt.alg, Refused: "invalid_grant", SID: true, At: true, Before: tt.auth != "none"}
			if said.Failed != "" || said.Result != want {
				t.Errorf("it says %+v, want %+v", said, want)
			}
		})
	}
}
