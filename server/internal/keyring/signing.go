package keyring

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/server/internal/account"
)

// Keys that sign are published before they are used, so that no verifier meets a
// kid that it does not know. There is always a next one, and a rotation gives it
// the turn. Where rotations follow each other faster than verifiers renew their
// copies of the set, a key waits for its turn until it has been public for
// Options.Ahead, and the one before goes on: states in the database say in which
// order, and [pick] says whose turn it is.

const (
	// maxPublic is what jose, and so a verifier of ours, takes in one set, less
	// what one rotation adds.
	maxPublic = 256 - 2
	// keyNews is for how long the feed tells that a key was taken back: past the
	// last moment at which a verifier that cannot renew its set uses the old one,
	// which is 24 hours with package jose. A token that a thief signs says itself
	// when it expires.
	keyNews = 25 * time.Hour
)

// algorithms are what there are keys for. The first signs from the first start on, the
// others since [Ring.Ensure] was asked for them: a key that nobody needs is one more to
// lose, and one of RS256 takes half a second to make. Each has a purpose of its own, and
// so a turn, a next one and a rotation.
var algorithms = []struct {
	alg     jose.Algorithm
	purpose string
}{{jose.ES256, Signing}, {jose.RS256, SigningRS256}, {jose.EdDSA, SigningEdDSA}}

// algorithmOf returns what keys of a purpose sign with, "" where they do not.
func algorithmOf(purpose string) jose.Algorithm {
	for _, a := range algorithms {
		if a.purpose == purpose {
			return a.alg
		}
	}
	return ""
}

// signing are the purposes that keys sign for, of those that were ever asked for: also
// where all of them are retired, as after a restore, there are to be keys.
func signing(rows []row) (all []string) {
	for _, a := range algorithms {
		if a.purpose == Signing || find(rows, func(one row) bool { return one.Purpose == a.purpose }) != nil {
			all = append(all, a.purpose)
		}
	}
	return all
}

// published is what the ring shows of the keys that sign. It does not change.
type published struct {
	set     *jose.KeySet                // of public halves
	signers map[jose.Algorithm][]signer // newest first
}

// A signer is a key that may sign.
type signer struct {
	id    string
	key   *jose.Key // in what is published
	made  time.Time
	from  time.Time // when every verifier knows it
	until time.Time // when the one after it takes over; zero for the last
}

// Signing returns the key that signs now where nobody asks for an algorithm.
func (r *Ring) Signing() *jose.Key { return r.SigningWith(jose.ES256) }

// SigningWith returns the key that signs with an algorithm now, nil where there is none.
func (r *Ring) SigningWith(alg jose.Algorithm) *jose.Key {
	all := r.public.Load().signers[alg]
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0].key
	}
	return pick(all, time.Now()).key
}

// Ensure makes the keys of an algorithm where there are none.
func (r *Ring) Ensure(ctx context.Context, alg jose.Algorithm, now time.Time) error {
	purpose := ""
	for _, a := range algorithms {
		if a.alg == alg {
			purpose = a.purpose
		}
	}
	if purpose == "" {
		return ErrPurpose
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.public.Load().signers[alg] != nil {
		return nil
	}
	if err := r.prepare(purpose, 2); err != nil {
		return err
	}
	return r.change(ctx, r.masters, func(tx account.Tx, rows []row) error {
		return r.beginSigning(tx, rows, purpose, byServer, now)
	})
}

// EnsureAll makes the keys of every algorithm where there are none.
func (r *Ring) EnsureAll(ctx context.Context, now func() time.Time) error {
	for _, a := range algorithms {
		if r.public.Load().signers[a.alg] != nil {
			continue
		}
		if err := r.Ensure(ctx, a.alg, now()); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes RSA keys that a change will need, beside each other: one takes half a
// second, and now and then more than one, for which nobody else could write. Mu is held, but in
// Open.
func (r *Ring) prepare(purpose string, n int) error {
	if purpose != SigningRS256 || len(r.spare) >= n {
		return nil
	}
	made := make([]*jose.Key, n-len(r.spare))
	errs := make([]error, len(made))
	var all sync.WaitGroup
	for i := range made {
		all.Go(func() { made[i], errs[i] = generate(jose.RS256) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	r.spare = append(r.spare, made...)
	return nil
}

// generate makes a key that signs. Its id is random: 64 bits, which are never the same
// twice and are short in each token.
func generate(alg jose.Algorithm) (*jose.Key, error) {
	id := make([]byte, 8)
	rand.Read(id)
	return jose.GenerateKey(alg, hex.EncodeToString(id))
}

// KeySet implements [jose.KeySource] with the public halves of all keys that are
// published. It is another set after each change, so that what a verifier
// remembers dies with the key that signed it.
func (r *Ring) KeySet(context.Context, string) (*jose.KeySet, error) {
	return r.public.Load().set, nil
}

// Settled is the ring as others ask for it over a network. While a change is being
// written they wait for the set after it: who hears from the feed that a key has
// ended asks at once, and with the set before it would refuse what the next key
// signs for as long as its cool-down lasts.
func (r *Ring) Settled() jose.KeySource { return settled{r} }

type settled struct{ *Ring }

// KeySet implements jose.KeySource.
func (s settled) KeySet(ctx context.Context, kid string) (*jose.KeySet, error) {
	s.settle.RLock()
	defer s.settle.RUnlock()
	return s.Ring.KeySet(ctx, kid)
}

// pick returns whose turn it is: the newest that every verifier knows. While
// there is none, it is one that has been public for longest: who knows any key
// that could sign knows that one.
func pick(all []signer, now time.Time) *signer {
	var first *signer
	for i := range all {
		switch s := &all[i]; {
		case !s.until.IsZero() && !now.Before(s.until):
		case !now.Before(s.from):
			return s
		case first == nil || s.made.Before(first.made):
			first = s
		}
	}
	return first
}

func (r *Ring) signers(rows []row, purpose string) (all []signer) {
	if algorithmOf(purpose) == "" {
		return nil
	}
	for _, one := range rows {
		if one.Purpose != purpose || one.State != account.KeyActive && one.State != account.KeyRetiring {
			continue
		}
		s := signer{id: one.ID, key: one.signs, made: one.CreatedAt, from: one.CreatedAt.Add(r.o.Ahead)}
		if one.State == account.KeyRetiring {
			s.until = one.NotAfter.Add(-r.o.Signed) // what it signs until then expires in time
		}
		all = append(all, s)
	}
	// The active one stands in front. Of two that were made at once, the one that
	// retires later had its turn later.
	slices.SortStableFunc(all, func(a, b signer) int {
		if a.until.IsZero() || b.until.IsZero() {
			return a.until.Compare(b.until)
		}
		return cmp.Or(b.made.Compare(a.made), b.until.Compare(a.until))
	})
	return all
}

// publish shows the keys among rows that sign. Mu is held, but in Open.
func (r *Ring) publish(rows []row) {
	var public []*jose.Key
	var ids []string
	for _, one := range rows {
		if one.signs != nil {
			public = append(public, one.signs.Public())
			ids = append(ids, one.ID)
		}
	}
	p := &published{set: jose.NewKeySet(public...), signers: map[jose.Algorithm][]signer{}}
	for _, a := range algorithms {
		if all := r.signers(rows, a.purpose); all != nil {
			p.signers[a.alg] = all
		}
	}
	// The same keys are the same set: what was remembered under it stays.
	if old := r.public.Load(); old != nil {
		var before []string
		for _, k := range old.set.Keys() {
			before = append(before, k.ID())
		}
		if slices.Equal(slices.Sorted(slices.Values(before)), slices.Sorted(slices.Values(ids))) {
			p.set = old.set
		}
	}
	r.public.Store(p)
}

// showTurns gives keys, which are those of rows, the states that they have at a
// time.
func (r *Ring) showTurns(keys []Key, rows []row, now time.Time) {
	for _, a := range algorithms {
		all := r.signers(rows, a.purpose)
		turn := pick(all, now)
		waits := turn != nil
		for i := range all {
			k := &keys[slices.IndexFunc(keys, func(k Key) bool { return k.ID == all[i].id })]
			switch {
			case &all[i] == turn:
				k.State, k.NotAfter, waits = account.KeyActive, nil, false
			case waits:
				from := all[i].from.UTC()
				k.State, k.NotAfter, k.NotBefore = account.KeyNext, nil, &from
			}
		}
	}
}

func next(rows []row, purpose string) *row {
	return find(rows, func(one row) bool { return one.Purpose == purpose && one.State == account.KeyNext })
}

// beginSigning makes the keys of a purpose that are missing.
func (r *Ring) beginSigning(tx account.Tx, rows []row, purpose, actor string, now time.Time) error {
	if active(rows, purpose) == nil {
		if err := r.makeSigning(tx, purpose, account.KeyActive, actor, now); err != nil {
			return err
		}
	}
	if next(rows, purpose) == nil {
		return r.makeSigning(tx, purpose, account.KeyNext, actor, now)
	}
	return nil
}

// makeSigning adds a new key that signs.
func (r *Ring) makeSigning(tx account.Tx, purpose string, state account.KeyState, actor string, now time.Time) (err error) {
	var k *jose.Key
	if purpose == SigningRS256 && r.taken < len(r.spare) {
		k = r.spare[r.taken]
		r.taken++
	} else if k, err = generate(algorithmOf(purpose)); err != nil {
		return err
	}
	jwk, err := k.Reveal()
	if err != nil {
		return err
	}
	return put(tx, account.Key{ID: k.ID(), Purpose: purpose, State: state, CreatedAt: now}, r.masters, []byte(jwk.Reveal()), "key_made", actor, now)
}

// parseSigning reads the keys that sign. Those that are known, which never
// change, are taken from there: there are hundreds while rotations follow each
// other. Its errors do not quote them.
func parseSigning(rows, known []row) error {
	before := map[string]*jose.Key{}
	for _, one := range known {
		before[one.ID] = one.signs
	}
	for i := range rows {
		one := &rows[i]
		if algorithmOf(one.Purpose) == "" || one.secret == nil {
			continue
		}
		if one.signs = before[one.ID]; one.signs != nil {
			continue
		}
		k, err := jose.ParseKey(one.secret)
		if err != nil || k.ID() != one.ID || !k.IsPrivate() || k.Public() == nil || k.Algorithm() != algorithmOf(one.Purpose) {
			return fmt.Errorf("key %s: %w", one.ID, ErrDamaged)
		}
		one.signs = k
	}
	return nil
}

// rotateSigning gives the next key of a purpose the turn, and makes another next one.
func (r *Ring) rotateSigning(tx account.Tx, rows []row, purpose, actor string, now time.Time) error {
	public := 0
	for _, one := range rows {
		if algorithmOf(one.Purpose) != "" && one.secret != nil && !over(one, now) {
			public++
		}
	}
	old, next := active(rows, purpose), next(rows, purpose)
	switch {
	case public >= maxPublic:
		return ErrTooMany
	case old == nil || next == nil:
		return r.beginSigning(tx, rows, purpose, actor, now)
	}
	turn := next.CreatedAt.Add(r.o.Ahead)
	if turn.Before(now) {
		turn = now
	}
	k := old.Key
	k.State, k.NotAfter = account.KeyRetiring, turn.Add(r.o.Signed)
	if err := tx.PutKey(k); err != nil { // first: one key is active at a time
		return err
	}
	k = next.Key
	k.State = account.KeyActive
	if err := errors.Join(tx.PutKey(k), tx.Record(&account.Record{At: now, Actor: actor, Event: "key_promoted", Detail: k.ID})); err != nil {
		return err
	}
	return r.makeSigning(tx, purpose, account.KeyNext, actor, now)
}

// inUse reports whether a key is active, or it is a key's turn that others wait
// for.
func (r *Ring) inUse(rows []row, one row, now time.Time) bool {
	turn := pick(r.signers(rows, one.Purpose), now)
	return one.State == account.KeyActive || turn != nil && turn.id == one.ID
}

// revoke erases a key that signs, and tells it to those who remember tokens.
//
// With one in use it erases all, of every algorithm, and fresh ones sign at once, not
// the next: they lie beside each other, and who has got the one has the others. And no
// verifier knows a fresh kid, so the first token that it sees makes it renew its
// set, which is without the key that leaked.
func (r *Ring) revoke(tx account.Tx, rows []row, one row, actor string, now time.Time) error {
	all := r.inUse(rows, one, now)
	for _, k := range rows {
		if k.ID != one.ID && (!all || algorithmOf(k.Purpose) == "" || k.State == account.KeyRetired) {
			continue
		}
		if err := errors.Join(retire(tx, k.Key, actor, now), tell(tx, k.Key, now)); err != nil {
			return err
		}
	}
	switch {
	case all:
		for _, purpose := range signing(rows) {
			if err := r.beginSigning(tx, nil, purpose, actor, now); err != nil {
				return err
			}
		}
	case one.State == account.KeyNext:
		return r.makeSigning(tx, one.Purpose, account.KeyNext, actor, now)
	}
	return nil
}

// tell tells those who remember tokens that a key counts no longer.
func tell(tx account.Tx, k account.Key, now time.Time) error {
	if algorithmOf(k.Purpose) == "" {
		return nil
	}
	return tx.Tell(feed.KeyEnded(k.ID, "key_retired", now.Add(keyNews)))
}

// Forget erases the signing keys of a store that was restored, whether they can
// be opened or not: what was taken back after the backup would live again, and
// no token from before counts any longer. The next Open makes new ones.
func Forget(ctx context.Context, store account.Store, now time.Time) error {
	_, err := reset(ctx, store, func(k account.Key) bool { return algorithmOf(k.Purpose) != "" }, byServer, now)
	return err
}
