package account

import "time"

// What ends where an account changes hands, or may have been in wrong ones: in one
// place, so that nothing that can sign in is forgotten.

// A Clearing is why what a user signs in with ends.
type Clearing uint8

// The clearings.
const (
	// FirstProof: an address was proved for the first time. Whoever set up the
	// account had proved nothing, and keeps nothing in it.
	FirstProof Clearing = iota
	// Recovered: the owner has forgotten the password, and proved an address once
	// more. Whoever knew the password keeps nothing that it got him: passkeys go that
	// were added of late, which sign in by themselves. Other second factors stay, for
	// an address alone does not replace them.
	Recovered
	// TakenBack: the owner undoes what was done since a change.
	TakenBack
)

// Clearings remove what users have.
type Clearings interface {
	// Clear removes the credentials of a user that end with a clearing; of TakenBack,
	// and of Recovered where it is a passkey, what was added since a time, too.
	// Sessions, API keys and names are not in it, for others must hear of those:
	// [Service.clear] ends all.
	Clear(user string, of Clearing, since time.Time) error
	// VoidChallenges removes those that concern a target, but for one purpose; ""
	// spares none.
	VoidChallenges(target, but string) error
}

// clear ends every session of the user, every API key, every credential that ends
// with the clearing, and all that is under way. Since counts for TakenBack.
func (s *Service) clear(tx Tx, user *User, of Clearing, since, now time.Time) error {
	if err := s.void(tx, user, of, now); err != nil {
		return err
	}
	if err := tx.Clear(user.ID, of, since); err != nil {
		return err
	}
	// Codes that stood in for what is gone are whose it was.
	if err := spare(tx, user.ID); err != nil {
		return err
	}
	return tx.RaiseEpoch(user.ID, "")
}

// firstProof gives an account to who has just proved one of its addresses for the
// first time, which is the only name that is left of it: who set it up had proved
// nothing. Where another address was proved by somebody the account stays his, for
// accounts are never merged, and who proves gets a new one. The caller puts it.
func (s *Service) firstProof(tx Tx, user *User, value string, from Origin, now time.Time) (*User, error) {
	id := *user.identifier(value)
	id.Verified, id.Primary = true, true
	if len(user.proved()) > 0 {
		if err := s.free(tx, Asker{}, value, now); err != nil {
			return nil, err
		}
		user = &User{ID: newID(), Locale: from.Locale, CreatedAt: now}
	} else {
		if err := tx.Record(from.mark(&Record{At: now, Subject: user.ID, Actor: user.ID, Event: "first_proof_took_all"})); err != nil {
			return nil, err
		}
		if err := s.clear(tx, user, FirstProof, now, now); err != nil {
			return nil, err
		}
		user = user.clone()
	}
	user.Identifiers, user.MustChange = []Identifier{id}, false
	return user, tx.DeleteChallenges(purposeSignUp, value, now)
}

// void ends what was begun for a user before something was settled that it would
// undo, and the API keys.
func (s *Service) void(tx Tx, user *User, of Clearing, now time.Time) error {
	if err := endAPIKeys(tx, user.ID, "account_changed", now, everyKey); err != nil {
		return err
	}
	spared := ""
	if of == Recovered {
		// A thief may have recovered it, by an address that he added: the links by
		// which the owner takes the account back stay good.
		spared = purposeBack
	}
	if err := tx.VoidChallenges(user.ID, spared); err != nil {
		return err
	}
	for _, id := range user.Identifiers {
		// What is under way for an address that nobody here has proved is perhaps its
		// owner's, to another account.
		if !id.Verified {
			continue
		}
		if err := tx.VoidChallenges(id.Value, ""); err != nil {
			return err
		}
	}
	return nil
}
