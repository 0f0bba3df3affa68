package server

import (
	"context"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/web"
)

// What the command line does with applications that are let in.

// A NewClient is what an operator says of a client that is to be registered.
type NewClient = web.NewClient

// A Client is an application that is registered.
type Client = web.Client

// A MadeClient is a client with the secret that was made for it, which nobody can
// show again.
type MadeClient = web.MadeClient

// A ClientChange is what an operator changes of a client; what is not there stays.
type ClientChange = web.ClientChange

// DefaultOverlap is how long the secret before is good when it is replaced.
const DefaultOverlap = account.DefaultOverlap

// AddClient registers a client.
func (o *Operator) AddClient(ctx context.Context, in NewClient) (MadeClient, error) {
	in.Reason = o.Reason
	return ask[MadeClient](ctx, o, "add-client", newClient{in, in.Secret.Reveal()})
}

// Clients returns up to limit clients in the order of their ids, after one.
func (o *Operator) Clients(ctx context.Context, after string, limit int) ([]Client, error) {
	return ask[[]Client](ctx, o, "clients", page{after, limit})
}

// Client returns the client with this id.
func (o *Operator) Client(ctx context.Context, id string) (Client, error) {
	return ask[Client](ctx, o, "client", clientTarget{ID: id})
}

// ChangeClient changes what is said of a client.
func (o *Operator) ChangeClient(ctx context.Context, id string, in ClientChange) (Client, error) {
	in.Reason = o.Reason
	return ask[Client](ctx, o, "change-client", changedClient{in, id})
}

// An Invite lets who has its token register applications.
type Invite struct {
	ID         string    `json:"id"`
	Name       string    `json:"name,omitempty"`
	Uses       int       `json:"uses"` // that are left
	GrantTypes []string  `json:"grant_types"`
	Scopes     []string  `json:"scopes"`
	Audiences  []string  `json:"audiences"`
	CreatedAt  time.Time `json:"created_at"`
	ExpiresAt  time.Time `json:"expires_at"`
	Token      string    `json:"token,omitempty"` // shown this once
}

// A NewInvite is what an operator says of an invite; what is not said is the default.
type NewInvite struct {
	Name       string        `json:"name,omitempty"`
	Uses       int           `json:"uses,omitempty"`
	Life       time.Duration `json:"life,omitempty"`
	GrantTypes []string      `json:"grant_types,omitempty"`
	Scopes     []string      `json:"scopes,omitempty"`
	Audiences  []string      `json:"audiences,omitempty"`
	Reason     string        `json:"reason,omitempty"`
}

func inviteOf(i *account.Invite) Invite {
	out := Invite{
		ID: i.ID, Name: i.Name, Uses: i.Uses, GrantTypes: []string{}, Scopes: append([]string{}, i.Scopes...), Audiences: append([]string{}, i.Audiences...),
		CreatedAt: i.CreatedAt.UTC(), ExpiresAt: i.Expires.UTC(),
	}
	for _, g := range i.Grants {
		out.GrantTypes = append(out.GrantTypes, string(g))
	}
	return out
}

// InviteClients makes an invite: who has its token may register applications.
func (o *Operator) InviteClients(ctx context.Context, in NewInvite) (Invite, error) {
	in.Reason = o.Reason
	return ask[Invite](ctx, o, "invite-clients", in)
}

// ClientInvites returns the invites that have not expired long since.
func (o *Operator) ClientInvites(ctx context.Context) ([]Invite, error) {
	return ask[[]Invite](ctx, o, "client-invites", none{})
}

// EndClientInvite ends an invite. Applications that came with it stay.
func (o *Operator) EndClientInvite(ctx context.Context, id string) error {
	_, err := ask[none](ctx, o, "end-client-invite", clientTarget{ID: id, Reason: o.Reason})
	return err
}

// RemoveClient removes a client, and ends all that it was allowed.
func (o *Operator) RemoveClient(ctx context.Context, id string) error {
	_, err := ask[none](ctx, o, "remove-client", clientTarget{ID: id, Reason: o.Reason})
	return err
}

// RotateClientSecret gives a client another secret; one is made where none is given.
// The ones before are good for the overlap.
func (o *Operator) RotateClientSecret(ctx context.Context, id string, secret admit.Secret, overlap time.Duration) (MadeClient, error) {
	return ask[MadeClient](ctx, o, "rotate-client-secret", clientTarget{id, secret.Reveal(), overlap, o.Reason})
}

// What crosses the socket.
type (
	newClient struct {
		NewClient
		Secret string `json:"secret,omitempty"` // in the place of the other, which never prints
	}
	changedClient struct {
		ClientChange
		ID string `json:"id"`
	}
	clientTarget struct {
		ID      string        `json:"id"`
		Secret  string        `json:"secret,omitempty"`
		Overlap time.Duration `json:"overlap,omitempty"`
		Reason  string        `json:"reason,omitempty"`
	}
)

// clientOperations adds to all what is about clients.
func (s *Server) clientOperations(all map[string]operation) {
	all["add-client"] = op(func(ctx context.Context, in newClient) (MadeClient, error) {
		asked, err := in.Account()
		if err != nil {
			return MadeClient{}, err
		}
		asked.Secret = admit.NewSecret(in.Secret)
		now := time.Now()
		c, made, err := s.accounts.AddClient(ctx, asked, byOperator(in.Reason), now)
		if err != nil {
			return MadeClient{}, err
		}
		return MadeClient{Client: web.ClientOf(c, now), Secret: made.Reveal()}, nil
	})
	all["change-client"] = op(func(ctx context.Context, in changedClient) (Client, error) {
		change, err := in.Account()
		if err != nil {
			return Client{}, err
		}
		now := time.Now()
		c, err := s.accounts.ChangeClient(ctx, in.ID, change, byOperator(in.Reason), now)
		if err != nil {
			return Client{}, err
		}
		return web.ClientOf(c, now), nil
	})
	all["invite-clients"] = op(func(ctx context.Context, in NewInvite) (Invite, error) {
		i, secret, err := s.accounts.AddInvite(ctx, account.NewInvite{
			Name: in.Name, Uses: in.Uses, Life: in.Life, Grants: in.GrantTypes, Scopes: in.Scopes, Audiences: in.Audiences,
		}, byOperator(in.Reason), time.Now())
		if err != nil {
			return Invite{}, err
		}
		out := inviteOf(i)
		out.Token = secret.Reveal()
		return out, nil
	})
	all["client-invites"] = op(func(ctx context.Context, _ none) ([]Invite, error) {
		found, err := s.accounts.Invites(ctx)
		all := []Invite{}
		for _, i := range found {
			all = append(all, inviteOf(i))
		}
		return all, err
	})
	all["end-client-invite"] = op(func(ctx context.Context, in clientTarget) (none, error) {
		return none{}, s.accounts.EndInvite(ctx, in.ID, byOperator(in.Reason), time.Now())
	})
	all["clients"] = op(func(ctx context.Context, in page) ([]Client, error) {
		found, err := s.accounts.FindClients(ctx, in.After, in.Limit)
		return web.ClientsOf(found, time.Now()), err
	})
	all["client"] = op(func(ctx context.Context, in clientTarget) (Client, error) {
		c, err := s.accounts.FindClient(ctx, in.ID)
		if err != nil {
			return Client{}, err
		}
		return web.ClientOf(c, time.Now()), nil
	})
	all["remove-client"] = op(func(ctx context.Context, in clientTarget) (none, error) {
		return none{}, s.accounts.RemoveClient(ctx, in.ID, byOperator(in.Reason), time.Now())
	})
	all["rotate-client-secret"] = op(func(ctx context.Context, in clientTarget) (MadeClient, error) {
		now := time.Now()
		c, made, err := s.accounts.RotateClientSecret(ctx, in.ID, admit.NewSecret(in.Secret), in.Overlap, byOperator(in.Reason), now)
		if err != nil {
			return MadeClient{}, err
		}
		return MadeClient{Client: web.ClientOf(c, now), Secret: made.Reveal()}, nil
	})
}
