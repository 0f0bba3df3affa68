package account

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit"
)

// What people do with their own accounts.

const (
	// RecentProof is for how long a proof lets its session do what is sensitive.
	RecentProof = 10 * time.Minute
	// FreshProof is for how long it lets the session approve something.
	FreshProof = 5 * time.Minute
)

// clockSlack is how far ahead a proof may be: clocks are set back by little.
const clockSlack = time.Minute

// What is refused to owners.
var (
	ErrMustChange   = admit.Forbidden.New("password_change_needed", "Choose a new password first.").WithHint("Change the password: something in this account was not done by its owner.")
	ErrSamePassword = admit.Invalid.New("password_same", "This is the password that you have now.").WithHint("Choose another one: who did what you did not do may know it.")
	ErrConfirmation = admit.Invalid.New("confirmation_wrong", "This is not the name that you sign in with.")
	ErrLocale       = admit.Invalid.New("locale_unsupported", "This language is not spoken here.").WithHint(`Choose "en" or "zh-CN".`)
	ErrNoRecord     = admit.NotFound.New("unknown_record", "There is no such entry.")
)

// locales are the languages that mail is written in.
var locales = []string{"en", "zh-CN"}

// An Asker is a user who is signed in, as the edge saw it.
type Asker struct {
	Subject string
	SID     string
	Proved  time.Time // when the user last proved who it is
	ACR     string    // what that amounts to
	From    Origin
}

// recent refuses where the last proof is too old for what is sensitive: who sits
// down at an open browser, or stole its cookie, must not take the account.
func (a Asker) recent(user *User, now time.Time) error { return a.within(RecentProof, user, now) }

func (a Asker) within(maxAge time.Duration, user *User, now time.Time) error {
	if age := now.Sub(a.Proved); age > maxAge || age < -clockSlack {
		return &admit.ProofError{MaxAge: maxAge}
	}
	if user.MustChange {
		return ErrMustChange
	}
	return nil
}

// strong refuses a recent proof by one factor of who has a second one, for what
// changes how the account is signed in to: with a stolen cookie and the password a
// thief would take the second factor off. Who was proved before there was one, and
// that recently, is who made it.
func (a Asker) strong(tx Tx) error {
	if a.ACR == admit.TwoFactors || a.ACR == admit.PhishingResistant {
		return nil
	}
	factors, err := tx.FactorsOf(a.Subject)
	if err != nil {
		return err
	}
	for _, f := range factors {
		if f.second() && f.CreatedAt.Before(a.Proved) {
			return &admit.ProofError{ACR: admit.TwoFactors, MaxAge: RecentProof}
		}
	}
	return nil
}

// mark makes a record of what the asker did to its own account.
func (a Asker) mark(event, detail string, now time.Time) *Record {
	return a.From.mark(&Record{At: now, Subject: a.Subject, Actor: a.Subject, Event: event, Detail: detail, SID: a.SID})
}

// Recent returns a *admit.ProofError or ErrMustChange where the asker may not change
// how the account is signed in to.
func (s *Service) Recent(ctx context.Context, a Asker, now time.Time) error {
	if err := s.Within(ctx, a, RecentProof, now); err != nil {
		return err
	}
	return s.store.View(ctx, a.strong)
}

// Within is Recent for a proof that is at most so old.
func (s *Service) Within(ctx context.Context, a Asker, maxAge time.Duration, now time.Time) error {
	user, err := s.User(ctx, a.Subject)
	if err != nil {
		return err
	}
	return a.within(maxAge, user, now)
}

// own runs fn on a copy of the asker's user and keeps it with a record, after a
// recent proof.
func (s *Service) own(ctx context.Context, a Asker, event, detail string, now time.Time, fn func(Tx, *User) error) (user *User, err error) {
	// Before the budget: with a stolen cookie that is good for nothing else a
	// thief would spend what the owner needs.
	if err := s.Recent(ctx, a, now); err != nil {
		return nil, err
	}
	// Most of it sends mail: nobody's inbox is to be filled.
	if err := s.take([]try{{"own:" + a.Subject, knownBudget}}, now); err != nil {
		return nil, err
	}
	err = s.update(ctx, func(tx Tx) error {
		was, err := tx.User(a.Subject)
		if err != nil {
			return err
		}
		if err := cmp.Or(a.recent(was, now), a.strong(tx)); err != nil {
			return err
		}
		user = was.clone()
		if err := fn(tx, user); err != nil {
			return err
		}
		if err := tx.PutUser(user); err != nil {
			return err
		}
		return tx.Record(a.mark(event, detail, now))
	})
	if err != nil {
		return nil, err
	}
	s.wake()
	return user, nil
}

// Reauthenticate checks the password of who is signed in. The caller notes the
// proof in the session.
func (s *Service) Reauthenticate(ctx context.Context, a Asker, pw admit.Secret, now time.Time) error {
	_, _, err := s.confirmOwn(ctx, a, pw, "proof_refused", now)
	return err
}

// A Profile is what people may say of themselves; nil leaves it.
type Profile struct{ Name, Locale *string }

// SetProfile changes the asker's name and language.
func (s *Service) SetProfile(ctx context.Context, a Asker, p Profile, now time.Time) (user *User, err error) {
	var name string
	if p.Name != nil {
		if name, err = cleanName(*p.Name); err != nil {
			return nil, err
		}
	}
	if p.Locale != nil && !slices.Contains(locales, *p.Locale) {
		return nil, &admit.FieldError{Field: "locale", Err: ErrLocale}
	}
	// Each change is a record of the audit, which is kept for long.
	if err := s.take([]try{{"profile:" + a.Subject, knownBudget}}, now); err != nil {
		return nil, err
	}
	err = s.update(ctx, func(tx Tx) error {
		was, err := tx.User(a.Subject)
		if err != nil {
			return err
		}
		user = was.clone()
		if p.Name != nil {
			user.Name = name
		}
		if p.Locale != nil {
			user.Locale = *p.Locale
		}
		if user.Name == was.Name && user.Locale == was.Locale {
			return nil
		}
		if err := tx.PutUser(user); err != nil {
			return err
		}
		return tx.Record(a.mark("profile_changed", "", now))
	})
	if err != nil {
		return nil, err
	}
	return user, nil
}

// changed takes the mark off a user whose password was just changed.
func (s *Service) changed(tx Tx, subject string) error {
	user, err := tx.User(subject)
	if err != nil || !user.MustChange {
		return err
	}
	user = user.clone()
	user.MustChange = false
	return tx.PutUser(user)
}

// Activity returns up to limit records of what happened to an account, latest
// first, that are older than the one with the id before; 0 begins with the
// latest.
func (s *Service) Activity(ctx context.Context, subject string, before int64, limit int) (records []Record, err error) {
	if subject == "" {
		return nil, ErrUnknownUser
	}
	err = s.store.View(ctx, func(tx Tx) (err error) {
		records, err = tx.Activity(subject, before, limit)
		return err
	})
	return records, err
}

// Disown is for an owner who sees in its activity what it has not done. Every
// session ends, the asking one too: which of them is the thief's nobody can
// tell, and only who knows the password comes back. The next sign-in must choose
// a new one before anything else; the owner's address gets a way back, for the
// thief may know the password as well.
func (s *Service) Disown(ctx context.Context, a Asker, id int64, now time.Time) error {
	// As in own. What is counted has a budget of its own, and ends the session.
	if found, err := s.Activity(ctx, a.Subject, id+1, 1); err != nil {
		return err
	} else if len(found) == 0 || found[0].ID != id {
		return ErrNoRecord
	}
	if err := s.take([]try{{"disown:" + a.Subject, knownBudget}}, now); err != nil {
		return err
	}
	err := s.update(ctx, func(tx Tx) error {
		found, err := tx.Activity(a.Subject, id+1, 1)
		if err != nil {
			return err
		}
		if a.Subject == "" || len(found) == 0 || found[0].ID != id {
			return ErrNoRecord
		}
		was, err := tx.User(a.Subject)
		if err != nil {
			return err
		}
		user := was.clone()
		// Who has no password cannot change it: for them a new sign-in is all.
		hash, err := tx.PasswordHash(a.Subject)
		if err != nil {
			return err
		}
		user.MustChange = hash != ""
		if err := tx.PutUser(user); err != nil {
			return err
		}
		if err := tx.RaiseEpoch(a.Subject, ""); err != nil {
			return err
		}
		if err := endAPIKeys(tx, a.Subject, "disowned", now, everyKey); err != nil {
			return err
		}
		// Who has stolen a cookie, and knows the password perhaps, must not take off with
		// it what is asked for beside a password.
		if err := endFactorsSince(tx, a.Subject, found[0].At, a.recent(was, now) == nil && a.strong(tx) == nil); err != nil {
			return err
		}
		if err := s.tell(tx, a, was, "disowned", now); err != nil {
			return err
		}
		r := a.mark("disowned", found[0].Event, now)
		r.SID = "" // it ends as well
		return tx.Record(r)
	})
	if err == nil {
		s.wake()
	}
	return err
}

// maxExported bounds the records of an export.
const maxExported = 10_000

// ExportOwn returns the asker and its whole activity.
func (s *Service) ExportOwn(ctx context.Context, a Asker, now time.Time) (user *User, records []Record, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		if user, err = tx.User(a.Subject); err != nil {
			return err
		}
		if err := a.recent(user, now); err != nil {
			return err
		}
		records, err = tx.Activity(a.Subject, 0, maxExported)
		return err
	})
	if err == nil {
		err = s.take([]try{{"export:" + a.Subject, knownBudget}}, now)
	}
	if err != nil {
		return nil, nil, err
	}
	return user, records, s.Note(ctx, a.mark("data_exported", "", now))
}

// DeleteOwn removes the asker with all that is known of it, at once. Typed is
// what the person typed to show that it means it: the primary identifier.
func (s *Service) DeleteOwn(ctx context.Context, a Asker, typed string, now time.Time) error {
	err := s.update(ctx, func(tx Tx) error {
		user, err := tx.User(a.Subject)
		if err != nil {
			return err
		}
		if err := a.recent(user, now); err != nil {
			return err
		}
		if spelled(typed) != user.Primary() {
			return &admit.FieldError{Field: "confirm", Err: ErrConfirmation}
		}
		if user.HasRole(RoleAdmin) {
			if err := anotherAdmin(tx, user.ID); err != nil {
				return err
			}
		}
		if err := s.erase(tx, user, &Record{At: now, Subject: user.ID, Actor: user.ID, Event: "user_deleted"}, now); err != nil {
			return err
		}
		for _, id := range s.reached(user) {
			if err := s.notify(tx, letter{name: "account_deleted", to: id.Value, locale: user.Locale, Facts: Facts{Link: s.o.PublicURL + "/signup"}}, now); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		s.wake()
	}
	return err
}

// erase removes a user and what tells of the person, and keeps a record of that.
// The audit stays under a pseudonym that only who has the keys and the id can find
// again.
func (s *Service) erase(tx Tx, user *User, r *Record, now time.Time) error {
	if err := tx.RaiseEpoch(user.ID, ""); err != nil {
		return err
	}
	if err := s.void(tx, user, TakenBack, now); err != nil {
		return err
	}
	if err := tx.DeleteUser(user.ID); err != nil {
		return err
	}
	for _, id := range user.Identifiers {
		for _, purpose := range []string{purposeSignUp, purposeSignIn, purposeRecover} {
			if err := tx.DeleteChallenges(purpose, id.Value, now); err != nil {
				return err
			}
		}
	}
	pseudonym := s.Pseudonym(user.ID)
	if err := tx.Erase(user.ID, pseudonym); err != nil {
		return err
	}
	r.Subject = pseudonym
	if r.Actor == user.ID {
		r.Actor = pseudonym
	}
	return tx.Record(r)
}

// PseudonymPrefix is how pseudonyms begin.
const PseudonymPrefix = "erased-"

// Pseudonym returns the subject under which the audit keeps what a user did who
// is deleted: what only the keys and the id lead to.
func (s *Service) Pseudonym(id string) string {
	mac := hmac.New(sha256.New, s.o.Keys.Derive("erased"))
	mac.Write([]byte(id))
	return PseudonymPrefix + strings.ToLower(base32.StdEncoding.EncodeToString(mac.Sum(nil)[:15]))
}

// Primary is the identifier that a user is told by, and password managers keep a
// password under.
func (u *User) Primary() string {
	for _, id := range u.Identifiers {
		if id.Primary {
			return id.Value
		}
	}
	return u.ID
}

// endings are the events that end all sessions of a user, but perhaps the one
// that asked.
var endings = []string{
	"password_changed", "password_set", "sessions_ended", "other_sessions_ended", "user_disabled",
	"first_proof_took_all", "identifier_verified", "disowned", "way_back_taken", "password_reset",
}

// WhyEnded returns why a session ended, in one of the words of the API, or "".
// Said is what its tombstone says, "" where all sessions ended at once.
func (s *Service) WhyEnded(ctx context.Context, subject, sid, said string) (string, error) {
	switch said {
	case "":
	case "overtaken":
		return "password_changed", nil
	case "renewed":
		return "signed_in_again", nil
	default:
		return said, nil
	}
	var r *Record
	err := s.store.View(ctx, func(tx Tx) (err error) {
		r, err = tx.Ending(subject, sid, endings)
		return err
	})
	switch {
	case r == nil || err != nil:
		return "", err
	case r.Actor != subject:
		return "ended_by_operator", nil
	case r.Event == "sessions_ended" || r.Event == "other_sessions_ended":
		return "ended_by_user", nil
	}
	return r.Event, nil
}
