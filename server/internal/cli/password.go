package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/password"
	"github.com/admit-auth/admit/server"
	"github.com/spf13/cobra"
)

func newPassword() *cobra.Command {
	return group("password", "hash and check passwords",
		newPasswordHash(), newPasswordVerify(), newPasswordCheck(), newPasswordImportBreached())
}

func newPasswordHash() *cobra.Command {
	cmd := &cobra.Command{
		Use: "hash < PASSWORD", Short: "hash a password as the server does", Args: takes(),
		Long:    "Reads a password, at a terminal twice and unseen, and writes a PHC string (argon2id).",
		Example: "echo 'a long walk by the sea' | admit password hash > hash",
	}
	passwordFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		h, err := password.New(nil)
		if err != nil {
			return err
		}
		secret, err := readPassword(cmd, true)
		if err != nil {
			return err
		}
		hash, err := h.Hash(cmd.Context(), secret, password.Known)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), hash)
		return err
	}
	return cmd
}

var errWrong = admit.Unauthenticated.New("password_mismatch", "This is not the password.")

func newPasswordVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify --hash-file FILE < PASSWORD", Short: "tell whether a password belongs to a hash", Args: cobra.MatchAll(takes(), needs("hash-file")),
		Long:    "Takes every form that admit user import takes. Exits with 0 if it does, with 1 if not.",
		Example: "echo 'a long walk by the sea' | admit password verify --hash-file hash",
	}
	file := cmd.Flags().String("hash-file", "", "read the hash from `FILE`")
	passwordFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		text, err := os.ReadFile(*file)
		if err != nil {
			return unreadable(*file, err)
		}
		h, err := password.New(&password.Options{InsecureHashes: true})
		if err != nil {
			return err
		}
		secret, err := readPassword(cmd, false)
		if err != nil {
			return err
		}
		ok, upgrade, err := h.Verify(cmd.Context(), secret, strings.TrimSpace(string(text)), password.Known)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", *file, err)
		case !ok:
			return errWrong
		case upgrade:
			say(cmd, "this hash is weaker than those made today")
		}
		return nil
	}
	return cmd
}

func newPasswordCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check < PASSWORD", Short: "tell whether the server would take a new password", Args: takes(),
		Long:    "Exits with 1 if it is too short or breached, by the list in the data folder too.",
		Example: "echo 'a long walk by the sea' | admit password check",
	}
	names := cmd.Flags().StringArray("name", nil, "a `NAME` of the user, which is no password; may be given again")
	load := settingFlags(cmd, "password_min_length", "data", "breached_file", "breached_url")
	passwordFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		secret, err := readPassword(cmd, false)
		if err != nil {
			return err
		}
		return cfg.PasswordPolicy().Check(cmd.Context(), secret, *names...)
	}
	return cmd
}

func newPasswordImportBreached() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import-breached [FILE]", Short: "let the server refuse the passwords of a list", Args: cobra.MaximumNArgs(1),
		Long: `The commonest breached passwords are refused anyway. This takes a full list, such
as that of Have I Been Pwned ordered by hash: one SHA-1 in hex a line, ascending,
a colon and a count after it or not; from a file or standard input. It becomes a
filter of some 2.8 bytes for each password, which refuses one other password in a
million by mistake, replaces the one before at the end, and is used by a running
server at once. Broken off, it goes on with the same list.`,
		Example: "admit password import-breached pwned-passwords-sha1-ordered-by-hash.txt\nadmit password import-breached --min-count 10 < pwned-passwords-sha1-ordered-by-hash.txt",
	}
	least := cmd.Flags().Uint64("min-count", 0, "leave out passwords that were seen less than `N` times")
	load := settingFlags(cmd, "data", "breached_file")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := load()
		if err != nil {
			return err
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
		m := newMeter(cmd, "passwords read", size)
		b, err := cfg.ImportBreached(cmd.Context(), from, server.BreachedOptions{MinCount: *least, Progress: m.at})
		m.done()
		if errors.Is(err, context.Canceled) {
			say(cmd, "broken off; run it again with the same list, and it goes on there")
		}
		if err == nil && b.Before > 0 {
			say(cmd, "went on after %s that an earlier run had read", bytesOf(b.Before))
		}
		return told(cmd, err, "%d breached passwords are refused from now on; %s, and one other in %.0f by mistake", b.Passwords, bytesOf(b.Bytes), 1/b.Wrong)
	}
	return cmd
}
