package cli

import (
	"fmt"
	"runtime"

	"github.com/admit-auth/admit/server"
	"github.com/spf13/cobra"
)

func newVersion() *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "show which version this is", Args: takes(),
		Example: "admit version --json",
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), map[string]string{
				"version": server.Version(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH,
			})
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "admit version %s\n", server.Version())
		return err
	}
	return cmd
}
