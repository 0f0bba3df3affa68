package provider

import (
	"strconv"
	"strings"
)

// What is answered byHand is appended as encoding/json writes it, in less than half of the time.
// It reports whether it knew how: what is rare it leaves to encoding/json. A test holds
// each type to that, field by field.
type byHand interface {
	appendTo(b []byte) ([]byte, bool)
}

// plain are the bytes that stand in JSON as they are.
var plain = func() (all [256]bool) {
	for c := ' '; c <= '~'; c++ {
		all[c] = !strings.ContainsRune(`"\<>&`, c)
	}
	return all
}()

// A handwritten object is JSON on its way, from its first brace on.
type handwritten struct {
	text []byte
	odd  bool // something is in it that cannot be written so
}

// end returns the whole object, and whether it is one.
func (o *handwritten) end() ([]byte, bool) { return append(o.text, '}'), !o.odd }

func (o *handwritten) name(name string) {
	if o.text[len(o.text)-1] != '{' {
		o.text = append(o.text, ',')
	}
	o.text = append(append(append(o.text, '"'), name...), `":`...)
}

func (o *handwritten) quote(s string) {
	for i := range len(s) {
		if !plain[s[i]] {
			o.odd = true
			break
		}
	}
	o.text = append(append(append(o.text, '"'), s...), '"')
}

// put appends a member, unless it is empty.
func (o *handwritten) put(name, value string) {
	if value != "" {
		o.name(name)
		o.quote(value)
	}
}

func (o *handwritten) putNumber(name string, n int64) {
	if n < 0 {
		o.odd = true
	}
	if n != 0 {
		o.name(name)
		o.text = strconv.AppendInt(o.text, n, 10)
	}
}

func (o *handwritten) putAll(name string, all []string) {
	if len(all) == 0 {
		return
	}
	o.name(name)
	for i, value := range all {
		o.text = append(o.text, "[,"[min(i, 1)])
		o.quote(value)
	}
	o.text = append(o.text, ']')
}
