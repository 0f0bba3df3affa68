// Package server is admit as a program: sign-up, sign-in and sessions for
// people in browsers, a JSON API for the rest.
//
// The command admit runs it. A Go program may mount it among its own handlers:
//
//	s, err := server.New(ctx, server.Config{Data: "admit-data", PublicURL: "https://id.example.org"})
//	if err != nil { … }
//	defer s.Close()
//	http.ListenAndServe(addr, s.Handler())
//
// This package is the only wiring: it opens the database and the keys, and
// joins the core, the edge and the delivery of mail.
package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/dpop"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/password"
	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/copies"
	"github.com/admit-auth/admit/server/internal/db"
	"github.com/admit-auth/admit/server/internal/keyring"
	"github.com/admit-auth/admit/server/internal/limit"
	"github.com/admit-auth/admit/server/internal/metrics"
	"github.com/admit-auth/admit/server/internal/notify"
	"github.com/admit-auth/admit/server/internal/otlp"
	"github.com/admit-auth/admit/server/internal/trace"
	"github.com/admit-auth/admit/server/internal/web"
	"github.com/admit-auth/admit/session"
)

// Why a server does not start.
var (
	ErrInUse    = admit.Conflict.New("data_in_use", "Another server is using this data folder.").WithHint("stop it, or name another folder with --data")
	ErrFolder   = admit.Unavailable.New("data_unwritable", "The data folder cannot be used.").WithHint("run this as the user whom it belongs to, make it writable for this one, or name another folder with --data")
	ErrPort     = admit.Unavailable.New("address_in_use", "The address to listen on is taken or not ours.").WithHint("stop what listens there, or choose another with --listen")
	ErrKeysFile = admit.Unavailable.New("keys_unreadable", "The file of keys cannot be read.").WithHint("it is from an older version, and is taken over; restore it from a backup, or move it away if what it sealed may be lost")
)

// Names inside the data folder.
const (
	databaseName = "admit.db"
	keysName     = "keys"
	lockName     = "lock"
	socketName   = "admit.sock"
)

// drainTime is for requests under way when the server stops.
const drainTime = 10 * time.Second

// A Server is an open data folder with its handler. It is made by New and must
// be closed.
type Server struct {
	cfg       Config
	log       *slog.Logger
	lines     *logWriter // where log writes
	listeners []net.Listener
	plain     []net.Listener // of HTTP that leads to HTTPS
	https     *https         // nil where HTTPS is not ours to speak
	lock      *os.File
	keys      *keyring.Ring
	db        *db.DB
	life      string // of the database: a restored one begins another
	stored    *db.SessionStore
	copies    *copies.Copies // nil without Redis
	copied    *session.Near  // nil where no copies are in memory
	passwords *password.Hasher
	hashers   *hashers // nil where passwords are hashed here
	breached  breachedLists
	accounts  *account.Service
	sessions  *session.Manager[web.Data]
	codes     session.Store // of hand-overs: that of the sessions
	provider  *provider.Provider
	origins   origins // of clients' pages
	proofs    *dpop.Verifier
	inbox     *notify.Inbox            // nil but with --dev
	senders   map[string]notify.Sender // by channel; the inbox with --dev
	face      face                     // the handler, which Reload changes
	live      Config                   // cfg as Reload has changed it, while face.change is held; all else reads cfg, which stays
	ready     Ready
	closing   sync.Once

	ops         net.Listener     // nil but with OpsListen
	metrics     *metrics.Metrics // nil but with OpsListen
	alarms      alarms
	noTexts     atomic.Uint64
	told        *limit.Limiter // of what need not be told again and again
	traces      *otlp.Exporter // nil but with OTLPEndpoint
	tracer      trace.Tracer   // traces, or the program's own; nil where nobody traces
	watch       watch
	stopping    atomic.Bool
	streams     context.Context // done when answers without an end must end
	endStreams  context.CancelFunc
	certificate func() time.Time // when the certificate expires; nil where it is not from files
}

// Ready is what is worth telling once a server may be used.
type Ready struct {
	URL       string       // where it answers
	SetupLink admit.Secret // makes the first administrator; only while there is none
	InboxURL  admit.Secret // opens the development inbox; only with Dev
	CanMail   bool
	CanText   bool
	Unsealed  bool // no master key seals the keys; not told with Dev
}

// New opens the data folder, which it makes where there is none, and listens
// where the configuration says; an empty Listen is for programs that mount
// Handler themselves. Its errors are of kind admit.Invalid where the
// configuration is at fault, and otherwise say what is in the way.
func New(ctx context.Context, cfg Config) (*Server, error) {
	s, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := s.edge(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// open is New without the edge.
func open(ctx context.Context, cfg Config) (_ *Server, err error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, live: cfg, told: limit.New()}
	s.streams, s.endStreams = context.WithCancel(context.WithoutCancel(ctx))
	s.log, s.lines = cfg.logger()
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	// Who cannot listen must not touch the folder, nor make one.
	if err := errors.Join(s.listen(), s.listenOps()); err != nil {
		return nil, err
	}
	if cfg.Database == "" {
		if err := s.takeFolder(); err != nil {
			return nil, err
		}
	}
	if s.db, err = db.Open(ctx, cfg.database()); err != nil {
		return nil, err
	}
	instance, err := s.db.Instance(ctx)
	if err != nil {
		return nil, err
	}
	s.life = instance.Epoch
	if err := s.openKeys(ctx, time.Now()); err != nil {
		return nil, err
	}
	if s.stored, err = s.db.Sessions(ctx); err != nil {
		return nil, err
	}
	var ended feed.Sink
	var tries account.Observer
	if cfg.OpsListen != "" {
		s.metrics = metrics.New(Version())
		ended, tries = s.metrics, s.metrics
	}
	var stored session.Store = s.stored
	if err := s.openTraces(); err != nil {
		return nil, err
	}
	if s.tracer != nil {
		stored = tracedStore{s.stored}
	}
	s.codes = stored // of which each is read once
	stored, forget, err := s.near(stored, !s.db.Shared())
	if err != nil {
		return nil, err
	}
	s.db.Changed = forget
	s.db.Raised = func(subject string, ended bool) {
		forget(session.EpochKey(subject))
		if ended && s.metrics != nil {
			s.metrics.SubjectEnded("account_changed")
		}
	}
	// Whether plain HTTP will do is for who answers requests to say.
	if s.proofs, err = dpop.NewVerifier(s.publicURL(), &dpop.Options{InsecureAllowHTTP: true}); err != nil {
		return nil, err
	}
	if s.sessions, err = session.New[web.Data](stored, &session.Options{
		Name: s.cookieName("admit"), InsecureAllowHTTP: cfg.Dev, Bearer: true, Feed: ended,
		Named: web.NamedBy(s.cookieName(web.JWTCookie), s.proofs, func(ctx context.Context, text string) (*session.Named, string, error) {
			return s.accounts.VerifyJWT(ctx, text)
		}),
	}); err != nil {
		return nil, err
	}
	s.breached.log = s.log
	s.breached.use(cfg)
	hashing := &password.Options{InsecureHashes: true} // whether they are kept is for who imports them
	if len(cfg.Hashers) > 0 {
		s.hashers = &hashers{command: cfg.Hashers, asking: askingTime, log: s.log}
		hashing.Argon2id = s.hashers.argon2id
	}
	if s.passwords, err = password.New(hashing); err != nil {
		return nil, err
	}
	if s.senders, err = cfg.senders(); err != nil {
		return nil, err
	}
	if cfg.Dev {
		s.inbox = &notify.Inbox{}
		s.senders["mail"], s.senders["text"] = s.inbox, s.inbox
	}
	texts, err := cfg.textBudget()
	if err != nil {
		return nil, err
	}
	if s.accounts, err = account.New(s.db, account.Options{
		Passwords: s.passwords,
		Policy:    password.Policy{MinLength: cfg.PasswordMinLength, Breached: s.breached.has},
		Limiter:   limit.New(),
		Keys:      s.keys.Cookies(),
		CanMail:   s.senders["mail"] != nil,
		CanText:   s.senders["text"] != nil,
		PublicURL: s.publicURL(),
		Signing:   s.keys,
		Audiences: cfg.Audiences,
		Observer:  tries,
		Tracer:    s.tracer,
		Copies:    s.accountCopies(),
		Current:   s.db.Current,
		Watch:     limit.NewWatch(),
		Alarm:     s.alarm,
		Texts:     texts,
		NoText:    s.noText,
		Shared:    s.db.Shared(),

		Ensure:          s.keys.Ensure,
		Authenticators:  authenticators(s.publicURL()),
		FactorLossDelay: s.cfg.factorLossDelay(),
	}); err != nil {
		return nil, err
	}
	s.origins.clients = s.accounts.FindKnownClients
	return s, s.accounts.ExpectHashes(ctx)
}

// edge makes the handler, and the links that the terminal shows.
func (s *Server) edge(ctx context.Context) error {
	s.ready = Ready{URL: s.publicURL(), CanMail: s.accounts.CanMail(), CanText: s.accounts.CanText(), Unsealed: s.cfg.masterSources() == 0 && !s.cfg.Dev}
	link, err := s.accounts.SetupLink(ctx, time.Now())
	if err != nil {
		return err
	}
	if link != "" {
		s.ready.SetupLink = admit.NewSecret(s.publicURL() + "/link/" + link)
	}
	if s.https != nil && s.https.auto == nil {
		s.certificate = s.https.expires
	}
	if s.metrics != nil {
		s.measure()
	}
	return s.show()
}

// show makes the handler, for the configuration of now.
func (s *Server) show() error {
	o := web.Options{
		Accounts:    s.accounts,
		Sessions:    s.sessions,
		Proofs:      s.proofs,
		Keys:        s.keys.Cookies(),
		Ring:        s.listKeys,
		Published:   publicKeys{s.outward()},
		PublicURL:   s.publicURL(),
		CookieName:  s.cookieName,
		CORSOrigins: s.live.CORSOrigins,
		ReturnHosts: s.live.ReturnHosts,
		Proxies:     s.cfg.proxies(),
		Aliases:     s.cfg.ACME,
		Log:         s.log,
		Ready:       s.db.Ping,
		Before:      s.face.now.Load(),
		Tracer:      s.tracer,

		Codes:    s.codes,
		Provider: s.letsIn,

		Feed:         s.db.Feed().Served(),
		FeedFollower: s.cfg.FeedFollower,
		Streams:      s.streams,
	}
	if s.metrics != nil {
		o.Observer = s.metrics
	}
	if s.inbox != nil {
		key := s.cfg.DevKey
		if key.IsZero() {
			key = admit.NewSecret(strings.ToLower(rand.Text()))
			s.cfg.DevKey = key // the same one after a reload
		}
		o.Dev = &web.Dev{Key: key, Inbox: s.inbox}
		s.ready.InboxURL = admit.NewSecret(s.publicURL() + "/dev/inbox?key=" + url.QueryEscape(key.Reveal()))
	}
	var err error
	if o.Sites, err = s.live.sites(); err != nil {
		return err
	}
	if o.Theme, err = readTheme(s.live.Theme); err != nil {
		return err
	}
	letters, err := readLetters(s.live.Theme, o.Theme)
	if err == nil {
		err = s.face.set(o)
	}
	if err == nil {
		s.accounts.SetLetters(letters)
	}
	return err
}

// Version is the version of this program, (devel) where it was built from
// no release.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// TuneMemory lets a process that does nothing but serve use more memory between
// collections, up to a bound: what a request leaves behind costs a third to
// collect. GOGC and GOMEMLIMIT go before it. The command admit calls it; other
// programs have their own needs.
func TuneMemory() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(300)
		debug.SetMemoryLimit(384 << 20)
	}
}

// Handler returns what answers requests, for programs that mount it.
func (s *Server) Handler() http.Handler { return &s.face }

// Ready returns what is worth telling.
func (s *Server) Ready() Ready { return s.ready }

// Run serves until ctx is done, then lets the requests under way finish, and
// returns nil. What was acknowledged is on disk whenever it ends.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if s.lock == nil { // the database needs no folder, but the socket does
		if err := s.takeFolder(); err != nil {
			return err
		}
	}
	socket, err := s.openSocket()
	if err != nil {
		return err
	}
	defer socket.Close()
	var work sync.WaitGroup
	drain := s.serveEdge(&work, cancel)
	work.Go(func() {
		if err := s.operate(socket); err != nil {
			cancel(err)
		}
	})
	var ops *http.Server
	if s.ops != nil {
		ops = s.operationsServer()
		work.Go(func() {
			if err := ops.Serve(s.ops); !errors.Is(err, http.ErrServerClosed) {
				cancel(err)
			}
		})
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	work.Go(func() { s.sessions.Run(background) })
	work.Go(func() { s.lines.run(background) })
	work.Go(func() { s.tendKeys(background) })
	work.Go(func() {
		if err := s.db.Check(background); err != nil && background.Err() == nil {
			s.log.Error("the database is damaged", slog.String("code", "database_corrupt"), slog.Any("error", err), slog.String("runbook", "database-corrupt.md"))
		}
	})
	if s.copies != nil {
		work.Go(func() { s.copies.Run(background) })
		work.Go(func() { s.followEndings(background) })
	}
	work.Go(func() { s.db.Listen(background) })
	work.Go(func() { s.heed(background) })
	work.Go(func() { s.tellClients(background) })
	work.Go(func() { s.sweepAudit(background) })
	work.Go(func() { s.tellLosses(background) })
	work.Go(func() { s.sweepFeed(background) })
	work.Go(func() { s.sweepProvider(background) })
	work.Go(func() { s.sweepStrangers(background) })
	work.Go(func() { s.sweepGuesses(background) })
	work.Go(func() { s.sweepTexts(background) })
	work.Go(func() { s.surveyAudit(background) })
	work.Go(func() { s.lookAround(background) })
	if s.traces != nil {
		work.Go(func() { s.traces.Run(background) })
	}
	work.Go(func() { s.deliver(background) })
	work.Go(func() { s.https.run(background, s.log) })
	<-ctx.Done()
	s.stopping.Store(true)
	s.endStreams()
	patience, done := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer done()
	err = drain(patience)
	if ops != nil {
		ops.Close() // last, for it says that we stop
	}
	socket.Close()
	stop()
	work.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// Close ends the streams of the feed and lets go of the data folder. It may be
// called more than once.
func (s *Server) Close() (err error) {
	s.closing.Do(func() {
		if s.endStreams != nil {
			s.endStreams()
		}
		closeAll(s.listeners)
		closeAll(s.plain)
		if s.ops != nil {
			s.ops.Close()
		}
		if s.hashers != nil {
			s.hashers.close()
		}
		if s.db != nil {
			err = s.db.Close()
		}
		if s.lock != nil {
			err = errors.Join(err, s.lock.Close())
		}
	})
	return err
}

// listen opens the configured addresses, and reads the certificate: who has
// none must not begin.
func (s *Server) listen() (err error) {
	if s.cfg.Listen == "" {
		return nil // nor does who only commands read it
	}
	if s.https, err = openHTTPS(s.cfg); err != nil {
		return err
	}
	if s.listeners, err = openListeners(s.cfg.Listen); err != nil || s.cfg.ListenHTTP == "" {
		return err
	}
	s.plain, err = openListeners(s.cfg.ListenHTTP)
	return err
}

// port is where the server listens, "" where it does not.
func (s *Server) port() string { return portOf(s.listeners) }

func (s *Server) publicURL() string {
	switch {
	case s.cfg.PublicURL != "":
		return s.cfg.PublicURL
	case len(s.cfg.ACME) > 0:
		return s.cfg.acmeURL()
	case s.https != nil && s.port() != "":
		return "https://localhost:" + s.port()
	case s.port() == "":
		return "http://localhost"
	}
	return "http://localhost:" + s.port()
}

// cookieName gives a cookie its prefix; in development, where it is sent over
// plain HTTP, the port, for browsers do not keep ports apart.
func (s *Server) cookieName(name string) string {
	if !s.cfg.Dev {
		return "__Host-" + name
	}
	u, _ := url.Parse(s.publicURL()) // which Check has seen
	return name + "-" + u.Port()
}

// takeFolder makes the data folder and holds it until Close.
func (s *Server) takeFolder() error {
	if err := os.MkdirAll(s.cfg.Data, 0o700); err != nil {
		return fmt.Errorf("%w: %w", ErrFolder, err)
	}
	var err error
	if s.lock, err = os.OpenFile(filepath.Join(s.cfg.Data, lockName), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return fmt.Errorf("%w: %w", ErrFolder, err)
	}
	if lockFile(s.lock) != nil {
		return ErrInUse // all that the cause says is that it is locked
	}
	return finishRestore(s.cfg.Data)
}

// openSocket opens the socket that the command line uses.
func (s *Server) openSocket() (net.Listener, error) {
	path := filepath.Join(s.cfg.Data, socketName)
	// The folder is ours, so a socket there is what a killed server left.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	return l, nil
}
