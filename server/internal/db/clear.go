package db

import (
	"strings"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

// A belonging is a table whose rows are about users, and which of them go where
// what a user signs in with is cleared. A new table of this sort is refused by a
// test until it is named here, with the reason.
type belonging struct {
	table, user string // and the column that names the user
	goes        map[account.Clearing]string
	why         string
}

// sinceThen stands for the time of [account.TakenBack] in a condition.
const (
	everyRow  = "1 = 1"
	sinceThen = ":since"
)

var belongings = []belonging{
	{"users", "id", nil, "the account itself, whose owner is another one or none"},
	{"user_roles", "user_id", nil, "an operator gives roles to whom an address belongs, whoever typed it first"},
	{"identifiers", "user_id", nil, "who clears writes anew what is left of them"},
	{"credentials", "user_id", map[account.Clearing]string{account.FirstProof: everyRow}, "a password; who recovers sets a new one in its place"},
	{"factors", "user_id", map[account.Clearing]string{
		account.FirstProof: everyRow, account.Recovered: "kind = 'device' OR kind = 'passkey' AND created_at >= " + sinceThen, account.TakenBack: "kind = 'device' OR created_at >= " + sinceThen,
	}, "an address alone does not replace a second factor; a device was trusted by who knew the password, and a passkey of late is perhaps his"},
	{"user_handles", "user_id", map[account.Clearing]string{account.FirstProof: everyRow}, "authenticators know the user by it, passkeys that stay too"},
	{"factor_losses", "user_id", map[account.Clearing]string{account.FirstProof: everyRow, account.Recovered: everyRow, account.TakenBack: everyRow},
		"who said that factors are lost may be whom the clearing shuts out; the owner begins anew"},
	{"factor_tries", "user_id", nil, "what was burnt stays burnt"},
	{"sessions", "subject", nil, "they end with the epoch, which is raised"},
	{"refresh_families", "user_id", nil, "they end with their sessions"},
	{"status_places", "subject", nil, "where it is told that tokens have ended"},
	{"api_keys", "user_id", nil, "they are ended, which verifiers hear"},
	{"challenges", "target", nil, "they are voided by purposes and targets"},
	{"outbox", "user_id", nil, "what a message offers is void; what it tells is true"},
	{"external_ids", "user_id", map[account.Clearing]string{account.FirstProof: everyRow}, "what an import called whoever had proved nothing; a later one would bring his password"},
	{"audit", "subject", nil, "what happened has happened"},
}

// Clear implements account.Clearings.
func (t *txn) Clear(user string, of account.Clearing, from time.Time) error {
	t.closing.accounts = true
	for _, b := range belongings {
		which, ok := b.goes[of]
		if !ok {
			continue
		}
		args := []any{user}
		for range strings.Count(which, sinceThen) {
			args = append(args, from.UnixMilli())
		}
		if err := t.exec("DELETE FROM "+b.table+" WHERE "+b.user+" = ? AND ("+strings.ReplaceAll(which, sinceThen, "?")+")", args...); err != nil {
			return err
		}
	}
	return nil
}

// VoidChallenges implements account.Clearings.
func (t *txn) VoidChallenges(target, but string) error {
	return t.exec("DELETE FROM challenges WHERE target = ? AND purpose <> ?", target, but)
}
