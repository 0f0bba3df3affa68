// Package keyring keeps the server's own secrets.
//
// They stand in the database, sealed by a master key where there is one. [Open]
// makes them on the first start; what it returns hands out rings that follow
// every change, so that no program is restarted for a new key. Each key has one
// purpose, an id, and a state: next (it is public, and makes nothing yet),
// active, retiring (it only opens or verifies what it made), retired (its bytes
// are gone).
package keyring

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/server/internal/account"
)

// Why a key is not changed.
var (
	ErrUnknown = admit.NotFound.New("unknown_key", "There is no such key.").WithHint("admit key list shows them")
	ErrActive  = admit.Conflict.New("key_active", "This key is the one in use.").WithHint("admit key rotate puts a new one in front of it; if it leaked, --force replaces it at once")
	ErrPurpose = admit.Invalid.New("unknown_purpose", "There are no keys for this purpose.").WithHint("the purposes are cookies, signing, signing-rs256 and signing-eddsa")
	ErrTooMany = admit.Conflict.New("too_many_keys", "More signing keys are public than verifiers take in one set.").WithHint("wait until some have retired: admit key list says when")
	ErrNeeded  = admit.Conflict.New("key_needed", "This key may still be needed.")
	ErrChanged = admit.Conflict.New("keys_changed", "Somebody else has just changed the keys.").WithHint("look at admit key list, and try again")
)

// What keys are for.
const (
	Cookies = "cookies" // they seal cookies, and what waits in the database
	Signing = "signing" // they sign JWTs, with ES256, and their public halves are published

	SigningRS256 = "signing-rs256" // likewise with RS256,
	SigningEdDSA = "signing-eddsa" // and with EdDSA, for clients that ask for it
)

// byServer is who did it, in the audit, where nobody asked.
const byServer = "server"

// Options of a Ring.
type Options struct {
	Masters []*MasterKey  // the first seals, all open; none: the keys stand unsealed
	Life    time.Duration // the longest that anything lives which a key has sealed
	Signed  time.Duration // the longest that a verifier may take a JWT for good, its leeway included
	Ahead   time.Duration // how long a key is public before it signs: longer than any verifier's copy of the set goes unrenewed
	Every   time.Duration // when an active key is replaced by itself; 0: never
	Adopt   string        // keys that a file held until now, as package cookie writes them
}

// A Ring is the server's secrets. It is safe for use by several goroutines, and
// by several processes on one database.
type Ring struct {
	store   account.Store
	o       Options
	cookies *cookie.Keys
	names   admit.Secret // set by Open
	public  atomic.Pointer[published]
	settle  sync.RWMutex // held while a change is written and before it is seen

	mu      sync.Mutex   // one change at a time; also guards:
	masters []*MasterKey // that the rows are sealed with
	seen    []row        // as they were read last
	spare   []*jose.Key  // of RS256, for the next change
	taken   int          // of them, by the one that is being made
}

// A row is a key with its secret, which a retired one has not.
type row struct {
	account.Key
	box    box
	secret []byte
	signs  *jose.Key // what the secret of a signing key is, in rows that were seen
}

// A Key is one as it is shown.
type Key struct {
	ID        string           `json:"id"`
	Purpose   string           `json:"purpose"`
	State     account.KeyState `json:"state"`
	CreatedAt time.Time        `json:"created_at"`
	NotBefore *time.Time       `json:"not_before,omitempty"` // when a next key begins to sign, once that is decided
	NotAfter  *time.Time       `json:"not_after,omitempty"`  // when a retiring key retires
	MasterKey string           `json:"master_key,omitempty"` // id of the one that seals it
}

// Open opens the keys of a store, all or none, and makes the first ones.
func Open(ctx context.Context, store account.Store, o Options, now time.Time) (*Ring, error) {
	r := &Ring{store: store, o: o, masters: o.Masters}
	var rows []row
	// Most starts write nothing.
	err := store.View(ctx, func(tx account.Tx) (err error) {
		rows, err = read(tx, o.Masters)
		return err
	})
	if err == nil {
		err = r.see(rows)
	}
	if err == nil {
		err = r.prepareMissing(rows)
	}
	if err == nil && (o.Adopt != "" || !complete(rows) || !sealedBy(rows, o.Masters)) {
		err = r.change(ctx, o.Masters, func(tx account.Tx, rows []row) error {
			if err := reseal(tx, rows, o.Masters, byServer, now); err != nil {
				return err
			}
			return r.begin(tx, rows, now)
		})
	}
	if err != nil {
		return nil, err
	}
	// A crash may have come between sealing and scrubbing.
	if len(o.Masters) > 0 {
		if err := store.Scrub(ctx); err != nil {
			return nil, err
		}
	}
	_, err = r.Tend(ctx, now)
	return r, err
}

// Cookies returns the ring of keys that seal cookies. It follows every change.
func (r *Ring) Cookies() *cookie.Keys { return r.cookies }

// read returns the keys as they are, active ones first, and no secret unless
// every one can be opened.
func read(tx account.Tx, masters []*MasterKey) (rows []row, err error) {
	keys, err := tx.Keys()
	if err != nil {
		return nil, err
	}
	return unsealed(keys, masters)
}

// Check reports why keys could not be opened with these master keys.
func Check(keys []account.Key, masters []*MasterKey) error {
	rows, err := unsealed(keys, masters)
	if err == nil {
		err = parseSigning(rows, nil)
	}
	return err
}

func unsealed(keys []account.Key, masters []*MasterKey) (rows []row, err error) {
	plain, sealed := 0, 0
	for _, k := range keys {
		one := row{Key: k}
		if k.State != account.KeyRetired {
			if one.box, err = parseBox(k.Sealed); err != nil {
				return nil, fmt.Errorf("key %s: %w", k.ID, err)
			}
			if one.secret, err = open(masters, k.ID, k.Purpose, one.box); err != nil {
				return nil, err
			}
			if one.box.master == "" {
				plain++
			} else {
				sealed++
			}
		}
		rows = append(rows, one)
	}
	// Keys are sealed all at once: who can write to the database, and has no
	// master key, must not get one of their own in.
	if plain > 0 && sealed > 0 {
		return nil, fmt.Errorf("%d keys stand unsealed among %d that are sealed: %w", plain, sealed, ErrDamaged)
	}
	slices.SortStableFunc(rows, func(a, b row) int { return order(a.State) - order(b.State) })
	return rows, nil
}

func order(s account.KeyState) int {
	return slices.Index([]account.KeyState{account.KeyActive, account.KeyNext, account.KeyRetiring, account.KeyRetired}, s)
}

// see makes rows what is used from now on. Mu is held, but in Open.
func (r *Ring) see(rows []row) error {
	var secrets [][]byte
	for _, one := range rows {
		if one.Purpose == Cookies && one.secret != nil {
			secrets = append(secrets, one.secret)
		}
	}
	if len(secrets) == 0 {
		return nil // the first start
	}
	keys, err := cookiesOf(secrets)
	if err == nil {
		err = parseSigning(rows, r.seen)
	}
	if err != nil {
		return err
	}
	if r.cookies == nil {
		r.cookies = keys
	} else {
		r.cookies.Replace(keys)
	}
	if one := active(rows, Names); one != nil && r.names.IsZero() {
		r.names = admit.NewSecret(string(one.secret))
	}
	r.publish(rows)
	r.seen = rows
	return nil
}

// complete reports whether there is all that a ring needs.
func complete(rows []row) bool {
	return active(rows, Cookies) != nil && active(rows, Names) != nil && !slices.ContainsFunc(signing(rows), func(purpose string) bool {
		return active(rows, purpose) == nil || next(rows, purpose) == nil
	})
}

// prepareMissing prepares what is missing before a ring is complete.
func (r *Ring) prepareMissing(rows []row) error {
	if complete(rows) {
		return nil
	}
	for _, purpose := range signing(rows) {
		if err := r.prepare(purpose, 2); err != nil {
			return err
		}
	}
	return nil
}

// change runs fn in a transaction on the rows as they are. What it wrote must
// open again with the master keys, or nothing has happened. Mu is held, but in
// Open.
func (r *Ring) change(ctx context.Context, masters []*MasterKey, fn func(tx account.Tx, rows []row) error) error {
	r.settle.Lock()
	defer r.settle.Unlock()
	var rows []row
	// Whether a cancelled write happened would not be known.
	err := r.store.Update(context.WithoutCancel(ctx), func(tx account.Tx) (err error) {
		if rows, err = read(tx, r.masters); err != nil {
			return err
		}
		r.taken = 0 // it may run again
		if err := fn(tx, rows); err != nil {
			return err
		}
		rows, err = read(tx, masters)
		return err
	})
	switch {
	case err == nil:
		r.masters, r.spare = masters, r.spare[r.taken:]
	case !errors.Is(err, ErrChanged):
		return err
	}
	return errors.Join(err, r.see(rows))
}

// begin adopts the keys of a file, and makes the first ones where there are none.
func (r *Ring) begin(tx account.Tx, rows []row, now time.Time) error {
	sealing := active(rows, Cookies) != nil
	var secrets [][]byte
	if r.o.Adopt != "" {
		var err error
		if secrets, err = parseLines(r.o.Adopt); err != nil {
			return err
		}
	}
	for i, secret := range secrets {
		id, err := cookieID(secret)
		if err != nil {
			return err
		}
		// A key that was retired stays so, whatever backup its file came from.
		if find(rows, func(one row) bool { return one.ID == id }) != nil {
			continue
		}
		k := account.Key{ID: id, Purpose: Cookies, State: account.KeyActive, CreatedAt: now.Add(-time.Duration(i) * time.Second)}
		if sealing {
			k.State, k.NotAfter = account.KeyRetiring, now.Add(r.o.Life)
		}
		sealing = true
		if err := put(tx, k, r.masters, secret, "key_adopted", byServer, now); err != nil {
			return err
		}
	}
	if !sealing {
		if err := r.make(tx, rows, byServer, now); err != nil {
			return err
		}
	}
	if err := r.beginNames(tx, rows, now); err != nil {
		return err
	}
	for _, purpose := range signing(rows) {
		if err := r.beginSigning(tx, rows, purpose, byServer, now); err != nil {
			return err
		}
	}
	return nil
}

// make adds a new active key that seals.
func (r *Ring) make(tx account.Tx, rows []row, actor string, now time.Time) error {
	for {
		secret := make([]byte, 32)
		rand.Read(secret)
		id, err := cookieID(secret)
		if err != nil {
			return err
		}
		// 24 bits, so that an id in each value stays short.
		if find(rows, func(one row) bool { return one.ID == id }) == nil {
			k := account.Key{ID: id, Purpose: Cookies, State: account.KeyActive, CreatedAt: now}
			return put(tx, k, r.masters, secret, "key_made", actor, now)
		}
	}
}

func put(tx account.Tx, k account.Key, masters []*MasterKey, secret []byte, event, actor string, now time.Time) error {
	k.Sealed = seal(masters, k.ID, k.Purpose, secret).String()
	if err := tx.PutKey(k); err != nil {
		return err
	}
	return tx.Record(&account.Record{At: now, Actor: actor, Event: event, Detail: k.ID})
}

// rotate makes a new key that seals, and lets the one that was active open for
// as long as something that it made can live.
func (r *Ring) rotate(tx account.Tx, rows []row, actor string, now time.Time) error {
	if old := active(rows, Cookies); old != nil {
		k := old.Key
		k.State, k.NotAfter = account.KeyRetiring, now.Add(r.o.Life)
		if err := tx.PutKey(k); err != nil {
			return err
		}
	}
	return r.make(tx, rows, actor, now)
}

// carry seals anew, with the active key, the factors that another key has sealed:
// they outlive every key.
func (r *Ring) carry(tx account.Tx, from string, now time.Time) error {
	rows, err := read(tx, r.masters)
	if err != nil {
		return err
	}
	var secrets [][]byte
	for _, one := range rows { // the active one is first
		if one.Purpose == Cookies && one.secret != nil {
			secrets = append(secrets, one.secret)
		}
	}
	keys, err := cookiesOf(secrets)
	if err != nil {
		return err
	}
	sealed, err := tx.FactorsSealedBy(head(from))
	if err != nil {
		return err
	}
	for _, f := range sealed {
		name := account.FactorSeal(f.ID)
		secret, _, err := keys.Open(nil, name, f.Data, 0, now)
		if err != nil {
			continue // nor could anybody before
		}
		f.Data = string(keys.Seal(nil, name, secret, now))
		if _, err := tx.ChangeFactor(f, f.Counter); err != nil {
			return err
		}
	}
	return nil
}

func retire(tx account.Tx, k account.Key, actor string, now time.Time) error {
	k.State, k.NotAfter, k.Sealed = account.KeyRetired, time.Time{}, ""
	if err := tx.PutKey(k); err != nil {
		return err
	}
	if k.Purpose == Cookies {
		if err := tx.DeleteSealedBy(head(k.ID)); err != nil {
			return err
		}
	}
	return tx.Record(&account.Record{At: now, Actor: actor, Event: "key_retired", Detail: k.ID})
}

// reseal seals with the first master key what is not.
func reseal(tx account.Tx, rows []row, masters []*MasterKey, actor string, now time.Time) error {
	if sealedBy(rows, masters) {
		return nil
	}
	for _, one := range rows {
		if one.secret == nil {
			continue
		}
		one.Sealed = seal(masters, one.ID, one.Purpose, one.secret).String()
		if err := tx.PutKey(one.Key); err != nil {
			return err
		}
	}
	return tx.Record(&account.Record{At: now, Actor: actor, Event: "keys_resealed", Detail: first(masters)})
}

// sealedBy reports whether the first of the master keys, or none, seals all rows.
func sealedBy(rows []row, masters []*MasterKey) bool {
	return find(rows, func(one row) bool { return one.secret != nil && one.box.master != first(masters) }) == nil
}

func first(masters []*MasterKey) string {
	if len(masters) == 0 {
		return ""
	}
	return masters[0].id
}

func find(rows []row, is func(row) bool) *row {
	if i := slices.IndexFunc(rows, is); i >= 0 {
		return &rows[i]
	}
	return nil
}

func active(rows []row, purpose string) *row {
	return find(rows, func(one row) bool { return one.Purpose == purpose && one.State == account.KeyActive })
}

// List returns all keys as they are at a time, retired ones last.
func (r *Ring) List(ctx context.Context, now time.Time) ([]Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var rows []row
	err := r.store.View(ctx, func(tx account.Tx) (err error) {
		rows, err = read(tx, r.masters)
		return err
	})
	return r.shown(rows, now), err
}

// shown returns rows as they are shown, those in use first.
func (r *Ring) shown(rows []row, now time.Time) []Key {
	keys := make([]Key, len(rows))
	for i, one := range rows {
		keys[i] = Key{ID: one.ID, Purpose: one.Purpose, State: one.State, CreatedAt: one.CreatedAt.UTC(), MasterKey: one.box.master}
		if !one.NotAfter.IsZero() {
			end := one.NotAfter.UTC()
			keys[i].NotAfter = &end
		}
	}
	r.showTurns(keys, rows, now)
	slices.SortStableFunc(keys, func(a, b Key) int { return order(a.State) - order(b.State) })
	return keys
}

// Rotate puts another key in front of the active one and returns it. Nobody is
// signed out: the old one opens, or verifies, what it made until that has
// expired. A key that signs takes its turn once it has been public for long
// enough: at once, but for several rotations in a row.
func (r *Ring) Rotate(ctx context.Context, purpose, actor string, now time.Time) (Key, error) {
	rotate := r.rotate
	switch {
	case purpose == Cookies:
	case purpose == Names:
		return Key{}, ErrPermanent
	case algorithmOf(purpose) != "":
		rotate = r.rotation(purpose)
	default:
		return Key{}, ErrPurpose
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.prepare(purpose, 2); err != nil {
		return Key{}, err
	}
	erased := false
	err := r.change(ctx, r.masters, func(tx account.Tx, rows []row) error {
		// Another process must not rotate what this one has not seen.
		if known, is := active(r.seen, purpose), active(rows, purpose); known != nil && is != nil && known.ID != is.ID {
			return ErrChanged
		}
		erased = find(rows, func(one row) bool { return over(one, now) }) != nil
		if err := r.retireOver(tx, rows, now); err != nil {
			return err
		}
		return rotate(tx, rows, actor, now)
	})
	if err == nil && erased {
		err = r.store.Scrub(ctx)
	}
	if err != nil {
		return Key{}, err
	}
	id := active(r.seen, purpose).ID
	keys := r.shown(r.seen, now)
	return keys[slices.IndexFunc(keys, func(k Key) bool { return k.ID == id })], nil
}

// over reports whether a retiring key is of no use any more.
func over(one row, now time.Time) bool {
	return one.State == account.KeyRetiring && !now.Before(one.NotAfter)
}

// retireOver retires the keys whose time is over.
func (r *Ring) retireOver(tx account.Tx, rows []row, now time.Time) error {
	for _, one := range rows {
		if over(one, now) {
			if one.Purpose == Cookies {
				if err := r.carry(tx, one.ID, now); err != nil {
					return err
				}
			}
			if err := retire(tx, one.Key, byServer, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// A Loss is what cannot be opened without a key.
type Loss struct {
	Browsers   bool `json:"browsers"`   // that signed in while it was active are known no longer
	Mail       int  `json:"mail"`       // messages that wait
	Challenges int  `json:"challenges"` // sign-ups and the like under way

	Tokens bool `json:"tokens,omitempty"` // JWTs that it signed count no longer
}

// String tells it to a person.
func (l Loss) String() string {
	var all []string
	if l.Browsers {
		all = append(all, "browsers that signed in with it are strangers until they sign in again")
	}
	if l.Tokens {
		all = append(all, "JWTs that it has signed count no longer, and who holds one gets another by a refresh")
	}
	for _, part := range []struct {
		n         int
		one, many string
	}{
		{l.Mail, "message that waits is not sent", "messages that wait are not sent"},
		{l.Challenges, "sign-up under way begins again", "sign-ups under way begin again"},
	} {
		if part.n == 1 {
			all = append(all, "1 "+part.one)
		} else if part.n > 1 {
			all = append(all, fmt.Sprintf("%d %s", part.n, part.many))
		}
	}
	return strings.Join(all, "; ")
}

// Retire erases a key and returns what is lost by it. A key that may be needed
// is erased only by force; an active one is then replaced at once. Sessions are
// never lost: no key has made them.
func (r *Ring) Retire(ctx context.Context, id string, force bool, actor string, now time.Time) (loss Loss, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// One that leaked takes all with it.
	if one := find(r.seen, func(one row) bool { return one.ID == id }); one != nil && algorithmOf(one.Purpose) != "" && r.public.Load().signers[jose.RS256] != nil {
		if err := r.prepare(SigningRS256, 2); err != nil {
			return loss, err
		}
	}
	err = r.change(ctx, r.masters, func(tx account.Tx, rows []row) (err error) {
		loss = Loss{}
		one := find(rows, func(one row) bool { return one.ID == id })
		switch {
		case one == nil:
			return ErrUnknown
		case one.State == account.KeyRetired:
			return nil
		case one.Purpose == Names:
			return ErrPermanent
		case r.inUse(rows, *one, now) && !force:
			return ErrActive
		}
		needed := one.State == account.KeyActive || one.State == account.KeyRetiring && now.Before(one.NotAfter)
		if algorithmOf(one.Purpose) != "" {
			loss.Tokens = needed
		} else {
			loss.Browsers = needed
			if loss.Mail, loss.Challenges, err = tx.SealedBy(head(id), now); err != nil {
				return err
			}
		}
		if loss != (Loss{}) && !force {
			return ErrNeeded.WithHint("it retires by itself at " + one.NotAfter.UTC().Format("2006-01-02 15:04 UTC") + "; with --force, " + loss.String())
		}
		if algorithmOf(one.Purpose) != "" {
			return r.revoke(tx, rows, *one, actor, now)
		}
		if one.State == account.KeyActive {
			if err := r.rotate(tx, rows, actor, now); err != nil {
				return err
			}
		}
		if err := r.carry(tx, id, now); err != nil {
			return err
		}
		return retire(tx, one.Key, actor, now)
	})
	if err == nil {
		err = r.store.Scrub(ctx)
	}
	return loss, err
}

// Reseal seals all keys with the first of the master keys, in one transaction;
// with none they stand unsealed afterwards. It may be called again, and then
// only makes sure that nothing older can be read from the files.
func (r *Ring) Reseal(ctx context.Context, masters []*MasterKey, actor string, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.change(ctx, masters, func(tx account.Tx, rows []row) error {
		return reseal(tx, rows, masters, actor, now)
	})
	if err != nil {
		return err
	}
	return r.store.Scrub(ctx)
}

// Reset erases all keys of a store, whether they can be opened or not, and
// returns how many: for a master key that is lost for good. The next Open makes
// new ones. No other process may have the keys open.
func Reset(ctx context.Context, store account.Store, actor string, now time.Time) (n int, err error) {
	return reset(ctx, store, func(account.Key) bool { return true }, actor, now)
}

func reset(ctx context.Context, store account.Store, which func(account.Key) bool, actor string, now time.Time) (n int, err error) {
	err = store.Update(context.WithoutCancel(ctx), func(tx account.Tx) error {
		n = 0
		keys, err := tx.Keys()
		if err != nil {
			return err
		}
		for _, k := range keys {
			if k.State == account.KeyRetired || !which(k) {
				continue
			}
			if err := errors.Join(retire(tx, k, actor, now), tell(tx, k, now)); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err == nil {
		err = store.Scrub(ctx)
	}
	return n, err
}

// Look sees what other processes did.
func (r *Ring) Look(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err := r.look(ctx)
	return err
}

// look reads the rows, and makes them what is used. Mu is held.
func (r *Ring) look(ctx context.Context) (rows []row, err error) {
	err = r.store.View(ctx, func(tx account.Tx) (err error) {
		rows, err = read(tx, r.masters)
		return err
	})
	if err == nil && !slices.EqualFunc(rows, r.seen, func(a, b row) bool { return a.Key == b.Key }) {
		err = r.see(rows)
	}
	return rows, err
}

// Tend does what is due, and sees what other processes did: call it every minute
// or so. It reports whether it rotated or retired a key.
func (r *Ring) Tend(ctx context.Context, now time.Time) (did bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rows, err := r.look(ctx)
	if err != nil || len(r.due(rows, now)) == 0 && find(rows, func(one row) bool { return over(one, now) }) == nil {
		return false, err
	}
	if len(r.due(rows, now)) > 0 && r.public.Load().signers[jose.RS256] != nil {
		if err := r.prepare(SigningRS256, 1); err != nil {
			return false, err
		}
	}
	err = r.change(ctx, r.masters, func(tx account.Tx, rows []row) error {
		if err := r.retireOver(tx, rows, now); err != nil {
			return err
		}
		for _, rotate := range r.due(rows, now) { // still: another process may have been faster
			if err := rotate(tx, rows, byServer, now); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = r.store.Scrub(ctx)
	}
	return err == nil, err
}

// due returns the rotations whose time has come.
func (r *Ring) due(rows []row, now time.Time) (all []func(account.Tx, []row, string, time.Time) error) {
	if r.o.Every == 0 {
		return nil
	}
	if one := active(rows, Cookies); one != nil && now.Sub(one.CreatedAt) >= r.o.Every {
		all = append(all, r.rotate)
	}
	for _, purpose := range signing(rows) {
		// The next key was made when the active one began to sign.
		if one := next(rows, purpose); one != nil && now.Sub(one.CreatedAt) >= r.o.Every {
			all = append(all, r.rotation(purpose))
		}
	}
	return all
}

// rotation rotates the keys of one purpose that sign.
func (r *Ring) rotation(purpose string) func(account.Tx, []row, string, time.Time) error {
	return func(tx account.Tx, rows []row, actor string, now time.Time) error {
		return r.rotateSigning(tx, rows, purpose, actor, now)
	}
}

// cookiesOf makes a ring of secrets, newest first.
func cookiesOf(secrets [][]byte) (*cookie.Keys, error) {
	var text strings.Builder
	for _, secret := range secrets {
		text.WriteString(base64.StdEncoding.EncodeToString(secret) + "\n")
	}
	keys, err := cookie.ParseKeys(text.String())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return keys, nil
}

// cookieID is the id that package cookie gives a key, in letters that no command
// line takes for a flag.
func cookieID(secret []byte) (string, error) {
	keys, err := cookiesOf([][]byte{secret})
	if err != nil {
		return "", err
	}
	b, err := base64.RawURLEncoding.DecodeString(keys.IDs()[0])
	return hex.EncodeToString(b), err
}

// head is what everything begins with that the key has sealed.
func head(id string) string {
	b, err := hex.DecodeString(id)
	if err != nil || len(b) == 0 {
		return "\x00" // nothing begins so
	}
	return base64.RawURLEncoding.EncodeToString(b)
}
