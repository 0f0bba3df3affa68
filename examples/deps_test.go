package examples_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// This is policy: what each package of this module may import besides the
// standard library, the library and the clients of its stores. A package that is not listed fails.
var policy = map[string]string{
	"":                "",
	"beside":          "",
	"concepts":        "admit admit/authn admit/cookie admit/feed admit/jose admit/password admit/revocation admit/session admit/token",
	"express-peer":    "admit admit/problem admit/session/express github.com/redis/rueidis",
	"embedded":        "admit admit/authn admit/server",
	"mobile-client":   "admit admit/access admit/authn admit/problem admit/revocation admit/server",
	"resource-server": "admit admit/access admit/authn admit/feed admit/jose",
	"second-domain":   "admit admit/feed admit/problem admit/session admit/session/handover",
	"single-page-app": "admit admit/access admit/authn",
	"two-domains":     "admit admit/problem admit/session admit/session/handover",
	"visit-cookie":    "admit/cookie",
	"visits":          "admit/session",
	"visits-sealed":   "admit/cookie",
}

const module = "github.com/admit-auth/admit/examples"

func TestImports(t *testing.T) {
	const imports = `{{join .Imports " "}} {{join .TestImports " "}} {{join .XTestImports " "}}`
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} "+imports, "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		seen++
		paths := strings.Fields(line)
		name := strings.TrimPrefix(strings.TrimPrefix(paths[0], module), "/")
		allowed, listed := policy[name]
		if !listed {
			t.Errorf("package %q is not in the policy", name)
		}
		for _, path := range paths[1:] {
			first, _, _ := strings.Cut(path, "/")
			path = strings.TrimPrefix(path, "github.com/admit-auth/")
			if strings.Contains(first, ".") && !slices.Contains(strings.Fields(allowed), path) {
				t.Errorf("%q imports %s", name, path)
			}
		}
	}
	if seen != len(policy) {
		t.Errorf("%d packages seen, %d in the policy", seen, len(policy))
	}
}
