package web

import (
	"bytes"
	"compress/gzip"
	"slices"
	"strings"
)

// light makes the body of a long page small for the way. How well a page packs
// tells what stands in it (BREACH), so it is done to the reference alone, which
// is the same to everybody.
func (c *call) light(p *page, body []byte) []byte {
	if p.Name != "api" && p.Name != "problems" {
		return body
	}
	h := c.w.Header()
	h.Add("Vary", "Accept-Encoding")
	var named []string
	for name := range strings.SplitSeq(c.r.Header.Get("Accept-Encoding"), ",") {
		named = append(named, strings.TrimSpace(name))
	}
	if !slices.Contains(named, "gzip") { // nor with a weight, which no browser gives
		return body
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil { // the level is one
		panic(err)
	}
	z.Write(body) // a bytes.Buffer does not fail
	z.Close()
	h.Set("Content-Encoding", "gzip")
	return b.Bytes()
}
