package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
	"github.com/spf13/cobra"
)

var (
	errImport = admit.Invalid.New("import_refused", "Some users were refused.")
	errMap    = admit.Invalid.New("map_malformed", "This names no column.").WithHint("--map user_email=email; --map nickname= leaves one out")
)

// maxTold is how many refused lines are told one by one; the report has all.
const maxTold = 20

func newUserImport() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import [FILE]", Short: "make users that export, or another program, wrote",
		Long: `Reads a file, or standard input: JSON lines as export writes them, or CSV with a
header. Columns are id, external_id, email, email_verified, username, phone,
phone_verified, identifiers, name, locale, roles, created_at, disabled,
must_change_password, password_hash, totp_secret. Hashes of passwords may be of Argon2,
bcrypt, scrypt (Firebase's too), PBKDF2, SHA-crypt, WordPress, and, insecure,
MD5-crypt, phpass, LDAP's and those of one digest; they are made anew when their
users sign in.

Each line stands for itself: a refused one is told with its number, and the others
are taken. Whoever is there already is left alone, or with --update brought to
what the line says: names and roles change, identifiers are added, a password is
set only where there is none.

It may be broken off at any time. Run again with the same file it goes on where it
was, and no line comes twice.
` + beside,
		Example: "admit user import users.csv --map user_email=email --report refused.jsonl --dry-run\nadmit user import users.csv --map user_email=email --report refused.jsonl",
	}
	cmd.Args = cobra.MaximumNArgs(1)
	columns := cmd.Flags().StringArray("map", nil, "a column or member of another name, as `THEIRS=OURS`; may be given again")
	insecure := oneOf(cmd, "insecure-hashes", "what becomes of hashes that cost nothing to guess at, by `WAY`: wrap puts Argon2id over them, 25 ms each; keep; or refuse (default wrap)", "wrap", "keep", "refuse")
	update := cmd.Flags().Bool("update", false, "bring who is there already to what the file says")
	dry := cmd.Flags().Bool("dry-run", false, "change nothing, and tell what would be refused")
	again := cmd.Flags().Bool("again", false, "begin anew with a file that was taken before, or in part")
	name := cmd.Flags().String("report", "", "write the lines that were refused to `FILE`, a JSON object each")
	return operate(cmd, mayMake, func(ctx context.Context, o *server.Operator, args []string) (err error) {
		opt := server.ImportOptions{Map: map[string]string{}, Insecure: *insecure, Update: *update, DryRun: *dry, Again: *again}
		for _, text := range *columns {
			theirs, ours, ok := strings.Cut(text, "=")
			if !ok || theirs == "" {
				return usageError{fmt.Errorf("%s: %w", text, errMap), ""}
			}
			opt.Map[theirs] = ours
		}
		from, size := cmd.InOrStdin(), int64(0)
		if len(args) == 1 && args[0] != "-" {
			f, err := os.Open(args[0])
			if err != nil {
				return unreadable(args[0], err)
			}
			defer f.Close()
			if info, err := f.Stat(); err == nil {
				size = info.Size()
			}
			from = f
		}
		if *name != "" {
			f, err := os.OpenFile(*name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
			if err != nil {
				return fmt.Errorf("write the report: %w", err)
			}
			defer func() { err = errors.Join(err, f.Close()) }()
			opt.Report = f
		}
		sayMade(cmd, o)
		m := newMeter(cmd, "users", size)
		defer m.done()
		told, refused := 0, admit.Invalid
		opt.Refused = func(r server.LineRefusal) {
			if r.Code == "already_there" {
				return
			}
			if told++; told <= maxTold {
				m.done()
				report(cmd.ErrOrStderr(), fmt.Errorf("line %d: %w", r.Line, refused.New(r.Code, r.Detail)))
			}
		}
		opt.Progress = func(n server.ImportCount) { m.at(n.Users-n.Before, n.Bytes) }
		n, err := o.ImportUsers(ctx, from, opt)
		m.done()
		if told > maxTold {
			say(cmd, "%d more lines were refused; --report writes all", told-maxTold)
		}
		if err != nil {
			if errors.Is(err, context.Canceled) && !*dry {
				say(cmd, "broken off after %d; run it again with the same file, and it goes on there", n.Users)
			}
			return err
		}
		return imported(cmd, n, *dry)
	})
}

// imported tells what came of an import.
func imported(cmd *cobra.Command, n server.ImportCount, dry bool) error {
	switch {
	case n.Users == 0:
		return errEmpty
	case n.Before == n.Users:
		say(cmd, "this file was imported before; --again begins anew")
	case n.Before > 0:
		say(cmd, "went on after %d that an earlier run had read", n.Before)
	}
	text := fmt.Sprintf("%d imported", n.Made)
	if dry {
		text = fmt.Sprintf("%d would be imported", n.Made)
	}
	for _, more := range []struct {
		n    int
		what string
	}{{n.Updated, "updated"}, {n.There, "there already"}, {n.Refused, "refused"}} {
		if more.n > 0 {
			text += fmt.Sprintf(", %d %s", more.n, more.what)
		}
	}
	say(cmd, "%s", text)
	if n.Refused > 0 {
		return fmt.Errorf("%w (%d of %d)", errImport, n.Refused, n.Users)
	}
	return nil
}
