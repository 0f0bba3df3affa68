package main

import (
	"math"
	"testing"
)

// The Express app does Number(req.query.n).
func TestNumbersAreReadAsJavaScriptReadsThem(t *testing.T) {
	nan := math.NaN()
	for text, want := range map[string]float64{
		"": 0, " 12 ": 12, "1.50": 1.5, "1e3": 1000, ".5": 0.5, "5.": 5, "+4": 4, "-3": -3, "0x1f": 31, "0B11": 3, "0o17": 15,
		"9007199254740993": 9007199254740992, "1e400": math.Inf(1), "Infinity": math.Inf(1),
		"abc": nan, "1_000": nan, "0x": nan, "0x1p4": nan, "-0x1": nan, "inf": nan, "1e": nan, "++4": nan, "1 2": nan,
	} {
		if got := fromText(text); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
