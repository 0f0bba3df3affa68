package provider

import "strconv"

// What is answered byHand is appended as encoding/json writes it, in a fifth of the time.
// It reports whether it knew how: what is rare it leaves to encoding/json. A test holds
// each type to that, field by field.
type byHand interface {
	appendTo(b []byte) ([]byte, bool)
}

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
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			o.odd = true
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
