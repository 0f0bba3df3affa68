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

func newPassword(args []string) *cobra.Command {
	return group("password", "hash and check passwords", args,
		newPasswordHash(), newPasswordVerify(), newPasswordCheck())
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
		hash, err := h.Hash(cmd.Context(), secret)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), hash)
		return err
	}
	return cmd
}

var errWrong = admit.Unauthenticated.New("bad_password", "This is not the password.")

func newPasswordVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify --hash-file FILE < PASSWORD", Short: "tell whether a password belongs to a hash", Args: takes(),
		Long:    "Takes argon2id, bcrypt, scrypt and PBKDF2. Exits with 0 if it does, with 1 if not.",
		Example: "echo 'a long walk by the sea' | admit password verify --hash-file hash",
	}
	file := cmd.Flags().String("hash-file", "", "read the hash from `FILE`")
	passwordFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := need(cmd, "hash-file"); err != nil {
			return err
		}
		text, err := os.ReadFile(*file)
		if err != nil {
			return err
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
		Long:    "Exits with 1 if it is too short, too common or breached.",
		Example: "echo 'a long walk by the sea' | admit password check",
	}
	names := cmd.Flags().StringArray("name", nil, "a `NAME` of the user, which is no password; may be given again")
	load := settingFlags(cmd, "password_min_length")
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
		return policy(cfg).Check(cmd.Context(), secret, *names...)
	}
	return cmd
}

func policy(cfg server.Config) *password.Policy {
	return &password.Policy{MinLength: cfg.PasswordMinLength}
}
