package cli

import (
	"context"
	"strconv"

	"github.com/admit-auth/admit/server"
	"github.com/spf13/cobra"
)

func newRole() *cobra.Command {
	return group("role", "see which roles there are, and who has them", newRoleList(), newRoleShow())
}

func newRoleList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "show the roles that users have", Args: takes(),
		Long:    aboutRoles + "A role is there as soon as a user has it: admit user grant.\n" + beside,
		Example: "admit role list",
	}
	asJSON := jsonFlag(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, _ []string) error {
		roles, err := o.Roles(ctx)
		if err != nil {
			return err
		}
		out := newWriter(cmd, *asJSON, "ROLE", "USERS")
		for _, r := range roles {
			if err := out.put(r, r.Name, strconv.Itoa(r.Users)); err != nil {
				return err
			}
		}
		return out.close()
	})
}

func newRoleShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show ROLE", Short: "show who has a role", Args: takes("ROLE"),
		Long: beside, Example: "admit role show admin",
	}
	asJSON := jsonFlag(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, args []string) error {
		return writeUsers(ctx, cmd, o, server.UserFilter{Role: args[0]}, 0, *asJSON)
	})
}
