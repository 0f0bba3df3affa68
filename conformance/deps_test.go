package conformance_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// This is policy: what each package of this module may import besides the
// standard library, the whole of admit and programs that we did not write. A package that is not listed fails.
var policy = map[string]string{
	"proxy": "admit/server",
	"":      "",
	"acme": "github.com/letsencrypt/challtestsrv github.com/letsencrypt/pebble/v2/ca github.com/letsencrypt/pebble/v2/db" +
		" github.com/letsencrypt/pebble/v2/va github.com/letsencrypt/pebble/v2/wfe",
	"sharing": "admit admit/feed admit/problem admit/session admit/session/handover admit/session/redisstore github.com/chromedp/chromedp github.com/coder/websocket github.com/gomodule/redigo/redis",
	"express": "admit/session/mongostore/mongotest",
	"jose":    "admit/dpop admit/jose admit/server github.com/c2sp/wycheproof github.com/go-jose/go-jose/v4 github.com/go-jose/go-jose/v4/jwt github.com/golang-jwt/jwt/v5",
	"linear": "admit admit/session admit/session/redisstore admit/session/sqlstore github.com/alexedwards/scs/goredisstore github.com/alexedwards/scs/v2" +
		" github.com/alexedwards/scs/v2/memstore github.com/anishathalye/porcupine github.com/boj/redistore github.com/gorilla/sessions github.com/redis/go-redis/v9 modernc.org/sqlite",
	"memcached": "admit/conformance/linear admit/session admit/session/memcachestore admit/session/mongostore admit/session/mongostore/mongotest" +
		" go.mongodb.org/mongo-driver/v2/mongo go.mongodb.org/mongo-driver/v2/mongo/options",
	"redis":   "admit admit/conformance/linear admit/cookie admit/session admit/session/express admit/session/express/expresstest admit/session/redisstore admit/session/sessiontest github.com/gomodule/redigo/redis github.com/redis/go-redis/v9 github.com/redis/rueidis",
	"relying": "admit/otp github.com/chromedp/chromedp github.com/coreos/go-oidc/v3/oidc github.com/zitadel/oidc/v3/pkg/client/rp github.com/zitadel/oidc/v3/pkg/http github.com/zitadel/oidc/v3/pkg/oidc golang.org/x/oauth2",
	"sql":     "admit admit/conformance/linear admit/session admit/session/express admit/session/express/expresstest admit/session/sessiontest admit/session/sqlstore github.com/go-sql-driver/mysql github.com/jackc/pgx/v5/stdlib modernc.org/sqlite",
	"browser": "admit admit/otp admit/server admit/session github.com/chromedp/cdproto/browser github.com/chromedp/cdproto/cdp github.com/chromedp/cdproto/emulation github.com/chromedp/cdproto/network github.com/chromedp/cdproto/page github.com/chromedp/cdproto/webauthn github.com/chromedp/chromedp github.com/chromedp/chromedp/kb",
}

const module = "github.com/admit-auth/admit/conformance"

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
