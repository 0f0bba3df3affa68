package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
	"github.com/spf13/cobra"
)

const beside = "Works beside a running server, which sees the change at once, and without one."

// What a command makes of a data folder that is not there.
const (
	mustExist = false // nothing is in it: the wrong one was named
	mayMake   = true
)

var errNoData = admit.NotFound.New("no_data", "There is no data folder here.").WithHint("name it with --data, or the database of several servers with --database; admit serve makes one")

// exists reports a data folder that was misspelled. Who names a database needs none.
func exists(cfg server.Config) error {
	if _, err := os.Stat(cfg.Data); errors.Is(err, os.ErrNotExist) && cfg.Database == "" {
		return fmt.Errorf("%s: %w", cfg.Data, errNoData)
	}
	return nil
}

// operate gives cmd the flags that name a data folder; what it runs gets the
// operator of that folder.
func operate(cmd *cobra.Command, anew bool, run func(ctx context.Context, o *server.Operator, args []string) error) *cobra.Command {
	load := settingFlags(cmd, "data", "database", "master_key_file", "master_key_command")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		cfg, err := load()
		if err != nil {
			return err
		}
		if err := exists(cfg); err != nil && !anew {
			return err
		}
		o, err := server.Connect(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		if f := cmd.Flags().Lookup("reason"); f != nil {
			o.Reason = f.Value.String()
		}
		defer func() {
			if closed := o.Close(); err == nil {
				err = closed
			}
		}()
		return run(cmd.Context(), o, args)
	}
	return cmd
}

// because gives cmd the flag that says why.
func because(cmd *cobra.Command) {
	cmd.Flags().String("reason", "", "why, as `TEXT` for the audit")
}

// limitFlag gives cmd the flag that bounds a list; 0 is no bound.
func limitFlag(cmd *cobra.Command, most int) *int {
	return cmd.Flags().Int("limit", most, "show `N` at most; 0 is all")
}

// oneOf gives cmd a flag that takes some words.
func oneOf(cmd *cobra.Command, name, help string, words ...string) *string {
	w := &word{words: words}
	cmd.Flags().Var(w, name, help)
	return &w.text
}

// A word is a pflag.Value that is one of a few.
type word struct {
	text  string
	words []string
}

func (w *word) Set(text string) error {
	if !slices.Contains(w.words, text) {
		return fmt.Errorf("it is %s", strings.Join(w.words, " or "))
	}
	w.text = text
	return nil
}

func (w *word) String() string { return w.text }
func (w *word) Type() string   { return "WORD" }

// is returns whether a word is the one, nil where there is none.
func is(text, yes string) *bool {
	if text == "" {
		return nil
	}
	b := text == yes
	return &b
}
