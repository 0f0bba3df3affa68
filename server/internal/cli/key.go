package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
	"github.com/spf13/cobra"
)

func newKey() *cobra.Command {
	return group("key", "look at the server's own keys, and change them",
		newKeyList(), newKeyRotate(), newKeyRetire(), newKeyExport(), newKeyReseal(), newKeyReset())
}

func newKeyList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "show the server's own keys, without their secrets", Args: takes(),
		Long: `Keys for cookies seal, keys for signing make JWTs. An active key makes new values. A
retiring one opens or verifies what it made, until all of that has expired; then it
retires by itself, and its bytes are erased. A next one is published and does not sign
yet, so that every verifier knows it when it does. The server rotates keys by itself
too: see the setting key_rotation. Those for signing are of ES256; those for
signing-rs256 and signing-eddsa are there once somebody has read which keys there are,
and from the start where services are named as audiences.
The one for names, by which applications know people, stays for ever.
` + beside,
		Example: "admit key list --json",
	}
	asJSON := jsonFlag(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, _ []string) error {
		all, err := o.Keys(ctx)
		if err != nil {
			return err
		}
		return writeKeys(cmd, *asJSON, all, all...)
	})
}

// writeKeys writes v as JSON, or the keys as a table.
func writeKeys(cmd *cobra.Command, asJSON bool, v any, keys ...server.Key) error {
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), v)
	}
	t := table{{"ID", "PURPOSE", "STATE", "CREATED", "RETIRES", "MASTER KEY"}}
	for _, k := range keys {
		retires := ""
		if k.NotAfter != nil {
			retires = moment(*k.NotAfter)
		}
		t = append(t, []string{k.ID, k.Purpose, string(k.State), moment(k.CreatedAt), retires, k.MasterKey})
	}
	return t.write(cmd.OutOrStdout())
}

func newKeyRotate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rotate [--purpose PURPOSE]", Short: "put another key in front; nobody is signed out",
		Long: `For cookies, a new key seals from now on, and the one before opens what it sealed until
that has expired. For signing, the next key signs from now on, the one before verifies
what it signed, and there is another next one. Where the next one is so young that
verifiers may not know it, it waits for at most 90 seconds. For a key that leaked this
is not enough: see admit key retire.
` + beside,
		Example: "admit key rotate\nadmit key rotate --purpose signing",
	}
	purpose := cmd.Flags().String("purpose", "cookies", "rotate the keys for this `PURPOSE`: cookies, signing, signing-rs256 or signing-eddsa")
	asJSON := jsonFlag(cmd)
	cmd.Args = cobra.MatchAll(takes(), func(cmd *cobra.Command, _ []string) error {
		if !slices.Contains([]string{"cookies", "signing", "signing-rs256", "signing-eddsa"}, *purpose) {
			return misused(cmd, "%s: no keys are for %q, but for cookies and for signing", cmd.CommandPath(), *purpose)
		}
		return nil
	})
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, _ []string) error {
		k, err := o.RotateKey(ctx, *purpose)
		if err != nil {
			return err
		}
		if err := writeKeys(cmd, *asJSON, k, k); err != nil {
			return err
		}
		if k.NotBefore != nil {
			say(cmd, "it signs from %s on, when every verifier knows it", moment(*k.NotBefore))
		}
		return nil
	})
}

func newKeyRetire() *cobra.Command {
	cmd := &cobra.Command{
		Use: "retire ID", Short: "erase a key", Args: takes("ID"),
		Long: `Refuses to erase a key that may be needed, and says what would be lost. With --force
it is erased all the same, and where it is the active one a new one takes its place:
this is for a key that leaked. Sessions go on: no key has made them.

With an active key for signing all others for signing are erased, which lay beside it,
and a fresh one signs at once. The published set is without them, and the feed says so:
verifiers that follow it refuse their tokens within a second, others when they fetch the
set, after a minute at most. Clients get new tokens by a refresh.
` + beside,
		Example: "admit key retire $ID --force",
	}
	force := cmd.Flags().Bool("force", false, "also if it is active, or may be needed")
	asJSON := jsonFlag(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, args []string) error {
		if *force {
			if err := confirm(cmd, "erase the key "+args[0]+" for good?"); err != nil {
				return err
			}
		}
		loss, err := o.RetireKey(ctx, args[0], *force)
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), loss)
		}
		say(cmd, "the key %s is erased", args[0])
		if lost := loss.String(); lost != "" {
			say(cmd, "%s", lost)
		}
		return nil
	})
}

func newKeyExport() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export", Short: "print the public keys that JWTs are verified with", Args: takes(),
		Long: `Prints the JWK set that the server publishes at /oauth/jwks, as one line of JSON: the
public halves of the keys that sign, will, or did for tokens that may be alive.
` + beside,
		Example: "admit key export > jwks.json",
	}
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, _ []string) error {
		set, err := o.KeySet(ctx)
		if err != nil {
			return err
		}
		return writeJSON(cmd.OutOrStdout(), set)
	})
}

func newKeyReseal() *cobra.Command {
	cmd := &cobra.Command{
		Use: "reseal [--new-master-key-file FILE | --no-master-key]", Short: "seal the keys with another master key",
		Long: `Seals the keys with the first key of the file, all at once or not at all. The server
needs that one at its next start. Without a flag the master key is read again from
where the server's settings name it: write the new key above the old one in that
file, reseal, then take the old one out; a server that stops in between starts again.
` + beside,
		Example: "(umask 077; admit cookie keygen > new.key)\nadmit key reseal --new-master-key-file new.key",
	}
	file := cmd.Flags().String("new-master-key-file", "", "read the new master key from `FILE`; - is standard input")
	unsealed := cmd.Flags().Bool("no-master-key", false, "leave the keys unsealed")
	asJSON := jsonFlag(cmd)
	cmd.Args = cobra.MatchAll(takes(), func(cmd *cobra.Command, _ []string) error {
		if *file != "" && *unsealed {
			return misused(cmd, "%s: either --new-master-key-file or --no-master-key", cmd.CommandPath())
		}
		return nil
	})
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, _ []string) error {
		in := server.Reseal{Unsealed: *unsealed}
		if *file != "" {
			text, err := readFile(cmd, *file)
			if err != nil {
				return err
			}
			in.Masters = admit.NewSecret(string(text))
		}
		if *unsealed {
			if err := confirm(cmd, "leave the keys readable to everyone who has a copy of the database?"); err != nil {
				return err
			}
		}
		all, err := o.ResealKeys(ctx, in)
		if err != nil {
			return err
		}
		if err := writeKeys(cmd, *asJSON, all, all...); err != nil {
			return err
		}
		switch {
		case *file != "":
			say(cmd, "from now on the server starts only with the master key of %s", fileName(*file))
		case *unsealed:
			say(cmd, "from now on the server starts without a master key")
		}
		return nil
	})
}

func newKeyReset() *cobra.Command {
	cmd := &cobra.Command{
		Use: "reset", Short: "erase all keys, where the master key is lost", Args: takes(),
		Long: `For keys that nobody can open any more: the master key is lost, or a key was damaged
and there is no backup. What they sealed is lost: browsers are strangers until they
sign in again, mail that waits is not sent, sign-ups under way begin again. JWTs count
no longer, until a refresh. Users and sessions stay. The next start makes new keys. No
server may run on the data folder. Asks before, at a terminal.`,
		Example: "admit key reset",
	}
	load := settingFlags(cmd, "data", "database")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		if err := exists(cfg); err != nil {
			return err
		}
		if err := confirm(cmd, "erase all keys for good?"); err != nil {
			return err
		}
		n, err := server.ResetKeys(cmd.Context(), cfg)
		return told(cmd, err, "%s erased; the next start makes new ones", several(n, "key is", "keys are"))
	}
	return cmd
}

func fileName(name string) string {
	if name == "-" {
		return "standard input"
	}
	return fmt.Sprintf("%q", name)
}
