package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/web"
)

// An Operator does what the command line does to users and sessions. Where a
// server runs on the data folder it asks that one, through a socket that only
// the folder's owner can open, so that its caches hear of every change;
// otherwise it opens the database itself.
type Operator struct {
	Reason string // why things are done, for the audit
	Made   string // the data folder, where there was none and Connect made it

	do    func(ctx context.Context, name string, in []byte) ([]byte, error)
	close func() error
}

// Connect returns the operator of the configured data folder, or of the database
// that servers share, who hear of its changes from there. It must be closed.
func Connect(ctx context.Context, cfg Config) (*Operator, error) {
	made := ""
	if cfg.Database == "" {
		o, err := connect(ctx, cfg)
		if o != nil || err != nil {
			return o, err
		}
		if _, err := os.Stat(cfg.Data); errors.Is(err, fs.ErrNotExist) {
			made = cfg.Data
		}
	}
	cfg.Listen, cfg.OpsListen = "", ""
	s, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	operations := s.operations()
	return &Operator{
		Made: made,
		do: func(ctx context.Context, name string, in []byte) ([]byte, error) {
			if name == "reload" && cfg.Database != "" {
				// It is for the server of this machine, not for the database.
				if o, err := connect(ctx, cfg); o != nil || err != nil {
					if err != nil {
						return nil, err
					}
					defer o.Close()
					return o.do(ctx, name, in)
				}
			}
			return operations[name](ctx, in)
		},
		close: s.Close,
	}, nil
}

// connect returns the operator of the server that runs on the data folder, nil
// where none does.
func connect(ctx context.Context, cfg Config) (*Operator, error) {
	client := socketClient(cfg.Data)
	o := &Operator{
		do: func(ctx context.Context, name string, in []byte) ([]byte, error) {
			return post(ctx, client, name, in)
		},
		close: func() error { client.CloseIdleConnections(); return nil },
	}
	_, err := o.do(ctx, "ping", []byte("{}"))
	// The socket is there a moment before the server listens; where it was killed, for ever.
	for try := 0; try < 5 && errors.Is(err, syscall.ECONNREFUSED); try++ {
		time.Sleep(10 * time.Millisecond)
		_, err = o.do(ctx, "ping", []byte("{}"))
	}
	if err == nil {
		return o, nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w: %w", ErrFolder.WithHint("run this as the user of the server, such as by sudo -u"), err)
	}
	if !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("ask the running server: %w", err)
	}
	return nil, nil
}

// socketClient asks the server that runs on a data folder.
func socketClient(data string) *http.Client {
	socket := filepath.Join(data, socketName)
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
}

// Close lets go of the server or the database.
func (o *Operator) Close() error { return o.close() }

// A NewUser is a user to add.
type NewUser struct {
	Identifiers []string     `json:"identifiers"`
	Name        string       `json:"name,omitempty"`
	Password    admit.Secret `json:"-"` // none: the user cannot sign in with one
	Roles       []string     `json:"roles,omitempty"`
	Verified    bool         `json:"verified,omitempty"` // the identifiers are known to be the user's
}

// A UserFilter asks for users; the zero value, with a limit, asks for all.
type UserFilter account.UserQuery

// A User is one as administrators see it.
type User = web.ManagedUser

// A Role is a word that users have, and how many do.
type Role = web.Role

// An ImportedUser is all that is known of a user, as import and export write it.
type ImportedUser struct {
	User
	ExternalID   string           `json:"external_id,omitempty"` // what another program called the user
	MustChange   bool             `json:"must_change_password,omitempty"`
	PasswordHash string           `json:"password_hash,omitempty"`
	Factors      []ExportedFactor `json:"factors,omitempty"`
	APIKeys      []ExportedKey    `json:"api_keys,omitempty"` // import passes over them
}

// An ExportedFactor is a second factor. Without a secret or data import passes over
// it.
type ExportedFactor struct {
	ID        string     `json:"id"`
	Kind      string     `json:"kind"`
	Name      string     `json:"name,omitempty"`
	CreatedAt time.Time  `json:"created_at"`
	LastUsed  *time.Time `json:"last_used_at,omitempty"`
	Counter   int64      `json:"counter,omitempty"`
	Secret    string     `json:"secret,omitempty"` // base32, of an authenticator
	Data      string     `json:"data,omitempty"`   // of a passkey, or digests of recovery codes
}

// An ExportedKey is what is known of an API key; what proves it is not.
type ExportedKey struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Scopes    []string   `json:"scopes"`
	Audiences []string   `json:"audiences"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	LastUsed  *time.Time `json:"last_used_at,omitempty"`
	EndedAt   *time.Time `json:"ended_at,omitempty"`
}

// A Session is one as the API shows it, whose it is, and its data.
type Session struct {
	web.Session
	Subject string   `json:"subject,omitempty"`
	Data    web.Data `json:"data"`
}

// AddUser makes a user.
func (o *Operator) AddUser(ctx context.Context, in NewUser) (User, error) {
	return ask[User](ctx, o, "add-user", withPassword{in, in.Password.Reveal()})
}

// User returns the user with this id or identifier.
func (o *Operator) User(ctx context.Context, user string) (User, error) {
	return ask[User](ctx, o, "user", target{User: user})
}

// Users returns up to f.Limit users in the order of their ids.
func (o *Operator) Users(ctx context.Context, f UserFilter) ([]User, error) {
	return ask[[]User](ctx, o, "users", f)
}

// SetDisabled keeps a user from signing in and ends its sessions, or lets it
// sign in again.
func (o *Operator) SetDisabled(ctx context.Context, user string, disabled bool) error {
	_, err := ask[none](ctx, o, "set-disabled", target{User: user, Disabled: disabled, Reason: o.Reason})
	return err
}

// DeleteUser removes a user with all that hangs on it.
func (o *Operator) DeleteUser(ctx context.Context, user string) error {
	_, err := ask[none](ctx, o, "delete-user", target{User: user, Reason: o.Reason})
	return err
}

// SetPassword gives a user a password and ends its sessions.
func (o *Operator) SetPassword(ctx context.Context, user string, password admit.Secret) error {
	_, err := ask[none](ctx, o, "set-password", target{User: user, Password: password.Reveal(), Reason: o.Reason})
	return err
}

// Roles returns the roles that users have, by name. A role that nobody has any
// longer is not there.
func (o *Operator) Roles(ctx context.Context) ([]Role, error) {
	return ask[[]Role](ctx, o, "roles", none{})
}

// GrantRole gives a user a role.
func (o *Operator) GrantRole(ctx context.Context, user, role string) error {
	_, err := ask[none](ctx, o, "grant-role", target{User: user, Role: role, Reason: o.Reason})
	return err
}

// RevokeRole takes a role away from a user.
func (o *Operator) RevokeRole(ctx context.Context, user, role string) error {
	_, err := ask[none](ctx, o, "revoke-role", target{User: user, Role: role, Reason: o.Reason})
	return err
}

// ImportUser makes a user just as described.
func (o *Operator) ImportUser(ctx context.Context, in ImportedUser) (User, error) {
	return ask[User](ctx, o, "import-user", in)
}

// ExportUsers returns up to limit users in the order of their ids, after one; if
// asked, with the hashes of their passwords, and with what second factors are
// checked with.
func (o *Operator) ExportUsers(ctx context.Context, after string, limit int, hashes, factors bool) ([]ImportedUser, error) {
	return ask[[]ImportedUser](ctx, o, "export-users", exportPage{after, limit, hashes, factors})
}

// Sessions returns up to limit live sessions of a user, or of everybody and
// guests where user is "", in the order of their ids, after one, and the id to
// go on after, "" at the end.
func (o *Operator) Sessions(ctx context.Context, user, after string, limit int) (all []Session, next string, err error) {
	p, err := ask[sessionPage](ctx, o, "sessions", sessionFilter{user, page{After: after, Limit: limit}})
	return p.Sessions, p.Next, err
}

// Session returns a live session.
func (o *Operator) Session(ctx context.Context, sid string) (Session, error) {
	return ask[Session](ctx, o, "session", target{SID: sid})
}

// EndSession ends a session.
func (o *Operator) EndSession(ctx context.Context, sid string) error {
	_, err := ask[none](ctx, o, "end-session", target{SID: sid, Reason: o.Reason})
	return err
}

// EndAll ends every session of a user and returns how many there were.
func (o *Operator) EndAll(ctx context.Context, user string) (int, error) {
	return ask[int](ctx, o, "end-all", target{User: user, Reason: o.Reason})
}

// EndEveryone ends every session there is, guests' included, and returns how
// many there were.
func (o *Operator) EndEveryone(ctx context.Context) (int, error) {
	return ask[int](ctx, o, "end-everyone", target{Reason: o.Reason})
}

// A RecordFilter asks for records of the audit; the zero value, with a limit,
// asks for all of them, newest first.
type RecordFilter account.RecordQuery

// A Record is one of the audit.
type Record = web.Record

// RecordHead names the columns of a table of records.
func RecordHead() []string { return web.RecordHead() }

// Records returns up to f.Limit records of the audit, and where to go on, the
// zero Mark at the end. There may be fewer and yet more to come.
func (o *Operator) Records(ctx context.Context, f RecordFilter) ([]Record, Mark, error) {
	p, err := ask[recordPage](ctx, o, "records", f)
	return p.Records, p.Next, err
}

// A Mark is a place in the audit.
type Mark = account.Mark

// What crosses the socket.
type (
	none   struct{}
	target struct {
		User     string `json:"user,omitempty"` // id or identifier
		SID      string `json:"sid,omitempty"`
		Role     string `json:"role,omitempty"`
		Disabled bool   `json:"disabled,omitempty"`
		Password string `json:"password,omitempty"`
		Reason   string `json:"reason,omitempty"`
	}
	page struct {
		After string `json:"after"`
		Limit int    `json:"limit"`
	}
	sessionFilter struct {
		User string `json:"user"`
		page
	}
	sessionPage struct {
		Sessions []Session `json:"sessions"`
		Next     string    `json:"next"`
	}
	recordPage struct {
		Records []Record `json:"records"`
		Next    Mark     `json:"next"`
	}
	withPassword struct {
		NewUser
		Password string `json:"password,omitempty"`
	}
)

func ask[Out any](ctx context.Context, o *Operator, name string, in any) (out Out, err error) {
	b, err := json.Marshal(in)
	if err != nil {
		return out, fmt.Errorf("ask for %s: %w", name, err)
	}
	if b, err = o.do(ctx, name, b); err != nil {
		return out, err
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return out, fmt.Errorf("read the answer to %s: %w", name, err)
	}
	return out, nil
}

// maxAnswer bounds what is read from the socket, in bytes.
const maxAnswer = 256 << 20

func post(ctx context.Context, client *http.Client, name string, in []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, "POST", "http://admit/"+name, bytes.NewReader(in))
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(http.MaxBytesReader(nil, res.Body, maxAnswer)); err != nil {
		return nil, fmt.Errorf("read the answer to %s: %w", name, err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, problem.Parse(b.Bytes())
	}
	return b.Bytes(), nil
}

// An operation is what the socket offers under one name.
type operation func(ctx context.Context, in []byte) ([]byte, error)

func op[In, Out any](fn func(context.Context, In) (Out, error)) operation {
	return func(ctx context.Context, b []byte) ([]byte, error) {
		var in In
		if err := json.Unmarshal(b, &in); err != nil {
			return nil, fmt.Errorf("read a request: %w", err)
		}
		out, err := fn(ctx, in)
		if err != nil {
			return nil, err
		}
		return json.Marshal(out)
	}
}

// byOperator is who did it, in the audit, and why.
func byOperator(reason string) account.By {
	return account.By{Actor: "operator", Reason: reason}
}

func (s *Server) operations() map[string]operation {
	// on finds the user first: commands take an id or an identifier.
	on := func(fn func(ctx context.Context, id string, in target, now time.Time) error) operation {
		return op(func(ctx context.Context, in target) (none, error) {
			u, err := s.accounts.FindUser(ctx, in.User)
			if err != nil {
				return none{}, err
			}
			return none{}, fn(ctx, u.ID, in, time.Now())
		})
	}
	all := map[string]operation{
		"ping":   op(func(context.Context, none) (none, error) { return none{}, nil }),
		"schema": op(func(context.Context, none) (int, error) { return s.db.Schema().Program, nil }),
		"note-backup": op(func(ctx context.Context, taken time.Time) (none, error) {
			if err := s.db.NoteBackup(ctx, taken); err != nil {
				return none{}, err
			}
			s.log.InfoContext(ctx, "backup", slog.Time("taken_at", taken))
			return none{}, nil
		}),
		"status": op(func(context.Context, none) (status, error) { return s.status(), nil }),
		"expect-probe": op(func(_ context.Context, in target) (none, error) {
			s.face.probes.expect(in.SID)
			return none{}, nil
		}),
		"take-probe": op(func(_ context.Context, in target) (*probe, error) { return s.face.probes.take(in.SID), nil }),
		"roles": op(func(ctx context.Context, _ none) ([]Role, error) {
			found, err := s.accounts.Roles(ctx)
			roles := make([]Role, len(found))
			for i, r := range found {
				roles[i] = Role(r)
			}
			return roles, err
		}),
		"add-user": op(func(ctx context.Context, in withPassword) (User, error) {
			u, err := s.accounts.AddUser(ctx, account.NewUser{
				Identifiers: in.Identifiers, Name: in.Name, Password: admit.NewSecret(in.Password), Roles: in.Roles, Verified: in.Verified,
			}, byOperator(""), time.Now())
			return userOf(u), err
		}),
		"user": op(func(ctx context.Context, in target) (User, error) {
			u, err := s.accounts.FindUser(ctx, in.User)
			return userOf(u), err
		}),
		"users": op(func(ctx context.Context, in UserFilter) ([]User, error) {
			all, err := s.accounts.FindUsers(ctx, (*account.UserQuery)(&in))
			out := make([]User, len(all))
			for i, u := range all {
				out[i] = userOf(u)
			}
			return out, err
		}),
		"records": op(func(ctx context.Context, in RecordFilter) (recordPage, error) {
			all, next, err := s.accounts.Records(ctx, (*account.RecordQuery)(&in))
			out := recordPage{make([]Record, len(all)), next}
			for i := range all {
				out.Records[i] = web.RecordOf(&all[i])
			}
			return out, err
		}),
		"set-disabled": on(func(ctx context.Context, id string, in target, now time.Time) error {
			_, err := s.accounts.Change(ctx, id, account.UserChange{Disabled: &in.Disabled}, byOperator(in.Reason), now)
			return err
		}),
		"delete-user": on(func(ctx context.Context, id string, in target, now time.Time) error {
			return s.accounts.DeleteUser(ctx, id, byOperator(in.Reason), now)
		}),
		"set-password": on(func(ctx context.Context, id string, in target, now time.Time) error {
			return s.accounts.SetPassword(ctx, id, admit.NewSecret(in.Password), byOperator(in.Reason), now)
		}),
		"factors": op(func(ctx context.Context, in target) ([]Factor, error) {
			u, err := s.accounts.FindUser(ctx, in.User)
			if err != nil {
				return nil, err
			}
			return s.factors(ctx, u.ID)
		}),
		"reset-factors": on(func(ctx context.Context, id string, in target, now time.Time) error {
			return s.accounts.ResetFactors(ctx, id, byOperator(in.Reason), now)
		}),
		"grant-role": on(func(ctx context.Context, id string, in target, now time.Time) error {
			return s.accounts.Grant(ctx, id, in.Role, byOperator(in.Reason), now)
		}),
		"revoke-role": on(func(ctx context.Context, id string, in target, now time.Time) error {
			return s.accounts.Revoke(ctx, id, in.Role, byOperator(in.Reason), now)
		}),
		"import-user": op(func(ctx context.Context, in ImportedUser) (User, error) {
			u, err := s.accounts.Import(ctx, accountOf(in), in.PasswordHash, byOperator(""), time.Now())
			return userOf(u), err
		}),
		"sessions": op(func(ctx context.Context, in sessionFilter) (sessionPage, error) {
			subject := ""
			if in.User != "" {
				u, err := s.accounts.FindUser(ctx, in.User)
				if err != nil {
					return sessionPage{}, err
				}
				subject = u.ID
			}
			all, next, err := s.sessions.ListPage(ctx, subject, in.After, in.Limit)
			out := sessionPage{make([]Session, len(all)), next}
			for i := range all {
				out.Sessions[i] = Session{Session: web.SessionOf(&all[i], "", web.Data{}), Subject: all[i].Subject}
			}
			return out, err
		}),
		"session": op(func(ctx context.Context, in target) (Session, error) {
			found, err := s.sessions.Find(ctx, in.SID)
			if err != nil {
				return Session{}, err
			}
			return Session{web.SessionOf(&found.Info, "", found.Data), found.Subject, found.Data}, nil
		}),
		"end-session": op(func(ctx context.Context, in target) (none, error) {
			return none{}, s.endSession(ctx, in.SID, in.Reason)
		}),
		"end-all": op(func(ctx context.Context, in target) (int, error) {
			u, err := s.accounts.FindUser(ctx, in.User)
			if err != nil {
				return 0, err
			}
			all, err := s.sessions.List(ctx, u.ID)
			if err != nil {
				return 0, err
			}
			r := byOperator(in.Reason).Record(time.Now(), u.ID, "sessions_ended", "")
			ctx = s.accounts.Auditing(ctx, account.EpochRaised, *r, account.Origin{})
			return len(all), s.sessions.EndAll(ctx, u.ID, "", "ended_by_operator")
		}),
		"reload": op(func(ctx context.Context, _ none) (Reloaded, error) { return s.reload(ctx) }),
		"end-everyone": op(func(ctx context.Context, in target) (int, error) {
			r := byOperator(in.Reason).Record(time.Now(), "", "session_ended", "")
			ctx = s.accounts.Auditing(ctx, account.SessionEnded, *r, account.Origin{})
			return s.sessions.EndEveryone(ctx, "ended_by_operator")
		}),
	}
	s.keyOperations(all)
	s.tokenOperations(all)
	s.clientOperations(all)
	s.moverOperations(all)
	return all
}

func userOf(u *account.User) User {
	if u == nil {
		return User{}
	}
	return User{User: web.UserOf(u), Disabled: u.Disabled}
}

func accountOf(in ImportedUser) *account.User {
	u := &account.User{ID: in.ID, Name: in.Name, Locale: in.Locale, Disabled: in.Disabled, CreatedAt: in.CreatedAt, Roles: in.Roles}
	for _, id := range in.Identifiers {
		u.Identifiers = append(u.Identifiers, account.Identifier{Value: id.Value, Verified: id.Verified, Primary: id.Primary})
	}
	return u
}

// operate serves the operations on the socket until the listener is closed.
func (s *Server) operate(l net.Listener) error {
	operations := s.operations()
	srv := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			run, ok := operations[strings.TrimPrefix(r.URL.Path, "/")] // CONNECT has no path
			if !ok || r.Method != "POST" {
				problem.Write(w, admit.NotFound, "")
				return
			}
			var in bytes.Buffer
			_, err := in.ReadFrom(http.MaxBytesReader(w, r.Body, 1<<20))
			var out []byte
			if err == nil {
				out, err = run(r.Context(), in.Bytes())
			}
			if err != nil {
				problem.Write(w, err, "")
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.Write(out)
		}),
	}
	if err := srv.Serve(l); !errors.Is(err, net.ErrClosed) && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
