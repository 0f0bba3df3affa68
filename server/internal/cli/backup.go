package cli

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
	"github.com/spf13/cobra"
)

var (
	errBinary = admit.Invalid.New("output_is_terminal", "A backup is nothing for a terminal.").WithHint("name a file with --to, or pipe it into a program")
	errShort  = admit.Invalid.New("passphrase_short", "The passphrase of a backup has 12 characters at least.").WithHint("five random words are good; who has the file can guess as long as he likes")
)

const minPassphrase = 12 // characters; each guess costs a second and 256 MiB

func newBackup() *cobra.Command {
	cmd := &cobra.Command{
		Use: "backup", Short: "write all that is needed to go on elsewhere into one file", Args: takes(),
		Long: `Works beside a running server, keeps nobody waiting, and without one. All that was
acknowledged before the time it tells is in it: accounts, sessions, the audit and
the keys. A master key is not: keep that elsewhere. The file gets its name when it
is whole, checked and on disk.

A backup is as secret as the data folder. With --recipient or --passphrase-file it
is encrypted, as the program age does.

A PostgreSQL database (--database) has tools of its own: pg_dump makes a backup.`,
		Example: "admit backup --to admit.tar",
	}
	load := settingFlags(cmd, "data", "database")
	to := cmd.Flags().String("to", ".", "write to the `FILE`, replacing it, or into the folder, under a name made of the time; - is standard output")
	recipients := cmd.Flags().StringArray("recipient", nil, "encrypt for the `RECIPIENT`, age1…; may be given again")
	recipientsFile := cmd.Flags().String("recipients-file", "", "encrypt for the recipients in `FILE`, one a line")
	passphraseFile := cmd.Flags().String("passphrase-file", "", "encrypt with the passphrase in `FILE`; - is standard input")
	asJSON := jsonFlag(cmd)
	cmd.Args = cobra.MatchAll(takes(), func(cmd *cobra.Command, _ []string) error {
		switch {
		case *passphraseFile != "" && len(*recipients)+len(*recipientsFile) > 0:
			return misused(cmd, "%s: either a passphrase or recipients", cmd.CommandPath())
		case *to == "-" && *asJSON:
			return misused(cmd, "%s: standard output is either the backup or JSON", cmd.CommandPath())
		}
		return nil
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		if err := exists(cfg); err != nil {
			return err
		}
		counted := newProgress(cmd, "MiB copied")
		o := server.BackupOptions{
			File: *to, Recipients: strings.Join(*recipients, "\n"),
			Tell: func(done, _ int64) { counted.at(int(done >> 20)) },
		}
		if *to == "-" {
			if _, ok := terminal(cmd.OutOrStdout()); ok {
				return errBinary
			}
			o.Out = cmd.OutOrStdout()
		}
		if *recipientsFile != "" {
			text, err := readFile(cmd, *recipientsFile)
			if err != nil {
				return err
			}
			o.Recipients += "\n" + string(text)
		}
		if *passphraseFile != "" {
			text, err := readFile(cmd, *passphraseFile)
			if err != nil {
				return err
			}
			if len([]rune(string(text))) < minPassphrase {
				return errShort
			}
			o.Passphrase = admit.NewSecret(string(text))
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		r, err := server.Backup(ctx, cfg, o)
		counted.done()
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), r)
		}
		if *to != "-" {
			fmt.Fprintln(cmd.OutOrStdout(), r.File)
		}
		say(cmd, "%s; all that was acknowledged before %s is in it", bytesOf(r.Size), moment(r.TakenAt))
		if !r.Encrypted {
			say(cmd, "it is not encrypted: keep it as secret as the data folder")
		}
		return nil
	}
	return cmd
}

func newRestore() *cobra.Command {
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "put a backup into a data folder", Args: takes("FILE"),
		Long: `The folder must hold no database yet, and no server may run on it. - is standard
input. All is checked before anything is touched; cut off at any moment, the folder
is as it was or as it should become.

What was acknowledged after the backup is not there. Codes and links that were
mailed are no longer good, every session has ended, and there are no API keys. With
--keep-sessions they go on, those too that were ended after the backup: a thief's that
somebody ended is back.

A PostgreSQL database is put back by pg_restore, or by recovery to an earlier time,
while no server runs. Then admit restore --renew --database URL, which takes no file,
does the rest of the above: until it has, what was ended after the backup is back.`,
		Example: "admit backup --to admit.tar\nadmit restore admit.tar --data elsewhere",
	}
	load := settingFlags(cmd, "data", "database")
	identityFile := cmd.Flags().String("identity-file", "", "open it with the key in `FILE`, which age-keygen wrote")
	passphraseFile := cmd.Flags().String("passphrase-file", "", "open it with the passphrase in `FILE`")
	keep := cmd.Flags().Bool("keep-sessions", false, "let sessions and API keys go on, those too that were ended after the backup")
	force := cmd.Flags().Bool("force", false, "move what is in the folder aside, into a folder in it")
	renew := cmd.Flags().Bool("renew", false, "only make a PostgreSQL database that was put back one of its own; there is no FILE")
	asJSON := jsonFlag(cmd)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		want := takes("FILE")
		if *renew {
			want = takes()
		}
		if err := want(cmd, args); err != nil {
			return err
		}
		if *passphraseFile != "" && *identityFile != "" {
			return misused(cmd, "%s: either a passphrase or an identity", cmd.CommandPath())
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		if *renew {
			r, err := server.Renew(cmd.Context(), cfg, *keep)
			if err != nil {
				return err
			}
			if *asJSON {
				return writeJSON(cmd.OutOrStdout(), r)
			}
			sayRestored(cmd, r, *keep)
			return nil
		}
		o := server.RestoreOptions{KeepSessions: *keep, Force: *force}
		for _, secret := range []struct {
			file string
			to   *admit.Secret
		}{{*identityFile, &o.Identities}, {*passphraseFile, &o.Passphrase}} {
			if secret.file == "" {
				continue
			}
			text, err := readFile(cmd, secret.file)
			if err != nil {
				return err
			}
			*secret.to = admit.NewSecret(string(text))
		}
		in := io.Reader(cmd.InOrStdin())
		if args[0] != "-" {
			f, err := os.Open(args[0])
			if err != nil {
				return unreadable(args[0], err)
			}
			defer f.Close()
			in = f
		}
		counted := newProgress(cmd, "MiB read")
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		r, err := server.Restore(ctx, cfg, &counter{Reader: in, tell: counted.at}, o)
		counted.done()
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), r)
		}
		say(cmd, "%s is as it was at %s", r.Data, moment(r.TakenAt))
		sayRestored(cmd, r, *keep)
		if r.MovedAside != "" {
			say(cmd, "what was there is in %s", r.MovedAside)
		}
		return nil
	}
	return cmd
}

// sayRestored tells what became of sessions.
func sayRestored(cmd *cobra.Command, r server.RestoreReport, kept bool) {
	if kept {
		say(cmd, "%s on; those that were ended since are back: admit session end-all --everyone ends them", several(r.SessionsKept, "session goes", "sessions go"))
	} else {
		say(cmd, "%s ended: people sign in again", several(r.SessionsEnded, "session has", "sessions have"))
	}
}

func newMigrate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "migrate", Short: "bring the database's schema up to date", Args: takes(),
		Long: `A start of the server does the same. Beside a server of an older version, which
goes on, it does so only where that one works on the new schema. Schemas never go
back; the version before works on the new one where "oldest" says so.`,
		Example: "admit migrate --dry-run",
	}
	load := settingFlags(cmd, "data", "database")
	dry := cmd.Flags().Bool("dry-run", false, "only tell what would be done")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		if err := exists(cfg); err != nil {
			return err
		}
		r, err := server.Migrate(cmd.Context(), cfg, *dry)
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), r)
		}
		for _, name := range r.Ran {
			fmt.Fprintln(cmd.OutOrStdout(), name)
		}
		for _, name := range r.Pending {
			fmt.Fprintln(cmd.OutOrStdout(), name)
		}
		if len(r.Pending) > 0 {
			say(cmd, "these would run; programs that know the schema %04d or later work on it then", r.AfterPending)
		} else {
			say(cmd, "the schema is %04d; programs that know %04d or later work on it", r.Version, r.Oldest)
		}
		return nil
	}
	return cmd
}

// A counter tells how many MiB were read.
type counter struct {
	io.Reader
	n    int64
	tell func(mib int)
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += int64(n)
	c.tell(int(c.n >> 20))
	return n, err
}
