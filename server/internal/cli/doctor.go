package cli

import (
	"fmt"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
	"github.com/spf13/cobra"
)

var errUnwell = admit.Invalid.New("unwell", "Something is wrong.").WithHint("do what the lines that fail say, from the top")

func newDoctor() *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "find what is wrong, and say what to do", Args: takes(),
		Long: `Looks at the settings, the data folder, the disk, the database, the keys, the
clock, certificates, the address and the proxy, and changes nothing. Give it the
settings that the server has. Works beside a running server, of which it learns
more, and without one. With --mail-to or --text-to it sends a test message, and
says what to do where that fails. Exits with 1 where something fails; a warning is no failure.`,
		Example: "admit doctor || true",
	}
	load, asJSON := settingFlags(cmd), jsonFlag(cmd)
	mailTo := cmd.Flags().String("mail-to", "", "send a test message to this e-mail `ADDRESS`")
	textTo := cmd.Flags().String("text-to", "", "send a test message to this phone `NUMBER`")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, unread := load()
		findings := server.Diagnose(cmd.Context(), cfg, unread)
		for _, to := range []string{*mailTo, *textTo} {
			if to != "" && unread == nil {
				findings = append(findings, server.Try(cmd.Context(), cfg, to))
			}
		}
		failed := false
		for _, f := range findings {
			failed = failed || f.State == server.FindingFail
		}
		if err := writeFindings(cmd, findings, *asJSON); err != nil || !failed {
			return err
		}
		return errUnwell
	}
	return cmd
}

func writeFindings(cmd *cobra.Command, findings []server.Finding, asJSON bool) error {
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), findings)
	}
	for _, f := range findings {
		text := fmt.Sprintf("%-4s  %-8s  %s\n", f.State, f.Check, printable(f.Text))
		if f.Hint != "" {
			text += fmt.Sprintf("%-4s  %-8s  → %s\n", "", "", printable(f.Hint))
		}
		if _, err := fmt.Fprint(cmd.OutOrStdout(), text); err != nil {
			return err
		}
	}
	return nil
}
