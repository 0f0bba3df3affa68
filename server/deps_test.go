package server_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// This is policy: who may import whom in this module. "lib" is any package of
// the library; the rest are packages of this module and foreign modules; "!" forbids
// one of the standard library. Do not change it to fix a build: a new edge is a
// design decision and is argued in the commit.
var policy = map[string]string{
	".": "lib internal/account internal/archive internal/breached internal/copies internal/db internal/keyring internal/limit internal/metrics internal/notify internal/otlp internal/passkey internal/trace internal/web" +
		" go.yaml.in/yaml/v3 golang.org/x/crypto/acme golang.org/x/sys",
	"cmd/admit":             "internal/cli",
	"internal/cli":          ". lib github.com/spf13/cobra github.com/spf13/pflag golang.org/x/term",
	"internal/account":      "lib internal/trace !net/http !database/sql",
	"internal/archive":      "lib filippo.io/age !net/http !database/sql",
	"internal/breached":     "lib !net/http !database/sql",
	"internal/copies":       "lib github.com/gomodule/redigo !net/http !database/sql",
	"internal/db":           "lib internal/account internal/postgres internal/trace modernc.org/sqlite !net/http",
	"internal/keyring":      "lib internal/account !net/http !database/sql",
	"internal/limit":        "internal/account",
	"internal/metrics":      "lib github.com/prometheus/client_golang !database/sql",
	"internal/notify":       "lib internal/account github.com/wneessen/go-mail !database/sql",
	"internal/otlp":         "lib internal/trace !database/sql",
	"internal/passkey":      "internal/account github.com/go-webauthn/webauthn/protocol !net/http !database/sql",
	"internal/passkeytest":  "!net/http !database/sql",                  // imported only from tests
	"internal/postgres":     "github.com/jackc/pgx/v5/pgconn !net/http", // not the rest of pgx: docs/decisions says why
	"internal/postgrestest": "internal/postgres",                        // imported only from tests
	"internal/smtptest":     "github.com/emersion/go-smtp github.com/emersion/go-sasl",
	"internal/trace":        "!net/http !database/sql", // no OpenTelemetry: docs/decisions says why
	"internal/web":          "lib internal/account internal/trace rsc.io/qr !database/sql",
}

const (
	library = "github.com/admit-auth/admit"
	module  = library + "/server"
)

func TestImportsGoDownOnly(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		seen++
		paths := strings.Fields(line)
		name, imports := short(paths[0]), paths[1:]
		rules, listed := policy[name]
		if !listed {
			t.Errorf("package %s is not in the policy", name)
			continue
		}
		for _, path := range imports {
			if !allows(strings.Fields(rules), short(path)) {
				t.Errorf("%s imports %s", name, path)
			}
		}
		for rule := range strings.FieldsSeq(rules) {
			used := func(path string) bool { return within(rule, short(path)) }
			if !strings.HasPrefix(rule, "!") && !slices.ContainsFunc(imports, used) {
				t.Errorf("%s may import %s, and does not", name, rule)
			}
		}
	}
	if seen != len(policy) {
		t.Errorf("%d packages seen, %d in the policy", seen, len(policy))
	}
}

// allows reports whether one of the rules lets a package be imported; of the
// standard library only what is forbidden is not.
func allows(rules []string, path string) bool {
	if slices.Contains(rules, "!"+path) {
		return false
	}
	_, here := policy[path]
	first, _, _ := strings.Cut(path, "/")
	if !here && first != "lib" && !strings.Contains(first, ".") {
		return true
	}
	return slices.ContainsFunc(rules, func(rule string) bool { return within(rule, path) })
}

func within(rule, path string) bool { return path == rule || strings.HasPrefix(path, rule+"/") }

// short names a package of this module by its folder, and one of the library
// by "lib" and its folder.
func short(path string) string {
	switch {
	case path == module:
		return "."
	case strings.HasPrefix(path, module+"/"):
		return strings.TrimPrefix(path, module+"/")
	case path == library:
		return "lib"
	case strings.HasPrefix(path, library+"/"):
		return "lib/" + strings.TrimPrefix(path, library+"/")
	}
	return path
}
