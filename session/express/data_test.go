package express

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestWhatIsNotChangedStaysAsItWasSpelled(t *testing.T) {
	const cookie = `"cookie":{"originalMaxAge":60000,"expires":"2030-01-02T03:04:05.678Z","odd":1.0,"path":"/"}`
	const rest = `"a":1.50,"\u0062":{"z":1e2,"y":[ 1,2 ]},"n":12345678901234567890,"s":"<é&\u2028>","t":"\ud800"`
	d, err := parse(`{` + cookie + `,` + rest + `,"mine":1}`)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Set("mine", 2); err != nil {
		t.Fatal(err)
	}
	if want := `{` + cookie + `,` + rest + `,"mine":2}`; d.JSON() != want {
		t.Errorf("got  %s\nwant %s", d.JSON(), want)
	}
	if d.Raw("b") != `{"z":1e2,"y":[ 1,2 ]}` || d.Raw("cookie") != "" {
		t.Errorf("%q, %q", d.Raw("b"), d.Raw("cookie"))
	}
	d.Delete("b")
	d.Delete("cookie")
	if want := `{` + cookie + `,"a":1.50,"n":12345678901234567890,"s":"<é&\u2028>","t":"\ud800","mine":2}`; d.JSON() != want {
		t.Errorf("got  %s\nwant %s", d.JSON(), want)
	}
}

func TestACopyIsNotChangedAlong(t *testing.T) {
	d, _ := parse(`{"cookie":{},"a":1,"b":2}`)
	c := d
	c.Set("a", 3)
	c.Set("c", 4)
	c.Delete("b")
	c.SetMaxAge(1e9)
	if d.JSON() != `{"cookie":{},"a":1,"b":2}` {
		t.Error(d.JSON())
	}
}

func TestNewNamesGetTheirPlaceAsInJavaScript(t *testing.T) {
	d, _ := parse(`{"5":0,"cookie":{},"a":1,"a":2}`)
	for _, name := range []string{"z", "10", "1", "01", "4294967295", "-1", "é"} {
		if err := d.Set(name, true); err != nil {
			t.Fatal(err)
		}
	}
	want := `{"1":true,"5":0,"10":true,"cookie":{},"a":2,"z":true,"01":true,"4294967295":true,"-1":true,"é":true}`
	if d.JSON() != want {
		t.Errorf("got  %s\nwant %s", d.JSON(), want)
	}
}

func TestValuesAreSpelledAsInJavaScript(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{"<a>&\u2028\u2029\\u2028é😀\b\f\n\r\t\x01\x7f", `"<a>&` + "\u2028\u2029" + `\\u2028é😀\b\f\n\r\t\u0001` + "\x7f" + `"`},
		{1e21, "1e+21"}, {1e-7, "1e-7"}, {0.000001, "0.000001"}, {1e20, "100000000000000000000"},
		{map[string]any{"a": nil, "b": []int{1}}, `{"a":null,"b":[1]}`},
	} {
		d := Data{}
		if err := d.Set("v", c.v); err != nil || d.Raw("v") != c.want {
			t.Errorf("%v: %s, %v, want %s", c.v, d.Raw("v"), err, c.want)
		}
	}
}

func TestNamesThatExpressDropsAreRefused(t *testing.T) {
	var d Data
	for name := range taken {
		if err := d.Set(name, 1); !errors.Is(err, ErrName) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, raw := range []string{"", "{", "1 2", "NaN", "undefined", `{"a":1}}`} {
		if err := d.SetRaw("a", raw); !errors.Is(err, ErrValue) {
			t.Errorf("%s: %v", raw, err)
		}
	}
	if err := d.Set("a", math.NaN()); err == nil {
		t.Error("NaN is null in JavaScript, and an error in Go")
	}
	n := 3
	if err := d.Get("none", &n); err != nil || n != 3 {
		t.Errorf("%d, %v", n, err)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(`{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},"isVisit":1}`)
	f.Add(`{"5":0,"cookie":{"expires":"2030-01-02T03:04:05.678Z","originalMaxAge":1e3},"a":{"b":[1.50,"\ud800"]},"a":2}`)
	f.Add("{ \"\\u0063ookie\" :\t{ } , \"__proto__\":[] }")
	f.Add(`{"cookie":null}`)
	f.Fuzz(func(t *testing.T, record string) {
		d, err := parse(record)
		if err != nil {
			return
		}
		text := d.JSON()
		// The record says the same as before to a parser that is not ours.
		var was, is map[string]json.RawMessage
		if json.Unmarshal([]byte(record), &was) != nil || json.Unmarshal([]byte(text), &is) != nil || len(was) != len(is) {
			t.Fatalf("%q became %q", record, text)
		}
		for name, raw := range was {
			if name != "cookie" && string(raw) != string(is[name]) {
				t.Errorf("%q: %s became %s", name, raw, is[name])
			}
		}
		again, err := parse(text)
		if err != nil || again.JSON() != text {
			t.Fatalf("%q, %v, then %q", text, err, again.JSON())
		}
		d.Expires()
		d.MaxAge()
		line := d.line("connect.sid", "s:a.b")
		if strings.ContainsAny(line, "\r\n\x00") {
			t.Errorf("%q", line)
		}
		if err := d.Set("n", 1); err != nil || d.Raw("n") != "1" {
			t.Errorf("%v, %s", err, d.Raw("n"))
		}
		for name := range was {
			if name != "n" && name != "cookie" && d.Raw(name) != again.Raw(name) {
				t.Errorf("%q changed along", name)
			}
		}
	})
}

func FuzzSessionCookie(f *testing.F) {
	s := secrets(f, "keyboard cat", "old")
	f.Add(s.Sign("a"))
	f.Add(encodeURIComponent(s.Sign("é.b")))
	f.Add(`"s%3Aa.%C3%28"`)
	f.Add("s:.")
	f.Fuzz(func(t *testing.T, raw string) {
		value, _, ok := s.Unsign(plain(raw))
		if !ok {
			return
		}
		// What verifies has one spelling, that of one of the secrets.
		if got := plain(raw); got != s.Sign(value) && got != secrets(t, "old").Sign(value) {
			t.Errorf("%q verifies as %q", raw, value)
		}
	})
}

func TestAnAgeOfTenYearsIsKept(t *testing.T) {
	const years = 10 * 365 * 24 * time.Hour
	d, err := parse(`{"cookie":{"originalMaxAge":315360000000,"expires":"2026-11-26T00:00:00.000Z"}}`)
	if err != nil || d.MaxAge() != years {
		t.Errorf("%v, %v", d.MaxAge(), err)
	}
	now := time.Date(2026, 11, 26, 1, 2, 3, 0, time.UTC)
	if d.renew(now); !d.Expires().Equal(now.Add(years)) {
		t.Error(d.JSON())
	}
	if _, err := (&Attributes{MaxAge: years}).check("connect.sid"); err != nil {
		t.Error(err)
	}
}
