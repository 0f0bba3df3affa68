package session

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/admit-auth/admit"
)

// A Store keeps small records by key. It is dumb on purpose: it reads no
// clock, never sees a bearer value, does not know what a record means, and
// changes state only by compare-and-set. Package sessiontest checks every
// promise below.
//
// Keys are 1 to 200 bytes of printable ASCII, spaces excepted. A value may hold
// any bytes, up to [MaxValue]; a subject is up to 255 bytes of UTF-8 without NUL.
// An expiry is kept to the millisecond, from 1970 to the end of the year 9999.
// What does not fit is refused with an error of kind [admit.Invalid]:
// [CheckRecord] is there for that.
//
// Every method returns within the context's deadline; where the store cannot
// answer, the error is of kind [admit.Unavailable] or the context's own. A write
// that fails so may have happened, or may yet; one whose context had ended before
// the call does not.
type Store interface {
	// Get returns the record, also when its expiry has passed and nobody has
	// swept it, or ErrNotFound.
	Get(ctx context.Context, key string) (Item, error)

	// Add keeps a new record and returns its version, or ErrConflict if the
	// key is taken. It.Version is ignored.
	Add(ctx context.Context, key string, it Item) (version uint64, err error)

	// Swap replaces the record that has the version old, expiry included, and
	// returns the new version; ErrConflict if the record has another version
	// by now, ErrNotFound if there is none. Of any number of swaps of one
	// version one succeeds. A key never has the same version twice, not even
	// after the record was deleted and added anew.
	Swap(ctx context.Context, key string, old uint64, it Item) (version uint64, err error)

	// Touch moves the expiry of the record that has this version, if the new
	// expiry is later; an earlier one is no error and changes nothing. The
	// version stays. ErrConflict and ErrNotFound as in Swap.
	Touch(ctx context.Context, key string, version uint64, expires time.Time) error

	// Delete removes the record. Removing one that is not there is no error.
	Delete(ctx context.Context, key string) error
}

// An Item is a record as a store sees it. Its value is a string because a
// string cannot be changed behind anyone's back: stores and caches may share
// it without copying.
type Item struct {
	Value   string
	Subject string    // whose it is, for listing; "" for nobody's
	Expires time.Time // when it may be swept
	Version uint64    // set by the store, 1 to 1<<48 - 1
}

// MaxValue is the length of the longest value that every store takes, in bytes.
const MaxValue = 60 << 10

// CheckRecord refuses what not every store can keep. Most programs never call
// it: stores do, before they write.
func CheckRecord(key string, it Item) error {
	if len(key) == 0 || len(key) > maxKey || len(it.Subject) > 255 || len(it.Value) > MaxValue {
		return fmt.Errorf("key of %d bytes, subject of %d, value of %d: %w", len(key), len(it.Subject), len(it.Value), ErrTooLarge)
	}
	if !printable(key) {
		return fmt.Errorf("key %q: %w", key, errNotText)
	}
	if !utf8.ValidString(it.Subject) || strings.IndexByte(it.Subject, 0) >= 0 {
		return fmt.Errorf("subject %q: %w", it.Subject, errNotText)
	}
	return nil
}

const maxKey = 200

// printable reports whether a text is ASCII that can be seen.
func printable(s string) bool {
	for i := range len(s) {
		if s[i]-'!' > '~'-'!' {
			return false
		}
	}
	return true
}

// An EpochGetter is a Store that reads a record together with its subject's
// epoch in one trip. It must give what Get(key) and then
// Get(EpochKey(it.Subject)) would, with the second value read by ParseEpoch, and
// the zero Epoch where the record has no subject or the epoch is absent. A Manager does two
// trips where the store has no such method.
type EpochGetter interface {
	GetWithEpoch(ctx context.Context, key string) (it Item, epoch Epoch, err error)
}

// A Guesser is a Store that a call takes a trip to, and that remembers some of what its
// calls had. A Manager's update begins with that and takes one trip in place of two: what
// has become untrue meanwhile is a conflict, and then it is read. A store that wraps one
// and has a Swap of its own needs a SwapIn of its own, for a Manager prefers that.
type Guesser interface {
	// Guess returns what was last read or written of a record here, with its subject's
	// epoch, where that is remembered. Either may have changed since.
	Guess(key string) (it Item, epoch Epoch, ok bool)

	// SwapIn is Swap for a record that counts in this epoch of its subject: in another,
	// or where there is none, it is ErrConflict. Of a record without a subject it is Swap.
	SwapIn(ctx context.Context, key string, old uint64, it Item, epoch Epoch) (version uint64, err error)
}

// A Lister is a Store that can find the records of a subject.
type Lister interface {
	// List returns up to limit records with this subject, or of everybody's and
	// nobody's for "", ordered by key, byte by byte, from the first key greater
	// than after on.
	List(ctx context.Context, subject, after string, limit int) ([]Entry, error)
}

// An Entry is a record with its key.
type Entry struct {
	Key string
	Item
}

// A Sweeper is a Store that does not forget expired records by itself.
type Sweeper interface {
	// Sweep removes up to limit records whose expiry is not after now, and
	// returns how many. The work is in proportion to what expired, not to what
	// is kept, and no other call waits for more than a small step of it.
	Sweep(ctx context.Context, now time.Time, limit int) (int, error)
}

// A Durability says what a store's acknowledged writes survive.
type Durability uint8

const (
	// SurvivesNothing: gone when the process ends.
	SurvivesNothing Durability = iota
	// MayForget: another process keeps the records, yet may drop any of them
	// under memory pressure or when it restarts.
	MayForget
	// SurvivesProcess: kept when any process is killed, perhaps not when the
	// machine loses power.
	SurvivesProcess
	// SurvivesMachine: on disk before it is acknowledged.
	SurvivesMachine
)

// A Durable is a Store that says what its writes survive. One that does not is
// taken for SurvivesNothing.
type Durable interface{ Durability() Durability }

// What stores answer.
var (
	ErrNotFound = admit.NotFound.New("record_not_found", "There is no such record.")
	ErrConflict = admit.Conflict.New("record_changed", "The record was changed by someone else.")
	ErrTooLarge = admit.Invalid.New("record_too_large", "The session's data is too large to be kept.")
	errNotText  = admit.Invalid.New("record_not_text", "This session cannot be kept under that name.")
	ErrFull     = admit.Unavailable.New("store_full", "No more sessions can be kept just now.")
)
