package account

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/otp"
	"github.com/admit-auth/admit/password"
)

// What is refused about lines of an import.
var (
	ErrExternalID    = admit.Invalid.New("external_id_malformed", "An external id has up to 255 characters, none of them a control character.")
	ErrThere         = admit.Conflict.New("already_there", "This user is there already.")
	ErrTwoUsers      = admit.Conflict.New("two_users", "This line's names are those of two users.")
	ErrImportFactor  = admit.Invalid.New("factor_malformed", "This is no second factor that can be imported.").WithHint("A TOTP secret is base32, of 10 to 64 bytes; passkeys and recovery codes come from an export of this server's kind.")
	ErrImportMoved   = admit.Conflict.New("import_moved", "Another run has gone on with this import.").WithHint("Run it again when the other one is over.")
	errDry           = errors.New("nothing of this is kept")
	errInsecureModes = errors.New("account: there is no such way with insecure hashes")
)

// What becomes of hashes that are insecure.
const (
	WrapInsecure   = "wrap" // Argon2id is put over them
	KeepInsecure   = "keep"
	RefuseInsecure = "refuse"
)

// An Arrival is one line of what is imported.
type Arrival struct {
	Line       int
	User       *User
	ExternalID string
	Hash       string
	Factors    []ImportedFactor
	Refused    error // why it is no user; the rest is then of no meaning

	// What the line says of a user that is there already.
	HasRoles, HasDisabled bool
}

// An ImportState says how far an import is. What was read is known by its length
// and digest, so that who goes on knows whether it is the same.
type ImportState struct {
	ID     string
	Bytes  int64
	Digest string
	Lines  int // read; the first is 1
	Made   int
	Mended int
	There  int
	At     time.Time
	Done   bool
}

// A LineRefusal says why a line was not taken.
type LineRefusal struct {
	Line         int
	Code, Detail string
}

// An Import is a piece of one.
type Import struct {
	From, To ImportState // To's counts are made by ImportUsers
	Arrivals []Arrival
	Insecure string // hashes: WrapInsecure where it is ""
	Mend     bool   // users that are there
	Dry      bool   // nothing is kept
}

// Imports are how far imports are, and who came by them.
type Imports interface {
	// ImportState returns the zero state, with the id, of one that is not known.
	ImportState(id string) (ImportState, error)
	PutImport(s ImportState, refused []LineRefusal) error
	// DropImports forgets one, and those that were last worked at before a time.
	DropImports(id string, before time.Time) error
	// ImportRefusals returns up to limit in the order of their lines, after one.
	ImportRefusals(id string, after, limit int) ([]LineRefusal, error)

	// Known returns which users have these names: external ids, and identifiers or
	// ids in one, each with the id of its user.
	Known(external, names []string) (byExternal, byName map[string]string, err error)
	// AddUsers makes users that are not there, whose names are free.
	AddUsers(all []Arrived, now time.Time) error
	ExternalIDs(users []string) (map[string]string, error)
	// Holdings returns the hashes of users' passwords, and who of them has API keys
	// and factors: an export asks once for a page and not for each user.
	Holdings(users []string) (hashes, keys, factors map[string]string, err error)
	SetExternalID(user, external string) error
}

// An Arrived is a new user with what only an import brings.
type Arrived struct {
	*User
	ExternalID string
	Hash       string
	Factors    []ImportedFactor
}

// keepImports is how long an import can be gone on with.
const keepImports = 30 * 24 * time.Hour

// ImportState returns how far an import is.
func (s *Service) ImportState(ctx context.Context, id string) (state ImportState, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		state, err = tx.ImportState(id)
		return err
	})
	return state, err
}

// DropImport forgets an import, and those that nobody has gone on with.
func (s *Service) DropImport(ctx context.Context, id string, now time.Time) error {
	return s.update(ctx, func(tx Tx) error { return tx.DropImports(id, now.Add(-keepImports)) })
}

// ImportRefusals returns up to limit lines of an import that were refused.
func (s *Service) ImportRefusals(ctx context.Context, id string, after, limit int) (all []LineRefusal, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		all, err = tx.ImportRefusals(id, after, limit)
		return err
	})
	return all, err
}

// ImportUsers takes a piece of an import, in one transaction with how far it then
// is: so that none comes twice, whenever it is broken off. Each line stands for
// itself.
func (s *Service) ImportUsers(ctx context.Context, in Import, by By, now time.Time) (to ImportState, refused []LineRefusal, err error) {
	in.Insecure = cmp.Or(in.Insecure, WrapInsecure)
	if !slices.Contains([]string{WrapInsecure, KeepInsecure, RefuseInsecure}, in.Insecure) {
		return to, nil, errInsecureModes
	}
	prefix := idPrefix()
	for i := range in.Arrivals {
		a := &in.Arrivals[i]
		if a.Refused == nil {
			a.User = a.User.clone()
			a.Refused = a.complete(in.Insecure, prefix, now)
		}
	}
	if in.Insecure == WrapInsecure && !in.Dry {
		if err := s.wrapAll(ctx, in.Arrivals); err != nil {
			return to, nil, err
		}
	}
	err = s.update(ctx, func(tx Tx) error {
		to, refused, err = s.importIn(tx, &in, by, now)
		if err == nil && in.Dry {
			err = errDry
		}
		return err
	})
	if err != nil && !errors.Is(err, errDry) {
		return to, nil, err
	}
	for i := range in.Arrivals {
		if hash := in.Arrivals[i].Hash; hash != "" && in.Arrivals[i].Refused == nil && !in.Dry {
			s.o.Passwords.Expect(hash)
		}
	}
	return to, refused, nil
}

// idPrefix begins the ids of users that come together: so they stand on the same
// pages of the database, which is what a large import spends its time with. The
// other 18 characters are 90 random bits.
func idPrefix() string { return newID()[:8] }

func (a *Arrival) complete(insecure, prefix string, now time.Time) error {
	if a.User.ID == "" {
		a.User.ID = prefix + newID()[8:]
	}
	if err := a.User.complete(now); err != nil {
		return err
	}
	for i, id := range a.User.Identifiers {
		if slices.ContainsFunc(a.User.Identifiers[:i], func(o Identifier) bool { return o.Value == id.Value }) {
			return &admit.FieldError{Field: "identifier", Err: ErrTaken}
		}
	}
	slices.Sort(a.User.Roles)
	a.User.Roles = slices.Compact(a.User.Roles)
	if len(a.ExternalID) > 255 || strings.ContainsFunc(a.ExternalID, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xFFFD }) {
		return &admit.FieldError{Field: "external_id", Err: ErrExternalID}
	}
	if a.Hash != "" {
		if _, ok := password.Identify(a.Hash); !ok {
			return &admit.FieldError{Field: "password_hash", Err: password.ErrFormat}
		}
		if insecure == RefuseInsecure && password.Insecure(a.Hash) {
			return &admit.FieldError{Field: "password_hash", Err: password.ErrInsecure}
		}
	}
	return a.completeFactors(now)
}

// An ImportedFactor is a second factor on its way from or to another place.
type ImportedFactor struct {
	ID        string
	Kind      FactorKind
	Name      string
	CreatedAt time.Time
	LastUsed  time.Time
	Counter   int64
	Secret    []byte // of an authenticator app
	Data      string // of a passkey, or recovery codes' digests
}

// completeFactors checks the second factors that a line brings.
func (a *Arrival) completeFactors(now time.Time) (err error) {
	bad := &admit.FieldError{Field: "factors", Err: ErrImportFactor}
	a.Factors = slices.Clone(a.Factors)
	for i := range a.Factors {
		f := &a.Factors[i]
		if f.Name, err = cleanFactorName(f.Name); err != nil {
			return &admit.FieldError{Field: "factors", Err: err}
		}
		if f.CreatedAt.IsZero() || f.CreatedAt.After(now) {
			f.CreatedAt = now
		}
		switch {
		case f.Kind == TOTP && len(f.Secret) >= 10 && len(f.Secret) <= 64 && f.Data == "" && idOK(f.ID):
			if f.ID == "" {
				f.ID = newID()
			}
			if _, err := otp.New(f.Secret, nil); err != nil {
				return bad
			}
		case (f.Kind == Passkey || f.Kind == Recovery) && len(f.Secret) == 0 && f.ID != "" && len(f.ID) <= 1400 && len(f.Data) <= 16<<10 && json.Valid([]byte(f.Data)):
		default:
			return bad
		}
	}
	return nil
}

// addFactors keeps the factors of a line.
func (s *Service) addFactors(tx Tx, user string, all []ImportedFactor, now time.Time) error {
	for _, f := range all {
		kept := &Factor{ID: f.ID, User: user, Kind: f.Kind, Name: f.Name, CreatedAt: f.CreatedAt, LastUsed: f.LastUsed, Counter: f.Counter, Data: f.Data}
		if f.Kind == TOTP {
			kept.Data = s.sealFactor(f.ID, f.Secret, f.CreatedAt)
		}
		if err := tx.AddFactor(kept); err != nil {
			return err
		}
	}
	return nil
}

// freeFactors returns ErrTaken where a factor is there already.
func freeFactors(tx Tx, all []ImportedFactor) error {
	for _, f := range all {
		if _, err := tx.Factor(f.ID); err == nil {
			return &admit.FieldError{Field: "factors", Err: ErrTaken}
		} else if !errors.Is(err, ErrUnknownFactor) {
			return err
		}
	}
	return nil
}

// wrapAll puts Argon2id over insecure hashes, 25 ms each: on all cores, in turns
// that people who sign in have besides.
func (s *Service) wrapAll(ctx context.Context, all []Arrival) error {
	var todo []*Arrival
	for i := range all {
		if all[i].Refused == nil && password.Insecure(all[i].Hash) {
			todo = append(todo, &all[i])
		}
	}
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var work sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(todo)) {
		work.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(todo) && failed.Load() == nil; i = int(next.Add(1)) - 1 {
				for {
					hash, err := s.o.Passwords.Wrap(ctx, todo[i].Hash, password.Stranger)
					if errors.Is(err, password.ErrBusy) {
						continue // it has waited its time
					}
					if err != nil {
						failed.Store(&err)
						return
					}
					todo[i].Hash = hash
					break
				}
			}
		})
	}
	work.Wait()
	if err := failed.Load(); err != nil {
		return fmt.Errorf("wrap hashes: %w", *err)
	}
	return nil
}

// importIn is ImportUsers in its transaction. It may run more than once.
func (s *Service) importIn(tx Tx, in *Import, by By, now time.Time) (to ImportState, refused []LineRefusal, err error) {
	if !in.Dry {
		is, err := tx.ImportState(in.To.ID)
		if err != nil {
			return to, nil, err
		}
		if is.Bytes != in.From.Bytes || is.Lines != in.From.Lines {
			return to, nil, ErrImportMoved
		}
	}
	to = in.To
	to.Made, to.Mended, to.There, to.At = in.From.Made, in.From.Mended, in.From.There, now
	known, err := lookUp(tx, in.Arrivals)
	if err != nil {
		return to, nil, err
	}
	var made []Arrived
	for i := range in.Arrivals {
		a := &in.Arrivals[i]
		if a.Refused != nil {
			refused = append(refused, refusalOf(a.Line, a.Refused))
			continue
		}
		id, said, err := known.owner(a)
		if err == nil && id == "" {
			err = freeFactors(tx, a.Factors)
		}
		switch {
		case err != nil:
		case id == "":
			made = append(made, Arrived{a.User, a.ExternalID, a.Hash, a.Factors})
			known.add(a)
			to.Made++
			if err := tx.Record(by.Record(now, a.User.ID, "user_imported", "")); err != nil {
				return to, nil, err
			}
			continue
		case slices.ContainsFunc(made, func(m Arrived) bool { return m.ID == id }):
			err = ErrTaken // by a line of the same piece
		case !in.Mend:
			err = ErrThere
		default:
			var changed bool
			if changed, err = s.mend(tx, id, said, a, by, now); err == nil {
				if changed {
					to.Mended++
				} else {
					to.There++
				}
				continue
			}
		}
		if !isRefusal(err) {
			return to, nil, err
		}
		if errors.Is(err, ErrThere) {
			to.There++
		}
		refused = append(refused, refusalOf(a.Line, err))
	}
	if err := tx.AddUsers(made, now); err != nil {
		return to, nil, err
	}
	for _, a := range made {
		if err := s.addFactors(tx, a.ID, a.Factors, now); err != nil {
			return to, nil, err
		}
	}
	if in.Dry {
		return to, refused, nil
	}
	return to, refused, tx.PutImport(to, refused)
}

func isRefusal(err error) bool {
	switch admit.KindOf(err) {
	case admit.Invalid, admit.Conflict, admit.NotFound:
		return true
	}
	return false
}

func refusalOf(line int, err error) LineRefusal {
	r := LineRefusal{Line: line, Code: "refused", Detail: err.Error()}
	if e, ok := errors.AsType[*admit.Error](err); ok {
		r.Code, r.Detail = e.Code(), e.Error()
	}
	if f, ok := errors.AsType[*admit.FieldError](err); ok {
		r.Detail = f.Field + ": " + r.Detail
	}
	return r
}

// names are what is taken in the database and by lines before.
type names struct{ external, name map[string]string }

func lookUp(tx Tx, all []Arrival) (n names, err error) {
	var external, name []string
	for i := range all {
		a := &all[i]
		if a.Refused != nil {
			continue
		}
		if a.ExternalID != "" {
			external = append(external, a.ExternalID)
		}
		name = append(name, a.User.ID)
		for _, id := range a.User.Identifiers {
			name = append(name, id.Value)
		}
	}
	n.external, n.name, err = tx.Known(external, name)
	return n, err
}

// owner returns the user that a line is about, "" where it is a new one, and
// whether an id or an external id says so. Without, all identifiers must be one
// user's.
func (n names) owner(a *Arrival) (id string, said bool, err error) {
	taken := func(field string) (string, bool, error) {
		return "", false, &admit.FieldError{Field: field, Err: ErrTaken}
	}
	id = n.name[a.User.ID]
	if id != "" && id != a.User.ID {
		return taken("id") // it is what somebody signs in with
	}
	if o := n.external[a.ExternalID]; o != "" {
		if id != "" && o != id {
			return "", false, ErrTwoUsers
		}
		id = o
	}
	said = id != ""
	free := 0
	for _, i := range a.User.Identifiers {
		o := n.name[i.Value]
		if o == "" {
			free++
			continue
		}
		if id != "" && o != id || o == i.Value && o != id {
			return taken("identifier")
		}
		id = o
	}
	if !said && id != "" && free > 0 {
		return taken("identifier") // one name is somebody's and one nobody's: who is it?
	}
	return id, said, nil
}

func (n names) add(a *Arrival) {
	if a.ExternalID != "" {
		n.external[a.ExternalID] = a.User.ID
	}
	n.name[a.User.ID] = a.User.ID
	for _, id := range a.User.Identifiers {
		n.name[id.Value] = a.User.ID
	}
}

// mend brings a user who is there to what a line says, and reports whether that
// changed anything. What the line does not say stays. Nothing that the user has
// is taken away but roles: identifiers are added and proved ones stay proved; a
// password is set only where there is none, for the one that is there is newer.
//
// Who is found by a name that nobody has proved may be a stranger who has put it
// there to get hold of the owner's account: such a line is refused. It may also be
// the line that is a stranger's: somebody who signed up elsewhere with an address
// that its owner has proved here. What such a line signs in with stays out, unless
// its external id is the user's, which goes with the first proof of an address. A
// line that brings this first proof takes all, like who proves it here.
func (s *Service) mend(tx Tx, id string, said bool, a *Arrival, by By, now time.Time) (changed bool, err error) {
	was, err := tx.User(id)
	if err != nil {
		return false, err
	}
	for _, i := range a.User.Identifiers {
		if mine := was.identifier(i.Value); mine != nil && !mine.Verified && !said {
			return false, &admit.FieldError{Field: "identifier", Err: ErrTaken}
		}
	}
	external, err := tx.ExternalIDs([]string{id})
	if err != nil {
		return false, err
	}
	known := external[id] == a.ExternalID && a.ExternalID != ""
	ours := known || agree(was, a.User)
	user := was.clone()
	if i := slices.IndexFunc(a.User.proved(), func(i Identifier) bool { return was.identifier(i.Value) != nil }); i >= 0 && len(was.proved()) == 0 {
		user.Identifiers, user.MustChange, known = []Identifier{a.User.proved()[i]}, false, false
		user.Identifiers[0].Primary = true
		if err := tx.Record(by.Record(now, id, "first_proof_took_all", "")); err != nil {
			return false, err
		}
		if err := s.clear(tx, was, FirstProof, now, now); err != nil {
			return false, err
		}
	}
	user.Name, user.Locale = cmp.Or(a.User.Name, user.Name), cmp.Or(a.User.Locale, user.Locale)
	if a.HasDisabled {
		user.Disabled = a.User.Disabled
	}
	if a.HasRoles {
		user.Roles = a.User.Roles
	}
	for _, i := range a.User.Identifiers {
		if mine := user.identifier(i.Value); mine != nil {
			mine.Verified = mine.Verified || i.Verified
		} else if ours {
			i.Primary = false
			user.Identifiers = append(user.Identifiers, i)
		}
	}
	slices.Sort(was.Roles)
	slices.Sort(user.Roles)
	rolesChanged := !slices.Equal(was.Roles, user.Roles)
	changed = user.Name != was.Name || user.Locale != was.Locale || user.Disabled != was.Disabled || rolesChanged || !slices.Equal(user.Identifiers, was.Identifiers)
	if admin(was) && !admin(user) {
		if err := anotherAdmin(tx, id); err != nil {
			return false, err
		}
		if err := endAPIKeys(tx, id, "user_imported", now, (*APIKey).privileged); err != nil {
			return false, err
		}
	}
	if a.ExternalID != "" && ours && !known {
		changed = true
		if err := tx.SetExternalID(id, a.ExternalID); err != nil {
			return false, err
		}
	}
	if a.Hash != "" && ours {
		is, err := tx.PasswordHash(id)
		if err != nil {
			return false, err
		}
		if is == "" {
			changed = true
			if err := tx.SetPasswordHash(id, a.Hash, now); err != nil {
				return false, err
			}
		}
	}
	if len(a.Factors) > 0 && ours {
		has, err := tx.FactorsOf(id)
		if err != nil {
			return false, err
		}
		if !slices.ContainsFunc(has, (*Factor).second) {
			changed = true
			if err := freeFactors(tx, a.Factors); err != nil {
				return false, err
			}
			if err := s.addFactors(tx, id, a.Factors, now); err != nil {
				return false, err
			}
		}
	}
	if !changed {
		return false, nil
	}
	if err := tx.PutUser(user); err != nil {
		return false, err
	}
	if user.Disabled && !was.Disabled {
		if err := tx.RaiseEpoch(id, ""); err != nil {
			return false, err
		}
		if err := endAPIKeys(tx, id, "user_imported", now, everyKey); err != nil {
			return false, err
		}
	} else if rolesChanged {
		if err := tx.RaiseClaims(id, now); err != nil {
			return false, err
		}
	}
	return true, tx.Record(by.Record(now, id, "user_mended", ""))
}

// agree reports whether a user who is there and a line have a proof in common, or
// nobody has proved anything here.
func agree(is, line *User) bool {
	return len(is.proved()) == 0 || slices.ContainsFunc(is.proved(), func(id Identifier) bool {
		said := line.identifier(id.Value)
		return said != nil && said.Verified
	})
}

// An Exported is all that is known of a user.
type Exported struct {
	*User
	ExternalID string
	Hash       string
	APIKeys    []*APIKey // without what proves them
	Factors    []ImportedFactor
}

// ExportUsers returns up to limit users in the order of their ids, after one.
func (s *Service) ExportUsers(ctx context.Context, after string, limit int, now time.Time) (all []Exported, err error) {
	err = s.store.View(ctx, func(tx Tx) error {
		users, err := tx.FindUsers(&UserQuery{After: after, Limit: limit})
		if err != nil {
			return err
		}
		ids := make([]string, len(users))
		for i, u := range users {
			ids[i] = u.ID
		}
		external, err := tx.ExternalIDs(ids)
		if err != nil {
			return err
		}
		hashes, keys, factors, err := tx.Holdings(ids)
		if err != nil {
			return err
		}
		all = make([]Exported, len(users))
		for i, u := range users {
			all[i] = Exported{User: u, ExternalID: external[u.ID], Hash: hashes[u.ID]}
			if keys[u.ID] != "" {
				if all[i].APIKeys, err = tx.APIKeysOf(u.ID); err != nil {
					return err
				}
			}
			if factors[u.ID] != "" {
				if all[i].Factors, err = s.exportFactors(tx, u.ID, now); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return all, err
}

func (s *Service) exportFactors(tx Tx, user string, now time.Time) (all []ImportedFactor, err error) {
	factors, err := tx.FactorsOf(user)
	if err != nil {
		return nil, err
	}
	for _, f := range factors {
		out := ImportedFactor{ID: f.ID, Kind: f.Kind, Name: f.Name, CreatedAt: f.CreatedAt, LastUsed: f.LastUsed, Counter: f.Counter}
		switch f.Kind {
		case Trusted: // of this server's browsers
			continue
		case TOTP:
			if out.Secret, err = s.openFactor(f, now); err != nil {
				return nil, err
			}
		default:
			out.Data = f.Data
		}
		all = append(all, out)
	}
	return all, nil
}
