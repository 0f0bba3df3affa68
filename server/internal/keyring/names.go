package keyring

import (
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
)

// ErrPermanent is why the key of [Names] is never changed.
var ErrPermanent = admit.Conflict.New("key_permanent", "This key stays: with another one everybody would be somebody else to applications.").WithHint("it signs and seals nothing; a master key keeps it from who reads the database")

// Names is what the key is for that people and sessions are called by at applications
// which must not compare them: pairwise subjects, and the sid of each client. There is one,
// made once. With another one an application would take everybody for new.
const Names = "names"

// Names returns the secret that names are derived with.
func (r *Ring) Names() admit.Secret { return r.names }

// beginNames makes the key of Names where there is none.
func (r *Ring) beginNames(tx account.Tx, rows []row, now time.Time) error {
	if active(rows, Names) != nil {
		return nil
	}
	id, secret := make([]byte, 8), make([]byte, 32)
	rand.Read(id)
	rand.Read(secret)
	k := account.Key{ID: hex.EncodeToString(id), Purpose: Names, State: account.KeyActive, CreatedAt: now}
	return put(tx, k, r.masters, secret, "key_made", byServer, now)
}
