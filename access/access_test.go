package access_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/admit-auth/admit/access"
)

func TestAClaimThatIsAbsentIsNotWritten(t *testing.T) {
	text, err := json.Marshal(access.Claims{})
	if err != nil || string(text) != "{}" {
		t.Errorf("%s, %v", text, err)
	}
	const all = `{"client_id":"admit","scope":"a b","roles":["admin"],"sid":"s","gid":"g","sev":7,"auth_time":1,"acr":"1","amr":["pwd"],"status":{"status_list":{"idx":1,"uri":"u"}},"cnf":{"jkt":"t"}}`
	var c access.Claims
	d := json.NewDecoder(strings.NewReader(all))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	if text, err := json.Marshal(c); err != nil || string(text) != all {
		t.Errorf("%s, %v", text, err)
	}
}
