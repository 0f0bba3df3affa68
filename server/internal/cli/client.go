package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
	"github.com/spf13/cobra"
)

func newClient() *cobra.Command {
	return group("client", "register applications that people sign in to, or that act for themselves",
		newClientAdd(), newClientList(), newClientShow(), newClientRemove(), newClientRotateSecret())
}

func newClientAdd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "add --id ID --name NAME --grant TYPE [--secret-file FILE | --public | --jwks-file FILE]", Short: "register an application",
		Long: `Where nothing says how it proves itself, a secret is made and written to standard output,
which can be done this once: only a digest of it is kept.

Redirect URIs are compared letter by letter; there are no patterns. They are https. Of a
public client they may be http on 127.0.0.1 or [::1], where it may listen on any port, or
of a scheme such as org.example.app:, and it is then a program on people's devices. A
server that people reach at http://localhost takes http on loopback addresses of any
client.

Grant types are authorization_code, refresh_token, client_credentials, device_code and
token_exchange. A resource that only looks into tokens needs none. Where no scope is
named, a client may ask for every standard one that they allow.
` + beside,
		Example: `(umask 077; admit client add --id shop --name 'The shop' --grant authorization_code,refresh_token \
  --redirect https://shop.example.net/callback > secret)
(umask 077; admit client add --id orders --name 'The orders' --resource https://orders.example.net \
  --grant token_exchange --scope orders:read --audience https://stock.example.net > secret)`,
	}
	in, flags := server.NewClient{}, cmd.Flags()
	flags.StringVar(&in.ID, "id", "", "the client's `ID`, which it says with each request")
	flags.StringVar(&in.Name, "name", "", "how people know it, as `TEXT`")
	secretFlag(cmd)
	flags.BoolVar(&in.Public, "public", false, "it cannot keep a secret: a script of a page, or a program on a device")
	keys := flags.String("jwks-file", "", "read its public keys from `FILE`, a JWK set or one JWK: it proves itself by a signature")
	flags.StringArrayVar(&in.RedirectURIs, "redirect", nil, "where it is answered: a `URI`; may be given again")
	flags.StringArrayVar(&in.PostLogoutURIs, "post-logout", nil, "where people are sent when they have signed out: a `URI`; may be given again")
	flags.StringVar(&in.BackchannelLogoutURI, "backchannel-logout", "", "where it is told that a session has ended: a `URI`")
	flags.StringVar(&in.FrontchannelLogoutURI, "frontchannel-logout", "", "what is shown in a frame when people sign out: a `URI` on the origin of a redirect URI")
	grants := flags.StringArray("grant", nil, "a grant `TYPE`, or several with commas between; may be given again")
	scopes := flags.StringArray("scope", nil, "what it may ask for: a `SCOPE`, or several with spaces between; may be given again")
	flags.StringArrayVar(&in.Audiences, "audience", nil, "a resource that it may ask for, as `URI`; may be given again")
	flags.StringArrayVar(&in.Resources, "resource", nil, "a resource that it is itself, as `URI`: it may look into the tokens for it; may be given again")
	format := oneOf(cmd, "access-token", "the `FORM` of access tokens: opaque or jwt (default opaque)", "opaque", "jwt")
	alg := oneOf(cmd, "signing-alg", "the `ALG` that is signed with for it: ES256, RS256 or EdDSA (default ES256)", "ES256", "RS256", "EdDSA")
	access := spanFlag(cmd, "access-ttl", 0, "how long an access token is good, as `TIME` such as 10m; a JWT 5m at most (default 5m)")
	code := spanFlag(cmd, "code-ttl", 0, "how long a code is good, as `TIME` (default 60s)")
	flags.BoolVar(&in.FirstParty, "first-party", false, "nobody is asked for consent: it is yours")
	flags.BoolVar(&in.DPoP, "dpop", false, "it gets no tokens without a proof of a key that they are bound to; any client may send one")
	flags.BoolVar(&in.RequirePushed, "require-par", false, "it pushes its authorization requests: no other ones are taken")
	flags.BoolVar(&in.FAPI, "fapi", false, "it is held to the FAPI 2.0 Security Profile; implies --dpop and --require-par, and wants --jwks-file")
	flags.BoolVar(&in.RequireSigned, "require-signed-request", false, "it signs its authorization requests with its keys: no other ones are taken")
	because(cmd)
	asJSON := jsonFlag(cmd)
	cmd.Args = cobra.MatchAll(takes(), needs("id", "name"), func(cmd *cobra.Command, _ []string) error {
		if !flags.Changed("grant") && !flags.Changed("resource") {
			return misused(cmd, "%s: --grant is missing, or --resource", cmd.CommandPath())
		}
		ways := 0
		for _, name := range []string{"secret-file", "public", "jwks-file"} {
			if flags.Changed(name) {
				ways++
			}
		}
		if ways > 1 {
			return misused(cmd, "%s: it is one of --secret-file, --public and --jwks-file", cmd.CommandPath())
		}
		return nil
	})
	return operate(cmd, mayMake, func(ctx context.Context, o *server.Operator, _ []string) (err error) {
		if in.Secret, err = readSecret(cmd); err != nil {
			return err
		}
		if *keys != "" {
			if in.JWKS, err = readJSON(cmd, *keys); err != nil {
				return err
			}
		}
		for _, text := range words(*grants) {
			in.GrantTypes = append(in.GrantTypes, strings.FieldsFunc(text, func(c rune) bool { return c == ',' })...)
		}
		in.Scopes, in.AccessTokenFormat, in.SigningAlg = words(*scopes), *format, *alg
		in.AccessTTL, in.CodeTTL = access.seconds(), code.seconds()
		made, err := o.AddClient(ctx, in)
		if err != nil {
			return err
		}
		if err := writeMade(cmd, *asJSON, made); err != nil {
			return err
		}
		sayMade(cmd, o)
		return nil
	})
}

// writeMade writes a secret that was made, or else the client.
func writeMade(cmd *cobra.Command, asJSON bool, made server.MadeClient) error {
	switch {
	case asJSON:
		return writeJSON(cmd.OutOrStdout(), made)
	case made.Secret == "":
		return table{clientHead, clientRow(made.Client)}.write(cmd.OutOrStdout())
	}
	if err := writeLine(cmd, made.Secret); err != nil {
		return err
	}
	say(cmd, "this is the only time that the secret of %s is shown", made.ID)
	return nil
}

// secretFlag gives cmd the flag that readSecret looks at.
func secretFlag(cmd *cobra.Command) {
	cmd.Flags().String("secret-file", "", "take the secret that it has already from `FILE`, of 16 random characters or more; - is standard input")
}

// readSecret takes a secret from the file that was named, none where there is none.
func readSecret(cmd *cobra.Command) (admit.Secret, error) {
	name, _ := cmd.Flags().GetString("secret-file")
	if !cmd.Flags().Changed("secret-file") {
		return admit.Secret{}, nil
	}
	b, err := readFile(cmd, name)
	return admit.NewSecret(strings.TrimSuffix(string(b), "\r")), err
}

var errNotJSON = admit.Invalid.New("jwks_malformed", "This is no JWK set, and no JWK.").WithHint("admit jwt keygen --public writes one")

// readJSON reads a file that crosses the socket as it stands.
func readJSON(cmd *cobra.Command, name string) (json.RawMessage, error) {
	b, err := readFile(cmd, name)
	if err == nil && !json.Valid(b) {
		err = fmt.Errorf("%s: %w", name, errNotJSON)
	}
	return b, err
}

// A span is a pflag.Value: a length of time.
type span struct{ time.Duration }

// spanFlag gives cmd a flag that is a length of time.
func spanFlag(cmd *cobra.Command, name string, otherwise time.Duration, help string) *span {
	s := &span{otherwise}
	cmd.Flags().Var(s, name, help)
	return s
}

var errSpan = errLife.WithHint("a number of days, hours, minutes or seconds, such as 30d, 12h, 5m or 90s")

// Set implements pflag.Value. 0 is a length, too.
func (s *span) Set(text string) error {
	var l life
	if text != "0" && l.Set(text) != nil || l.forever || l.length%time.Second != 0 {
		return errSpan
	}
	s.Duration = l.length
	return nil
}

func (s *span) String() string { return "" }
func (s *span) Type() string   { return "TIME" }

func (s *span) seconds() int64 { return int64(s.Duration / time.Second) }

var clientHead = []string{"ID", "NAME", "PROVES ITSELF BY", "GRANT TYPES", "REDIRECT URIS", "CREATED"}

func clientRow(c server.Client) []string {
	return []string{c.ID, c.Name, proofOf(c), strings.Join(c.GrantTypes, " "), strings.Join(c.RedirectURIs, " "), moment(c.CreatedAt)}
}

func proofOf(c server.Client) string {
	switch c.AuthMethod {
	case "none":
		return "nothing (public)"
	case "private_key_jwt":
		return "its keys"
	}
	return "a secret"
}

func newClientList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "show the applications that are registered", Args: takes(),
		Long: beside, Example: "admit client list --json",
	}
	most := limitFlag(cmd, 0)
	asJSON := jsonFlag(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, _ []string) error {
		list := func(after string) ([]server.Client, string, error) {
			page, err := o.Clients(ctx, after, pageSize)
			return page, last(page, func(c server.Client) string { return c.ID }), err
		}
		out := newWriter(cmd, *asJSON, clientHead...)
		for c, err := range pages(*most, list) {
			if err == nil {
				err = out.put(c, clientRow(c)...)
			}
			if err != nil {
				return err
			}
		}
		return out.close()
	})
}

func newClientShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show ID", Short: "show an application, without its secret", Args: takes("ID"),
		Long: beside, Example: "admit client show shop --json",
	}
	asJSON := jsonFlag(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, args []string) error {
		c, err := o.Client(ctx, args[0])
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), c)
		}
		return reportClient(c).write(cmd.OutOrStdout())
	})
}

func reportClient(c server.Client) table {
	yes := func(is bool) string {
		if is {
			return "yes"
		}
		return "no"
	}
	out := table{{"id", c.ID}, {"name", c.Name}, {"proves itself by", proofOf(c)}}
	for _, s := range c.Secrets {
		id := s.ID
		if id == "" {
			id = "made elsewhere"
		}
		out = append(out, []string{"secret", id + ", expires " + perhaps(s.ExpiresAt, "never")})
	}
	for _, list := range []struct {
		name string
		of   []string
	}{
		{"redirect URI", c.RedirectURIs}, {"after a log-out", c.PostLogoutURIs}, {"grant type", c.GrantTypes}, {"audience", c.Audiences}, {"is the resource", c.Resources},
	} {
		for _, v := range list.of {
			out = append(out, []string{list.name, v})
		}
	}
	if c.BackchannelLogoutURI != "" {
		out = append(out, []string{"told of log-outs at", c.BackchannelLogoutURI})
	}
	if c.FrontchannelLogoutURI != "" {
		out = append(out, []string{"shown at sign-outs", c.FrontchannelLogoutURI})
	}
	return append(out, table{
		{"scopes", strings.Join(c.Scopes, " ")}, {"must bind tokens to a key", yes(c.DPoP)},
		{"access tokens", fmt.Sprintf("%s, for %v", c.AccessTokenFormat, time.Duration(c.AccessTTL)*time.Second)},
		{"codes", "for " + (time.Duration(c.CodeTTL) * time.Second).String()},
		{"signed with", c.SigningAlg}, {"native", yes(c.Native)}, {"first-party", yes(c.FirstParty)},
		{"must push requests", yes(c.RequirePushed)}, {"must sign requests", yes(c.RequireSigned)},
		{"held to FAPI 2.0", yes(c.FAPI)}, {"created", moment(c.CreatedAt)},
	}...)
}

func newClientRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use: "remove ID", Short: "remove an application, and end all that it was allowed", Args: takes("ID"),
		Long:    "Its tokens count nowhere any more, from now on. Who has allowed it something is asked anew\nif it comes back. Asks before, at a terminal.\n" + beside,
		Example: "admit client remove shop --reason 'is not used any more'",
	}
	because(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, args []string) error {
		if err := confirm(cmd, "remove "+args[0]+", and end all that it was allowed?"); err != nil {
			return err
		}
		return told(cmd, o.RemoveClient(ctx, args[0]), "%s is removed, and all that it was allowed has ended", args[0])
	})
}

func newClientRotateSecret() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rotate-secret ID", Short: "give an application another secret", Args: takes("ID"),
		Long: `Writes the new secret, which can be shown this once. The one before is good for the
overlap, so that nothing stands still until the application has the new one. For a secret
that leaked the overlap is 0.
` + beside,
		Example: "(umask 077; admit client rotate-secret shop > secret)\nadmit client rotate-secret shop --overlap 0 --reason 'it was in a log' > secret",
	}
	secretFlag(cmd)
	overlap := spanFlag(cmd, "overlap", server.DefaultOverlap, "how long the secret before is good, as `TIME` to 30d; 0 ends it at once (default 1d)")
	because(cmd)
	asJSON := jsonFlag(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, args []string) error {
		secret, err := readSecret(cmd)
		if err != nil {
			return err
		}
		made, err := o.RotateClientSecret(ctx, args[0], secret, overlap.Duration)
		if err != nil {
			return err
		}
		if err := writeMade(cmd, *asJSON, made); err != nil {
			return err
		}
		if overlap.Duration > 0 {
			say(cmd, "the secret before is good until %s", moment(time.Now().Add(overlap.Duration)))
		} else {
			say(cmd, "the secret before is good no more")
		}
		return nil
	})
}
