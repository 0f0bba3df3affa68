package feedtest_test

import (
	"testing"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/feed/feedtest"
)

// The test of a carrier is one call.
func Example() {
	_ = func(t *testing.T) { // TestCarrier
		feedtest.Run(t, func(testing.TB) (feed.Sink, feed.Source) {
			l := feed.NewLog(nil)
			return l, l
		})
	}
	// Output:
}

func TestLog(t *testing.T) {
	for name, o := range map[string]*feed.LogOptions{
		"with its usual past":  nil,
		"with a past of eight": {Recent: 8},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			feedtest.Run(t, func(testing.TB) (feed.Sink, feed.Source) {
				l := feed.NewLog(o)
				return l, l
			})
		})
	}
}
