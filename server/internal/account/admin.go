package account

import (
	"context"
	"time"
	"unicode/utf8"

	"github.com/admit-auth/admit"
)

// What an administrator asks for.

// ErrReason refuses a reason that is no remark.
var ErrReason = admit.Invalid.New("reason_too_long", "A reason may have 500 characters at most.")

// A UserQuery asks for users; the zero value asks for all of them.
type UserQuery struct {
	Search   string // how the name or an identifier begins, or the whole id
	Role     string
	Disabled *bool
	Verified *bool  // whether every identifier is known to be the user's
	After    string // an id
	Limit    int
}

// A Role is one that users have.
type Role struct {
	Name  string
	Users int
}

// A RecordQuery asks for records of the audit, newest first; the zero value asks
// for all of them.
type RecordQuery struct {
	Subject, Actor, Event, RequestID string

	Text         string    // that the detail or the reason holds, in any case
	Since, Until time.Time // from, and before
	From         Mark      // where the last answer said to go on
	OldestFirst  bool
	Newer        int64 // only records with a greater id, in its order: for who follows
	Limit        int
}

// A Mark is a place in the audit.
type Mark struct {
	At int64 // milliseconds since 1970
	ID int64
}

// FindUsers returns up to q.Limit users that q asks for, in the order of their
// ids.
func (s *Service) FindUsers(ctx context.Context, q *UserQuery) (users []*User, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		users, err = tx.FindUsers(q)
		return err
	})
	return users, err
}

// Roles returns the roles that users have, by name.
func (s *Service) Roles(ctx context.Context) (roles []Role, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		roles, err = tx.Roles()
		return err
	})
	return roles, err
}

// Records returns up to q.Limit records of the audit, and where to go on: the
// zero Mark at the end. There may be fewer and yet more to come. Those of a user
// who is deleted are found by its id, for whoever still knows it.
func (s *Service) Records(ctx context.Context, q *RecordQuery) (records []Record, next Mark, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		if q.Subject != "" {
			known, err := tx.Activity(q.Subject, 0, 1)
			if err != nil {
				return err
			}
			if len(known) == 0 {
				of := *q
				of.Subject = s.Pseudonym(q.Subject)
				q = &of
			}
		}
		records, next, err = tx.Records(q)
		return err
	})
	return records, next, err
}

// sweepStep records of the audit are removed at a time, in about 10 ms, before
// other writes have their turn.
const sweepStep = 500

// SweepRecords removes a step of the records from before a time, and reports
// whether there may be more.
func (s *Service) SweepRecords(ctx context.Context, before time.Time) (more bool, err error) {
	err = s.store.Update(ctx, func(tx Tx) error {
		n, err := tx.SweepRecords(before, sweepStep)
		more = n == sweepStep
		return err
	})
	return more, err
}

// A UserChange is what becomes different of a user; nil is what stays.
type UserChange struct {
	Name     *string
	Disabled *bool
}

// Change changes a user, and ends the sessions of one who is disabled by it.
// Each thing has a record of its own, in the one transaction.
func (s *Service) Change(ctx context.Context, id string, c UserChange, by By, now time.Time) (changed *User, err error) {
	if c.Name != nil {
		name, err := cleanName(*c.Name)
		if err != nil {
			return nil, err
		}
		c.Name = &name
	}
	err = s.update(ctx, func(tx Tx) error {
		user, err := tx.User(id)
		if err != nil {
			return err
		}
		changed = user.clone()
		was := admin(changed)
		var records []*Record
		if c.Name != nil && *c.Name != changed.Name {
			changed.Name = *c.Name
			records = append(records, by.Record(now, id, "user_renamed", ""))
		}
		if c.Disabled != nil && *c.Disabled != changed.Disabled {
			changed.Disabled = *c.Disabled
			event := "user_enabled"
			if changed.Disabled {
				event = "user_disabled"
				if err := tx.RaiseEpoch(id, ""); err != nil {
					return err
				}
				if err := endAPIKeys(tx, id, event, now, everyKey); err != nil {
					return err
				}
			}
			records = append(records, by.Record(now, id, event, ""))
		}
		if was && !admin(changed) {
			if err := anotherAdmin(tx, id); err != nil {
				return err
			}
		}
		for _, r := range records {
			if err := tx.Record(r); err != nil {
				return err
			}
		}
		return tx.PutUser(changed)
	})
	return changed, err
}

// CheckReason refuses a reason that is too long to keep.
func CheckReason(reason string) error {
	if utf8.RuneCountInString(reason) > 500 {
		return &admit.FieldError{Field: "reason", Err: ErrReason}
	}
	return nil
}

// Note keeps a record of something that changed nothing else.
func (s *Service) Note(ctx context.Context, r *Record) error {
	return s.store.Update(context.WithoutCancel(ctx), func(tx Tx) error { return tx.Record(r) })
}
