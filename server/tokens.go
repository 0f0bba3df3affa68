package server

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/web"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/token"
)

// What the command line does with opaque tokens.

// ScopeProfile lets an API key read who its user is: the least that it may do.
const ScopeProfile = account.ScopeProfile

// A NewAPIKey is what an operator asks of one.
type NewAPIKey struct {
	User      string        `json:"user"` // an id or identifier
	Name      string        `json:"name"`
	Scopes    []string      `json:"scopes"`
	Audiences []string      `json:"audiences,omitempty"`
	Life      time.Duration `json:"life,omitempty"` // 0 for 90 days
	Forever   bool          `json:"forever,omitempty"`
	Reason    string        `json:"reason,omitempty"`
}

// An APIKey is one as the API shows it, and whose it is.
type APIKey struct {
	web.APIKey
	User    string     `json:"user"`
	EndedAt *time.Time `json:"ended_at,omitempty"`
}

func apiKeyOf(k *account.APIKey) APIKey {
	out := APIKey{APIKey: web.APIKeyOf(k), User: k.User}
	if !k.EndedAt.IsZero() {
		at := k.EndedAt.UTC()
		out.EndedAt = &at
	}
	return out
}

// A MadeAPIKey is a new key with its text, which nobody can show again.
type MadeAPIKey struct {
	APIKey APIKey `json:"api_key"`
	Token  string `json:"token"`
}

// A TokenReport is what is known of an opaque token, without its secret.
type TokenReport struct {
	Kind    string   `json:"kind"`
	ID      string   `json:"id"`
	State   string   `json:"state,omitempty"` // see the constants; "" where nobody was asked
	APIKey  *APIKey  `json:"api_key,omitempty"`
	Session *Session `json:"session,omitempty"`
}

// The states of a token.
const (
	TokenGood    = "good"
	TokenExpired = "expired"
	TokenEnded   = "ended"   // by somebody, or with its user
	TokenForged  = "forged"  // its id is known, and its secret is another
	TokenUsed    = "used"    // a refresh token that has a successor
	TokenUnknown = "unknown" // or forgotten
)

var tokenKinds = map[token.Kind]string{
	token.Session: "session", token.Refresh: "refresh", token.Access: "access",
	token.APIKey: "api-key", token.ClientSecret: "client-secret", token.OneTime: "one-time",
	token.Invite: "invite", token.Registration: "registration",
}

// ReadToken returns what the text of a token tells by itself: its kind and its
// id. Text that is none, or whose checksum does not fit, is token.ErrMalformed.
func ReadToken(text string) (TokenReport, error) {
	tok, err := parseToken(text)
	if err != nil {
		return TokenReport{}, err
	}
	return reportOf(tok), nil
}

func reportOf(tok token.Token) TokenReport {
	return TokenReport{Kind: tokenKinds[tok.Kind()], ID: tok.Selector()}
}

func parseToken(text string) (token.Token, error) {
	for kind := range tokenKinds {
		if tok, err := token.Parse(kind, text); err == nil {
			return tok, nil
		}
	}
	text, _, _ = strings.Cut(text, "~") // after which a client's own says what it is worth
	return token.Parse(token.Access, text)
}

// IssueAPIKey makes an API key for a user.
func (o *Operator) IssueAPIKey(ctx context.Context, in NewAPIKey) (MadeAPIKey, error) {
	in.Reason = o.Reason
	return ask[MadeAPIKey](ctx, o, "issue-api-key", in)
}

// APIKeys returns the API keys of a user that have not ended, newest first.
func (o *Operator) APIKeys(ctx context.Context, user string) ([]APIKey, error) {
	return ask[[]APIKey](ctx, o, "api-keys", target{User: user})
}

// InspectToken tells what a token is, whose, and whether it is good.
func (o *Operator) InspectToken(ctx context.Context, tok admit.Secret) (TokenReport, error) {
	return ask[TokenReport](ctx, o, "inspect-token", presented{Token: tok.Reveal()})
}

// RevokeToken ends what a token is of: an API key, or a session. A refresh token
// that has a successor ends its session as well: somebody has a copy of it.
func (o *Operator) RevokeToken(ctx context.Context, tok admit.Secret) (TokenReport, error) {
	return ask[TokenReport](ctx, o, "revoke-token", presented{tok.Reveal(), o.Reason})
}

// EndAPIKey ends the API key with this id.
func (o *Operator) EndAPIKey(ctx context.Context, id string) error {
	_, err := ask[none](ctx, o, "end-api-key", apiKeyTarget{id, o.Reason})
	return err
}

// What crosses the socket.
type (
	presented struct {
		Token  string `json:"token"`
		Reason string `json:"reason,omitempty"`
	}
	apiKeyTarget struct {
		ID     string `json:"id"`
		Reason string `json:"reason,omitempty"`
	}
)

// tokenOperations adds to all what is about tokens.
func (s *Server) tokenOperations(all map[string]operation) {
	all["issue-api-key"] = op(func(ctx context.Context, in NewAPIKey) (MadeAPIKey, error) {
		u, err := s.accounts.FindUser(ctx, in.User)
		if err != nil {
			return MadeAPIKey{}, err
		}
		k, tok, err := s.accounts.IssueAPIKey(ctx, u.ID, account.NewAPIKey{
			Name: in.Name, Scopes: in.Scopes, Audiences: in.Audiences, Life: in.Life, Forever: in.Forever,
		}, byOperator(in.Reason), time.Now())
		if err != nil {
			return MadeAPIKey{}, err
		}
		return MadeAPIKey{apiKeyOf(k), tok.Reveal()}, nil
	})
	all["api-keys"] = op(func(ctx context.Context, in target) ([]APIKey, error) {
		u, err := s.accounts.FindUser(ctx, in.User)
		if err != nil {
			return nil, err
		}
		keys, err := s.accounts.APIKeys(ctx, u.ID)
		out := make([]APIKey, len(keys))
		for i, k := range keys {
			out[i] = apiKeyOf(k)
		}
		return out, err
	})
	all["inspect-token"] = op(func(ctx context.Context, in presented) (TokenReport, error) {
		return s.inspectToken(ctx, in.Token, time.Now())
	})
	all["revoke-token"] = op(func(ctx context.Context, in presented) (TokenReport, error) {
		now := time.Now()
		t, err := s.inspectToken(ctx, in.Token, now)
		switch {
		case err != nil:
			return t, err
		case t.APIKey != nil && (t.State == TokenGood || t.State == TokenExpired):
			return t, s.accounts.EndAPIKey(ctx, "", t.ID, byOperator(in.Reason), now)
		case t.Session != nil:
			return t, s.endSession(ctx, t.Session.SID, in.Reason)
		}
		// Somebody may have made up a secret for an id that is known, so that it
		// is ended.
		return t, errNothingToRevoke
	})
	all["end-api-key"] = op(func(ctx context.Context, in apiKeyTarget) (none, error) {
		return none{}, s.accounts.EndAPIKey(ctx, "", in.ID, byOperator(in.Reason), time.Now())
	})
}

var errNothingToRevoke = admit.NotFound.New("nothing_to_revoke", "This token is not good here, so there is nothing to end.").WithHint("admit token inspect tells what is known of it")

// inspectToken tells what a token is, whose, and whether it is good.
func (s *Server) inspectToken(ctx context.Context, text string, now time.Time) (TokenReport, error) {
	tok, err := parseToken(text)
	if err != nil {
		return TokenReport{}, err
	}
	t := reportOf(tok)
	switch tok.Kind() {
	case token.APIKey:
		err = s.inspectAPIKey(ctx, &t, tok, now)
	case token.Session:
		err = s.inspectSession(ctx, &t, text)
	case token.Refresh:
		err = s.inspectRefresh(ctx, &t, tok)
	}
	return t, err
}

func (s *Server) inspectAPIKey(ctx context.Context, t *TokenReport, tok token.Token, now time.Time) error {
	k, err := s.accounts.FindAPIKey(ctx, t.ID)
	if errors.Is(err, account.ErrUnknownAPIKey) {
		t.State = TokenUnknown
		return nil
	}
	if err != nil {
		return err
	}
	of := apiKeyOf(k)
	t.APIKey = &of
	switch {
	case !tok.Matches(k.Digest):
		t.State = TokenForged
	case !k.EndedAt.IsZero():
		t.State = TokenEnded
	case !k.Good(now):
		t.State = TokenExpired
	default:
		t.State = TokenGood
	}
	return nil
}

func (s *Server) inspectSession(ctx context.Context, t *TokenReport, text string) error {
	r, err := http.NewRequestWithContext(ctx, "GET", "/", nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+text)
	switch _, err = s.sessions.Check(r); {
	case errors.Is(err, session.ErrEnded):
		t.State = TokenEnded
	case errors.Is(err, session.ErrExpired):
		t.State = TokenExpired
	case admit.KindOf(err) == admit.Unauthenticated:
		t.State = TokenUnknown
	case err != nil:
		return err
	default:
		found, err := s.sessions.Find(ctx, t.ID)
		if err != nil {
			return err
		}
		t.State = TokenGood
		t.Session = &Session{web.SessionOf(&found.Info, "", found.Data), found.Subject, found.Data}
	}
	return nil
}

func (s *Server) inspectRefresh(ctx context.Context, t *TokenReport, tok token.Token) error {
	f, current, err := s.accounts.Family(ctx, tok)
	if err != nil {
		return err
	}
	if f == nil {
		t.State = TokenUnknown
		return nil
	}
	found, err := s.sessions.Find(ctx, f.SID)
	switch {
	case f.Ended != "" || admit.KindOf(err) == admit.NotFound || admit.KindOf(err) == admit.Unauthenticated:
		t.State = TokenEnded
		return nil
	case err != nil:
		return err
	case current:
		t.State = TokenGood
	default:
		t.State = TokenUsed
	}
	t.Session = &Session{web.SessionOf(&found.Info, "", found.Data), found.Subject, found.Data}
	return nil
}

// endSession ends a session of anybody.
func (s *Server) endSession(ctx context.Context, sid, reason string) error {
	found, err := s.sessions.Find(ctx, sid)
	if err != nil {
		return err
	}
	r := byOperator(reason).Record(time.Now(), found.Subject, "session_ended", "")
	r.SID = sid
	ctx = s.accounts.Auditing(ctx, account.SessionEnded, *r, account.Origin{})
	return s.sessions.EndAny(ctx, sid, "ended_by_operator")
}
