package cli

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
	"github.com/admit-auth/admit/token"
	"github.com/spf13/cobra"
)

func newToken() *cobra.Command {
	return group("token", "make, look at and end opaque tokens",
		newTokenIssue(), newTokenList(), newTokenInspect(), newTokenRevoke())
}

func newTokenIssue() *cobra.Command {
	cmd := &cobra.Command{
		Use: "issue --kind api-key --user USER --name NAME", Short: "make an API key",
		Args: cobra.MatchAll(takes(), needs("kind", "user", "name")),
		Long: `Writes the key, which can be shown this once: only a digest of it is kept. A program
presents it as Authorization: Bearer adm_k_…, and may do what its scopes name:

  profile     read who the user is
  admin:read  read users, roles, clients and the audit; the user must be an administrator
  admin       that, and change users and roles
  feed        follow /feed, for the audiences that are named

` + beside,
		Example: "(umask 077; admit token issue --kind api-key --user ada@example.org --name 'nightly report' --scope profile > key)",
	}
	in := server.NewAPIKey{}
	oneOf(cmd, "kind", "what to make, as `KIND`: api-key", "api-key")
	cmd.Flags().StringVar(&in.User, "user", "", "for whom: the `USER`, by id or identifier")
	cmd.Flags().StringVar(&in.Name, "name", "", "what uses it, as `TEXT`")
	scopes := cmd.Flags().StringArray("scope", []string{server.ScopeProfile}, "what it may do: a `SCOPE`; may be given again")
	audiences := cmd.Flags().StringArray("audience", nil, "whose news it may hear, with the scope feed: an `AUDIENCE`; may be given again")
	life := lifeFlag(cmd)
	because(cmd)
	asJSON := jsonFlag(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, _ []string) error {
		in.Scopes, in.Audiences = words(*scopes), words(*audiences)
		in.Life, in.Forever = life.length, life.forever
		made, err := o.IssueAPIKey(ctx, in)
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), made)
		}
		if err := writeLine(cmd, made.Token); err != nil {
			return err
		}
		say(cmd, "this is the only time that the key is shown; its id is %s, and it %s", made.APIKey.ID, expiry(made.APIKey))
		return nil
	})
}

func writeLine(cmd *cobra.Command, text string) error {
	_, err := cmd.OutOrStdout().Write([]byte(text + "\n"))
	return err
}

// words are the words of several texts.
func words(texts []string) (all []string) {
	for _, text := range texts {
		all = append(all, strings.Fields(text)...)
	}
	return all
}

func expiry(k server.APIKey) string {
	if k.ExpiresAt == nil {
		return "never expires"
	}
	return "expires " + moment(*k.ExpiresAt)
}

// A life is a pflag.Value: how long something is good.
type life struct {
	length  time.Duration
	forever bool
}

// lifeFlag gives cmd the flag --ttl.
func lifeFlag(cmd *cobra.Command) *life {
	l := &life{}
	cmd.Flags().Var(l, "ttl", "how long it is good, as `TIME` such as 30d or 12h, or never (default 90d)")
	return l
}

var errLife = admit.Invalid.New("ttl_malformed", "This is no length of time.").WithHint("a number of days or hours, such as 30d or 12h, or never")

func (l *life) Set(text string) error {
	if text == "never" {
		l.forever = true
		return nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		l.length = time.Duration(n) * 24 * time.Hour
		if err != nil || n == 0 {
			return errLife
		}
		return nil
	}
	var err error
	if l.length, err = time.ParseDuration(text); err != nil || l.length <= 0 {
		return errLife
	}
	return nil
}

func (l *life) String() string { return "" }
func (l *life) Type() string   { return "TIME" }

func newTokenList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list --user USER", Short: "show the API keys of a user, without their secrets", Args: cobra.MatchAll(takes(), needs("user")),
		Long: "Without those that have ended; expired ones stay for 30 days at least.\n" + beside, Example: "admit token list --user ada@example.org",
	}
	user := cmd.Flags().String("user", "", "whose: the `USER`, by id or identifier")
	asJSON := jsonFlag(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, _ []string) error {
		keys, err := o.APIKeys(ctx, *user)
		if err != nil {
			return err
		}
		out := newWriter(cmd, *asJSON, "ID", "NAME", "SCOPES", "AUDIENCES", "CREATED", "EXPIRES", "LAST USED")
		for _, k := range keys {
			if err := out.put(k, k.ID, k.Name, strings.Join(k.Scopes, " "), strings.Join(k.Audiences, " "), moment(k.CreatedAt), perhaps(k.ExpiresAt, "never"), perhaps(k.LastUsedAt, "not yet")); err != nil {
				return err
			}
		}
		return out.close()
	})
}

// perhaps is a moment that may not be.
func perhaps(t *time.Time, otherwise string) string {
	if t == nil {
		return otherwise
	}
	return moment(*t)
}

var errJWT = admit.Invalid.New("token_is_jwt", "This is a JWT, which carries what it says.").WithHint("admit jwt decode shows it, admit jwt verify checks it")

// readToken reads a token from the terminal, where it is not shown, or else from
// standard input.
func readToken(cmd *cobra.Command) (admit.Secret, server.TokenReport, error) {
	text, err := "", error(nil)
	if _, ok := terminal(cmd.InOrStdin()); ok {
		var secret admit.Secret
		secret, err = ask(cmd, "token: ")
		text = secret.Reveal()
	} else {
		var b []byte
		b, err = readLine(cmd.InOrStdin())
		text = string(b)
	}
	if err != nil {
		return admit.Secret{}, server.TokenReport{}, err
	}
	text = strings.TrimSpace(text)
	if dots := strings.Count(text, "."); strings.HasPrefix(text, "ey") && (dots == 2 || dots == 4) {
		return admit.Secret{}, server.TokenReport{}, errJWT
	}
	t, err := server.ReadToken(text)
	if errors.Is(err, token.ErrMalformed) {
		err = token.ErrMalformed.WithHint("copy all of it: it begins with adm_ and has 56 characters")
	}
	return admit.NewSecret(text), t, err
}

func newTokenInspect() *cobra.Command {
	cmd := &cobra.Command{
		Use: "inspect < TOKEN", Short: "tell what a token is, and whether it is good", Args: takes(),
		Long: `Tells the kind and the id, and checks the checksum, without a server and on any
machine. Where there is a data folder it also tells whose an API key, a session's token
or a refresh token is, and whether it is good; nothing is marked as used. The secret is
never shown.`,
		Example: "admit token inspect < key",
	}
	load := settingFlags(cmd, "data", "database", "master_key_file", "master_key_command")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		secret, t, err := readToken(cmd)
		if err != nil {
			return err
		}
		cfg, err := load()
		if err != nil {
			return err
		}
		if exists(cfg) == nil {
			o, err := server.Connect(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			defer o.Close()
			if t, err = o.InspectToken(cmd.Context(), secret); err != nil {
				return err
			}
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), t)
		}
		return reportToken(t).write(cmd.OutOrStdout())
	}
	return cmd
}

func reportToken(t server.TokenReport) table {
	state := t.State
	if state == "" {
		state = "not looked up"
	}
	out := table{{"kind", t.Kind}, {"id", t.ID}, {"checksum", "right"}, {"state", state}}
	if k := t.APIKey; k != nil {
		out = append(out, table{
			{"user id", k.User}, {"name", k.Name}, {"scopes", strings.Join(k.Scopes, " ")}, {"audiences", strings.Join(k.Audiences, " ")},
			{"created", moment(k.CreatedAt)}, {"expires", perhaps(k.ExpiresAt, "never")}, {"last used", perhaps(k.LastUsedAt, "not yet")}, {"ended", perhaps(k.EndedAt, "no")},
		}...)
	}
	if s := t.Session; s != nil {
		out = append(out, table{{"session", s.SID}, {"user id", s.Subject}, {"device", s.Device.Name}, {"created", moment(s.CreatedAt)}, {"expires", moment(s.ExpiresAt)}}...)
	}
	return out
}

func newTokenRevoke() *cobra.Command {
	cmd := &cobra.Command{
		Use: "revoke [ID] [< TOKEN]", Short: "end an API key, by its id or itself, or the session of a token",
		Long: "Without an ID the token is read from standard input; one whose secret is wrong ends\nnothing.\n" + beside, Example: "admit token revoke < key",
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		return takes("ID")(cmd, append(args, "from standard input")[:max(1, len(args))])
	}
	because(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, args []string) error {
		if len(args) > 0 {
			return told(cmd, o.EndAPIKey(ctx, args[0]), "the API key %s has ended", args[0])
		}
		secret, t, err := readToken(cmd)
		if err != nil {
			return err
		}
		ended, err := o.RevokeToken(ctx, secret)
		if ended.Session != nil {
			return told(cmd, err, "the session %s has ended", ended.Session.SID)
		}
		return told(cmd, err, "the %s %s has ended", t.Kind, t.ID)
	})
}
