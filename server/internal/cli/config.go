package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/admit-auth/admit/server"
	"github.com/spf13/cobra"
)

// settingFlags gives cmd a flag for each of the settings named, or for all, and
// returns what reads the configuration.
func settingFlags(cmd *cobra.Command, names ...string) (load func() (server.Config, error)) {
	file := cmd.Flags().String("config", "", "read settings from a YAML `FILE`; a flag goes before a variable ADMIT_…, that before the file")
	given := map[string][]string{}
	for _, s := range server.DefaultConfig().Settings() {
		if s.Flag == "" || len(names) > 0 && !slices.Contains(names, s.Name) {
			continue
		}
		f := cmd.Flags().VarPF(&settingFlag{s, given}, s.Flag, "", s.Help)
		if _, is := s.Value.(bool); is {
			f.NoOptDefVal = "true"
		}
	}
	return func() (server.Config, error) { return server.LoadConfig(*file, os.Environ(), given) }
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
	check := &cobra.Command{
		Use: "check", Short: "find mistakes and contradictions in the settings", Args: takes(),
		Example: "admit config check --public-url https://id.example.org --trusted-proxy 127.0.0.1",
	}
	loadChecked := settingFlags(check)
	check.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadChecked()
		if err == nil {
			err = cfg.Check()
		}
		if err == nil {
			say(cmd, "the configuration is good")
		}
		return err
	}
	return group("config", "look at the settings", show, check)
}
