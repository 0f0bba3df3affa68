package provider

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/admit-auth/admit/access"
)

// known holds what is written by hand to encoding/json, and reports whether it was.
func known(t *testing.T, v byHand) bool {
	t.Helper()
	text, ok := v.appendTo(nil)
	if want, err := json.Marshal(v); err != nil || ok && string(text) != string(want) {
		t.Errorf("written as %s, and not as %s: %v", text, want, err)
	}
	return ok
}

// Every field alone, and all together: one that is new fails here until it is known.
func TestWhatIsWrittenByHandIsWhatEncodingJSONWrites(t *testing.T) {
	for name, fresh := range map[string]func() byHand{
		"an inspection": func() byHand { return &inspection{} },
		"a grant":       func() byHand { return &grantAnswer{AccessToken: "a", TokenType: "b", ExpiresIn: 1} },
	} {
		all := fresh()
		if !known(t, all) {
			t.Errorf("%s with the least in it is unknown", name)
		}
		fields := reflect.ValueOf(all).Elem()
		for n := range fields.NumField() {
			one, field, rare := fresh(), fields.Type().Field(n).Name, false
			for _, f := range []reflect.Value{reflect.ValueOf(one).Elem().Field(n), fields.Field(n)} {
				switch v := f.Addr().Interface().(type) {
				case *bool:
					*v = true
				case *string:
					*v = "of " + field
				case *[]string:
					*v = []string{"of " + field, "", "x"}
				case *int64:
					*v = 1<<62 + int64(n)
				case *uint64:
					*v = 1<<62 + uint64(n)
				case **access.Confirmation:
					*v, rare = &access.Confirmation{JKT: "x"}, true
				case **access.Actor:
					*v, rare = &access.Actor{Subject: "x"}, true
				default:
					t.Fatalf("%s is a %s, which this test cannot set", field, f.Type())
				}
			}
			if known(t, one) == rare {
				t.Errorf("%s with %s is known: %v", name, field, !rare)
			}
			if rare {
				fields.Field(n).SetZero()
			}
		}
		if !known(t, all) {
			t.Errorf("%s with all in it is unknown", name)
		}
	}
}

func TestWhatIsRareIsLeftToEncodingJSON(t *testing.T) {
	for _, v := range []byHand{
		&inspection{SEV: 1 << 63}, &inspection{Issued: -1},
		&grantAnswer{}, &grantAnswer{AccessToken: "a", TokenType: "b"},
	} {
		if known(t, v) {
			t.Errorf("%+v is written by hand", v)
		}
	}
	for c := range 256 {
		if ok := known(t, &inspection{Audience: []string{"", string(rune(c))}}); ok != (c >= ' ' && c < 0x7f && !strings.ContainsRune(`"\\<>&`, rune(c))) {
			t.Errorf("%q is written by hand: %v", rune(c), ok)
		}
	}
}
