package web

import (
	"strings"
	"testing"
)

// The one script of the pages takes nothing from other windows, from addresses
// or from storage, and makes no HTML of text: there is no way into it.
func TestTheScriptHearsNobody(t *testing.T) {
	text, err := files.ReadFile("static/admit.js")
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
