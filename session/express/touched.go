package express

import (
	"strconv"
	"time"
)

// Touched returns a record whose cookie ends at the time, as Express's touch
// leaves it in memory. It is for stores that write it back, as connect-memcached
// does; others move their own time alone. A record whose cookie ends with the
// browser, or that is none, stays as it is.
func Touched(record string, until time.Time) string {
	d, err := parse(record)
	if err != nil || until.IsZero() || d.Expires().IsZero() {
		return record
	}
	set(&d.cookie, "expires", strconv.Quote(until.UTC().Format("2006-01-02T15:04:05.000Z")))
	return d.JSON()
}
