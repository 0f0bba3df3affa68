package server

import (
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestADeadlineComesWithinATickAndNeverEarly(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(*timedConn)
		want time.Duration // 0: none
	}{
		{"one ahead", func(c *timedConn) { c.SetReadDeadline(time.Now().Add(time.Minute)) }, time.Minute},
		{"one for both directions", func(c *timedConn) { c.SetDeadline(time.Now().Add(time.Minute)) }, time.Minute},
		{"one that is put off", func(c *timedConn) {
			c.SetReadDeadline(time.Now().Add(time.Minute))
			c.SetReadDeadline(time.Now().Add(time.Hour))
		}, time.Hour},
		{"one that is moved forward", func(c *timedConn) {
			c.SetReadDeadline(time.Now().Add(time.Hour))
			c.SetReadDeadline(time.Now().Add(time.Minute))
		}, time.Minute},
		{"one that is very near", func(c *timedConn) { c.SetReadDeadline(time.Now().Add(time.Millisecond)) }, time.Millisecond},
		{"the past", func(c *timedConn) { c.SetReadDeadline(time.Unix(1, 0)) }, 1},
		{"one after the past", func(c *timedConn) {
			c.SetReadDeadline(time.Unix(1, 0))
			c.SetReadDeadline(time.Now().Add(time.Minute))
		}, time.Minute},
		{"one that has come, and another", func(c *timedConn) {
			c.SetReadDeadline(time.Now().Add(5 * time.Second))
			time.Sleep(10 * time.Second)
			c.SetReadDeadline(time.Now().Add(time.Minute))
		}, time.Minute},
		{"none", func(c *timedConn) {}, 0},
		{"one that is taken back", func(c *timedConn) {
			c.SetReadDeadline(time.Now().Add(time.Minute))
			c.SetReadDeadline(time.Time{})
		}, 0},
		{"the past, taken back", func(c *timedConn) {
			c.SetReadDeadline(time.Unix(1, 0))
			c.SetReadDeadline(time.Time{})
		}, 0},
		{"one for writing", func(c *timedConn) { c.SetWriteDeadline(time.Now().Add(time.Minute)) }, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			client, served := net.Pipe()
			c := timed(t, served).(*timedConn)
			tt.set(c)
			begun := time.Now()
			const closes = 2 * time.Hour
			defer time.AfterFunc(closes, func() { client.Close() }).Stop()
			_, err := c.Read(make([]byte, 1))
			took := time.Since(begun)
			switch {
			case tt.want == 0 && (took < closes || errors.Is(err, os.ErrDeadlineExceeded)):
				t.Errorf("%s: a read ends after %v with %v", tt.name, took, err)
			case tt.want > 0 && (!errors.Is(err, os.ErrDeadlineExceeded) || took < tt.want-1 || took > tt.want+deadlineTick):
				t.Errorf("%s: a read ends after %v with %v, want %v", tt.name, took, err, tt.want)
			}
			if err := c.Close(); err != nil || len(c.of.conns) != 0 {
				t.Errorf("%s: closed with %v, and %d connections are kept", tt.name, err, len(c.of.conns))
			}
		})
	}
}

// A recorded connection notes what deadline is in force.
type recorded struct {
	net.Conn
	mu sync.Mutex
	at time.Time // guarded by mu
}

func (c *recorded) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = t
	return nil
}

func (c *recorded) inForce() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.at.IsZero()
}

func TestDeadlinesThatAreSetAtOnceLeaveTheLastOne(t *testing.T) {
	begun := time.Now()
	var all deadlines
	for round := range 200 {
		under := &recorded{}
		c := all.over(under, begun)
		var setting sync.WaitGroup
		for _, at := range []time.Time{begun.Add(time.Minute), begun.Add(time.Hour), {}, time.Unix(1, 0)} {
			setting.Go(func() { c.SetReadDeadline(at) })
		}
		setting.Go(func() { c.read.look(int64(2*time.Minute), under.SetReadDeadline) })
		setting.Wait()
		c.SetReadDeadline(begun.Add(time.Minute))
		if under.inForce() {
			t.Fatalf("round %d: one that is over is in force beside one that is ahead", round)
		}
		c.read.look(int64(time.Minute)-1, under.SetReadDeadline)
		if under.inForce() {
			t.Fatalf("round %d: it comes early", round)
		}
		c.read.look(int64(time.Minute), under.SetReadDeadline)
		if !under.inForce() {
			t.Fatalf("round %d: it is lost", round)
		}
	}
}
