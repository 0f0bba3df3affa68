// Package mongotest is a stand-in for MongoDB in tests.
//
// It speaks as much of the wire protocol as a store of sessions needs of the
// official driver, keeps everything in memory, and answers anything else with an
// error, so that nothing passes by luck. It shows formats, races and outages; it
// does not show what MongoDB does.
package mongotest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// A Server is one stand-in, on a port of its own.
type Server struct {
	// Delay is how long each answer to a store takes, in nanoseconds.
	Delay atomic.Int64

	t      testing.TB
	addr   string
	frozen sync.RWMutex // locked while nothing is answered
	done   chan struct{}

	mu       sync.Mutex
	listener net.Listener           // guarded by mu, as all below
	conns    map[net.Conn]bool      //
	data     map[string]*collection // by "database.name"
	last     map[string]bson.D      // command, by its name
	cursors  map[int64][]bson.D     // what is left of each
	cursor   int64                  // the last
}

// Start starts one for as long as the test runs.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, addr: "127.0.0.1:0", done: make(chan struct{}), conns: map[net.Conn]bool{}, data: map[string]*collection{}, last: map[string]bson.D{}, cursors: map[int64][]bson.D{}}
	s.Resume()
	go s.expire()
	t.Cleanup(func() {
		close(s.done)
		s.Stop()
	})
	return s
}

// URI is what the driver is told.
func (s *Server) URI() string { return "mongodb://" + s.addr + "/?directConnection=true" }

// Stop breaks all connections and takes no new ones. What was written stays.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener.Close()
	for c := range s.conns {
		c.Close()
	}
}

// Resume begins to take connections, at the same address as before.
func (s *Server) Resume() {
	s.t.Helper()
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener, s.addr = l, l.Addr().String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
}

// Freeze lets nothing be answered until thaw is called.
func (s *Server) Freeze() (thaw func()) {
	s.frozen.Lock()
	return sync.OnceFunc(s.frozen.Unlock)
}

// Last returns the last command of a name, such as "update".
func (s *Server) Last(name string) bson.D {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[name]
}

// Indexes returns the indexes of a collection, "database.name".
func (s *Server) Indexes(ns string) []bson.D {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at(ns).indexes
}

// Len returns how many documents a collection has.
func (s *Server) Len(ns string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.at(ns).docs)
}

// expire removes what an index says has expired, as MongoDB does once a minute.
func (s *Server) expire() {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return
		case now := <-tick.C:
			s.mu.Lock()
			for _, c := range s.data {
				c.expire(now)
			}
			s.mu.Unlock()
		}
	}
}

// Operation codes of the wire protocol.
const (
	opReply = 1
	opQuery = 2004 // the first hello
	opMsg   = 2013
)

const maxMessage = 48_000_000

func (s *Server) serve(c net.Conn) {
	s.mu.Lock()
	s.conns[c] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		c.Close()
	}()
	for id := int32(1); ; id++ {
		var head [16]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		size, request, code := le(head[0:]), le(head[4:]), le(head[12:])
		if size < int32(len(head)) || size > maxMessage {
			return
		}
		body := make([]byte, size-int32(len(head)))
		if _, err := io.ReadFull(c, body); err != nil {
			return
		}
		command, silent, err := parse(code, body)
		if err != nil {
			s.t.Errorf("mongotest: %v", err)
			return
		}
		s.frozen.RLock()
		time.Sleep(time.Duration(s.Delay.Load()))
		answer, err := bson.Marshal(s.run(command))
		s.frozen.RUnlock()
		if err != nil {
			s.t.Errorf("mongotest: %v", err)
			return
		}
		if silent {
			continue
		}
		reply := make([]byte, 16, 64+len(answer))
		if code == opQuery {
			reply = append(reply, 8, 0, 0, 0) // flags: await capable
			reply = append(reply, make([]byte, 8+4)...)
			reply = append(reply, 1, 0, 0, 0) // one document
			code = opReply
		} else {
			reply = append(reply, 0, 0, 0, 0, 0) // flags; a section of one document
		}
		reply = append(reply, answer...)
		for i, n := range []int32{int32(len(reply)), id, request, code} {
			binary.LittleEndian.PutUint32(reply[4*i:], uint32(n))
		}
		if _, err := c.Write(reply); err != nil {
			return
		}
	}
}

func le(b []byte) int32 { return int32(binary.LittleEndian.Uint32(b)) }

var errMessage = errors.New("this message cannot be read")

// parse reads a message. Silent is one that wants no answer.
func parse(code int32, b []byte) (command bson.D, silent bool, err error) {
	switch code {
	case opQuery: // flags, collection, skip, limit, document
		end := 4
		for end < len(b) && b[end] != 0 {
			end++
		}
		if len(b) < end+9 {
			return nil, false, errMessage
		}
		if err := bson.Unmarshal(b[end+9:], &command); err != nil || len(command) == 0 {
			return nil, false, errMessage
		}
		return command, false, nil
	case opMsg:
	default:
		return nil, false, fmt.Errorf("operation %d: %w", code, errMessage)
	}
	if len(b) < 4+5 {
		return nil, false, errMessage
	}
	flags := le(b)
	if b = b[4:]; flags&1 != 0 {
		b = b[:len(b)-4] // a checksum
	}
	var more bson.D
	for len(b) > 0 {
		kind := b[0]
		b = b[1:]
		if len(b) < 4 || le(b) < 4 || int(le(b)) > len(b) {
			return nil, false, errMessage
		}
		section := b[:le(b)]
		b = b[len(section):]
		if kind == 0 {
			if err := bson.Unmarshal(section, &command); err != nil {
				return nil, false, err
			}
			continue
		}
		name, docs := "", bson.A{}
		for i := 4; i < len(section); i++ {
			if section[i] == 0 {
				name, section = string(section[4:i]), section[i+1:]
				break
			}
		}
		for len(section) >= 4 && int(le(section)) <= len(section) && le(section) > 4 {
			var doc bson.D
			if err := bson.Unmarshal(section[:le(section)], &doc); err != nil {
				return nil, false, err
			}
			docs, section = append(docs, doc), section[le(section):]
		}
		more = append(more, bson.E{Key: name, Value: docs})
	}
	if len(command) == 0 {
		return nil, false, errMessage
	}
	return append(command, more...), flags&2 != 0, nil
}
