package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// This is policy: what each package of this module may import besides the
// standard library, the library and its peers. A package that is not listed fails.
var policy = map[string]string{
	"":       "admit admit/access admit/cookie admit/feed admit/jose admit/password admit/session admit/session/redisstore admit/token github.com/alexedwards/scs/goredisstore github.com/alexedwards/scs/v2 github.com/alexedwards/scs/v2/memstore github.com/boj/redistore github.com/go-jose/go-jose/v4 github.com/go-jose/go-jose/v4/jwt github.com/golang-jwt/jwt/v5 github.com/gomodule/redigo/redis github.com/gorilla/securecookie github.com/gorilla/sessions github.com/kataras/jwt github.com/lestrrat-go/jwx/v3/jwa github.com/lestrrat-go/jwx/v3/jwt github.com/redis/go-redis/v9 golang.org/x/crypto/argon2 golang.org/x/exp/trace golang.org/x/sys/unix",
	"oauth":  "",
	"stores": "admit/session admit/session/redisstore admit/session/sqlstore admit/token github.com/jackc/pgx/v5/stdlib github.com/redis/go-redis/v9 modernc.org/sqlite",
}

const module = "github.com/admit-auth/admit/bench"

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
