package account

import (
	"context"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/provider"
)

// Applications that register themselves.

// What is refused about invites.
var (
	ErrUnknownInvite = admit.NotFound.New("unknown_invite", "There is no such invite.")
	ErrInvite        = admit.Invalid.New("invite_malformed", "There cannot be such an invite.")
)

const (
	maxInviteUses = 1000
	maxInviteLife = 365 * 24 * time.Hour

	// StrangersStay is how long a client that nobody knows is kept that nobody uses.
	StrangersStay = 30 * 24 * time.Hour

	reasonClientUnused = "client_unused"
)

// Of strangers' clients 100 an hour are taken from everybody, so that no more than 72,000,
// of some 2 KB, can be there which nobody uses; and 10 of one network.
var (
	strangerBudget  = Budget{10, 6 * time.Minute}
	strangersBudget = Budget{100, 36 * time.Second}
)

// An Invite is one with what an administrator says of it.
type Invite struct {
	provider.Invite
	Name      string // whom it is for
	CreatedAt time.Time
}

// A NewInvite is what is said of an invite that is to be made.
type NewInvite struct {
	Name      string
	Uses      int // 0 for 1
	Life      time.Duration
	Grants    []string // nil for authorization_code and refresh_token
	Scopes    []string // nil for every standard one that they allow
	Audiences []string
}

// DefaultInviteLife is how long an invite is good where nothing is said.
const DefaultInviteLife = 7 * 24 * time.Hour

func (in *NewInvite) limits() (l provider.Limits, err error) {
	l = provider.Limits{Grants: grantTypes(in.Grants), Scopes: in.Scopes, Audiences: in.Audiences}
	if l.Grants == nil {
		l.Grants = []provider.GrantType{provider.AuthorizationCode, provider.RefreshToken}
	}
	if l.Scopes == nil {
		l.Scopes = provider.DefaultScopes(l.Grants)
	}
	// What nobody could register is refused now, and not to whom it is sent.
	like := provider.Client{ID: "like", Name: "like", Auth: provider.PrivateKeyJWT, KeysURI: "https://like.example/", Grants: l.Grants, Scopes: l.Scopes, Audiences: l.Audiences}
	for _, g := range l.Grants {
		if g == provider.AuthorizationCode {
			like.RedirectURIs = []string{"https://like.example/"}
		}
	}
	return l, like.Check(false)
}

// AddInvite makes an invite. The secret is shown this once.
func (s *Service) AddInvite(ctx context.Context, in NewInvite, by By, now time.Time) (*Invite, admit.Secret, error) {
	l, err := in.limits()
	switch {
	case err != nil:
		return nil, admit.Secret{}, err
	case len(in.Name) > 200:
		return nil, admit.Secret{}, &admit.FieldError{Field: "name", Err: ErrInvite.WithHint("A name has 200 bytes at most.")}
	case in.Uses < 0 || in.Uses > maxInviteUses:
		return nil, admit.Secret{}, &admit.FieldError{Field: "uses", Err: ErrInvite.WithHint("It is good 1 to 1000 times.")}
	case in.Life < 0 || in.Life > maxInviteLife:
		return nil, admit.Secret{}, &admit.FieldError{Field: "ttl", Err: ErrInvite.WithHint("It is good for a year at most.")}
	}
	if in.Uses == 0 {
		in.Uses = 1
	}
	if in.Life == 0 {
		in.Life = DefaultInviteLife
	}
	secret, made := provider.NewInvite(in.Uses, now.Add(in.Life), l)
	i := &Invite{made, in.Name, now}
	err = s.update(ctx, func(tx Tx) error {
		if err := tx.PutInvite(i); err != nil {
			return err
		}
		return tx.Record(by.Record(now, "", "client_invited", i.ID))
	})
	if err != nil {
		return nil, admit.Secret{}, err
	}
	return i, secret, nil
}

// Invites returns all, the next to expire first.
func (s *Service) Invites(ctx context.Context) (all []*Invite, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		all, err = tx.Invites()
		return err
	})
	return all, err
}

// EndInvite ends an invite. Clients that came with it stay.
func (s *Service) EndInvite(ctx context.Context, id string, by By, now time.Time) error {
	return s.update(ctx, func(tx Tx) error {
		switch was, err := tx.DropInvite(id); {
		case err != nil:
			return err
		case !was:
			return ErrUnknownInvite
		}
		return tx.Record(by.Record(now, "", "client_invite_ended", id))
	})
}

// MeetStranger counts a client that nobody knows and that wants to be registered.
func (s *Service) MeetStranger(from Origin, now time.Time) error {
	return s.take([]try{{"stranger:" + from.network(), strangerBudget}, {"strangers", strangersBudget}}, now)
}

// SweepStrangers removes up to limit clients that nobody knows and that nobody has used
// for so long, and reports whether there may be more.
func (s *Service) SweepStrangers(ctx context.Context, now time.Time, limit int) (more bool, err error) {
	err = s.update(ctx, func(tx Tx) error {
		ids, err := tx.UnusedStrangers(now.Add(-StrangersStay), now, limit)
		more = len(ids) == limit
		for _, id := range ids {
			if err == nil {
				err = endJWTs(tx, &provider.Client{ID: id}, reasonClientUnused, now) // which exchanges nothing
			}
			if err == nil {
				err = tx.DeleteClient(id)
			}
			if err == nil {
				err = tx.Record(&Record{At: now, Event: reasonClientUnused, Detail: id})
			}
		}
		return err
	})
	return more, err
}

// FindKnownClients is FindClients without those that nobody knows.
func (s *Service) FindKnownClients(ctx context.Context, after string, limit int) (all []*provider.Client, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		all, err = tx.FindKnownClients(after, limit)
		return err
	})
	return all, err
}
