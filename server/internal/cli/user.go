package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
	"github.com/spf13/cobra"
)

const aboutRoles = `A role is a word of small letters, digits, dashes and underscores, with the meaning
that your programs give it: they are told of it with the session. In the server
itself admin opens the part of the API that is for administrators.
`

func newUser() *cobra.Command {
	return group("user", "add, change and list users",
		newUserAdd(), newUserList(), newUserShow(), newUserDisable(), newUserEnable(), newUserDelete(),
		newUserSetPassword(), newUserResetFactors(), newUserGrant(), newUserRevoke(), newUserImport(), newUserExport())
}

func newUserAdd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "add --identifier ID", Short: "make a user", Args: cobra.MatchAll(takes(), needs("identifier")),
		Long:    "Asks for a password at a terminal, where an empty one is none: the user has to be given one later.\n" + aboutRoles + beside,
		Example: "admit user add --identifier grace@example.org --name Grace --role admin --verified --json",
	}
	identifiers := cmd.Flags().StringArray("identifier", nil, "what the user signs in with: an e-mail address, a phone number or a user `NAME`; may be given again")
	name := cmd.Flags().String("name", "", "how the user is called, as `TEXT`")
	roles := cmd.Flags().StringArray("role", nil, "a `ROLE` to grant; may be given again")
	verified := cmd.Flags().Bool("verified", false, "the identifiers are known to be the user's")
	passwordFlag(cmd)
	asJSON := jsonFlag(cmd)
	return operate(cmd, mayMake, func(ctx context.Context, o *server.Operator, _ []string) error {
		in := server.NewUser{Identifiers: *identifiers, Name: *name, Roles: *roles, Verified: *verified}
		// A script that names no file means no password: its standard input may
		// be anything.
		named := cmd.Flags().Changed("password-file")
		if _, asked := terminal(cmd.InOrStdin()); asked || named {
			var err error
			in.Password, err = readPassword(cmd, true)
			if none := errors.Is(err, errEmpty) && !named; err != nil && !none {
				return err
			}
		}
		u, err := o.AddUser(ctx, in)
		if err != nil {
			return err
		}
		if err := writeUser(cmd, *asJSON, u); err != nil {
			return err
		}
		sayMade(cmd, o)
		if in.Password.IsZero() {
			say(cmd, "without a password %s: admit user set-password %s", who(u), in.Identifiers[0])
		}
		return nil
	})
}

// who says who signs in as a user without a password.
func who(u server.User) string {
	for _, id := range u.Identifiers {
		if id.Kind != "username" {
			return "whoever receives " + id.Value + " signs in, by a link or a code"
		}
	}
	return "nobody can sign in as this user"
}

// sayMade tells of a new data folder: in a wrong one nobody finds again what was
// added.
func sayMade(cmd *cobra.Command, o *server.Operator) {
	if o.Made != "" {
		say(cmd, "%s: there was no data folder here, so it was made", o.Made)
	}
}

func newUserList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "show users, all or those that are searched for", Args: takes(),
		Long: beside, Example: "admit user list --search ada --state active",
	}
	f := server.UserFilter{}
	cmd.Flags().StringVar(&f.Search, "search", "", "how the name or an identifier begins, as `TEXT`, or a whole id")
	cmd.Flags().StringVar(&f.Role, "role", "", "only who has the `ROLE`")
	state := oneOf(cmd, "state", "only those in the `STATE`: active or disabled", "active", "disabled")
	proved := oneOf(cmd, "verified", "whether all identifiers are proved to be the user's, as `BOOL`: true or false", "true", "false")
	most := limitFlag(cmd, 0)
	asJSON := jsonFlag(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, _ []string) error {
		f.Disabled, f.Verified = is(*state, "disabled"), is(*proved, "true")
		return writeUsers(ctx, cmd, o, f, *most, *asJSON)
	})
}

// writeUsers writes up to most users that a filter asks for; 0 is no bound.
func writeUsers(ctx context.Context, cmd *cobra.Command, o *server.Operator, f server.UserFilter, most int, asJSON bool) error {
	list := func(after string) ([]server.User, string, error) {
		f.After, f.Limit = after, pageSize
		page, err := o.Users(ctx, f)
		return page, last(page, func(u server.User) string { return u.ID }), err
	}
	out := newWriter(cmd, asJSON, userHead...)
	for u, err := range pages(most, list) {
		if err == nil {
			err = out.put(u, userRow(u)...)
		}
		if err != nil {
			return err
		}
	}
	return out.close()
}

var userHead = []string{"ID", "IDENTIFIERS", "NAME", "ROLES", "CREATED", "STATE"}

func userRow(u server.User) []string {
	var ids []string
	for _, i := range u.Identifiers {
		text := i.Value
		if !i.Verified {
			text += " (unverified)"
		}
		ids = append(ids, text)
	}
	state := "active"
	if u.Disabled {
		state = "disabled"
	}
	return []string{u.ID, strings.Join(ids, ", "), u.Name, strings.Join(u.Roles, ", "), moment(u.CreatedAt), state}
}

// writeUser writes a user as JSON, or as a table.
func writeUser(cmd *cobra.Command, asJSON bool, u server.User) error {
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), u)
	}
	return table{userHead, userRow(u)}.write(cmd.OutOrStdout())
}

func newUserShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show USER", Short: "show a user, by id or identifier", Args: takes("USER"),
		Long: beside, Example: "admit user show ada@example.org --json",
	}
	asJSON := jsonFlag(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, args []string) error {
		u, err := o.User(ctx, args[0])
		if err != nil {
			return err
		}
		keys, err := o.APIKeys(ctx, u.ID)
		if err != nil {
			return err
		}
		factors, err := o.Factors(ctx, u.ID)
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), struct {
				server.User
				APIKeys int             `json:"api_keys"`
				Factors []server.Factor `json:"factors"`
			}{u, len(keys), factors})
		}
		return table{append(slices.Clone(userHead), "FACTORS", "API KEYS"), append(userRow(u), factorsText(factors), strconv.Itoa(len(keys)))}.write(cmd.OutOrStdout())
	})
}

func newUserDisable() *cobra.Command {
	cmd := &cobra.Command{
		Use: "disable USER", Short: "keep a user out, and end the user's sessions", Args: takes("USER"),
		Long: beside, Example: "admit user disable ada@example.org",
	}
	because(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, args []string) error {
		return told(cmd, o.SetDisabled(ctx, args[0], true), "%s is disabled, and signed out everywhere", args[0])
	})
}

func newUserEnable() *cobra.Command {
	cmd := &cobra.Command{
		Use: "enable USER", Short: "let a disabled user in again", Args: takes("USER"),
		Long: beside, Example: "admit user enable ada@example.org",
	}
	because(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, args []string) error {
		return told(cmd, o.SetDisabled(ctx, args[0], false), "%s may sign in", args[0])
	})
}

func newUserDelete() *cobra.Command {
	cmd := &cobra.Command{
		Use: "delete USER", Short: "delete a user with all that hangs on it", Args: takes("USER"),
		Long: "Asks before, at a terminal.\n" + beside, Example: "admit user delete ada@example.org",
	}
	because(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, args []string) error {
		if err := confirm(cmd, "delete "+args[0]+" for good?"); err != nil {
			return err
		}
		return told(cmd, o.DeleteUser(ctx, args[0]), "%s is deleted", args[0])
	})
}

func newUserSetPassword() *cobra.Command {
	cmd := &cobra.Command{
		Use: "set-password USER", Short: "give a user a new password, and end the user's sessions", Args: takes("USER"),
		Long:    "Asks for the password at a terminal, and otherwise reads it from standard input.\n" + beside,
		Example: "echo 'a long walk by the sea' | admit user set-password ada@example.org",
	}
	passwordFlag(cmd)
	because(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, args []string) error {
		if _, err := o.User(ctx, args[0]); err != nil {
			return err // before anyone is asked
		}
		password, err := readPassword(cmd, true)
		if err != nil {
			return err
		}
		return told(cmd, o.SetPassword(ctx, args[0], password), "%s has a new password, and is signed out everywhere", args[0])
	})
}

func newUserGrant() *cobra.Command {
	cmd := &cobra.Command{
		Use: "grant USER ROLE", Short: "give a user a role", Args: takes("USER", "ROLE"),
		Long: aboutRoles + beside, Example: "admit user grant ada@example.org admin",
	}
	because(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, args []string) error {
		return told(cmd, o.GrantRole(ctx, args[0], args[1]), "%s has the role %s", args[0], args[1])
	})
}

func newUserRevoke() *cobra.Command {
	cmd := &cobra.Command{
		Use: "revoke USER ROLE", Short: "take a role away from a user", Args: takes("USER", "ROLE"),
		Long: beside, Example: "admit user revoke ada@example.org admin",
	}
	because(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, args []string) error {
		return told(cmd, o.RevokeRole(ctx, args[0], args[1]), "%s has no longer the role %s", args[0], args[1])
	})
}

var (
	errHashes = admit.Invalid.New("hashes_need_a_file", "Hashes of passwords and secrets of second factors are written to a file only.").WithHint("name a new one with --output: nobody else can read it")
	errExists = admit.Conflict.New("file_exists", "There is a file of this name.").WithHint("name one that is not there: a file is never written over")
)

func newUserExport() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export > FILE", Short: "write all users, if asked with the hashes of their passwords and their second factors",
		Long: `Writes one JSON object a line, which import reads. With hashes or factors it goes
to a file that only this user can read; keep it as secret as the database.
` + beside,
		Example: "rm -f users.jsonl\nadmit user export --with-hashes --with-factors --output users.jsonl",
	}
	name := cmd.Flags().String("output", "", "write to a new `FILE` that nobody else can read")
	hashes := cmd.Flags().Bool("with-hashes", false, "with the hashes of passwords; only to a file")
	factors := cmd.Flags().Bool("with-factors", false, "with the secrets of second factors; only to a file")
	cmd.Args = cobra.MatchAll(takes(), func(cmd *cobra.Command, _ []string) error {
		if (*hashes || *factors) && *name == "" {
			return usageError{errHashes, ""}
		}
		return nil
	})
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, _ []string) (err error) {
		to := cmd.OutOrStdout()
		if *name != "" {
			f, err := os.OpenFile(*name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if errors.Is(err, os.ErrExist) {
				return fmt.Errorf("%s: %w", *name, errExists)
			}
			if err != nil {
				return fmt.Errorf("write users: %w", err)
			}
			defer func() {
				if err = errors.Join(err, f.Close()); err != nil {
					os.Remove(*name) // half a list is none
				}
			}()
			to = f
		}
		return exportUsers(ctx, cmd, o, to, *hashes, *factors)
	})
}

func exportUsers(ctx context.Context, cmd *cobra.Command, o *server.Operator, to io.Writer, hashes, factors bool) error {
	count := newProgress(cmd, "users written")
	defer count.done()
	out := bufio.NewWriter(to)
	list := func(after string) ([]server.ImportedUser, string, error) {
		page, err := o.ExportUsers(ctx, after, pageSize, hashes, factors)
		return page, last(page, func(u server.ImportedUser) string { return u.ID }), err
	}
	n := 0
	for u, err := range pages(0, list) {
		if err == nil {
			err = writeJSON(out, u)
		}
		if err != nil {
			return errors.Join(err, out.Flush())
		}
		n++
		count.at(n)
	}
	return out.Flush()
}
