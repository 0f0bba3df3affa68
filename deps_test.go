package admit_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// This is policy: who may import whom in this module, ours and foreign. Imports
// go down only, and leaves never import each other. Do not change it to fix a
// build: a new edge is a design decision and is argued in the commit.
var policy = map[string]string{
	".":                   "",
	"access":              ". feed internal/remote jose revocation statuslist",
	"authn":               ". problem",
	"cookie":              ".",
	"dpop":                ". internal/remote jose",
	"feed":                ". internal/remote",
	"feed/feedtest":       ". feed",
	"internal/remote":     "",
	"jose":                ". internal/remote",
	"otp":                 ".",
	"password":            ".",
	"problem":             ".",
	"provider":            ". access dpop feed internal/remote jose token",
	"revocation":          ". feed",
	"session":             ". cookie feed token",
	"session/express":     ". cookie session",
	"session/handover":    ". cookie feed internal/remote problem session token",
	"session/redisstore":  ". session",
	"session/sessiontest": ". cookie session token",
	"session/sqlstore":    ". session",
	"statuslist":          ".",
	"token":               ".",

	"session/express/expresstest": ". session session/express",
	"provider/providertest":       ". feed jose provider token",
}

const (
	module = "github.com/admit-auth/admit"
	crypto = "golang.org/x/crypto" // the only foreign module, for password alone
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
		allowed, listed := policy[name]
		if !listed {
			t.Errorf("package %s is not in the policy", name)
			continue
		}
		for _, i := range imports {
			first, _, _ := strings.Cut(i, "/")
			switch {
			case i == module || strings.HasPrefix(i, module+"/"):
				if !slices.Contains(strings.Fields(allowed), short(i)) {
					t.Errorf("%s imports %s", name, short(i))
				}
			case strings.HasPrefix(i, crypto+"/") && name == "password":
			case strings.Contains(first, "."):
				t.Errorf("%s imports %s, which is foreign", name, i)
			}
		}
	}
	if seen != len(policy) {
		t.Errorf("%d packages seen, %d in the policy", seen, len(policy))
	}
}

func short(path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}
