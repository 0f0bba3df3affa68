package server

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What listen_test.go shows of plain HTTP, over TLS and in HTTP/2: whoever is slow,
// stuck or greedy is cut off, and holds little until then.

// An encounter is one connection of a client with a bounded server.
type encounter struct {
	open    time.Duration // until the server closed it
	heard   bytes.Buffer  // what the client read
	most    int64         // handlers at once
	handled int64
}

// anyPair is good for a test.
var anyPair = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// meet lets a client talk to a server by a protocol, "" for one that does not even
// speak TLS. It ends when the server closes the connection.
func meet(t *testing.T, protocol string, talk func(net.Conn, *encounter)) *encounter {
	e := &encounter{}
	pair := anyPair()
	synctest.Test(t, func(t *testing.T) {
		var now, most, handled atomic.Int64
		closed := make(chan struct{})
		srv := bounded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handled.Add(1)
			defer now.Add(-1)
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			if _, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10)); err != nil {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
				return
			}
			switch r.URL.Path {
			case "/large":
				for range 100 {
					if _, err := w.Write(make([]byte, 64<<10)); err != nil {
						return
					}
				}
			case "/wait":
				<-r.Context().Done()
			}
		}), slog.New(slog.DiscardHandler))
		srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, SessionTicketsDisabled: true}
		srv.ConnState = func(_ net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				close(closed)
			}
		}
		l := &pipes{make(chan net.Conn), make(chan struct{})}
		go srv.ServeTLS(l, "", "")
		defer srv.Close()
		client, served := net.Pipe()
		l.conns <- timed(t, served)
		begun := time.Now()
		c := client
		var talking sync.WaitGroup
		talking.Go(func() {
			if protocol != "" {
				secure := tls.Client(client, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}})
				if err := secure.Handshake(); err != nil {
					t.Errorf("shake hands: %v", err)
					return
				}
				c = secure
			}
			talk(c, e)
		})
		<-closed
		e.open = time.Since(begun)
		client.Close()
		talking.Wait()
		e.most, e.handled = most.Load(), handled.Load()
	})
	return e
}

// hear reads until the server closes.
func (e *encounter) hear(c net.Conn) { _, _ = io.Copy(&e.heard, c) }

// frame is a frame of HTTP/2 (RFC 9113 4.1).
func frame(kind, flags byte, stream uint32, payload string) string {
	head := make([]byte, 9)
	binary.BigEndian.PutUint32(head, uint32(len(payload))<<8|uint32(kind))
	head[4] = flags
	binary.BigEndian.PutUint32(head[5:], stream)
	return string(head) + payload
}

const (
	preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

	data, headers, reset, settings, ping, goAway, continuation = 0, 1, 3, 4, 6, 7, 9
	endStream, endHeaders                                      = 1, 4
)

// block is a header block by HPACK's static table: a method, https, a path and a
// host.
func block(method byte, path string) string {
	return string([]byte{method, 0x87, 0x04, byte(len(path))}) + path + "\x01\x01x"
}

const asGet, asPost = 0x82, 0x83

// goAwayCode returns why the server ends an HTTP/2 connection.
func (e *encounter) goAwayCode(t *testing.T) (code uint32, said bool) {
	t.Helper()
	for b := e.heard.Bytes(); len(b) >= 9; {
		n := int(binary.BigEndian.Uint32(b) >> 8)
		if len(b) < 9+n {
			break
		}
		if b[3] == goAway && n >= 8 {
			code, said = binary.BigEndian.Uint32(b[13:]), true
		}
		b = b[9+n:]
	}
	return code, said
}

// frames counts the frames of a kind that the client read, with this at the end.
func (e *encounter) frames(kind byte, end string) (n int) {
	for b := e.heard.Bytes(); len(b) >= 9; {
		size := int(binary.BigEndian.Uint32(b) >> 8)
		if len(b) < 9+size {
			break
		}
		if b[3] == kind && strings.HasSuffix(string(b[9:9+size]), end) {
			n++
		}
		b = b[9+size:]
	}
	return n
}

func drip(c net.Conn, every time.Duration, text string) (written int) {
	for {
		if _, err := io.WriteString(c, text); err != nil {
			return written
		}
		written++
		time.Sleep(every)
	}
}

func TestAttackSlowClientsAreCutOffOverTLS(t *testing.T) {
	for _, tt := range []struct {
		name, protocol string
		talk           func(net.Conn, *encounter)
		most           time.Duration
		answer         string
	}{
		{"one that says nothing", "", func(net.Conn, *encounter) {}, readTimeout, ""},
		{"a greeting that drips", "", func(c net.Conn, _ *encounter) {
			io.WriteString(c, "\x16\x03\x01\x40\x00\x01\x00\x3f\xfc")
			drip(c, time.Second, "\x03")
		}, readTimeout, ""},
		{"a slow loris: a header each second", "http/1.1", func(c net.Conn, e *encounter) {
			go e.hear(c)
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n")
			drip(c, time.Second, "X-A: b\r\n")
		}, readTimeout + 5*time.Second, ""},
		{"a body that drips", "http/1.1", func(c net.Conn, e *encounter) {
			go e.hear(c)
			io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n")
			drip(c, time.Second, "x")
		}, readTimeout + 5*time.Second, "HTTP/1.1 413"},
		{"a keep-alive that is never used again", "http/1.1", func(c net.Conn, e *encounter) {
			go e.hear(c)
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		}, idleTimeout + 5*time.Second, "HTTP/1.1 200"},
		{"a reader that is stuck", "http/1.1", func(c net.Conn, _ *encounter) {
			io.WriteString(c, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
		}, writeTimeout + 5*time.Second, ""},
	} {
		e := meet(t, tt.protocol, tt.talk)
		if e.open > tt.most || !strings.HasPrefix(e.heard.String(), tt.answer) {
			t.Errorf("%s is cut off after %v with %.60q, want %q after %v at most", tt.name, e.open, e.heard.String(), tt.answer, tt.most)
		}
	}
}

func TestAttackSlowClientsAreCutOffInHTTP2(t *testing.T) {
	hello := preface + frame(settings, 0, 0, "")
	for _, tt := range []struct {
		name string
		talk func(net.Conn, *encounter)
		most time.Duration
	}{
		{"one that says nothing", func(c net.Conn, e *encounter) { e.hear(c) }, readTimeout},
		{"a preface that drips", func(c net.Conn, e *encounter) {
			go e.hear(c)
			for i := range preface {
				if _, err := io.WriteString(c, preface[i:i+1]); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, readTimeout},
		{"a connection on which nothing is asked", func(c net.Conn, e *encounter) {
			go e.hear(c)
			io.WriteString(c, hello)
		}, idleTimeout + 10*time.Second},
		{"a slow loris: a piece of a header each second, that never ends", func(c net.Conn, e *encounter) {
			go e.hear(c)
			io.WriteString(c, hello+frame(headers, endStream, 1, block(asGet, "/")))
			drip(c, time.Second, frame(continuation, 0, 1, "\x00\x01a\x01b"))
		}, idleTimeout + 10*time.Second},
		{"a body that drips", func(c net.Conn, e *encounter) {
			go e.hear(c)
			io.WriteString(c, hello+frame(headers, endHeaders, 1, block(asPost, "/")))
			drip(c, time.Second, frame(data, 0, 1, "x"))
		}, readTimeout + idleTimeout + 10*time.Second},
		{"a reader that is stuck", func(c net.Conn, e *encounter) {
			io.WriteString(c, hello+frame(headers, endHeaders|endStream, 1, block(asGet, "/large")))
		}, writeTimeout + 10*time.Second},
		{"a reader that gives no window", func(c net.Conn, e *encounter) {
			go e.hear(c)
			io.WriteString(c, preface+frame(settings, 0, 0, "\x00\x04\x00\x00\x00\x00")+frame(headers, endHeaders|endStream, 1, block(asGet, "/large")))
		}, writeTimeout + idleTimeout + 10*time.Second},
	} {
		e := meet(t, "h2", tt.talk)
		if e.open > tt.most {
			t.Errorf("%s is cut off after %v, want %v at most", tt.name, e.open, tt.most)
		}
		t.Logf("%s: %v", tt.name, e.open)
	}
}

func TestAttackFloodsInHTTP2AreBounded(t *testing.T) {
	const protocolError = 1
	hello := preface + frame(settings, 0, 0, "")
	// Streams are opened and reset at once, and each would leave a handler behind.
	t.Run("resets", func(t *testing.T) {
		sent := 0
		e := meet(t, "h2", func(c net.Conn, e *encounter) {
			go e.hear(c)
			io.WriteString(c, hello)
			for id := uint32(1); id < 40_000; id += 2 {
				if _, err := io.WriteString(c, frame(headers, endHeaders|endStream, id, block(asGet, "/wait"))+frame(reset, 0, id, "\x00\x00\x00\x08")); err != nil {
					return
				}
				sent++
			}
		})
		// Where handlers are slower than the flood, some 400 of them wait at most,
		// and then it says ENHANCE_YOUR_CALM.
		t.Logf("%d streams in %v, %d handlers at once, %d in all", sent, e.open, e.most, e.handled)
		if e.most > streams || e.open > readTimeout+idleTimeout+10*time.Second {
			t.Errorf("%d handlers are at work at once, for %v", e.most, e.open)
		}
	})
	t.Run("streams that are left open", func(t *testing.T) {
		e := meet(t, "h2", func(c net.Conn, e *encounter) {
			go e.hear(c)
			io.WriteString(c, hello)
			for id := uint32(1); id < 2*(streams+50); id += 2 {
				if _, err := io.WriteString(c, frame(headers, endHeaders|endStream, id, block(asGet, "/wait"))); err != nil {
					return
				}
			}
		})
		// REFUSED_STREAM; before the client has confirmed our bound, PROTOCOL_ERROR.
		refused := e.frames(reset, "\x00\x00\x00\x07") + e.frames(reset, "\x00\x00\x00\x01")
		t.Logf("%d handlers at once, %d refused, open for %v", e.most, refused, e.open)
		if e.most > streams || refused < 50 || e.open > writeTimeout+idleTimeout+10*time.Second {
			t.Errorf("%d handlers at once, %d streams refused, open for %v", e.most, refused, e.open)
		}
	})
	// Each wants an answer, which nobody reads. Of settings one answer waits
	// whatever comes; of pings 10,000, in net/http.
	for _, flood := range []struct {
		name, frame string
		most        int
	}{
		{"pings", frame(ping, 0, 0, "12345678"), 12_000},
		{"settings", frame(settings, 0, 0, "\x00\x03\x00\x00\x00\x64"), 50_000},
	} {
		t.Run(flood.name, func(t *testing.T) {
			sent := 0
			e := meet(t, "h2", func(c net.Conn, e *encounter) {
				io.WriteString(c, hello)
				for range 50_000 {
					if _, err := io.WriteString(c, flood.frame); err != nil {
						return
					}
					sent++
				}
			})
			t.Logf("%d frames in %v", sent, e.open)
			if sent > flood.most || e.open > readTimeout+10*time.Second {
				t.Errorf("%d frames are taken, in %v", sent, e.open)
			}
		})
	}
	t.Run("headers", func(t *testing.T) {
		sent := 0
		e := meet(t, "h2", func(c net.Conn, e *encounter) {
			go e.hear(c)
			io.WriteString(c, hello+frame(headers, endStream, 1, block(asGet, "/")))
			for range 200_000 {
				if _, err := io.WriteString(c, frame(continuation, 0, 1, strings.Repeat("\x00\x01a\x7f\x00"+strings.Repeat("b", 127), 100))); err != nil {
					return
				}
				sent++
			}
		})
		code, said := e.goAwayCode(t)
		t.Logf("%d frames of 13 kB in %v, then %v %d", sent, e.open, said, code)
		if sent > 20 || e.handled > 0 || e.open > time.Minute || said && code != protocolError {
			t.Errorf("%d frames are taken, %d requests handled, in %v, and it says %d", sent, e.handled, e.open, code)
		}
	})
	t.Run("empty pieces of a body", func(t *testing.T) {
		e := meet(t, "h2", func(c net.Conn, e *encounter) {
			go e.hear(c)
			io.WriteString(c, hello+frame(headers, endHeaders, 1, block(asPost, "/")))
			drip(c, time.Millisecond, frame(data, 0, 1, ""))
		})
		t.Logf("%v", e.open)
		if e.open > readTimeout+idleTimeout+10*time.Second {
			t.Errorf("it goes on for %v", e.open)
		}
	})
}
