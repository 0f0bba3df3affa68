package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/admit-auth/admit/server"
)

// factorsText lists factors in one cell: how many of each kind.
func factorsText(factors []server.Factor) string {
	count := map[string]int{}
	var order []string
	for _, f := range factors {
		n := 1
		if f.Left != nil {
			n = *f.Left
		}
		if _, seen := count[f.Kind]; !seen {
			order = append(order, f.Kind)
		}
		count[f.Kind] += n
	}
	var all []string
	for _, kind := range order {
		all = append(all, fmt.Sprintf("%s %d", kind, count[kind]))
	}
	return strings.Join(all, ", ")
}

func newUserResetFactors() *cobra.Command {
	cmd := &cobra.Command{
		Use: "reset-factors USER", Short: "remove a user's second factors, and end the user's sessions and API keys", Args: takes("USER"),
		Long: "Removes authenticator apps, passkeys, recovery codes and trusted devices. Make sure\n" +
			"that it is the owner who asks: from then on the password alone signs in. The\n" +
			"owner is told by mail. Asks before, at a terminal.\n" + beside,
		Example: "admit user reset-factors ada@example.org --reason 'lost phone; seen in person'",
	}
	because(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, args []string) error {
		if err := confirm(cmd, "remove all second factors of "+args[0]+"?"); err != nil {
			return err
		}
		return told(cmd, o.ResetFactors(ctx, args[0]), "%s has no second factor any more, and is signed out everywhere", args[0])
	})
}
