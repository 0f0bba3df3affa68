package examples_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// This is policy: what each package of this module may import besides the
// standard library, the library, the clients of its stores and what Go programs
// sign people in with at any provider. A package that is not listed fails.
var policy = map[string]string{
	"":         "",
	"beside":   "",
	"concepts": "admit admit/authn admit/cookie admit/feed admit/jose admit/password admit/revocation admit/session admit/token",
	"express-peer": "admit admit/cookie admit/problem admit/session admit/session/express admit/session/memcachestore admit/session/mongostore admit/session/redisstore admit/session/sqlstore" +
		" github.com/jackc/pgx/v5/stdlib github.com/redis/rueidis go.mongodb.org/mongo-driver/v2/mongo go.mongodb.org/mongo-driver/v2/mongo/options go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring",
	"device-client":   "admit/server",
	"embedded":        "admit admit/authn admit/server",
	"mobile-client":   "admit admit/access admit/authn admit/problem admit/revocation admit/server",
	"resource-server": "admit admit/access admit/authn admit/feed admit/jose",
	"second-domain":   "admit admit/feed admit/problem admit/session admit/session/handover",
	"single-page-app": "admit admit/access admit/authn",
	"two-domains":     "admit admit/problem admit/session admit/session/handover",
	"store": "admit/problem admit/session admit/session/memcachestore admit/session/mongostore admit/session/mongostore/mongotest admit/session/redisstore admit/session/sqlstore" +
		" github.com/go-sql-driver/mysql github.com/jackc/pgx/v5/stdlib github.com/redis/rueidis go.mongodb.org/mongo-driver/v2/mongo go.mongodb.org/mongo-driver/v2/mongo/options modernc.org/sqlite",
	"visit-cookie":  "admit/cookie",
	"visits":        "admit/session",
	"visits-sealed": "admit/cookie admit/problem admit/session",
	"web-app":       "admit admit/problem admit/session github.com/coreos/go-oidc/v3/oidc golang.org/x/oauth2",
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
