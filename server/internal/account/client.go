package account

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/provider"
)

// Applications that people, or an operator, let in.

// What is refused about clients, besides what package provider refuses of any.
var (
	ErrUnknownClient = admit.NotFound.New("unknown_client", "There is no such client.")
	ErrClientTaken   = admit.Conflict.New("client_taken", "This id is taken.").WithHint("It is of a client, of a user, or of the server itself: choose another one.")
	ErrClientEnding  = admit.Conflict.New("client_ending", "A client with this id was removed a moment ago, and whoever verifies tokens refuses its tokens still.")
	ErrNoSecret      = admit.Conflict.New("client_without_secret", "This client does not prove itself by a secret.")
	ErrManySecrets   = admit.Conflict.New("too_many_secrets", "Five secrets of this client are good already.").WithHint("Wait until one has expired, or replace them without an overlap.")
	ErrOverlap       = admit.Invalid.New("overlap_malformed", "The secret before is good for 30 days more at most.")
)

const (
	// DefaultOverlap is how long the secret before is good when it is replaced.
	DefaultOverlap = 24 * time.Hour

	maxOverlap = 30 * 24 * time.Hour
	maxSecrets = 5

	reasonClientRemoved = "client_removed"
)

// Clients are the rows of applications that are registered.
type Clients interface {
	// Client returns the client with an id, nil where there is none.
	Client(id string) (*provider.Client, error)
	// FindClients returns up to limit clients in the order of their ids, after one.
	FindClients(after string, limit int) ([]*provider.Client, error)
	// PutClient makes a client be just as given.
	PutClient(c *provider.Client) error
	// DeleteClient removes a client with its consents, codes, grants and tokens. It does
	// not tell the feed.
	DeleteClient(id string) error
	// ClientJWTs reports whether a JWT of a client may still be taken for good by who
	// looks nothing up.
	ClientJWTs(id string, now time.Time) (bool, error)
	// FindKnownClients is FindClients without those of strangers, who have registered
	// themselves. UnusedStrangers are of those that were there before a time and that
	// nobody has used since.
	FindKnownClients(after string, limit int) ([]*provider.Client, error)
	UnusedStrangers(before, now time.Time, limit int) (ids []string, err error)
	// PutInvite adds one, and DropInvite reports whether there was one.
	Invites() ([]*Invite, error)
	PutInvite(*Invite) error
	DropInvite(id string) (bool, error)
	// ClientTold returns until when the feed tells that a client with this id has
	// ended, the zero time where it does not.
	ClientTold(id string, now time.Time) (time.Time, error)
}

// A NewClient is what is said of an application that is to be registered. How it
// proves itself: it is Public, or has Keys, or else a secret.
type NewClient struct {
	ID, Name string
	URI      string // where people read about it

	Public  bool
	JWKS    []byte       // a JWK set, or one JWK
	JWKSURI string       // in its place: where they are
	Secret  admit.Secret // that it has already; none: one is made

	RedirectURIs          []string
	PostLogoutURIs        []string
	BackchannelLogoutURI  string
	FrontchannelLogoutURI string
	Grants                []string // device_code and token_exchange are short for their URNs
	Scopes                []string // nil for every standard one that the grants allow
	Audiences             []string
	Resources             []string // that it is itself
	FirstParty            bool
	DPoP                  bool // it gets no tokens without a proof of a key (RFC 9449)
	RequirePushed         bool // every authorization request (RFC 9126)
	RequireSigned         bool // likewise (RFC 9101)
	FAPI                  bool // it is held to the FAPI 2.0 Security Profile
	JWT                   bool
	Signs                 jose.Algorithm
	Sector                string // host of pairwise subjects
	AccessLife, CodeLife  time.Duration
	GrantLife             time.Duration
}

// client returns the client that is asked for, and its secret where one was made.
func (in *NewClient) client(insecure bool, now time.Time) (c *provider.Client, made admit.Secret, err error) {
	c = &provider.Client{
		ID: in.ID, Name: strings.TrimSpace(in.Name), URI: in.URI, KeysURI: in.JWKSURI,
		RedirectURIs: in.RedirectURIs, PostLogoutURIs: in.PostLogoutURIs,
		BackchannelLogoutURI: in.BackchannelLogoutURI, FrontchannelLogoutURI: in.FrontchannelLogoutURI,
		Grants: grantTypes(in.Grants), Scopes: in.Scopes, Audiences: in.Audiences, Resources: in.Resources,
		FirstParty: in.FirstParty, DPoP: in.DPoP, RequirePushed: in.RequirePushed, RequireSigned: in.RequireSigned, FAPI: in.FAPI,
		JWT: in.JWT, Signs: in.Signs, Sector: in.Sector,
		CodeLife: in.CodeLife, AccessLife: in.AccessLife, GrantLife: in.GrantLife, CreatedAt: now,
	}
	profiled(c)
	if c.Scopes == nil {
		c.Scopes = provider.DefaultScopes(c.Grants)
	}
	switch {
	case in.Public:
		c.Auth = provider.NoAuth
		// Only programs on people's devices are answered where no site is.
		c.Native = slices.ContainsFunc(in.RedirectURIs, onDevice)
	case in.JWKS != nil || in.JWKSURI != "":
		c.Auth = provider.PrivateKeyJWT
	}
	if in.JWKS != nil {
		if c.Keys, err = parseKeys(in.JWKS); err != nil {
			return nil, made, err
		}
	}
	switch {
	case !in.Secret.IsZero():
		kept, err := provider.ParseSecret(in.Secret)
		if err != nil {
			return nil, made, err
		}
		c.Secrets = []provider.ClientSecret{kept} // one too many is for Check to say
	case c.Auth == provider.AnySecret:
		var kept provider.ClientSecret
		made, kept = provider.NewSecret()
		c.Secrets = []provider.ClientSecret{kept}
	}
	if err := checkClient(c, insecure); err != nil {
		return nil, admit.Secret{}, err
	}
	return c, made, nil
}

// profiled has a client say what its profile comes to, so that whoever looks at it reads so.
func profiled(c *provider.Client) {
	if c.FAPI {
		c.DPoP, c.RequirePushed = true, slices.Contains(c.Grants, provider.AuthorizationCode)
	}
}

func grantTypes(names []string) (all []provider.GrantType) {
	for _, g := range names {
		switch g {
		case "device_code":
			g = string(provider.DeviceCode)
		case "token_exchange":
			g = string(provider.TokenExchange)
		}
		all = append(all, provider.GrantType(g))
	}
	return all
}

// parseKeys reads the public keys of a client. Keys that are not understood are for
// others; Check wants one that is.
func parseKeys(text []byte) (*jose.KeySet, error) {
	keys, _, err := jose.ParseKeySet(text)
	if err != nil {
		return nil, &admit.FieldError{Field: "jwks", Err: provider.ErrInvalidMetadata.WithHint("It is a JWK set, or one JWK, with public keys: admit jwt keygen --public writes one.")}
	}
	return keys, nil
}

// checkClient refuses what package provider does, and what is not for this server.
func checkClient(c *provider.Client, insecure bool) error {
	if err := c.Check(insecure); err != nil {
		return err
	}
	if c.JWT && c.AccessLife > accessLife {
		// The feed, and the lists of who verifies, forget an ending after that.
		return &admit.FieldError{Field: "access_ttl", Err: provider.ErrInvalidMetadata.WithHint("A JWT is good for 5 minutes at most, so that its end is heard everywhere. An opaque token may be good for longer.")}
	}
	return nil
}

// onDevice reports whether a redirect URI is of a program on a device (RFC 8252
// section 7): on a loopback address, or of a scheme of its own.
func onDevice(uri string) bool {
	scheme, _, _ := strings.Cut(uri, ":")
	return scheme != "https"
}

// AddClient registers an application. The secret is the one that was made, and is
// shown this once; the zero Secret where none was.
func (s *Service) AddClient(ctx context.Context, in NewClient, by By, now time.Time) (*provider.Client, admit.Secret, error) {
	c, made, err := in.client(s.insecure(), now)
	if err != nil {
		return nil, admit.Secret{}, err
	}
	// Before the client can ask for something signed. It is no work for a transaction.
	if c.Signs != "" && s.o.Ensure != nil {
		if err := s.o.Ensure(ctx, c.Signs, now); err != nil {
			return nil, admit.Secret{}, err
		}
	}
	err = s.update(ctx, func(tx Tx) error {
		if err := freeForClient(tx, c.ID, now); err != nil {
			return &admit.FieldError{Field: "id", Err: err}
		}
		if err := tx.PutClient(c); err != nil {
			return err
		}
		return tx.Record(by.Record(now, "", "client_added", c.ID))
	})
	if err != nil {
		return nil, admit.Secret{}, err
	}
	return c, made, nil
}

// insecure reports whether clients are reached by http on loopback addresses: where
// people reach the server so.
func (s *Service) insecure() bool { return strings.HasPrefix(s.o.PublicURL, "http:") }

// freeForClient refuses an id that is something else's. What a client has of its own
// says "sub": its id (RFC 9068 section 5), and must not be taken for a user's.
func freeForClient(tx Tx, id string, now time.Time) error {
	c, err := tx.Client(id)
	if err != nil {
		return err
	}
	switch _, err := tx.User(id); {
	case err == nil || c != nil || id == OwnClient:
		return ErrClientTaken
	case !errors.Is(err, ErrUnknownUser):
		return err
	}
	return notEnding(tx, id, "Choose another id, or wait until ", now)
}

// notEnding refuses an id of which whoever verifies JWTs was told that its tokens are good
// no more: they would refuse new ones, too.
func notEnding(tx Tx, id, wait string, now time.Time) error {
	until, err := tx.ClientTold(id, now)
	if err == nil && until.After(now) {
		err = ErrClientEnding.WithHint(wait + until.UTC().Format("15:04 UTC") + ".")
	}
	return err
}

// freeForUser refuses the id of a client, for the same reason.
func freeForUser(tx Tx, id string) error {
	c, err := tx.Client(id)
	if err == nil && c != nil {
		err = &admit.FieldError{Field: "id", Err: ErrTaken}
	}
	return err
}

// FindClients returns up to limit clients in the order of their ids, after one.
func (s *Service) FindClients(ctx context.Context, after string, limit int) (all []*provider.Client, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		all, err = tx.FindClients(after, limit)
		return err
	})
	return all, err
}

// FindClient returns the client with this id.
func (s *Service) FindClient(ctx context.Context, id string) (c *provider.Client, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		c, err = client(tx, id)
		return err
	})
	return c, err
}

func client(tx Tx, id string) (*provider.Client, error) {
	c, err := tx.Client(id)
	if err == nil && c == nil {
		err = ErrUnknownClient
	}
	return c, err
}

// RemoveClient removes a client, with all that it was allowed: its tokens count
// nowhere any more.
func (s *Service) RemoveClient(ctx context.Context, id string, by By, now time.Time) error {
	return s.update(ctx, func(tx Tx) error {
		c, err := client(tx, id)
		if err != nil {
			return err
		}
		if err := endJWTs(tx, c, reasonClientRemoved, now); err != nil {
			return err
		}
		if err := tx.DeleteClient(c.ID); err != nil {
			return err
		}
		return tx.Record(by.Record(now, "", "client_removed", c.ID))
	})
}

// endJWTs tells whoever verifies JWTs by themselves that none of a client is good any more:
// one event for all of its grants. Where there are none out there nobody need hear of it,
// and the id may be used again at once: an opaque token is looked up here each time, and is
// good no more with its grant.
//
// A client that exchanges is told of always: tokens of others name it in act, and it may have
// had none of its own as a JWT.
func endJWTs(tx Tx, c *provider.Client, reason string, now time.Time) error {
	live, err := tx.ClientJWTs(c.ID, now)
	if err == nil && (live || slices.Contains(c.Grants, provider.TokenExchange)) {
		err = tx.Tell(feed.ClientEnded(c.ID, reason, now.Add(ToldFor)))
	}
	return err
}

// RotateClientSecret gives a client another secret, one that is made where there is
// none yet. The secrets before are good for the overlap, and none is longer than it
// was: where one has leaked, the overlap is 0.
func (s *Service) RotateClientSecret(ctx context.Context, id string, secret admit.Secret, overlap time.Duration, by By, now time.Time) (rotated *provider.Client, made admit.Secret, err error) {
	if overlap < 0 || overlap > maxOverlap {
		return nil, made, &admit.FieldError{Field: "overlap", Err: ErrOverlap}
	}
	var given provider.ClientSecret
	if !secret.IsZero() {
		if given, err = provider.ParseSecret(secret); err != nil {
			return nil, made, err
		}
	}
	err = s.update(ctx, func(tx Tx) error {
		c, err := client(tx, id)
		if err != nil {
			return err
		}
		if len(c.Secrets) == 0 {
			return ErrNoSecret
		}
		to := *c
		if made = to.RotateSecret(overlap, now); !secret.IsZero() {
			// It is another one's, or one of before that goes on.
			made, to.Secrets[0] = admit.Secret{}, given
			before := slices.DeleteFunc(to.Secrets[1:], func(s provider.ClientSecret) bool { return s.Digest == given.Digest })
			to.Secrets = to.Secrets[:1+len(before)]
		}
		if len(to.Secrets) > maxSecrets {
			return ErrManySecrets
		}
		rotated = &to
		if err := tx.PutClient(rotated); err != nil {
			return err
		}
		return tx.Record(by.Record(now, "", "client_secret_rotated", c.ID))
	})
	if err != nil {
		return nil, admit.Secret{}, err
	}
	return rotated, made, nil
}
