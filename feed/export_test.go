package feed

import (
	"bufio"
	"io"
	"net/http"
)

// TellWhole makes a handler leave nothing out, so that feedtest finds what it
// appended.
func TellWhole(h http.Handler) http.Handler {
	h.(*handler).whole = true
	return h
}

// Silence is how long a follower waits for a word.
const Silence = silence

// Messages returns the data of all messages in a stream.
func Messages(r io.Reader) (all []string, err error) {
	m := &messages{r: bufio.NewReaderSize(r, 16)}
	for {
		data, err := m.next()
		if err != nil {
			return all, err
		}
		all = append(all, string(data))
	}
}
