package server

import (
	"encoding/gob"
	"errors"
	"io"
	"log/slog"
	"os/exec"
	"sync"
	"time"

	"github.com/admit-auth/admit/password"
)

// restingTime is how long a process that hashes waits for the next password
// before it goes.
const restingTime = time.Minute

// askingTime bounds one hash: the dearest that package password computes takes some
// seconds. One that does not answer is killed.
const askingTime = 30 * time.Second

// hashers are processes that compute Argon2id, as many as hash at once. A hash
// takes 25 ms, and Go gives a goroutine 10 of them before another gets its turn:
// in a flood of sign-ins all else would wait. The kernel shares the cores out
// better. Where no process can be had, the hash is computed here.
type hashers struct {
	command []string
	asking  time.Duration // askingTime
	log     *slog.Logger

	mu      sync.Mutex
	resting []*hasher // guarded by mu; the last one that worked is the next
	closed  bool      // guarded by mu
	told    time.Time // guarded by mu; when a failure was
}

// A hasher is one such process.
type hasher struct {
	process *exec.Cmd
	in      io.WriteCloser
	to      *gob.Encoder
	from    *gob.Decoder
	leave   *time.Timer
}

// hashing is what a hasher is asked.
type hashing struct {
	Password, Salt    []byte
	Passes, MemoryKiB uint32
	Lanes             uint8
	Size              uint32
}

func (h *hashing) compute() []byte {
	return password.Argon2id(h.Password, h.Salt, h.Passes, h.MemoryKiB, h.Lanes, h.Size)
}

// ServeHashes answers a Server whose configuration names a command that calls
// it, until in ends. Nothing else may write to out.
func ServeHashes(in io.Reader, out io.Writer) error {
	from, to := gob.NewDecoder(in), gob.NewEncoder(out)
	for {
		var h hashing
		if err := from.Decode(&h); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := to.Encode(h.compute()); err != nil {
			return err
		}
	}
}

// argon2id implements password.Options.Argon2id.
func (hs *hashers) argon2id(pw, salt []byte, passes, memoryKiB uint32, lanes uint8, size uint32) []byte {
	asked := &hashing{pw, salt, passes, memoryKiB, lanes, size}
	h, err := hs.take()
	if err == nil {
		var key []byte
		if key, err = h.ask(asked, hs.asking); err == nil {
			hs.rest(h)
			return key
		}
		h.stop()
	}
	hs.complain(err)
	return asked.compute()
}

// take returns a hasher that rests, or a new one.
func (hs *hashers) take() (*hasher, error) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for n := len(hs.resting); n > 0; n = len(hs.resting) {
		h := hs.resting[n-1]
		hs.resting = hs.resting[:n-1]
		if h.leave.Stop() {
			return h, nil
		}
	}
	if hs.closed {
		return nil, errors.New("the server stops")
	}
	return begin(hs.command)
}

// begin starts a hasher. It knows nothing of the environment, where secrets are,
// and has one thread, for that is what it computes with.
func begin(command []string) (*hasher, error) {
	c := exec.Command(command[0], command[1:]...)
	c.Env = []string{"GOMAXPROCS=1"}
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	return &hasher{process: c, in: in, to: gob.NewEncoder(in), from: gob.NewDecoder(out)}, nil
}

func (h *hasher) ask(asked *hashing, within time.Duration) (key []byte, err error) {
	defer time.AfterFunc(within, func() { _ = h.process.Process.Kill() }).Stop()
	if err := h.to.Encode(asked); err != nil {
		return nil, err
	}
	if err := h.from.Decode(&key); err != nil {
		return nil, err
	}
	if len(key) != int(asked.Size) {
		return nil, errors.New("it answers with a key of another size")
	}
	return key, nil
}

// stop ends the process, which reads the end of its input.
func (h *hasher) stop() {
	_ = h.in.Close()
	_ = h.process.Process.Kill() // one that does not read
	_ = h.process.Wait()
}

func (hs *hashers) rest(h *hasher) {
	hs.mu.Lock()
	closed := hs.closed
	if !closed {
		h.leave = time.AfterFunc(restingTime, h.stop)
		hs.resting = append(hs.resting, h)
	}
	hs.mu.Unlock()
	if closed {
		h.stop()
	}
}

func (hs *hashers) complain(err error) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if now := time.Now(); !hs.closed && now.Sub(hs.told) >= complainEvery {
		hs.told = now
		hs.log.Warn("passwords are hashed in the server's own process", slog.Any("error", err))
	}
}

// close ends those that rest, and the others when they have answered.
func (hs *hashers) close() {
	hs.mu.Lock()
	resting := hs.resting
	hs.resting, hs.closed = nil, true
	hs.mu.Unlock()
	for _, h := range resting {
		if h.leave.Stop() {
			h.stop()
		}
	}
}
