package cli

import "testing"

func TestTimesOfAClientAreShownAsFlagsTakeThem(t *testing.T) {
	for seconds, want := range map[int64]string{1: "1s", 60: "1m", 90: "90s", 300: "5m", 3600: "1h", 5400: "90m", 86400: "1d", 90000: "25h", 2592000: "30d"} {
		got := lasting(seconds)
		if got != want {
			t.Errorf("%d seconds are shown as %q, want %q", seconds, got, want)
		}
		var s span
		if err := s.Set(got); err != nil || s.seconds() != seconds {
			t.Errorf("a flag takes %q as %d seconds, %v", got, s.seconds(), err)
		}
	}
}
