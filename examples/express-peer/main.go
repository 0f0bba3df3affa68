// Command express-peer serves sessions together with an Express app, so that you
// can try your own app against it.
//
//	go run ./examples/express-peer --port 3001 --redis redis://127.0.0.1:6379 --secret 'keyboard cat'
//
// Everything it answers is JSON, and says who answers: X-Peer: go/<pid>.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"math/big"
	"mime"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/session/express"
)

func main() {
	var o options
	flag.StringVar(&o.host, "host", "127.0.0.1", "listen on this `address`")
	flag.IntVar(&o.port, "port", 3001, "listen on this `port`; 0 takes a free one")
	flag.StringVar(&o.secret, "secret", "keyboard cat", "comma-separated `secrets`: the first signs, all verify")
	flag.StringVar(&o.keys, "keys", "", "comma-separated `keys` of cookie-session; default: the secrets")
	flag.StringVar(&o.name, "name", "connect.sid", "`name` of the session's cookie")
	o.store.flags()
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "example:\n  go run ./examples/express-peer --port 3001 --redis redis://127.0.0.1:6379 --secret 'keyboard cat'\nflags:")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, &o); err != nil {
		log.Fatalf("express-peer: error: %v", err)
	}
}

type options struct {
	host               string
	port               int
	secret, keys, name string
	store              storeOptions
}

func run(ctx context.Context, o *options) error {
	at, err := o.store.open(ctx)
	if err != nil {
		return err
	}
	h, err := handler(at, o)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(o.host, strconv.Itoa(o.port)))
	if err != nil {
		return err
	}
	log.Printf("http://%s", l.Addr())
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		short, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		srv.Shutdown(short)
	}()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// secrets reads a list of the command line.
func secrets(list string) []admit.Secret {
	var all []admit.Secret
	for s := range strings.SplitSeq(list, ",") {
		all = append(all, admit.NewSecret(s))
	}
	return all
}

func handler(at places, o *options) (http.Handler, error) {
	signing, err := express.NewSecrets(secrets(o.secret)...)
	if err != nil {
		return nil, err
	}
	// Each is what the Express app has as session({...}).
	var failed error
	sessions := func(o *express.Options) *express.Manager {
		m, err := express.New(at.sessions, signing, o)
		failed = errors.Join(failed, err)
		return m
	}
	plain := sessions(&express.Options{Name: o.name})
	rolling := sessions(&express.Options{Name: "roll.sid", Rolling: true, Cookie: express.Attributes{MaxAge: time.Minute}})
	secure := sessions(&express.Options{Name: "secure.sid", TrustProxy: true, Cookie: express.Attributes{Secure: true, SameSite: http.SameSiteLaxMode}})
	eager := sessions(&express.Options{Name: "su.sid", SaveUninitialized: true, Resave: true})
	if failed != nil {
		return nil, failed
	}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { answer(w, fields{"ok", true}) })
	for prefix, m := range map[string]*express.Manager{"": plain, "/roll": rolling, "/secure": secure, "/su": eager} {
		p := pages{m}
		mux.HandleFunc("GET "+prefix+"/visit", p.visit)
		read := "/read"
		if prefix == "" {
			read = "/visit/read"
		}
		mux.HandleFunc("GET "+prefix+read, p.read)
	}
	p := pages{plain}
	mux.HandleFunc("GET /visit/set", p.set)
	mux.HandleFunc("GET /session", p.session)
	mux.HandleFunc("POST /session/data", p.data)
	mux.HandleFunc("POST /session/max-age", p.maxAge)
	mux.HandleFunc("POST /login", p.login)
	mux.HandleFunc("POST /login/redirect", p.loginRedirect)
	mux.HandleFunc("GET /me", p.me)
	mux.HandleFunc("POST /logout", p.logout)
	mux.HandleFunc("POST /logout/destroy", p.destroy)
	if err := cookiePages(mux, signing, secrets(cmp.Or(o.keys, o.secret)), at.guards); err != nil {
		return nil, err
	}

	name := fmt.Sprintf("go/%d", os.Getpid())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Peer", name)
		w.Header().Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	}), nil
}

// pages are those of one kind of session.
type pages struct{ sessions *express.Manager }

// visit counts. Parallel visits each get their own number.
func (p pages) visit(w http.ResponseWriter, r *http.Request) {
	count := func(w http.ResponseWriter, r *http.Request) {
		p.change(w, r, "isVisit", func(d *express.Data) error {
			return d.Set("isVisit", plusOne(d.Raw("isVisit")))
		})
	}
	if r.FormValue("delay") == "" {
		count(w, r)
		return
	}
	// Handler reads the session before the wait, so that one which ends
	// meanwhile is told from none.
	p.sessions.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if wait(w, r) {
			count(w, r)
		}
	})).ServeHTTP(w, r)
}

// read leaves the session alone.
func (p pages) read(w http.ResponseWriter, r *http.Request) {
	s, err := p.sessions.Use(w, r)
	if !wait(w, r) {
		return
	}
	switch {
	case err == nil:
		answer(w, fields{"isVisit", raw(s.Raw("isVisit")), "sid", s.ID})
	case errors.Is(err, admit.Unauthenticated):
		answer(w, fields{"isVisit", nil, "sid", express.NewID()})
	default:
		refuse(w, err)
	}
}

func (p pages) set(w http.ResponseWriter, r *http.Request) {
	n := fromText(r.FormValue("n"))
	if !r.Form.Has("n") {
		n = math.NaN()
	}
	p.change(w, r, "isVisit", func(d *express.Data) error {
		if math.IsNaN(n) || math.IsInf(n, 0) {
			return d.Set("isVisit", nil)
		}
		return d.Set("isVisit", n+0) // -0 is 0 in JSON.stringify
	})
}

func (p pages) session(w http.ResponseWriter, r *http.Request) {
	s, err := p.sessions.Update(w, r, func(*express.Data) error { return nil })
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, raw(s.JSON()))
}

func (p pages) data(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		refuse(w, fmt.Errorf("read the body: %w: %w", err, errTooLarge))
		return
	}
	s, err := p.sessions.Update(w, r, func(d *express.Data) error { return d.SetRaw("data", string(body)) })
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, fields{"ok", true, "sid", s.ID})
}

var errTooLarge = admit.Invalid.New("body_too_large", "The body is larger than 1 MiB.")

func (p pages) maxAge(w http.ResponseWriter, r *http.Request) {
	ms := fromText(r.FormValue("ms"))
	if !r.Form.Has("ms") || math.IsNaN(ms) || math.Abs(ms) > 9e12 {
		refuse(w, &admit.FieldError{Field: "ms", Err: admit.Invalid.New("bad_number", "This is no number of milliseconds.")})
		return
	}
	var s *express.Session
	var err error
	if ms < 1 {
		s, err = p.over(w, r)
	} else {
		s, err = p.sessions.Update(w, r, func(d *express.Data) error {
			d.SetMaxAge(time.Duration(ms) * time.Millisecond)
			return d.Set("aged", plusOne(d.Raw("aged")))
		})
	}
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, fields{"ok", true, "aged", raw(s.Raw("aged")), "maxAge", ms, "sid", s.ID})
}

// over ends a session that gets no more time, and returns it as it would be.
func (p pages) over(w http.ResponseWriter, r *http.Request) (*express.Session, error) {
	s, err := p.sessions.Load(r)
	if errors.Is(err, admit.Unauthenticated) {
		s, err = &express.Session{ID: express.NewID()}, nil
	}
	if err == nil {
		err = p.sessions.End(w, r)
	}
	if err == nil {
		err = s.Set("aged", plusOne(s.Raw("aged")))
	}
	return s, err
}

func (p pages) login(w http.ResponseWriter, r *http.Request) {
	oldSid := express.NewID() // what Express calls a stranger
	if s, err := p.sessions.Load(r); err == nil {
		oldSid = s.ID
	}
	if s, ok := p.signIn(w, r); ok {
		answer(w, fields{"user", raw(s.Raw("user")), "sid", s.ID, "oldSid", oldSid})
	}
}

func (p pages) loginRedirect(w http.ResponseWriter, r *http.Request) {
	if _, ok := p.signIn(w, r); ok {
		w.Header().Set("Location", "/me")
		w.WriteHeader(http.StatusSeeOther)
	}
}

func (p pages) signIn(w http.ResponseWriter, r *http.Request) (*express.Session, bool) {
	user, err := userOf(w, r)
	if err == nil {
		var s *express.Session
		if s, err = p.sessions.Start(w, r, func(d *express.Data) error { return d.Set("user", user) }); err == nil {
			return s, true
		}
	}
	refuse(w, err)
	return nil, false
}

// userOf reads {"user": …} from JSON, or user= from a form.
func userOf(w http.ResponseWriter, r *http.Request) (user json.RawMessage, err error) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/json" {
		var in map[string]json.RawMessage
		if err = json.NewDecoder(r.Body).Decode(&in); err == nil {
			user = in["user"]
		}
	} else if name := r.FormValue("user"); name != "" {
		user, err = json.Marshal(name)
	}
	if err != nil || len(user) == 0 || string(user) == "null" || string(user) == `""` {
		return nil, &admit.FieldError{Field: "user", Err: admit.Invalid.New("no_user", "Who signs in?")}
	}
	return user, nil
}

func (p pages) me(w http.ResponseWriter, r *http.Request) {
	s, err := p.sessions.Use(w, r)
	switch {
	case err == nil && s.Raw("user") != "" && s.Raw("user") != "null":
		answer(w, fields{"user", raw(s.Raw("user")), "sid", s.ID})
	case err == nil:
		refuseMe(w, s.ID)
	case errors.Is(err, admit.Unauthenticated):
		refuseMe(w, express.NewID())
	default:
		refuse(w, err)
	}
}

func refuseMe(w http.ResponseWriter, sid string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(http.StatusUnauthorized)
	answer(w, fields{"user", nil, "sid", sid})
}

// logout gives the browser another session. The Express app also writes user =
// null into the old one first, which Start has no need for: it is gone.
func (p pages) logout(w http.ResponseWriter, r *http.Request) {
	s, err := p.sessions.Start(w, r, nil)
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, fields{"ok", true, "sid", s.ID})
}

func (p pages) destroy(w http.ResponseWriter, r *http.Request) {
	if err := p.sessions.End(w, r); err != nil {
		refuse(w, err)
		return
	}
	answer(w, fields{"ok", true})
}

// change changes the session and answers with one value of it.
func (p pages) change(w http.ResponseWriter, r *http.Request, name string, fn func(*express.Data) error) {
	s, err := p.sessions.Update(w, r, fn)
	if errors.Is(err, express.ErrInsecure) {
		// The Express app answers as if it had kept what nobody will get.
		answer(w, fields{name, 1, "sid", express.NewID()})
		return
	}
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, fields{name, raw(s.Raw(name)), "sid", cmp.Or(s.ID, express.NewID())})
}

// wait waits for as many milliseconds as the request asks for.
func wait(w http.ResponseWriter, r *http.Request) bool {
	ms, _ := strconv.ParseFloat(r.FormValue("delay"), 64)
	select {
	case <-time.After(time.Duration(min(max(ms, 0), 60_000)) * time.Millisecond):
		return true
	case <-r.Context().Done():
		return false
	}
}

// number is a value of a session as a number, 0 where it is none.
func number(raw string) float64 {
	n, _ := strconv.ParseFloat(raw, 64)
	return n
}

// plusOne is JavaScript's (value || 0) + 1, which puts a 1 after a text.
func plusOne(raw string) any {
	var text string
	switch n := number(raw); {
	case json.Unmarshal([]byte(raw), &text) == nil && text != "":
		return text + "1"
	case raw == "true":
		return 2
	case math.IsInf(n, 0):
		return nil // as JSON has it
	default:
		return n + 1
	}
}

// fromText is JavaScript's Number of a text.
func fromText(s string) float64 {
	s = strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == '\uFEFF' })
	lower := strings.ToLower(s)
	switch {
	case s == "":
		return 0
	case strings.HasPrefix(lower, "0x"), strings.HasPrefix(lower, "0b"), strings.HasPrefix(lower, "0o"):
		if n, ok := new(big.Int).SetString(lower, 0); ok && !strings.Contains(s, "_") {
			f, _ := new(big.Float).SetInt(n).Float64()
			return f
		}
		return math.NaN()
	case strings.TrimLeft(s, "+-") == "Infinity":
		return math.Inf(1)
	case strings.Trim(lower, "0123456789+-.e") != "":
		return math.NaN() // what only Go takes for a number
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return math.NaN()
	}
	return n
}

// fields are names and values in turn, which are answered in this order.
type fields []any

// MarshalJSON writes an object.
func (f fields) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	b.WriteByte('{')
	for i, v := range f {
		switch {
		case i%2 == 1:
			b.WriteByte(':')
		case i > 0:
			b.WriteByte(',')
		}
		if err := enc.Encode(v); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// raw is a JSON text as it is, null for none.
func raw(text string) json.RawMessage { return json.RawMessage(cmp.Or(text, "null")) }

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if text, ok := v.(json.RawMessage); ok {
		w.Write(text) // encoding/json would write it anew
		return
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.Encode(v)
	w.Write(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

func refuse(w http.ResponseWriter, err error) {
	if status, _ := problem.Write(w, err, ""); status >= 500 {
		log.Print(err)
	}
}
