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
	"github.com/spf13/pflag"
)

func newClient() *cobra.Command {
	return group("client", "register applications that people sign in to, or that act for themselves",
		newClientAdd(), newClientList(), newClientShow(), newClientSet(), newClientDisable(), newClientEnable(), newClientRemove(), newClientRotateSecret(),
		newClientInvite(), newClientInvites(), newClientUninvite())
}

func newClientAdd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "add --id ID --name NAME --grant TYPE [--secret-file FILE | --public | --jwks-file FILE | --jwks-uri URI]", Short: "register an application",
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
	secretFlag(cmd)
	flags.BoolVar(&in.Public, "public", false, "it cannot keep a secret: a script of a page, or a program on a device")
	said := clientFlags(cmd)
	because(cmd)
	asJSON := jsonFlag(cmd)
	cmd.Args = cobra.MatchAll(takes(), needs("id", "name"), func(cmd *cobra.Command, _ []string) error {
		if !flags.Changed("grant") && !flags.Changed("resource") {
			return misused(cmd, "%s: --grant is missing, or --resource", cmd.CommandPath())
		}
		ways := 0
		for _, name := range []string{"secret-file", "public", "jwks-file", "jwks-uri"} {
			if flags.Changed(name) {
				ways++
			}
		}
		if ways > 1 {
			return misused(cmd, "%s: it is one of --secret-file, --public, --jwks-file and --jwks-uri", cmd.CommandPath())
		}
		return nil
	})
	return operate(cmd, mayMake, func(ctx context.Context, o *server.Operator, _ []string) (err error) {
		if in.Secret, err = readSecret(cmd); err != nil {
			return err
		}
		if err := said.fill(cmd, &in); err != nil {
			return err
		}
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

// clientSaid is what flags say of a client, when it is registered and when it is changed.
type clientSaid struct {
	name, uri, backchannel, sector         string
	frontchannel                           string
	jwksFile, jwksURI                      string
	redirects, postLogout, audiences       []string
	resources                              []string
	grants, scopes                         []string
	format, alg                            *string
	access, code, grant                    *span
	firstParty, dpop, pushed, signed, fapi bool
}

// clientFlags gives cmd the flags of what may be said of a client.
func clientFlags(cmd *cobra.Command) *clientSaid {
	in, flags := &clientSaid{}, cmd.Flags()
	flags.StringVar(&in.name, "name", "", "how people know it, as `TEXT`")
	flags.StringVar(&in.uri, "uri", "", "where people read about it: a `URI`")
	flags.StringVar(&in.jwksFile, "jwks-file", "", "read its public keys from `FILE`, a JWK set or one JWK: it proves itself by a signature")
	flags.StringVar(&in.jwksURI, "jwks-uri", "", "where its public keys are, which may then change: a `URI`")
	flags.StringArrayVar(&in.redirects, "redirect", nil, "where it is answered: a `URI`; may be given again")
	flags.StringArrayVar(&in.postLogout, "post-logout", nil, "where people are sent when they have signed out: a `URI`; may be given again")
	flags.StringVar(&in.backchannel, "backchannel-logout", "", "where it is told that a session has ended: a `URI`")
	flags.StringVar(&in.frontchannel, "frontchannel-logout", "", "what is shown in a frame when people sign out: a `URI` on the origin of a redirect URI")
	flags.StringArrayVar(&in.grants, "grant", nil, "a grant `TYPE`, or several with commas between; may be given again")
	flags.StringArrayVar(&in.scopes, "scope", nil, "what it may ask for: a `SCOPE`, or several with spaces between; may be given again")
	flags.StringArrayVar(&in.audiences, "audience", nil, "a resource that it may ask for, as `URI`; may be given again")
	flags.StringArrayVar(&in.resources, "resource", nil, "a resource that it is itself, as `URI`: it may look into the tokens for it; may be given again")
	in.format = oneOf(cmd, "access-token", "the `FORM` of access tokens: opaque or jwt (default opaque)", "opaque", "jwt")
	in.alg = oneOf(cmd, "signing-alg", "the `ALG` that is signed with for it: ES256, RS256 or EdDSA (default ES256)", "ES256", "RS256", "EdDSA")
	flags.StringVar(&in.sector, "sector", "", "it knows people by ids of their own, which clients of the same `HOST` share")
	in.access = spanFlag(cmd, "access-ttl", 0, "how long an access token is good, as `TIME` such as 10m; a JWT 5m at most (default 5m)")
	in.code = spanFlag(cmd, "code-ttl", 0, "how long a code is good, as `TIME` (default 60s)")
	in.grant = spanFlag(cmd, "grant-ttl", 0, "how long what it was allowed with offline_access lasts, as `TIME` (default 30d)")
	flags.BoolVar(&in.firstParty, "first-party", false, "nobody is asked for consent: it is yours")
	flags.BoolVar(&in.dpop, "dpop", false, "it gets no tokens without a proof of a key that they are bound to; any client may send one")
	flags.BoolVar(&in.pushed, "require-par", false, "it pushes its authorization requests: no other ones are taken")
	flags.BoolVar(&in.fapi, "fapi", false, "it is held to the FAPI 2.0 Security Profile; implies --dpop and --require-par, and wants --jwks-file")
	flags.BoolVar(&in.signed, "require-signed-request", false, "it signs its authorization requests with its keys: no other ones are taken")
	return in
}

// readKeys reads the keys that a flag names, none where there is none.
func (said *clientSaid) readKeys(cmd *cobra.Command) (json.RawMessage, error) {
	if said.jwksFile == "" {
		return nil, nil
	}
	return readJSON(cmd, said.jwksFile)
}

// grantTypes are those that are named, each by itself.
func (said *clientSaid) grantTypes() []string { return commas(said.grants) }

// commas are words with spaces or commas between.
func commas(texts []string) (all []string) {
	for _, text := range words(texts) {
		all = append(all, strings.FieldsFunc(text, func(c rune) bool { return c == ',' })...)
	}
	return all
}

// fill makes in of what is said.
func (said *clientSaid) fill(cmd *cobra.Command, in *server.NewClient) (err error) {
	in.Name, in.URI, in.JWKSURI, in.RedirectURIs, in.PostLogoutURIs = said.name, said.uri, said.jwksURI, said.redirects, said.postLogout
	in.BackchannelLogoutURI, in.GrantTypes, in.Scopes, in.Audiences = said.backchannel, said.grantTypes(), words(said.scopes), said.audiences
	in.FrontchannelLogoutURI, in.Resources = said.frontchannel, said.resources
	in.AccessTokenFormat, in.SigningAlg, in.Sector = *said.format, *said.alg, said.sector
	in.FirstParty, in.DPoP, in.RequirePushed, in.RequireSigned, in.FAPI = said.firstParty, said.dpop, said.pushed, said.signed, said.fapi
	in.AccessTTL, in.CodeTTL, in.GrantTTL = said.access.seconds(), said.code.seconds(), said.grant.seconds()
	in.JWKS, err = said.readKeys(cmd)
	return err
}

// change makes a change of what is said: of the flags that were given.
func (said *clientSaid) change(cmd *cobra.Command) (in server.ClientChange, err error) {
	given := cmd.Flags().Changed
	for _, one := range []struct {
		flag string
		to   **string
		of   *string
	}{
		{"name", &in.Name, &said.name}, {"uri", &in.URI, &said.uri}, {"jwks-uri", &in.JWKSURI, &said.jwksURI},
		{"backchannel-logout", &in.BackchannelLogoutURI, &said.backchannel}, {"frontchannel-logout", &in.FrontchannelLogoutURI, &said.frontchannel}, {"access-token", &in.AccessTokenFormat, said.format},
		{"signing-alg", &in.SigningAlg, said.alg}, {"sector", &in.Sector, &said.sector},
	} {
		if given(one.flag) {
			*one.to = one.of
		}
	}
	for _, list := range []struct {
		flag string
		to   **[]string
		of   []string
	}{
		{"redirect", &in.RedirectURIs, said.redirects}, {"post-logout", &in.PostLogoutURIs, said.postLogout},
		{"grant", &in.GrantTypes, said.grantTypes()}, {"scope", &in.Scopes, words(said.scopes)}, {"audience", &in.Audiences, said.audiences}, {"resource", &in.Resources, said.resources},
	} {
		if given(list.flag) {
			of := []string{} // and never null: '' is for none
			for _, text := range list.of {
				if text != "" {
					of = append(of, text)
				}
			}
			*list.to = &of
		}
	}
	for _, ttl := range []struct {
		flag string
		to   **int64
		of   *span
	}{{"access-ttl", &in.AccessTTL, said.access}, {"code-ttl", &in.CodeTTL, said.code}, {"grant-ttl", &in.GrantTTL, said.grant}} {
		if given(ttl.flag) {
			n := ttl.of.seconds()
			*ttl.to = &n
		}
	}
	for _, yes := range []struct {
		flag string
		to   **bool
		of   *bool
	}{
		{"first-party", &in.FirstParty, &said.firstParty}, {"dpop", &in.DPoP, &said.dpop}, {"require-par", &in.RequirePushed, &said.pushed},
		{"require-signed-request", &in.RequireSigned, &said.signed}, {"fapi", &in.FAPI, &said.fapi},
	} {
		if given(yes.flag) {
			*yes.to = yes.of
		}
	}
	in.JWKS, err = said.readKeys(cmd)
	return in, err
}

func newClientSet() *cobra.Command {
	cmd := &cobra.Command{
		Use: "set ID FLAG…", Short: "change what is said of an application",
		Long: `What no flag names stays. A flag that may be given again names the whole list, and ''
none: whoever adds a redirect URI names those that stay, too. What is 0 is the default again.

Whether it proves itself by a secret, by keys or by nothing cannot be changed: such an
application is another one. Tokens that are out there stay what they are.
` + beside,
		Example: `admit client set shop --redirect https://shop.example.net/callback --redirect https://shop.example.org/callback
admit client set shop --access-ttl 10m --reason 'fewer look-ups'`,
	}
	said := clientFlags(cmd)
	verified := cmd.Flags().Bool("verified", false, "somebody has looked at one that has registered itself: it is as if you had")
	because(cmd)
	asJSON := jsonFlag(cmd)
	cmd.Args = cobra.MatchAll(takes("ID"), func(cmd *cobra.Command, _ []string) error {
		said := 0
		cmd.Flags().Visit(func(f *pflag.Flag) {
			switch f.Name {
			case "reason", "json", "data", "database", "master-key-file", "master-key-command", "config":
			default:
				said++
			}
		})
		if said == 0 {
			return misused(cmd, "%s: name what is to be another", cmd.CommandPath())
		}
		return nil
	})
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, args []string) error {
		in, err := said.change(cmd)
		if err != nil {
			return err
		}
		if cmd.Flags().Changed("verified") {
			in.Verified = verified
		}
		return changeClient(ctx, cmd, o, args[0], in, *asJSON)
	})
}

// changeClient changes a client, and writes it as it is then.
func changeClient(ctx context.Context, cmd *cobra.Command, o *server.Operator, id string, in server.ClientChange, asJSON bool) error {
	c, err := o.ChangeClient(ctx, id, in)
	switch {
	case err != nil:
		return err
	case asJSON:
		return writeJSON(cmd.OutOrStdout(), c)
	}
	return reportClient(c).write(cmd.OutOrStdout())
}

func newClientDisable() *cobra.Command {
	return newClientSwitch(true, &cobra.Command{
		Use: "disable ID", Short: "keep an application out, until it is enabled again",
		Long: `It gets nothing, nobody is led to it, and nothing that it has counts. What people allowed
it stays, and counts again when it is enabled. Where services may hold JWTs of it they are
told, and it can be enabled when those have expired: after some 11 minutes.
` + beside,
		Example: "admit client disable shop --reason 'its secret is on a forum'",
	})
}

func newClientEnable() *cobra.Command {
	return newClientSwitch(false, &cobra.Command{
		Use: "enable ID", Short: "let an application in again that was disabled",
		Long: beside, Example: "admit client enable shop",
	})
}

func newClientSwitch(disabled bool, cmd *cobra.Command) *cobra.Command {
	cmd.Args = takes("ID")
	because(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, args []string) error {
		_, err := o.ChangeClient(ctx, args[0], server.ClientChange{Disabled: &disabled})
		if disabled {
			return told(cmd, err, "%s is disabled", args[0])
		}
		return told(cmd, err, "%s is enabled", args[0])
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

// lasting writes seconds as a span reads them, in one unit: 2592000 is 30d.
func lasting(seconds int64) string {
	for _, step := range []struct {
		size int64
		unit string
	}{{24 * 60 * 60, "d"}, {60 * 60, "h"}, {60, "m"}} {
		if seconds >= step.size && seconds%step.size == 0 {
			return fmt.Sprint(seconds/step.size, step.unit)
		}
	}
	return fmt.Sprint(seconds, "s")
}

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
	for _, one := range [][]string{{"keys at", c.JWKSURI}, {"read about at", c.URI}, {"told of log-outs at", c.BackchannelLogoutURI}, {"sector", c.Sector}} {
		if one[1] != "" {
			out = append(out, one)
		}
	}
	if c.FrontchannelLogoutURI != "" {
		out = append(out, []string{"shown at sign-outs", c.FrontchannelLogoutURI})
	}
	return append(out, table{
		{"scopes", strings.Join(c.Scopes, " ")},
		{"access tokens", c.AccessTokenFormat + ", for " + lasting(c.AccessTTL)},
		{"codes", "for " + lasting(c.CodeTTL)},
		{"offline access", "for " + lasting(c.GrantTTL)},
		{"signed with", c.SigningAlg}, {"native", yes(c.Native)}, {"first-party", yes(c.FirstParty)},
		{"must push requests", yes(c.RequirePushed)}, {"must sign requests", yes(c.RequireSigned)}, {"must bind tokens to a key", yes(c.DPoP)},
		{"held to FAPI 2.0", yes(c.FAPI)}, {"disabled", yes(c.Disabled)}, {"verified", yes(!c.Unverified)}, {"created", moment(c.CreatedAt)},
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

func newClientInvite() *cobra.Command {
	cmd := &cobra.Command{
		Use: "invite", Short: "let somebody register an application himself", Args: takes(),
		Long: `Writes a token that its holder sends to /oauth/register as the initial access token (RFC
7591), where the setting client_registration is token or open. It can be shown this once.
What registers with it may have no more than you name here.
` + beside,
		Example: "admit client invite --name 'the team of the shop' --uses 3 --ttl 2d",
	}
	in, flags := server.NewInvite{}, cmd.Flags()
	flags.StringVar(&in.Name, "name", "", "whom it is for, as `TEXT`")
	flags.IntVar(&in.Uses, "uses", 1, "how many applications may register with it: `N`, to 1000")
	ttl := spanFlag(cmd, "ttl", 0, "how long it is good, as `TIME` to 365d (default 7d)")
	grants := flags.StringArray("grant", nil, "a grant `TYPE` that they may have, or several with commas between; may be given again (default authorization_code,refresh_token)")
	scopes := flags.StringArray("scope", nil, "what they may ask for: a `SCOPE`, or several with spaces between; may be given again (default every standard one)")
	flags.StringArrayVar(&in.Audiences, "audience", nil, "a resource that they may ask for, as `URI`; may be given again")
	because(cmd)
	asJSON := jsonFlag(cmd)
	return operate(cmd, mayMake, func(ctx context.Context, o *server.Operator, _ []string) error {
		in.GrantTypes, in.Scopes, in.Life = commas(*grants), words(*scopes), ttl.Duration
		i, err := o.InviteClients(ctx, in)
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), i)
		}
		if err := writeLine(cmd, i.Token); err != nil {
			return err
		}
		say(cmd, "this is the only time that it is shown; it is good until %s", moment(i.ExpiresAt))
		return nil
	})
}

func newClientInvites() *cobra.Command {
	cmd := &cobra.Command{
		Use: "invites", Short: "show the invites to register applications, without their tokens", Args: takes(),
		Long: beside, Example: "admit client invites",
	}
	asJSON := jsonFlag(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, _ []string) error {
		all, err := o.ClientInvites(ctx)
		if err != nil {
			return err
		}
		out := newWriter(cmd, *asJSON, "ID", "NAME", "USES LEFT", "GRANT TYPES", "SCOPES", "EXPIRES")
		for _, i := range all {
			if err := out.put(i, i.ID, i.Name, fmt.Sprint(i.Uses), strings.Join(i.GrantTypes, " "), strings.Join(i.Scopes, " "), moment(i.ExpiresAt)); err != nil {
				return err
			}
		}
		return out.close()
	})
}

func newClientUninvite() *cobra.Command {
	cmd := &cobra.Command{
		Use: "uninvite ID", Short: "end an invite", Args: takes("ID"),
		Long: "Applications that came with it stay: admit client remove removes one.\n" + beside, Example: `admit client uninvite "$INVITE"`,
	}
	because(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, args []string) error {
		return told(cmd, o.EndClientInvite(ctx, args[0]), "the invite is ended")
	})
}
