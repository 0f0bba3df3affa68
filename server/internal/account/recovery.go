package account

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit"
)

// Recovery codes stand in for a factor that is lost.

const (
	recoveryCodes  = 10
	recoveryLength = 24 // letters and digits of five bits: 120 bits, of which a plain digest may be kept (ASVS 6.5.2)
)

// ErrNoFactor refuses recovery codes where there is nothing to recover.
var ErrNoFactor = admit.Conflict.New("no_factor", "You have no second factor yet.").WithHint("Add one first: recovery codes stand in for it.")

// A recoveryData is what is kept of the codes: digests of those that were not
// used. Each code counts once.
type recoveryData struct{ Digests []string }

func (f *Factor) recovery() (d recoveryData) {
	_ = json.Unmarshal([]byte(f.Data), &d) // what cannot be read holds no code
	return d
}

// empty reports whether all codes were used.
func (f *Factor) empty() bool { return f.Kind == Recovery && len(f.recovery().Digests) == 0 }

// CodesLeft returns how many recovery codes were not used.
func (f *Factor) CodesLeft() int { return len(f.recovery().Digests) }

// digestOf is what is kept of a code: bound to its row, so that equal codes of two
// users would not look alike.
func digestOf(id, code string) string {
	sum := sha256.Sum256([]byte("admit recovery code " + id + " " + code))
	return hex.EncodeToString(sum[:16])
}

// cleanRecovery is a code in its one spelling. People read a zero for an o and a
// one for an i or an l, and no code has these digits.
func cleanRecovery(code string) string {
	return strings.NewReplacer(" ", "", "-", "", "0", "o", "1", "i", "8", "b").Replace(strings.ToLower(code))
}

// makeRecovery replaces a user's recovery codes.
func (s *Service) makeRecovery(tx Tx, user string, now time.Time) ([]admit.Secret, error) {
	if err := tx.DeleteFactors(user, Recovery); err != nil {
		return nil, err
	}
	f := &Factor{ID: newID(), User: user, Kind: Recovery, CreatedAt: now}
	var d recoveryData
	codes := make([]admit.Secret, recoveryCodes)
	for i := range codes {
		text := strings.ToLower(rand.Text())[:recoveryLength]
		d.Digests = append(d.Digests, digestOf(f.ID, text))
		codes[i] = admit.NewSecret(string(bytes.Join(slices.Collect(slices.Chunk([]byte(text), 4)), []byte("-"))))
	}
	data, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode recovery codes: %w", err)
	}
	f.Data = string(data)
	return codes, tx.AddFactor(f)
}

// RenewRecovery replaces the asker's recovery codes, which are seen this once.
func (s *Service) RenewRecovery(ctx context.Context, a Asker, now time.Time) (codes []admit.Secret, err error) {
	err = s.ownFactors(ctx, a, now, func(tx Tx, user *User) (*Record, error) {
		factors, err := tx.FactorsOf(user.ID)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(factors, (*Factor).second) {
			return nil, ErrNoFactor
		}
		// Whoever passed by an old one must not be spared the next.
		if err := tx.DeleteFactors(user.ID, Trusted); err != nil {
			return nil, err
		}
		if codes, err = s.makeRecovery(tx, user.ID, now); err != nil {
			return nil, err
		}
		if err := s.tellProved(tx, a, user, "recovery_codes_made", now); err != nil {
			return nil, err
		}
		return a.mark("recovery_codes_made", "", now), nil
	})
	if err != nil {
		return nil, err
	}
	return codes, nil
}

// checkRecovery checks a recovery code, spends it, and tells the owner.
func (s *Service) checkRecovery(tx Tx, user *User, factors []*Factor, code string, from Origin, now time.Time) (amr []string, err error) {
	i := slices.IndexFunc(factors, func(f *Factor) bool { return f.Kind == Recovery })
	if i < 0 {
		return nil, ErrBadFactor
	}
	f := factors[i]
	d, want, hit := f.recovery(), digestOf(f.ID, cleanRecovery(code)), -1
	for n, digest := range d.Digests {
		if subtle.ConstantTimeCompare([]byte(digest), []byte(want)) == 1 {
			hit = n
		}
	}
	if hit < 0 {
		return nil, ErrBadFactor
	}
	d.Digests = slices.Delete(d.Digests, hit, hit+1)
	data, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode recovery codes: %w", err)
	}
	was := f.Counter
	f.Counter, f.LastUsed, f.Data = was+1, now, string(data)
	if ok, err := tx.ChangeFactor(f, was); err != nil || !ok {
		return nil, orSpent(err)
	}
	if err := s.tellProved(tx, Asker{Subject: user.ID, From: from}, user, "recovery_code_used", now); err != nil {
		return nil, err
	}
	return []string{"rc"}, tx.Record(from.mark(&Record{At: now, Subject: user.ID, Actor: user.ID, Event: "recovery_code_used", Detail: fmt.Sprintf("%d left", len(d.Digests))}))
}
