package cli

import (
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
		Long:    "Takes argon2id, bcrypt, scrypt and PBKDF2. Exits with 0 if it does, with 1 if not.",
		Example: "echo 'a long walk by the sea' | admit password verify --hash-file hash",
	}
	file := cmd.Flags().String("hash-file", "", "read the hash from `FILE`")
	passwordFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		text, err := os.ReadFile(*file)
		if err != nil {
			return unreadable(*file, err)
		}
		h, err := password.New(nil)
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
	load := settingFlags(cmd, "password_min_length", "data")
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
		Use: "import-breached < LIST", Short: "let the server refuse the passwords of a list", Args: takes(),
		Long: `The commonest breached passwords are refused anyway. This takes a full list, such
as that of Have I Been Pwned ordered by hash: one SHA-1 in hex a line, ascending,
a colon and a count after it or not. It replaces the list before, takes 8 bytes
for each password in the data folder, and a running server uses it at once.`,
		Example: "admit password import-breached < pwned-passwords-sha1-ordered-by-hash.txt",
	}
	load := settingFlags(cmd, "data")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		count := newProgress(cmd, "passwords read")
		n, err := server.ImportBreached(cfg.Data, cmd.InOrStdin(), count.at)
		count.done()
		return told(cmd, err, "%d breached passwords are refused from now on", n)
	}
	return cmd
}
