package account

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/password"
)

// What an operator may do, and an administrator.

// ErrLastAdmin refuses to leave a server that nobody may administer.
var ErrLastAdmin = admit.Conflict.New("last_admin", "This is the last administrator who can sign in.").WithHint("Make another one first.")

// A By is who does something to others, and why, for the audit.
type By struct {
	Actor  string // a user's id, or "operator"
	Reason string
	From   Origin
}

// Record returns a record of what is done.
func (by By) Record(now time.Time, subject, event, detail string) *Record {
	return by.From.mark(&Record{At: now, Subject: subject, Actor: by.Actor, Event: event, Detail: detail, Reason: by.Reason})
}

// A NewUser is what an operator says of somebody new.
type NewUser struct {
	Identifiers []string
	Name        string
	Password    admit.Secret // none: the user cannot sign in with one
	Roles       []string
	Verified    bool // the identifiers are known to be the user's
}

// AddUser makes a user.
func (s *Service) AddUser(ctx context.Context, in NewUser, by By, now time.Time) (*User, error) {
	user := &User{Name: in.Name, Roles: slices.Clone(in.Roles)}
	for _, text := range in.Identifiers {
		user.Identifiers = append(user.Identifiers, Identifier{Value: text, Verified: in.Verified})
	}
	if err := user.complete(now); err != nil {
		return nil, err
	}
	var hash string
	if !in.Password.IsZero() {
		var err error
		if hash, err = s.hash(ctx, "password", in.Password, user, password.Known); err != nil {
			return nil, err
		}
	}
	return s.insert(ctx, user, hash, "user_added", by, now)
}

// complete checks what is said of somebody new, and spells it as it is kept.
func (u *User) complete(now time.Time) (err error) {
	if u.ID == "" {
		u.ID = newID()
	}
	if !idOK(u.ID) {
		return &admit.FieldError{Field: "id", Err: ErrID}
	}
	if u.CreatedAt.IsZero() {
		u.CreatedAt = now
	}
	if u.Name, err = cleanName(u.Name); err != nil {
		return err
	}
	if len(u.Identifiers) == 0 {
		return &admit.FieldError{Field: "identifier", Err: ErrIdentifier}
	}
	for i, given := range u.Identifiers {
		id, err := ParseIdentifier(given.Value)
		if err != nil {
			return &admit.FieldError{Field: "identifier", Err: err}
		}
		id.Verified = id.Verified || given.Verified
		id.Primary = i == 0
		u.Identifiers[i] = id
	}
	for _, role := range u.Roles {
		if !roleOK(role) {
			return &admit.FieldError{Field: "role", Err: ErrRole}
		}
	}
	return nil
}

// insert makes a user whose id and identifiers are free.
func (s *Service) insert(ctx context.Context, user *User, hash, event string, by By, now time.Time) (*User, error) {
	err := s.update(ctx, func(tx Tx) error {
		if _, err := tx.User(user.ID); err == nil {
			return &admit.FieldError{Field: "id", Err: ErrTaken}
		} else if !errors.Is(err, ErrUnknownUser) {
			return err
		}
		err := unmistakable(tx, user)
		if err == nil {
			err = tx.PutUser(user)
		}
		if errors.Is(err, ErrTaken) {
			return &admit.FieldError{Field: "identifier", Err: err}
		}
		if err != nil {
			return err
		}
		if err := tx.SetPasswordHash(user.ID, hash, now); err != nil {
			return err
		}
		return tx.Record(by.Record(now, user.ID, event, ""))
	})
	if err != nil {
		return nil, err
	}
	return user, nil
}

func roleOK(role string) bool {
	return len(role) >= 1 && len(role) <= 64 && strings.Trim(role, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// FindUser returns the user with this id or identifier.
func (s *Service) FindUser(ctx context.Context, text string) (user *User, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		user, err = tx.User(text)
		if errors.Is(err, ErrUnknownUser) {
			id, bad := ParseIdentifier(text)
			if bad != nil {
				return err
			}
			user, err = tx.UserByIdentifier(id.Value)
		}
		return err
	})
	return user, err
}

// change runs fn on a copy of a user and keeps it; where ends is set, the
// user's sessions end in the same transaction.
func (s *Service) change(ctx context.Context, id string, by By, event, detail string, ends bool, now time.Time, fn func(Tx, *User) error) error {
	return s.update(ctx, func(tx Tx) error {
		user, err := tx.User(id)
		if err != nil {
			return err
		}
		held := user.Roles
		user = user.clone()
		was := admin(user)
		if err := fn(tx, user); err != nil {
			return err
		}
		if was && !admin(user) {
			if err := anotherAdmin(tx, id); err != nil {
				return err
			}
			// What only an administrator could have made for itself.
			if err := endAPIKeys(tx, id, event, now, (*APIKey).privileged); err != nil {
				return err
			}
		}
		if err := tx.PutUser(user); err != nil {
			return err
		}
		if ends {
			if err := tx.RaiseEpoch(id, ""); err != nil {
				return err
			}
			if err := endAPIKeys(tx, id, event, now, everyKey); err != nil {
				return err
			}
		}
		if !slices.Equal(held, user.Roles) {
			// Tokens that are out say what was: who accepts them hears of it, and
			// sessions live on.
			if err := tx.RaiseClaims(id, now); err != nil {
				return err
			}
		}
		return tx.Record(by.Record(now, id, event, detail))
	})
}

// admin reports whether a user can administer.
func admin(u *User) bool { return u.HasRole(RoleAdmin) && !u.Disabled }

// anotherAdmin returns ErrLastAdmin where nobody but the user can administer.
func anotherAdmin(tx Tx, user string) error {
	another, err := tx.RoleHeldBeside(RoleAdmin, user)
	if err == nil && !another {
		err = ErrLastAdmin
	}
	return err
}

// SetPassword gives a user a password, ends its sessions, and removes the
// password where it is empty.
func (s *Service) SetPassword(ctx context.Context, id string, pw admit.Secret, by By, now time.Time) error {
	user, err := s.User(ctx, id)
	if err != nil {
		return err
	}
	var hash string
	if !pw.IsZero() {
		if hash, err = s.hash(ctx, "password", pw, user, password.Known); err != nil {
			return err
		}
	}
	err = s.change(ctx, id, by, "password_set", "", true, now, func(tx Tx, user *User) error {
		for _, to := range s.reached(user) {
			// It has no way back: who runs the service may shut somebody out.
			l := letter{name: "password_set", to: to.Value, locale: user.Locale, about: id, Facts: Facts{Link: s.o.PublicURL + "/signin"}}
			if hash == "" {
				l.name = "password_removed"
			}
			if err := s.notify(tx, l, now); err != nil {
				return err
			}
		}
		return tx.SetPasswordHash(id, hash, now)
	})
	if err == nil {
		s.wake()
	}
	return err
}

// Import makes a user just as another program, or Export, described it. Its id
// is kept if it has one, and so is the hash of its password, in any form that
// package password reads.
func (s *Service) Import(ctx context.Context, in *User, hash string, by By, now time.Time) (*User, error) {
	user := in.clone()
	if err := user.complete(now); err != nil {
		return nil, err
	}
	if hash != "" {
		if _, ok := password.Identify(hash); !ok {
			return nil, &admit.FieldError{Field: "password_hash", Err: password.ErrFormat}
		}
	}
	user, err := s.insert(ctx, user, hash, "user_imported", by, now)
	if err == nil && hash != "" {
		s.o.Passwords.Expect(hash)
	}
	return user, err
}

// idOK reports whether a user's id may come from another program.
func idOK(id string) bool {
	return len(id) <= 64 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// ExpectHashes tells the hasher which foreign hashes there are, so that it can
// make every refusal cost the same. Call it once at the start.
func (s *Service) ExpectHashes(ctx context.Context) error {
	return s.store.View(ctx, func(tx Tx) error { return tx.PasswordHashes(s.o.Passwords.Expect) })
}

// Grant gives a user a role.
func (s *Service) Grant(ctx context.Context, id, role string, by By, now time.Time) error {
	if !roleOK(role) {
		return &admit.FieldError{Field: "role", Err: ErrRole}
	}
	return s.change(ctx, id, by, "role_granted", role, false, now, func(_ Tx, u *User) error {
		if !u.HasRole(role) {
			u.Roles = append(u.Roles, role)
		}
		return nil
	})
}

// Revoke takes a role away.
func (s *Service) Revoke(ctx context.Context, id, role string, by By, now time.Time) error {
	return s.change(ctx, id, by, "role_revoked", role, false, now, func(_ Tx, u *User) error {
		u.Roles = slices.DeleteFunc(u.Roles, func(r string) bool { return r == role })
		return nil
	})
}

// DeleteUser removes a user with all that is known of it, and ends its sessions.
// Who did it and why stays.
func (s *Service) DeleteUser(ctx context.Context, id string, by By, now time.Time) error {
	return s.update(ctx, func(tx Tx) error {
		user, err := tx.User(id)
		if err != nil {
			return err
		}
		if admin(user) {
			if err := anotherAdmin(tx, id); err != nil {
				return err
			}
		}
		r := by.Record(now, id, "user_deleted", "")
		if by.Actor == id {
			r = &Record{At: now, Subject: id, Actor: id, Event: r.Event} // its own address is known of it, too
		}
		return s.erase(tx, user, r, now)
	})
}
