package web

import (
	"strings"
	"testing"
)

// The scripts of the pages take nothing from other windows, from addresses
// or from storage, and make no HTML of text: there is no way into them.
func TestTheScriptHearsNobody(t *testing.T) {
	for _, name := range []string{"admit.js", "passkey.js"} {
		t.Run(name, func(t *testing.T) { hearsNobody(t, name) })
	}
}

func hearsNobody(t *testing.T, name string) {
	text, err := files.ReadFile("static/" + name)
	if err != nil {
		t.Fatal(err)
	}
	code := strings.ToLower(string(text))
	if !strings.Contains(code, "addeventlistener") {
		t.Error("this is no script that does anything")
	}
	for _, bad := range []string{
		"message", "location", "opener", "parent", "referrer", "cookie", "storage", "fetch", "xmlhttp", "websocket", "import",
		"innerhtml", "outerhtml", "insertadjacent", "document.write", "eval", "function(", "settimeout(\"", "srcdoc",
	} {
		if strings.Contains(code, bad) {
			t.Errorf("the script has %q", bad)
		}
	}
}
