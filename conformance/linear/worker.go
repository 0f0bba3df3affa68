package linear

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/session"
)

// An Open opens a store at a place that it understands.
type Open func(ctx context.Context, place string) (session.Store, error)

// workerEnv tells a test program that it is a worker, and over which store.
const workerEnv = "ADMIT_LINEAR_WORKER"

// Serve makes this process a worker where [Check] has started it as one, and does
// not return then. Call it first in TestMain, with the stores by their names.
func Serve(stores map[string]Open) {
	name, place, ok := strings.Cut(os.Getenv(workerEnv), " ")
	if !ok {
		return
	}
	s, err := stores[name](context.Background(), place)
	if err == nil {
		var m *session.Manager[data]
		// An idle time so short that uses are noted within a history.
		if m, err = session.New[data](s, &session.Options{InsecureAllowHTTP: true, Idle: 20 * time.Second}); err == nil {
			go m.Run(context.Background())
			serve(handler(m))
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// serve tells its address to who started it, and ends with it.
func serve(h http.Handler) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Println("http://" + l.Addr().String())
	panic(http.Serve(l, h))
}

// Data is what a session has: a count, and whose it is.
type data struct {
	Name string `json:"name"`
	N    int    `json:"n"`
}

// handler is a site of one counter. Each call waits for a while between reading the
// session and writing it, as sites do that ask somebody else in between.
func handler(m *session.Manager[data]) http.Handler {
	mux := http.NewServeMux()
	handle := func(path string, fn func(w http.ResponseWriter, r *http.Request) (data, error)) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			d, err := fn(w, r)
			switch {
			case err == nil:
				json.NewEncoder(w).Encode(d)
			case admit.KindOf(err) == admit.Unauthenticated:
				w.WriteHeader(http.StatusUnauthorized)
			default:
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprintln(w, err)
			}
		})
	}
	of := func(s *session.Session[data], err error) (data, error) {
		if err != nil {
			return data{}, err
		}
		return s.Data, nil
	}
	handle("/begin", func(w http.ResponseWriter, r *http.Request) (data, error) {
		return of(m.StartWith(w, r, r.FormValue("user"), nil, func(d *data) { d.Name = r.FormValue("name") }))
	})
	handle("/update", func(w http.ResponseWriter, r *http.Request) (data, error) {
		wait, _ := time.ParseDuration(r.FormValue("wait"))
		before, err := m.Check(r)
		if err != nil {
			return data{}, err
		}
		time.Sleep(wait / 2)
		s, err := m.Update(w, r, func(d *data) error {
			time.Sleep(wait / 2)
			d.N++
			return nil
		})
		if err == nil && s.SID != before.SID {
			return data{}, session.ErrNone // another one began
		}
		return of(s, err)
	})
	handle("/read", func(w http.ResponseWriter, r *http.Request) (data, error) { return of(m.Load(r)) })
	handle("/end", func(w http.ResponseWriter, r *http.Request) (data, error) {
		return data{}, m.End(w, r, "signed_out")
	})
	handle("/endall", func(w http.ResponseWriter, r *http.Request) (data, error) {
		return data{}, m.EndAll(r.Context(), r.FormValue("user"), "", "signed_out")
	})
	handle("/renew", func(w http.ResponseWriter, r *http.Request) (data, error) {
		return of(m.StartWith(w, r, r.FormValue("user"), nil, func(d *data) { d.Name = r.FormValue("name") }))
	})
	return m.Handler(mux)
}

// A worker is a process that serves sessions, and can be killed.
type worker struct {
	command func() *exec.Cmd
	mu      sync.Mutex
	cmd     *exec.Cmd // guarded by mu
	stdin   io.Closer // guarded by mu
	url     string    // guarded by mu
}

// start starts the process and waits until it has told where it listens.
func (w *worker) start() error {
	cmd := w.command()
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return errors.Join(fmt.Errorf("a worker did not start: %w", err), cmd.Process.Kill(), cmd.Wait())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cmd, w.stdin, w.url = cmd, in, strings.TrimSpace(line)
	return nil
}

func (w *worker) address() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.url
}

// kill is kill -9.
func (w *worker) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cmd != nil {
		w.cmd.Process.Kill()
		w.cmd.Wait()
	}
	w.cmd = nil
}
