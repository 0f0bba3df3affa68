package account

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/token"
)

// Why a refresh token is refused.
var (
	ErrRefreshToken    = admit.Unauthenticated.New("refresh_token_invalid", "This refresh token is not good.").WithHint("Sign in again.")
	ErrRefreshReplayed = admit.Unauthenticated.New("refresh_token_replayed", "This refresh token was used before, so its session has been ended.").WithHint("Sign in again. A client keeps the newest token alone, and throws older ones away: who presents one may have stolen it.")
)

// A Family is the refresh tokens of one session, of which one at a time is good.
// It lives as long as the session does.
type Family struct {
	ID      string // the gid of what is made of it; no secret
	SID     string
	User    string
	Client  string
	Scope   string
	JKT     string // thumbprint of the key that it is bound to; "" for none
	Ended   string // why it has; "" while it lives
	Expires time.Time

	N         uint64       // rotations
	Current   token.Digest // of the token that is good
	Previous  token.Digest // of the one that it was made of
	RotatedAt time.Time
}

// A Grant says what a family is for.
type Grant struct {
	Client, Scope string
	JKT           string
}

// Tokens are what a client with JWTs holds.
type Tokens struct {
	Access, Refresh admit.Secret
	Life            time.Duration // of Access
	Repeated        bool          // Refresh was given out before
}

const (
	// repeatWindow is for how long the token before is good once more, so that
	// a lost answer, or two tabs that ask at once, sign nobody out.
	repeatWindow = 10 * time.Second
	// reasonReplayed is why a family and its session ended.
	reasonReplayed = "refresh_token_replayed"
	// sweptFamilies go with each that begins, so that there are never more than
	// sessions have begun.
	sweptFamilies = 4
)

// gid names the family of a refresh token. It is a digest of the token's
// selector and not that itself: it stands in access tokens, and who has seen one
// could otherwise end the family with a made-up refresh token.
func gid(t token.Token) string {
	sum := sha256.Sum256([]byte("gid:" + t.Selector()))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// successor returns the token after t: HMAC(K, family ‖ n+1 ‖ t). Who has the
// database, the keys or both has no t, and forges nothing.
func successor(key []byte, f *Family, n uint64, t token.Token) token.Token {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(f.ID)) // of one length
	mac.Write(binary.BigEndian.AppendUint64(nil, n))
	mac.Write([]byte(t.Reveal()))
	return t.WithVerifier([32]byte(mac.Sum(nil)))
}

// Family returns the family of a refresh token, or nil, and whether the token is
// the one that is good in it.
func (s *Service) Family(ctx context.Context, t token.Token) (f *Family, current bool, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		f, err = tx.Family(gid(t))
		return err
	})
	return f, f != nil && t.Matches(f.Current), err
}

// Behind returns the family of a refresh token that is good, or was before the last
// refresh: whoever signs out may not have heard of that. ErrRefreshToken for another.
func (s *Service) Behind(ctx context.Context, presented admit.Secret) (*Family, error) {
	t, err := token.Parse(token.Refresh, presented.Reveal())
	if err != nil {
		return nil, ErrRefreshToken
	}
	f, current, err := s.Family(ctx, t)
	if err == nil && !current && (f == nil || !t.Matches(f.Previous)) {
		err = ErrRefreshToken
	}
	return f, err
}

const refreshPurpose = "refresh"

// after returns what t becomes.
func (s *Service) after(f *Family, t token.Token) token.Token {
	return successor(s.o.Keys.Derive(refreshPurpose), f, f.N+1, t)
}

// again returns what t became, and false where the key that it became it by is
// gone. Which key that was the digest of the outcome tells: they are few, and an
// id of it in the row would be one more thing that can be wrong.
func (s *Service) again(f *Family, t token.Token) (token.Token, bool) {
	for _, key := range s.o.Keys.DeriveAll(refreshPurpose) {
		if next := successor(key, f, f.N, t); next.Matches(f.Current) {
			return next, true
		}
	}
	return token.Token{}, false
}

// BeginFamily begins a family for a session of a user's that was just begun, and
// returns its first tokens.
func (s *Service) BeginFamily(ctx context.Context, sid string, g Grant, now time.Time) (*Tokens, error) {
	tok := token.New(token.Refresh)
	var claims *jose.Claims[access.Claims]
	err := s.store.Update(context.WithoutCancel(ctx), func(tx Tx) error {
		info, err := tx.Session(sid, now)
		if err != nil {
			return err
		}
		user, err := tx.User(info.Subject)
		if err != nil {
			return err
		}
		f := &Family{
			ID: gid(tok), SID: sid, User: user.ID, Client: g.Client, Scope: g.Scope, JKT: g.JKT,
			Current: tok.Digest(), RotatedAt: now, Expires: info.ExpiresAt,
		}
		claims = s.tokens.claims(&info, user, f, now)
		if err := s.place(tx, claims); err != nil {
			return err
		}
		if err := tx.SweepFamilies(now, sweptFamilies); err != nil {
			return err
		}
		return tx.AddFamily(f)
	})
	if err != nil {
		return nil, err
	}
	return s.issue(claims, tok, now)
}

// issue signs what a transaction has found. Where it fails, the client asks again
// and gets the same refresh token.
func (s *Service) issue(c *jose.Claims[access.Claims], refresh token.Token, now time.Time) (*Tokens, error) {
	signed, err := s.tokens.sign(c)
	if err != nil {
		return nil, err
	}
	return &Tokens{Access: signed, Refresh: admit.NewSecret(refresh.Reveal()), Life: c.Expires.Sub(now)}, nil
}

// A verdict is what a refresh token that is shown turns out to be.
type verdict uint8

const (
	rotates  verdict = iota // it is the current one
	repeats                 // it is the one before, its successor is unused and was made a moment ago
	replayed                // it is older
)

// A refresh is one refresh token on its way.
type refresh struct {
	*Service
	token  token.Token
	jkt    string
	origin Origin
	now    time.Time
	asks   context.Context // of who waits for the answer

	family  *Family
	verdict verdict
	next    token.Token
	ended   bool // by this one
	claims  *jose.Claims[access.Claims]
}

// Refresh returns new tokens for a refresh token. Jkt is the thumbprint of the key
// whose possession the client has proved, "" for none.
//
// The current token is replaced by its successor. For ten seconds, and until the
// successor is used, the one before gets that successor again. Whatever else was
// once good has been copied: then the family ends, and the session with it, since
// nobody can tell which of its holders is the thief.
func (s *Service) Refresh(ctx context.Context, presented admit.Secret, jkt string, from Origin, now time.Time) (t *Tokens, err error) {
	r := &refresh{Service: s, jkt: jkt, origin: from, now: now, asks: ctx}
	defer func() { s.o.Observer.Refresh(t != nil && t.Repeated, err) }()
	if r.token, err = token.Parse(token.Refresh, presented.Reveal()); err != nil {
		return nil, ErrRefreshToken
	}
	// A look first: what is unknown, over or a repetition costs no write.
	if err := s.store.View(ctx, r.look); err != nil {
		return nil, err
	}
	if r.verdict != repeats {
		// The user is only read: those in memory stay as they are.
		if err := s.store.Update(context.WithoutCancel(ctx), r.act); err != nil {
			return nil, err
		}
	}
	if r.ended {
		s.o.Observer.SessionEnded(reasonReplayed)
		s.wake()
	}
	if r.verdict == replayed {
		return nil, cmp.Or(ctx.Err(), error(ErrRefreshReplayed))
	}
	if t, err = s.issue(r.claims, r.next, now); err == nil {
		t.Repeated = r.verdict == repeats
	}
	return t, err
}

// judge finds the family, and what the token is in it.
func (r *refresh) judge(tx Tx) (err error) {
	f, err := tx.Family(gid(r.token))
	if err != nil {
		return err
	}
	// Who has not the key learns nothing and ends nothing.
	if f == nil || f.JKT != r.jkt {
		return ErrRefreshToken
	}
	r.family, r.verdict, r.next = f, replayed, token.Token{}
	switch age := r.now.Sub(f.RotatedAt); {
	case r.token.Matches(f.Current):
		r.verdict, r.next = rotates, r.after(f, r.token)
	case f.N > 0 && r.token.Matches(f.Previous) && age <= repeatWindow && age >= -clockSlack:
		next, ok := r.again(f, r.token)
		if !ok {
			return ErrRefreshToken // the key was taken away meanwhile: no sign of a thief
		}
		r.verdict, r.next = repeats, next
	}
	switch {
	case f.Ended == "":
		return nil
	case r.verdict == replayed:
		return ErrRefreshReplayed
	}
	return &session.EndedError{SID: f.SID, Subject: f.User, Why: f.Ended}
}

// gone is what is said of a family whose session is no more, or can be told
// nothing of.
func gone(err error) error {
	if errors.Is(err, session.ErrNone) {
		return session.ErrEnded
	}
	return err
}

// look judges, and does what needs no write.
func (r *refresh) look(tx Tx) error {
	if err := r.judge(tx); err != nil {
		return err
	}
	if r.verdict == rotates {
		return nil // read again in the transaction that rotates
	}
	info, err := tx.Session(r.family.SID, r.now)
	if err != nil {
		return gone(err)
	}
	if r.verdict == repeats {
		return r.claim(tx, &info)
	}
	return nil
}

// act judges in a transaction of its own, and does what follows.
func (r *refresh) act(tx Tx) error {
	if err := r.judge(tx); err != nil {
		return err
	}
	if r.verdict == replayed {
		// A request that was given up may come to its turn after the one that was
		// sent in its place, and after that one's successor was used. Who has hung
		// up gets nothing, and is no thief.
		if r.asks.Err() != nil {
			return nil
		}
		return r.end(tx)
	}
	info, err := tx.UseSession(r.family.SID, r.now)
	if err != nil {
		return gone(err)
	}
	if err := r.claim(tx, &info); err != nil || r.verdict == repeats {
		return err
	}
	if err := r.place(tx, r.claims); err != nil {
		return err
	}
	return tx.RotateFamily(r.family.ID, r.family.N, r.next.Digest(), r.now)
}

// claim notes what the access token says.
func (r *refresh) claim(tx Tx, info *session.Info) error {
	user, err := tx.User(info.Subject)
	switch {
	case errors.Is(err, ErrUnknownUser) || err == nil && user.Disabled:
		return &session.EndedError{SID: info.SID, Subject: info.Subject, Why: "ended_by_operator"} // a moment ago
	case err != nil:
		return err
	}
	r.claims = r.tokens.claims(info, user, r.family, r.now)
	return nil
}

// end ends a family that has a thief in it, and its session, and tells the owner.
func (r *refresh) end(tx Tx) error {
	f := r.family
	if err := tx.EndSession(f.SID, reasonReplayed, r.now); err != nil {
		return gone(err)
	}
	if err := tx.EndFamily(f.ID, reasonReplayed); err != nil {
		return err
	}
	if err := tx.Tell(feed.GrantEnded(f.ID, f.User, reasonReplayed, r.now.Add(ToldFor))); err != nil {
		return err
	}
	user, err := tx.User(f.User)
	if err != nil {
		return err
	}
	if err := r.tellProved(tx, Asker{Subject: f.User, From: r.origin}, user, reasonReplayed, r.now); err != nil {
		return err
	}
	r.ended = true
	return tx.Record(r.origin.mark(&Record{At: r.now, Subject: f.User, Event: reasonReplayed, SID: f.SID}))
}
