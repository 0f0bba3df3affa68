package mongostore

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// This is policy: what the packages of this module may import besides the standard
// library. A package that is not listed fails.
var policy = map[string]string{
	module: "github.com/admit-auth/admit github.com/admit-auth/admit/session github.com/admit-auth/admit/session/express" + driver("bson mongo mongo/options mongo/readconcern mongo/readpref mongo/writeconcern"),
	// A stand-in for tests, of this module's and of programs over the store.
	module + "/mongotest": driver("bson"),
}

const module = "github.com/admit-auth/admit/session/mongostore"

// driver returns these packages of MongoDB's driver.
func driver(names string) (paths string) {
	for name := range strings.FieldsSeq(names) {
		paths += " go.mongodb.org/mongo-driver/v2/" + name
	}
	return paths
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		seen++
		paths := strings.Fields(line)
		allowed, listed := policy[paths[0]]
		if !listed {
			t.Errorf("package %s is not in the policy", paths[0])
		}
		for _, path := range paths[1:] {
			if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") && !slices.Contains(strings.Fields(allowed), path) {
				t.Errorf("%s imports %s", paths[0], path)
			}
		}
	}
	if seen != len(policy) {
		t.Errorf("%d packages seen, %d in the policy", seen, len(policy))
	}
}
