package server

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/web"
)

// A face is the handler of now. Requests under way keep the one that they came
// to.
type face struct {
	probes probes
	now    atomic.Pointer[web.Edge]
	change sync.Mutex // held by Reload
}

// ServeHTTP implements http.Handler.
func (f *face) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.probes.see(r)
	f.now.Load().ServeHTTP(w, r)
}

// Paths are the patterns of all routes, for tests.
func (f *face) Paths() []string { return f.now.Load().Paths() }

// set makes a handler and shows it, if it can be made.
func (f *face) set(o web.Options) error {
	h, err := web.New(o)
	if err != nil {
		return err
	}
	f.now.Store(h)
	return nil
}

// Reloaded is what Reload found, by the names of settings.
type Reloaded struct {
	Changed []string `json:"changed"` // and hold now
	Waiting []string `json:"waiting"` // for the next start

	// Refused is why nothing was changed; it is only sent through the socket.
	Refused *Refusal `json:"refused,omitempty"`
}

// A Refusal is an error of a configuration, as people read it.
type Refusal struct {
	Code   string `json:"code"`
	Detail string `json:"detail"` // with the place
	Hint   string `json:"hint,omitempty"`
}

// RefusalOf returns what people may read of an error about a configuration,
// which is their own: all of it.
func RefusalOf(err error) Refusal {
	r := Refusal{Code: "internal", Detail: err.Error()}
	if e, ok := errors.AsType[*admit.Error](err); ok {
		r.Code, r.Hint = e.Code(), e.Hint()
		// A sentence that goes on has no full stop in it.
		r.Detail = strings.Replace(r.Detail, e.Error()+":", strings.TrimSuffix(e.Error(), ".")+":", 1)
	}
	return r
}

var errNoReload = admit.Unavailable.New("cannot_reload", "No server runs here that can read its configuration again.").WithHint("start it: admit serve reads it")

// Reload lets a running server take what is live in a configuration, which is
// the one that it reads now, and says what waits for the next start. One that
// Check refuses changes nothing. The command admit calls it on SIGHUP and for
// admit config reload.
func (s *Server) Reload(ctx context.Context, cfg Config) (Reloaded, error) {
	found := Reloaded{Changed: []string{}, Waiting: []string{}}
	if err := cfg.Check(); err != nil {
		return found, err
	}
	s.face.change.Lock()
	defer s.face.change.Unlock()
	var undo []func()
	was, now := s.live.fields(), cfg.fields()
	for i := range now {
		switch {
		case reflect.DeepEqual(now[i].Value, was[i].Value) || now[i].Flag == "": // secrets are of one start
		case now[i].Live:
			to, old := reflect.ValueOf(was[i].to).Elem(), reflect.ValueOf(was[i].to).Elem().Interface()
			undo = append(undo, func() { to.Set(reflect.ValueOf(old)) })
			to.Set(reflect.ValueOf(now[i].to).Elem()) // only what show reads, so that nobody else waits
			found.Changed = append(found.Changed, now[i].Name)
		default:
			found.Waiting = append(found.Waiting, now[i].Name)
		}
	}
	if err := s.show(); err != nil {
		for _, fn := range undo {
			fn()
		}
		return Reloaded{Changed: []string{}, Waiting: []string{}}, err
	}
	s.accounts.SetMinPassword(s.live.PasswordMinLength)
	s.breached.use(s.live)
	s.lines.level.Set(s.live.LogLevel)
	s.https.reload(s.log)
	s.log.InfoContext(ctx, "the configuration was read again", "changed", found.Changed, "waiting", found.Waiting)
	return found, nil
}

// reload is Reload for the socket. A mistake is told whole: who asks may read
// the file.
func (s *Server) reload(ctx context.Context) (found Reloaded, err error) {
	if s.cfg.Again == nil {
		return found, errNoReload
	}
	cfg, err := s.cfg.Again()
	if err == nil {
		found, err = s.Reload(ctx, cfg)
	}
	if err != nil {
		r := RefusalOf(err)
		s.log.WarnContext(ctx, "the configuration was not taken, the old one holds", "error", r.Detail)
		found.Refused = &r
	}
	return found, nil
}

// Reload asks the running server to read its configuration again.
func (o *Operator) Reload(ctx context.Context) (Reloaded, error) {
	return ask[Reloaded](ctx, o, "reload", none{})
}
