package account

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/token"
)

// What programs act for a user with.

// What an API key may be for. A key does only what its scopes name.
const (
	ScopeProfile   = "profile"    // read who its user is
	ScopeFeed      = "feed"       // hear what ends, for its audiences
	ScopeAdminRead = "admin:read" // read users, roles and the audit
	ScopeAdmin     = "admin"      // that, and change users and roles
)

// Scopes are all of them.
var Scopes = []string{ScopeProfile, ScopeFeed, ScopeAdminRead, ScopeAdmin}

const (
	// apiKeyLife is how long a key is good where nothing else is asked for.
	apiKeyLife = 90 * 24 * time.Hour

	maxAPIKeyLife = 366 * 24 * time.Hour
	minAPIKeyLife = time.Minute
	maxAPIKeys    = 50 // of one user, that are good
	maxKeyName    = 100
	maxAudiences  = 20
	maxAudience   = 256
	keepDeadKeys  = 30 * 24 * time.Hour // in lists and for look-ups
	lastUsedGrain = time.Minute
)

// What is refused about API keys.
var (
	ErrAPIKey        = admit.Unauthenticated.New("api_key_refused", "This API key is not, or no longer, good.").WithHint("See whether it is whole, expired or ended; its user can make another.")
	ErrScope         = admit.Forbidden.New("insufficient_scope", "This API key has no scope for this call.")
	ErrUnknownAPIKey = admit.NotFound.New("unknown_api_key", "There is no such API key.")
	ErrManyAPIKeys   = admit.Conflict.New("too_many_api_keys", "There are 50 API keys already.").WithHint("End one first.")
	ErrKeyName       = admit.Invalid.New("api_key_name_malformed", "An API key needs a name, of 100 characters at most.").WithHint("Name what uses it, so that it is known again in a year.")
	ErrScopes        = admit.Invalid.New("scope_unknown", "An API key needs one or more scopes, of those that there are.").WithHint("There are " + strings.Join(Scopes, ", ") + ".")
	ErrScopeRole     = admit.Forbidden.New("scope_needs_admin", "Only an administrator may give this scope to an API key.")
	ErrAudience      = admit.Invalid.New("audience_malformed", "An audience has 1 to 256 characters without spaces, and a key 20 of them at most.")
	ErrNoAudience    = admit.Invalid.New("audience_missing", "The scope feed needs an audience: whose news the key may hear.")
	ErrKeyLife       = admit.Invalid.New("api_key_life_malformed", "An API key is good for a minute to 366 days, or is asked to be good for ever.")
)

// An APIKey is a credential of a program that acts for a user. One that the
// service returns may be shared: it must not be changed.
type APIKey struct {
	ID        string // the selector of its token, no secret
	User      string
	Digest    token.Digest
	Name      string
	Scopes    []string
	Audiences []string
	CreatedAt time.Time
	ExpiresAt time.Time // zero for never
	LastUsed  time.Time // to the minute; zero for not yet
	EndedAt   time.Time // zero while it lives
}

// Has reports whether the key may do what needs a scope.
func (k *APIKey) Has(scope string) bool {
	return slices.Contains(k.Scopes, scope) || scope == ScopeAdminRead && slices.Contains(k.Scopes, ScopeAdmin)
}

// Good reports whether the key has neither ended nor expired.
func (k *APIKey) Good(now time.Time) bool {
	return k.EndedAt.IsZero() && (k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt))
}

// privileged reports whether only an administrator may have the key for itself.
func (k *APIKey) privileged() bool {
	return k.Has(ScopeFeed) || k.Has(ScopeAdminRead)
}

// APIKeys are the rows of API keys.
type APIKeys interface {
	// APIKey returns a key, ended or not, or ErrUnknownAPIKey.
	APIKey(id string) (*APIKey, error)
	// APIKeysOf returns those of a user, ended ones too, newest first.
	APIKeysOf(user string) ([]*APIKey, error)
	AddAPIKey(k *APIKey) error
	// EndAPIKey ends a key that lives, and reports whether it did.
	EndAPIKey(id string, now time.Time) (bool, error)
	// UsedAPIKeys notes when keys were used last.
	UsedAPIKeys(at map[string]time.Time) error
	// DeleteAPIKeys removes those of a user that ended or expired before.
	DeleteAPIKeys(user string, before time.Time) error
}

// A NewAPIKey is what is asked of a key.
type NewAPIKey struct {
	Name      string
	Scopes    []string
	Audiences []string
	Life      time.Duration // 0 for apiKeyLife
	Forever   bool          // it never expires
}

// key returns the key that is asked for, and its token.
func (in NewAPIKey) key(user string, now time.Time) (*APIKey, token.Token, error) {
	name, err := cleanName(in.Name)
	if err != nil || name == "" || utf8.RuneCountInString(name) > maxKeyName {
		return nil, token.Token{}, &admit.FieldError{Field: "name", Err: ErrKeyName}
	}
	scopes := slices.Compact(slices.Sorted(slices.Values(in.Scopes)))
	if len(scopes) == 0 || slices.ContainsFunc(scopes, func(s string) bool { return !slices.Contains(Scopes, s) }) {
		return nil, token.Token{}, &admit.FieldError{Field: "scopes", Err: ErrScopes}
	}
	audiences := slices.Compact(slices.Sorted(slices.Values(in.Audiences)))
	if len(audiences) > maxAudiences || slices.ContainsFunc(audiences, func(a string) bool { return !audienceOK(a) }) {
		return nil, token.Token{}, &admit.FieldError{Field: "audiences", Err: ErrAudience}
	}
	if slices.Contains(scopes, ScopeFeed) && len(audiences) == 0 {
		return nil, token.Token{}, &admit.FieldError{Field: "audiences", Err: ErrNoAudience}
	}
	life := cmp.Or(in.Life, apiKeyLife)
	if life < minAPIKeyLife || life > maxAPIKeyLife || in.Forever && in.Life != 0 {
		return nil, token.Token{}, &admit.FieldError{Field: "expires_in", Err: ErrKeyLife}
	}
	tok := token.New(token.APIKey)
	k := &APIKey{
		ID: tok.Selector(), User: user, Digest: tok.Digest(), Name: name,
		Scopes: scopes, Audiences: audiences, CreatedAt: now,
	}
	if !in.Forever {
		k.ExpiresAt = now.Add(life)
	}
	return k, tok, nil
}

// audienceOK reports whether a text can be kept in a list with spaces between,
// and be shown.
func audienceOK(a string) bool {
	return a != "" && len(a) <= maxAudience && utf8.ValidString(a) &&
		!strings.ContainsFunc(a, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
}

// add keeps a key, where there is room for one more.
func (k *APIKey) add(tx Tx, now time.Time) error {
	if err := tx.DeleteAPIKeys(k.User, now.Add(-keepDeadKeys)); err != nil {
		return err
	}
	all, err := tx.APIKeysOf(k.User)
	if err != nil {
		return err
	}
	good := 0
	for _, other := range all {
		if other.Good(now) {
			good++
		}
	}
	if good >= maxAPIKeys {
		return ErrManyAPIKeys
	}
	return tx.AddAPIKey(k)
}

// MakeAPIKey makes a key for the asker, after a recent proof; the owner's address
// is told. The token is shown once: only its digest is kept.
func (s *Service) MakeAPIKey(ctx context.Context, a Asker, in NewAPIKey, now time.Time) (*APIKey, token.Token, error) {
	// What is wrong with it first: it costs the owner no try.
	k, tok, err := in.key(a.Subject, now)
	if err != nil {
		return nil, tok, err
	}
	_, err = s.own(ctx, a, "api_key_made", k.Name, now, func(tx Tx, user *User) error {
		// It outlives its session: one that has ended meanwhile must not leave it.
		if _, err := tx.Session(a.SID, now); err != nil {
			return gone(err)
		}
		if k.privileged() && !user.HasRole(RoleAdmin) {
			return &admit.FieldError{Field: "scopes", Err: ErrScopeRole}
		}
		if err := k.add(tx, now); err != nil {
			return err
		}
		return s.tell(tx, a, user, "api_key_made", now)
	})
	if err != nil {
		return nil, token.Token{}, err
	}
	return k, tok, nil
}

// IssueAPIKey makes a key for a user, with any scope: an operator says who may
// follow the feed. What needs a role does nothing without it all the same.
func (s *Service) IssueAPIKey(ctx context.Context, user string, in NewAPIKey, by By, now time.Time) (*APIKey, token.Token, error) {
	k, tok, err := in.key(user, now)
	if err != nil {
		return nil, tok, err
	}
	err = s.update(ctx, func(tx Tx) error {
		u, err := tx.User(user)
		if err != nil {
			return err
		}
		if u.Disabled {
			return ErrDisabled
		}
		if err := k.add(tx, now); err != nil {
			return err
		}
		return tx.Record(by.Record(now, user, "api_key_made", k.Name))
	})
	if err != nil {
		return nil, token.Token{}, err
	}
	return k, tok, nil
}

// APIKeys returns the keys of a user that have not ended, newest first; expired
// ones for a month.
func (s *Service) APIKeys(ctx context.Context, user string) (keys []*APIKey, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		keys, err = tx.APIKeysOf(user)
		return err
	})
	return slices.DeleteFunc(keys, func(k *APIKey) bool { return !k.EndedAt.IsZero() }), err
}

// FindAPIKey returns a key by its id, ended or not.
func (s *Service) FindAPIKey(ctx context.Context, id string) (k *APIKey, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		k, err = tx.APIKey(id)
		return err
	})
	return k, err
}

// EndOwnAPIKey ends a key of the asker. It needs no proof: who finds a key that
// leaked must not be kept.
func (s *Service) EndOwnAPIKey(ctx context.Context, a Asker, id string, now time.Time) error {
	return s.endAPIKey(ctx, a.Subject, id, "ended_by_user", now, func(k *APIKey) *Record {
		return a.mark("api_key_ended", k.Name, now)
	})
}

// EndAPIKey ends a key of a user; where user is "", of anybody.
func (s *Service) EndAPIKey(ctx context.Context, user, id string, by By, now time.Time) error {
	return s.endAPIKey(ctx, user, id, "ended_by_operator", now, func(k *APIKey) *Record {
		return by.Record(now, k.User, "api_key_ended", k.Name)
	})
}

func (s *Service) endAPIKey(ctx context.Context, user, id, reason string, now time.Time, record func(*APIKey) *Record) error {
	// An id that anybody can make up does not make everybody wait for a write.
	theirs := func(tx Tx) (*APIKey, error) {
		k, err := tx.APIKey(id)
		if err == nil && (user != "" && k.User != user || !k.EndedAt.IsZero()) {
			err = ErrUnknownAPIKey // that another user has it is nobody's business
		}
		return k, err
	}
	err := s.store.View(ctx, func(tx Tx) error {
		_, err := theirs(tx)
		return err
	})
	if err != nil {
		return err
	}
	return s.update(ctx, func(tx Tx) error {
		k, err := theirs(tx)
		if err != nil {
			return err
		}
		if err := k.end(tx, reason, now); err != nil {
			return err
		}
		return tx.Record(record(k))
	})
}

// end ends a key and tells of it.
func (k *APIKey) end(tx Tx, reason string, now time.Time) error {
	ended, err := tx.EndAPIKey(k.ID, now)
	if err != nil || !ended {
		return err
	}
	return tx.Tell(feed.GrantEnded(k.ID, k.User, reason, now.Add(ToldFor)))
}

// endAPIKeys ends the keys of a user that are meant.
func endAPIKeys(tx Tx, user, reason string, now time.Time, meant func(*APIKey) bool) error {
	all, err := tx.APIKeysOf(user)
	if err != nil {
		return err
	}
	for _, k := range all {
		if !k.EndedAt.IsZero() || !meant(k) {
			continue
		}
		if err := k.end(tx, reason, now); err != nil {
			return err
		}
	}
	return nil
}

func everyKey(*APIKey) bool { return true }

// APIKey returns the key that was presented, with its user. One that is
// malformed costs no look-up, and each refusal is the same.
func (s *Service) APIKey(ctx context.Context, text string, now time.Time) (*APIKey, *User, error) {
	tok, err := token.Parse(token.APIKey, text)
	if err != nil {
		return nil, nil, ErrAPIKey
	}
	k, err := s.knownKey(ctx, tok.Selector())
	if errors.Is(err, ErrUnknownAPIKey) {
		k, err = &APIKey{}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if !tok.Matches(k.Digest) || k.ID == "" || !k.Good(now) {
		return nil, nil, ErrAPIKey
	}
	user, err := s.User(ctx, k.User)
	if errors.Is(err, ErrUnknownUser) || err == nil && user.Disabled {
		return nil, nil, ErrAPIKey
	}
	if err != nil {
		return nil, nil, err
	}
	s.noteUse(ctx, k, now)
	return k, user, nil
}

// knownKey returns a key, from memory where it can.
func (s *Service) knownKey(ctx context.Context, id string) (*APIKey, error) {
	if k := s.apiKeys.get(id); k != nil && s.o.Current() {
		return k, nil
	}
	filled := s.apiKeys.begin()
	k, err := s.copiedKey(ctx, id)
	if err != nil {
		return nil, err
	}
	s.apiKeys.put(id, k, filled)
	return k, nil
}

// CopyOf is the name of a copy of an API key: see Copies.
func CopyOf(id string) string { return "k:" + id }

// copiedKey returns a key, from a copy where there is one.
func (s *Service) copiedKey(ctx context.Context, id string) (*APIKey, error) {
	if s.o.Copies == nil {
		return s.FindAPIKey(ctx, id)
	}
	var read *APIKey
	text, err := s.o.Copies.Text(ctx, CopyOf(id), func(ctx context.Context) (string, error) {
		var err error
		if read, err = s.FindAPIKey(ctx, id); err != nil {
			return "", err
		}
		text, err := json.Marshal(read)
		return string(text), err
	})
	if err != nil || read != nil {
		return read, err
	}
	k := &APIKey{}
	if json.Unmarshal([]byte(text), k) != nil || k.ID != id {
		return s.FindAPIKey(ctx, id) // a version before or after this one made it
	}
	return k, nil
}

// keyUse notes when keys were used last: each at most once a minute, and those
// that come while others are being written together with the next.
type keyUse struct {
	mu      sync.Mutex
	noted   map[string]time.Time // guarded by mu
	pending map[string]time.Time // guarded by mu
	writing bool                 // guarded by mu
}

// due reports whether the caller is to write what is pending.
func (u *keyUse) due(k *APIKey, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	last := k.LastUsed
	if at, ok := u.noted[k.ID]; ok {
		last = at
	}
	if age := now.Sub(last); age < lastUsedGrain && age > -lastUsedGrain {
		return false
	}
	if u.noted == nil {
		u.noted, u.pending = map[string]time.Time{}, map[string]time.Time{}
	}
	u.noted[k.ID], u.pending[k.ID] = now, now
	if u.writing {
		return false
	}
	u.writing = true
	return true
}

// next returns what is to be written, nil at the end.
func (u *keyUse) next(now time.Time) map[string]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.pending) == 0 {
		u.writing = false
		for id, at := range u.noted {
			if now.Sub(at) >= lastUsedGrain {
				delete(u.noted, id) // it is due in any case
			}
		}
		return nil
	}
	all := u.pending
	u.pending = map[string]time.Time{}
	return all
}

// noteUse notes that a key is in use. A failure keeps nobody out, nor does a
// database that is slow to write: a later minute tries again.
func (s *Service) noteUse(ctx context.Context, k *APIKey, now time.Time) {
	if !s.keyUse.due(k, now) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	for used := s.keyUse.next(now); used != nil; used = s.keyUse.next(now) {
		_ = s.store.Update(ctx, func(tx Tx) error { return tx.UsedAPIKeys(used) })
	}
}
