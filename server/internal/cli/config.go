package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
	"github.com/spf13/cobra"
)

// settingFlags gives cmd a flag for each of the settings named, or for all, and
// returns what reads the configuration.
func settingFlags(cmd *cobra.Command, names ...string) (load func() (server.Config, error)) {
	file, given := settingSources(cmd, names...)
	return func() (server.Config, error) { return server.LoadConfig(*file, os.Environ(), given) }
}

// settingSources gives cmd the flags of settingFlags, and returns what they say.
func settingSources(cmd *cobra.Command, names ...string) (file *string, given map[string][]string) {
	file = cmd.Flags().String("config", "", "read settings from a YAML `FILE`; a flag goes before a variable ADMIT_…, that before the file")
	given = map[string][]string{}
	for _, s := range server.DefaultConfig().Settings() {
		if s.Flag == "" || len(names) > 0 && !slices.Contains(names, s.Name) {
			continue
		}
		f := cmd.Flags().VarPF(&settingFlag{s, given}, s.Flag, "", s.Help)
		if _, is := s.Value.(bool); is {
			f.NoOptDefVal = "true"
		}
	}
	return file, given
}

// A settingFlag is a pflag.Value that collects what is given.
type settingFlag struct {
	server.Setting
	given map[string][]string // by flag
}

func (f *settingFlag) Set(text string) error {
	texts := []string{text}
	if _, list := f.Value.([]string); list {
		texts = strings.Split(text, ",")
	}
	for _, t := range texts {
		if err := f.Check(t); err != nil {
			return err
		}
	}
	f.given[f.Flag] = append(f.given[f.Flag], text)
	return nil
}

// String is the default, as the help text shows it.
func (f *settingFlag) String() string {
	if _, list := f.Value.([]string); list || f.Value == nil {
		return ""
	}
	return fmt.Sprint(f.Value)
}

func (f *settingFlag) Type() string {
	if f.Arg == "" {
		return "bool"
	}
	return f.Arg
}

func newConfig() *cobra.Command {
	show := &cobra.Command{
		Use: "print", Short: "show every setting and where it comes from", Args: takes(),
		Long:    "Writes a file that --config reads. Secrets are not written.",
		Example: "admit config print --listen localhost:9000 > admit.yaml",
	}
	load, asJSON := settingFlags(show), jsonFlag(show)
	show.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), cfg.Settings())
		}
		return cfg.Print(cmd.OutOrStdout())
	}
	return group("config", "look at the settings", show, newConfigCheck(), newConfigReload())
}

func newConfigCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check", Short: "find mistakes and contradictions in the settings", Args: takes(),
		Long:    "Tells all that is wrong at once, in the theme too, and exits with 1 if anything is.",
		Example: "admit config check --public-url https://id.example.org --trusted-proxy 127.0.0.1",
	}
	file, given := settingSources(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		errs := server.CheckConfig(*file, os.Environ(), given)
		if *asJSON {
			out := struct {
				Problems []server.Refusal `json:"problems"`
			}{[]server.Refusal{}}
			for _, err := range errs {
				out.Problems = append(out.Problems, server.RefusalOf(err))
			}
			if err := writeJSON(cmd.OutOrStdout(), out); err != nil {
				return err
			}
		}
		if len(errs) == 0 {
			say(cmd, "the configuration is good")
			return nil
		}
		last := len(errs) - 1
		for _, err := range errs[:last] {
			report(cmd.ErrOrStderr(), err)
		}
		return errs[last]
	}
	return cmd
}

var errNotTaken = admit.Invalid.New("config_not_taken", "The configuration was not taken; the old one holds.")

func newConfigReload() *cobra.Command {
	cmd := &cobra.Command{
		Use: "reload", Short: "let the running server read its settings again", Args: takes(),
		Long: `The server reads the file and the environment that it was started with, as it does
on SIGHUP. A mistake there changes nothing. What waits for the next start is named.`,
		Example: "admit config reload",
	}
	asJSON := jsonFlag(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, _ []string) error {
		found, err := o.Reload(ctx)
		if err != nil {
			return err
		}
		if *asJSON {
			if err := writeJSON(cmd.OutOrStdout(), found); err != nil {
				return err
			}
		}
		if r := found.Refused; r != nil {
			say(cmd, "%s (%s)", talkOf(r.Detail), r.Code)
			return errNotTaken.WithHint(r.Hint)
		}
		sayReloaded(cmd, found)
		return nil
	})
}

func sayReloaded(cmd *cobra.Command, found server.Reloaded) {
	switch names := strings.Join(found.Changed, ", "); {
	case names != "":
		say(cmd, "changed: %s", names)
	default:
		say(cmd, "nothing changed that can change while the server runs")
	}
	if names := strings.Join(found.Waiting, ", "); names != "" {
		say(cmd, "waits for the next start: %s", names)
	}
}

// reload lets the server take what changed in its configuration. A mistake there
// is told, and changes nothing.
func reload(cmd *cobra.Command, s *server.Server, load func() (server.Config, error)) {
	notify("RELOADING=1")
	defer notify("READY=1")
	cfg, err := load()
	var found server.Reloaded
	if err == nil {
		found, err = s.Reload(cmd.Context(), cfg)
	}
	if err != nil {
		report(cmd.ErrOrStderr(), err)
		say(cmd, "the old configuration holds")
		return
	}
	sayReloaded(cmd, found)
}
