package cli

import (
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/admit-auth/admit/server"
	"github.com/spf13/cobra"
)

// newHasher is what serve runs beside itself, and nobody else.
func newHasher() *cobra.Command {
	return &cobra.Command{
		Use: "hasher", Short: "hash passwords for a server", Hidden: true, Args: cobra.NoArgs,
		Long: `Admit serve runs it, and tells it the passwords on standard input. It ends with that.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// A terminal or a supervisor tells all processes to stop, while the
			// server still has requests under way.
			signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			return server.ServeHashes(cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

// hashers is the command that runs newHasher's; none where this program cannot be
// found again. Where the system allows it, it is this very program even where its
// file has been replaced by a newer one.
func hashers() []string {
	self := "/proc/self/exe"
	if runtime.GOOS != "linux" {
		var err error
		if self, err = os.Executable(); err != nil {
			return nil
		}
	}
	return []string{self, "hasher"}
}
