package db

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/provider"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/trace"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/statuslist"
)

// A providerStore is a provider.Store over the transactions of accounts: what ends a
// session or a user ends the grants behind it in the same one, and tokens that are given
// at the same time share a commit.
type providerStore struct {
	db    *DB
	lists string
}

// Provider returns what a provider of OAuth keeps in this database. Lists is where status
// lists are, each by its number, without the slash; "" where there are none.
func (db *DB) Provider(lists string) provider.Store { return providerStore{db, lists} }

// View implements provider.Store.
func (s providerStore) View(ctx context.Context, fn func(provider.Tx) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err // where copies do, nobody else says so
	}
	ctx, span := trace.Start(ctx, "provider read")
	defer func() { span.End(err) }()
	// Rows by their keys are read as soon as somebody would have stopped it, and the driver
	// of SQLite starts a goroutine for each statement that can be.
	if s.db.read.dialect == inSQLite {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := s.db.read.bound(ctx)
	defer cancel()
	t := &txn{ctx: ctx, in: s.db.read.sessions().Reading(), begin: func() (uint64, *tx, error) {
		began := s.db.near.now()
		tx, err := s.db.read.BeginTx(ctx, s.db.read.reading())
		return began, tx, err
	}}
	defer func() {
		if t.under != nil {
			t.under.Rollback()
		}
		if died := recover(); died != nil {
			u, ok := died.(unbegun)
			if !ok {
				panic(died)
			}
			err = classify(u.err)
		}
	}()
	return classify(fn(providerTx{t, s.lists, s.db.near, false}))
}

// errOutdated says that a grant has changed between two statements of one transaction:
// it was ended by who ends its session and waits for no turn. To those who share the
// transaction it is a refusal, and harms them not.
var errOutdated = admit.Conflict.New("grant_outdated", "The grant is at another rotation, or has ended.")

// Update implements provider.Store.
func (s providerStore) Update(ctx context.Context, fn func(provider.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err // who leads a group would do it all the same
	}
	for try := 1; ; try++ {
		err := s.db.Update(ctx, func(tx account.Tx) error { return fn(providerTx{tx.(*txn), s.lists, s.db.near, true}) })
		if !errors.Is(err, errOutdated) {
			return err
		}
		if try == writeTries {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
}

// A providerTx is a provider.Tx. Clients are those of accounts.
type providerTx struct {
	*txn
	lists  string
	near   *near
	writes bool
}

// Session implements provider.Tx. In an Update it stays as it is until the commit: so
// nothing is given behind a session that ends meanwhile.
func (t providerTx) Session(sid string, now time.Time) (*provider.Session, error) {
	if s := t.nearSession(sid, now); s != nil {
		return s, nil
	}
	info, err := t.txn.Session(sid, now)
	if admit.KindOf(err) == admit.Unauthenticated {
		return nil, nil
	}
	if err != nil || info.Guest() {
		return nil, err
	}
	s := &provider.Session{SID: info.SID, Subject: info.Subject, AuthTime: info.AuthTime, ACR: info.ACR, AMR: info.AMR(), Expires: info.ExpiresAt}
	t.keepSession(s, info.IdleExpiresAt)
	return s, nil
}

// User implements provider.Tx.
func (t providerTx) User(subject string) (*provider.User, error) {
	if u := t.nearUser(subject); u != nil {
		return u, nil
	}
	u, err := t.txn.User(subject)
	if errors.Is(err, account.ErrUnknownUser) || err == nil && u.Disabled {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	epoch, _, err := t.Epoch(subject)
	if err != nil {
		return nil, err
	}
	of := &provider.User{Subject: u.ID, Epoch: epoch, Roles: u.Roles, Claims: claimsOf(u)}
	t.keepUser(of)
	return of, nil
}

// claimsOf is what a user's own data are as claims. An address that nobody has proved
// is left out: there are clients that look at "email" alone, and would give its owner's
// account to whoever typed it.
func claimsOf(u *account.User) map[string]any {
	c := map[string]any{}
	if u.Name != "" {
		c["name"] = u.Name
	}
	if u.Locale != "" {
		c["locale"] = u.Locale
	}
	for _, id := range u.Identifiers {
		var name, verified string
		switch id.Kind {
		case account.Email:
			name, verified = "email", "email_verified"
		case account.Phone:
			name, verified = "phone_number", "phone_number_verified"
		case account.Username:
			name = "preferred_username"
		}
		if _, has := c[name]; name == "" || has && !id.Primary || verified != "" && !id.Verified {
			continue
		}
		if c[name] = id.Value; verified != "" {
			c[verified] = true
		}
	}
	return c
}

// Place implements provider.Tx.
func (t providerTx) Place(subject string, claims *provider.IDs, until time.Time) ([]byte, error) {
	if t.lists == "" {
		return nil, nil
	}
	place := t.txn.Place
	if !t.writes {
		place = t.placed
	}
	n, err := place(account.Place{Grant: claims.GID, SID: claims.SID, Subject: subject, SEV: claims.SEV, Client: claims.Client}, until.Add(account.PlaceRest))
	if err != nil {
		return nil, err
	}
	return statuslist.Reference{Index: n % account.StatusListLen, URI: fmt.Sprint(t.lists, "/", n/account.StatusListLen)}.MarshalJSON()
}

// placed is Place where these tokens have one already.
func (t providerTx) placed(p account.Place, until time.Time) (uint64, error) {
	known, err := copied(t, placeRow(p), func() (*knownPlace, error) { return t.place(p) })
	switch {
	case err != nil:
		return 0, err
	case known == nil || known.until < placeEnd(until):
		return 0, provider.ErrReadOnly
	}
	return known.n, nil
}

// Tell implements provider.Tx.
func (t providerTx) Tell(e feed.Event) error {
	if !t.writes {
		return provider.ErrReadOnly
	}
	return t.txn.Tell(e)
}

// Note implements provider.Tx. Who did it is the client, but for what people do; from
// where says the context.
func (t providerTx) Note(n provider.Note) error {
	if !t.writes {
		return provider.ErrReadOnly
	}
	r := &account.Record{At: n.At, Subject: n.Subject, Actor: n.Client, Event: n.Event, Detail: n.Detail}
	if strings.HasPrefix(n.Event, "client_") { // what the person has done, with a client
		r.Actor, r.Detail = cmp.Or(n.Subject, n.Client), n.Client
	}
	return t.Record(account.Placed(t.ctx, r))
}

// endedBy is what a swap of a session's record ends beside it: the grants behind the
// session, or those of a subject whose epoch was raised so that its sessions end.
func (t *tx) endedBy(ctx context.Context, e feed.Event, it session.Item) ([]feed.Event, error) {
	switch e.Kind {
	case feed.Session:
		return t.endGrantsBehind(ctx, e.Target, e.Reason, e.At)
	case feed.Subject:
		epoch := session.ParseEpoch(it.Value)
		if epoch.Floor != 0 { // claims have changed, and sessions live on
			return nil, nil
		}
		return t.endGrantsOf(ctx, e.Target, epoch.Spared, e.Reason, e.At)
	}
	return nil, nil
}
