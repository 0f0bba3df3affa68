package account

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestParamsHaveOneSpelling(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", `{}`, `{}`},
		{"members are sorted, spaces go", " { \"b\" : 1 ,\n\"a\" : [ true , null ] } ", `{"a":[true,null],"b":1}`},
		{"an escape that is not needed goes", `{"\u0061":"\u20ac\/\u000A\u001f\""}`, `{"a":"€/\n\u001f\""}`},
		{"sorted by UTF-16, as RFC 8785 has it", `{"\ufb33":1,"😀":2,"\u0080":3}`, "{\"\u0080\":3,\"😀\":2,\"\ufb33\":1}"},
		{"what HTML would escape stays", `{"a":"<&>\u2028"}`, "{\"a\":\"<&>\u2028\"}"},
		{"the greatest number", `{"a":9007199254740991,"b":-9007199254740991}`, `{"a":9007199254740991,"b":-9007199254740991}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := canonical([]byte(tt.in))
			if err != nil || string(got) != tt.want {
				t.Errorf("canonical(%s) = %s, %v, want %s", tt.in, got, err, tt.want)
			}
		})
	}
}

func TestParamsWithoutOneSpellingAreRefused(t *testing.T) {
	for _, tt := range []struct{ name, in string }{
		{"no object", `[1]`}, {"a text", `"a"`}, {"nothing at all", ``}, {"two", `{}{}`}, {"half", `{"a":`}, {"a comma too many", `{"a":1,}`},
		{"a name twice", `{"a":1,"a":2}`}, {"a name twice by an escape", `{"a":1,"\u0061":2}`}, {"a name twice further in", `{"b":[{"a":1,"a":1}]}`},
		{"a fraction", `{"a":1.5}`}, {"a fraction that is none", `{"a":1.0}`}, {"an exponent", `{"a":1e2}`}, {"minus nothing", `{"a":-0}`},
		{"beyond what all read exactly", `{"a":9007199254740992}`}, {"far beyond", `{"a":1` + strings.Repeat("0", 40) + `}`},
		{"half a surrogate", `{"a":"\ud800"}`}, {"the other half", `{"a":"\udc00\ud800"}`}, {"what stands for it", "{\"a\":\"\ufffd\"}"},
		{"no UTF-8", "{\"a\":\"\xff\"}"}, {"too deep", `{"a":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}`},
		{"too long", `{"a":"` + strings.Repeat("a", maxParams) + `"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := canonical([]byte(tt.in)); !errors.Is(err, ErrParams) {
				t.Errorf("canonical(%s) = %s, %v", tt.in, got, err)
			}
		})
	}
}

// What is approved is what is read, and has no second spelling.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{`{}`, `{"to":"bob","amount":"10.00"}`, `{"b":[1,{"a":null}],"a":"\u0000\ud83d\ude00"}`, `{"a":1,"a":2}`, `{"a":1e3}`, `{"a":"\ud800"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		once, err := canonical(in)
		if err != nil {
			if !errors.Is(err, ErrParams) {
				t.Fatalf("%v", err)
			}
			return
		}
		if len(once) > 6*maxParams {
			t.Fatalf("%d bytes became %d", len(in), len(once))
		}
		if len(once) <= maxParams {
			if twice, err := canonical(once); err != nil || !bytes.Equal(once, twice) {
				t.Fatalf("%s became %s, %v", once, twice, err)
			}
		}
		var a, b any
		if json.Unmarshal(in, &a) != nil || json.Unmarshal(once, &b) != nil || !reflect.DeepEqual(a, b) {
			t.Fatalf("%s is not what %s says", once, in)
		}
	})
}
