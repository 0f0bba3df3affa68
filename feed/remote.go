package feed

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/internal/remote"
)

// Why a feed cannot be had across the network. Both are admit.Unavailable:
// what ends a feed must never end a follower that will want it again.
var (
	ErrAway    = admit.Unavailable.New("feed_away", "The feed cannot be had just now.")
	ErrRefused = admit.Unavailable.New("feed_refused", "The feed's server does not take this credential.")
)

// RemoteOptions are the rare choices of a [Remote].
type RemoteOptions struct {
	// HTTP makes the requests. Its Timeout must be 0, for a feed has no end.
	HTTP *http.Client
	// Token is asked for the credential at each request, in place of a fixed
	// one: for access tokens, which expire.
	Token func(context.Context) (admit.Secret, error)
	// InsecureAllowHTTP sends the credential over plain HTTP, where anyone in
	// between reads it, and tells what he likes. Loopback needs no permission.
	InsecureAllowHTTP bool
}

// A Remote follows a feed that a [Handler] serves elsewhere. It is a [Source].
type Remote struct {
	url   string
	http  *http.Client
	token func(context.Context) (admit.Secret, error)
}

const (
	// silence is how long a feed that speaks once in a Heartbeat may say
	// nothing until it is given up, as a network that is cut tells nobody.
	silence = 10 * Heartbeat
	// maxMessage bounds one message in bytes: some 300,000 events.
	maxMessage = 64 << 20
)

// NewRemote returns the feed at an https URL. The token is an API
// key, or may be empty where the options have a Token. It asks for nothing yet.
func NewRemote(from string, token admit.Secret, o *RemoteOptions) (*Remote, error) {
	if o == nil {
		o = &RemoteOptions{}
	}
	if !remote.Safe(from, o.InsecureAllowHTTP) {
		return nil, fmt.Errorf("feed: %q is no https URL of a feed", from)
	}
	s := &Remote{url: from, http: &http.Client{}, token: o.Token}
	if s.token == nil {
		if token.IsZero() {
			return nil, errors.New("feed: no token")
		}
		s.token = func(context.Context) (admit.Secret, error) { return token, nil }
	}
	if o.HTTP != nil {
		if o.HTTP.Timeout != 0 {
			return nil, errors.New("feed: an HTTP client with a time-out would end the feed")
		}
		s.http = o.HTTP
	}
	s.http = remote.Client(s.http)
	return s, nil
}

// Follow does what [Source] promises, over one request. What breaks it off is
// ErrAway or ErrRefused; revocation's Set.Run follows again by itself.
func (s *Remote) Follow(ctx context.Context, after ID, hear func(News) error) error {
	err, mine := s.follow(ctx, after, hear)
	switch {
	case mine:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, ErrRefused):
		return err
	}
	return fmt.Errorf("%w (%w)", ErrAway, err)
}

// codeOf returns the code of a problem, for whoever reads the log: a key that has
// ended is mended otherwise than one without the scope.
func codeOf(body io.Reader) string {
	var p struct{ Code string }
	if json.NewDecoder(io.LimitReader(body, 4<<10)).Decode(&p) != nil || len(p.Code) > 40 {
		return ""
	}
	return p.Code
}

// follow returns why the feed broke off, or hear's error, which goes to the
// caller as it is.
func (s *Remote) follow(parent context.Context, after ID, hear func(News) error) (err error, hears bool) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	watch := time.AfterFunc(silence, cancel)
	defer watch.Stop()
	token, err := s.token(ctx)
	if err != nil {
		return fmt.Errorf("token: %w", err), false
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return err, false
	}
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Authorization", "Bearer "+token.Reveal())
	if !after.IsZero() {
		r.Header.Set("Last-Event-ID", after.String())
	}
	answer, err := s.http.Do(r)
	if err != nil {
		return err, false
	}
	defer answer.Body.Close()
	switch kind, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";"); {
	case answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden:
		return fmt.Errorf("status %d, code %q: %w", answer.StatusCode, codeOf(answer.Body), ErrRefused), false
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("status %d", answer.StatusCode), false
	case kind != "text/event-stream":
		return fmt.Errorf("an answer of type %q", kind), false
	}
	messages := &messages{r: bufio.NewReaderSize(answer.Body, 16<<10)}
	for {
		text, err := messages.next()
		if err != nil {
			return err, false
		}
		n, err := ParseNews(text)
		if err == nil {
			err = n.continues(after)
		}
		if err != nil {
			return err, false
		}
		if parent.Err() != nil {
			return parent.Err(), false
		}
		// The time that hear takes is not the feed's.
		watch.Stop()
		if err := hear(n); err != nil {
			return err, true
		}
		watch.Reset(silence)
		after = n.Head
	}
}

// continues says why a follower at this position cannot be told the news.
func (n News) continues(after ID) error {
	switch {
	case n.Reset:
		return nil
	case n.Head != after && !n.Head.Follows(after):
		return malformed(fmt.Errorf("news leads from %v to %v", after, n.Head))
	case len(n.Events) > 0 && !n.Events[0].ID.Follows(after):
		return malformed(fmt.Errorf("event %v is told at %v", n.Events[0].ID, after))
	}
	return nil
}

// messages reads server-sent events (HTML, section 9.2): of each the data, of
// the type "message" only. Lines end with LF or CRLF.
type messages struct {
	r    *bufio.Reader
	data []byte
	line []byte
}

var errLong = errors.New("feed: a message is too long")

// next returns the data of the next message, which the one after it overwrites.
// A message that the end cuts off is none.
func (m *messages) next() ([]byte, error) {
	// A snapshot's room is not kept for the heartbeats after it.
	if cap(m.data)+cap(m.line) > 1<<20 {
		m.data, m.line = nil, nil
	}
	m.data = m.data[:0]
	other := false
	for {
		line, err := m.readLine()
		if err != nil {
			return nil, err
		}
		if len(line) == 0 {
			if len(m.data) > 0 && !other {
				return m.data[:len(m.data)-1], nil
			}
			m.data, other = m.data[:0], false
			continue
		}
		name, value, _ := bytes.Cut(line, []byte{':'})
		value = bytes.TrimPrefix(value, []byte{' '})
		switch string(name) {
		case "data":
			m.data = append(append(m.data, value...), '\n')
		case "event":
			other = len(value) > 0 && string(value) != "message"
		}
		if len(m.data) > maxMessage {
			return nil, errLong
		}
	}
}

func (m *messages) readLine() ([]byte, error) {
	m.line = m.line[:0]
	for {
		part, err := m.r.ReadSlice('\n')
		m.line = append(m.line, part...)
		switch {
		case err == nil:
			return bytes.TrimSuffix(m.line[:len(m.line)-1], []byte{'\r'}), nil
		case err != bufio.ErrBufferFull:
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		case len(m.line) > maxMessage:
			return nil, errLong
		}
	}
}
