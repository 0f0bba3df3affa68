package express

import (
	"testing"
	"time"
)

func TestATouchedRecordEndsLaterAndIsOtherwiseTheSame(t *testing.T) {
	until := time.Date(2030, 1, 2, 3, 4, 5, 678e6, time.UTC)
	for _, c := range []struct{ promise, record, want string }{
		{"the end moves, and nothing else", `{"z":1.0,"cookie":{"originalMaxAge":60000,"expires":"2026-11-23T11:52:42.400Z","path":"/"},"a":[ 1 ]}`,
			`{"z":1.0,"cookie":{"originalMaxAge":60000,"expires":"2030-01-02T03:04:05.678Z","path":"/"},"a":[ 1 ]}`},
		{"a cookie that ends with the browser does so", `{"cookie":{"originalMaxAge":null,"expires":null}}`, `{"cookie":{"originalMaxAge":null,"expires":null}}`},
		{"what is no record stays", `null`, `null`},
		{"what is not even JSON stays", `{"cookie":`, `{"cookie":`},
	} {
		if got := Touched(c.record, until); got != c.want {
			t.Errorf("%s: %s, want %s", c.promise, got, c.want)
		}
		if got := Touched(c.record, time.Time{}); got != c.record {
			t.Errorf("%s: without a time: %s", c.promise, got)
		}
	}
}

func FuzzTouched(f *testing.F) {
	f.Add(`{"cookie":{"expires":"2026-11-23T11:52:42.400Z"},"n":1}`)
	f.Add(`{"cookie":{"expires":null}} `)
	f.Add(`{"cookie":5}`)
	until := time.UnixMilli(1893553445678)
	f.Fuzz(func(t *testing.T, record string) {
		once := Touched(record, until)
		if once == record {
			return
		}
		d, err := parse(once)
		if err != nil || !d.Expires().Equal(until) {
			t.Errorf("%q becomes %q, which ends at %v, %v", record, once, d.Expires(), err)
		}
		if again := Touched(once, until); again != once {
			t.Errorf("%q, touched again %q", once, again)
		}
	})
}
