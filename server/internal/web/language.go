package web

import (
	"strconv"
	"strings"
)

// languageOf returns the language of ours that an Accept-Language header (RFC
// 9110, 12.5.4) prefers, English where it names none.
func languageOf(accept string) string {
	lang, best := "en", 0.0
	for part := range strings.SplitSeq(accept, ",") {
		tag, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		q := 1.0
		if text, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			var err error
			if q, err = strconv.ParseFloat(text, 64); err != nil {
				continue
			}
		}
		if q <= best {
			continue
		}
		switch primary, _, _ := strings.Cut(strings.ToLower(tag), "-"); primary {
		case "zh":
			lang, best = "zh-CN", q
		case "en":
			lang, best = "en", q
		}
	}
	return lang
}
