package main

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

// The Express app does Number(req.query.n).
func TestNumbersAreReadAsJavaScriptReadsThem(t *testing.T) {
	nan := math.NaN()
	for text, want := range map[string]float64{
		"": 0, " 12 ": 12, "1.50": 1.5, "1e3": 1000, ".5": 0.5, "5.": 5, "+4": 4, "-3": -3, "0x1f": 31, "0B11": 3, "0o17": 15,
		"9007199254740993": 9007199254740992, "1e400": math.Inf(1), "Infinity": math.Inf(1),
		"abc": nan, "1_000": nan, "0x": nan, "0x1p4": nan, "0xffffffffffffffffff": 0x1p72, "\uFEFF7": 7, "-0x1": nan, "inf": nan, "1e": nan, "++4": nan, "1 2": nan,
	} {
		if got := fromText(text); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// The Express app does (req.session.n || 0) + 1.
func TestOneMoreIsWhatJavaScriptTakesItFor(t *testing.T) {
	for raw, want := range map[string]string{
		"": "1", "null": "1", "false": "1", `""`: "1", "1.5": "2.5", "true": "2", `"5"`: `"51"`, `"x"`: `"x1"`, "1e400": "null",
	} {
		if got, err := json.Marshal(plusOne(raw)); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v, want %s", raw, got, err, want)
		}
	}
}

func TestAnswersAreInTheOrderOfExpress(t *testing.T) {
	for want, f := range map[string]fields{`{}`: {}, `{"user":"<é>","sid":null}`: {"user", "<é>", "sid", nil}} {
		if got, err := f.MarshalJSON(); err != nil || strings.ReplaceAll(string(got), "\n", "") != want {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
}
