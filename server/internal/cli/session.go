package cli

import (
	"context"
	"strings"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
	"github.com/spf13/cobra"
)

func newSession() *cobra.Command {
	return group("session", "list and end sessions",
		newSessionList(), newSessionShow(), newSessionEnd(), newSessionEndAll())
}

func newSessionList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list [--user USER]", Short: "show live sessions", Args: takes(),
		Long: beside, Example: "admit session list --user ada@example.org",
	}
	user := cmd.Flags().String("user", "", "only those of the `USER`, an id or identifier (default everybody's, and guests')")
	most := limitFlag(cmd, 0)
	asJSON := jsonFlag(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, _ []string) error {
		out := newWriter(cmd, *asJSON, "SID", "USER", "DEVICE", "ADDRESS", "CREDENTIAL", "LAST SEEN", "EXPIRES")
		users := whose{}
		list := func(after string) ([]server.Session, string, error) { return o.Sessions(ctx, *user, after, pageSize) }
		for s, err := range pages(*most, list) {
			whose := ""
			if err == nil && !*asJSON {
				whose, err = users.of(ctx, o, s)
			}
			if err == nil {
				err = out.put(s, s.SID, whose, s.Device.Name, s.Device.Address, s.Credential, moment(s.LastSeenAt), moment(s.ExpiresAt))
			}
			if err != nil {
				return err
			}
		}
		return out.close()
	})
}

// whose holds the users of sessions by id, as people know them.
type whose map[string]string

// of returns the first identifier of a session's user, or the id where there is
// none.
func (w whose) of(ctx context.Context, o *server.Operator, s server.Session) (string, error) {
	if s.Guest {
		return "(guest)", nil
	}
	if _, known := w[s.Subject]; !known {
		u, err := o.User(ctx, s.Subject)
		if err != nil && admit.KindOf(err) != admit.NotFound { // deleted meanwhile
			return "", err
		}
		w[s.Subject] = s.Subject
		if len(u.Identifiers) > 0 {
			w[s.Subject] = u.Identifiers[0].Value
		}
	}
	return w[s.Subject], nil
}

func newSessionShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show SID", Short: "show a live session and its data", Args: takes("SID"),
		Long: beside, Example: "admit session show $SID",
	}
	asJSON := jsonFlag(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, args []string) error {
		s, err := o.Session(ctx, args[0])
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), s)
		}
		user, err := whose{}.of(ctx, o, s)
		if err != nil {
			return err
		}
		var data strings.Builder
		if err := writeJSON(&data, s.Data); err != nil {
			return err
		}
		return table{
			{"sid", s.SID},
			{"user", user},
			{"user id", s.Subject},
			{"device", s.Device.Name},
			{"user agent", s.Device.UserAgent},
			{"address", s.Device.Address},
			{"credential", s.Credential},
			{"proved with", strings.Join(s.AMR, ", ")},
			{"created", moment(s.CreatedAt)},
			{"last seen", moment(s.LastSeenAt)},
			{"ends if idle", moment(s.IdleExpiresAt)},
			{"ends", moment(s.ExpiresAt)},
			{"data", strings.TrimSpace(data.String())},
		}.write(cmd.OutOrStdout())
	})
}

func newSessionEnd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "end SID", Short: "end a session: its next request is refused", Args: takes("SID"),
		Long: beside, Example: "admit session end $SID",
	}
	because(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, args []string) error {
		return told(cmd, o.EndSession(ctx, args[0]), "session %s has ended", args[0])
	})
}

func newSessionEndAll() *cobra.Command {
	cmd := &cobra.Command{
		Use: "end-all (--user USER | --everyone)", Short: "end every session of a user, or of everybody",
		Long: "Asks at a terminal before everybody is signed out.\n" + beside, Example: "admit session end-all --user ada@example.org",
	}
	user := cmd.Flags().String("user", "", "those of the `USER`, an id or identifier")
	everyone := cmd.Flags().Bool("everyone", false, "those of everybody, guests included")
	asJSON := jsonFlag(cmd)
	cmd.Args = cobra.MatchAll(takes(), func(cmd *cobra.Command, _ []string) error {
		if (*user != "") == *everyone {
			return misused(cmd, "%s: either --user USER or --everyone", cmd.CommandPath())
		}
		return nil
	})
	because(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, _ []string) (err error) {
		var n int
		if *everyone {
			if err := confirm(cmd, "sign everybody out?"); err != nil {
				return err
			}
			n, err = o.EndEveryone(ctx)
		} else {
			n, err = o.EndAll(ctx, *user)
		}
		switch {
		case err != nil:
			return err
		case *asJSON:
			return writeJSON(cmd.OutOrStdout(), map[string]int{"ended": n})
		}
		say(cmd, "%s ended", several(n, "session has", "sessions have"))
		return nil
	})
}
