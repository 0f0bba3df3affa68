// Package cli is the command line of admit.
//
// Its manners: what a command was asked for goes to standard output, talk goes
// to standard error. It exits with 0 when done, with 1 when something was
// refused or failed, with 2 when it was used wrongly. [Main] is all there is to
// call.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Main runs the command that the program was called with, and exits.
func Main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func run(args []string, in io.Reader, out, talk io.Writer) (code int) {
	root := newRoot(args)
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(talk)
	// Until a command has begun, every error is one of usage.
	begun := false
	root.PersistentPreRun = func(*cobra.Command, []string) { begun = true }
	cmd, err := root.ExecuteContextC(context.Background())
	if err == nil {
		return 0
	}
	_, usage := errors.AsType[usageError](err)
	if !begun && !usage {
		usage, err = true, misused(cmd, "%w", err)
	}
	report(talk, err)
	if usage {
		return 2
	}
	return 1
}

const intro = `admit signs people in.

  admit serve --dev       try it: sign up and sign in at http://localhost:8080
  admit serve             run it; until there is an administrator, it prints a link that makes one
  admit user add --identifier you@example.org --role admin
                          make an administrator by hand
`

func newRoot(args []string) *cobra.Command {
	root := group("admit", "sign people in",
		newServe(), newUser(), newRole(), newSession(), newAudit(), newClient(), newKey(), newToken(), newCookie(), newJWT(), newPassword(), newConfig(), newBackup(), newRestore(), newMigrate(), newDoctor(), newVersion(), newHasher())
	root.SilenceErrors, root.SilenceUsage = true, true
	root.Version = server.Version()
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { help(cmd.OutOrStdout(), cmd) })
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(&cobra.Command{
		Use: "help [COMMAND]", Short: "explain a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(about, rest)
			}
			return about.Help()
		},
	})
	root.InitDefaultCompletionCmd(args...)
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Short, c.Long = "write a script that completes commands in a shell", ""
			for _, shell := range c.Commands() {
				shell.Short = "write one for " + shell.Name()
				shell.Long = "Begin a session with it, as the example does, or put that line into the shell's profile."
				shell.Example = completions[shell.Name()]
			}
		}
	}
	holdsOthers(root, args)
	return root
}

// completions are how shells read what completion writes.
var completions = map[string]string{
	"bash":       "source <(admit completion bash)",
	"zsh":        "source <(admit completion zsh)",
	"fish":       "admit completion fish | source",
	"powershell": "admit completion powershell | Out-String | Invoke-Expression",
}

// group is a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short}
	c.AddCommand(commands...)
	return c
}

// holdsOthers makes c, and each group below it, refuse what is none of its
// commands; args are all words of the command line.
func holdsOthers(c *cobra.Command, args []string) {
	for _, sub := range c.Commands() {
		if sub.HasSubCommands() {
			holdsOthers(sub, args)
		}
	}
	c.Args = cobra.ArbitraryArgs
	// A flag behind a misspelled command must not hide the misspelling.
	c.FParseErrWhitelist.UnknownFlags = true
	c.RunE = func(cmd *cobra.Command, words []string) error {
		switch {
		case len(words) > 0:
			return unknownCommand(cmd, words)
		case len(args) > 0 && strings.HasPrefix(args[len(args)-1], "-"):
			return misused(cmd, "%s: %w", args[len(args)-1], server.ErrConfigKey)
		case cmd.HasParent():
			return misused(cmd, "%s what? there are %s", cmd.CommandPath(), strings.Join(names(cmd), ", "))
		}
		return cmd.Help()
	}
}

func names(cmd *cobra.Command) (all []string) {
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			all = append(all, c.Name())
		}
	}
	return all
}

// takes is for commands with as many arguments as names.
func takes(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return misused(cmd, "%s: %s is missing", cmd.CommandPath(), names[len(args)])
		case len(args) > len(names):
			return misused(cmd, "%s: %q is one word too many", cmd.CommandPath(), args[len(names)])
		}
		return nil
	}
}

// needs is for commands that cannot do without some flags.
func needs(flags ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, _ []string) error {
		for _, name := range flags {
			if !cmd.Flags().Changed(name) {
				return misused(cmd, "%s: --%s is missing", cmd.CommandPath(), name)
			}
		}
		return nil
	}
}

const helpWidth = 100 // columns

// help explains a command; it is also what the reference page shows.
func help(w io.Writer, cmd *cobra.Command) {
	if !cmd.HasParent() {
		fmt.Fprintf(w, "%s\ncommands:\n", intro)
	} else {
		usage := strings.TrimSuffix(cmd.UseLine(), " [flags]")
		if cmd.HasAvailableSubCommands() {
			usage += " COMMAND"
		}
		fmt.Fprintf(w, "%s: %s\n\nusage: %s\n", cmd.CommandPath(), cmd.Short, usage)
		if cmd.Long != "" {
			fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(cmd.Long))
		}
		if cmd.HasAvailableSubCommands() {
			fmt.Fprintf(w, "\ncommands:\n")
		}
	}
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			fmt.Fprintf(w, "  %-16s %s\n", c.Name(), c.Short)
		}
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\n%s COMMAND --help tells more, with an example\n", cmd.CommandPath())
	}
	if f := cmd.Flags().Lookup("help"); f != nil {
		f.Hidden = true // who reads this knows it
	}
	if flags := cmd.LocalFlags().FlagUsagesWrapped(helpWidth); flags != "" && cmd.HasParent() && !cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\nflags:\n%s", flags)
	}
	if cmd.Example != "" {
		fmt.Fprintf(w, "\nexample:\n")
		for line := range strings.Lines(cmd.Example) {
			fmt.Fprintf(w, "  %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
}

// A usageError is a command that was written wrongly. Its code is "usage" where
// it wraps no refusal.
type usageError struct {
	error
	hint string
}

func (e usageError) Unwrap() error { return e.error }

func misused(cmd *cobra.Command, format string, args ...any) error {
	return misspelled(cmd, "", fmt.Errorf(format, args...))
}

// misspelled is misused with what was meant, unless that is "".
func misspelled(cmd *cobra.Command, meant string, err error) error {
	if meant == "" {
		return usageError{err, cmd.CommandPath() + " --help explains"}
	}
	return usageError{err, "did you mean " + meant + "?"}
}

var errCommand = admit.Invalid.New("unknown_command", "There is no such command.")

func unknownCommand(cmd *cobra.Command, words []string) error {
	return misspelled(cmd, nearest(cmd, cmd.CommandPath()+" ", words[0]),
		fmt.Errorf("%s %s: %w", cmd.CommandPath(), words[0], errCommand))
}

// nearest returns, after a prefix, the name of the command below cmd that is
// fewest letters away, as cobra measures it, and "" if none is near: a guess
// that is far off sends people astray.
func nearest(cmd *cobra.Command, prefix, word string) string {
	if len(word) > 64 { // nobody meant more
		return ""
	}
	for cmd.SuggestionsMinimumDistance = 1; cmd.SuggestionsMinimumDistance <= 2; cmd.SuggestionsMinimumDistance++ {
		if near := cmd.SuggestionsFor(word); len(near) > 0 {
			return prefix + near[0]
		}
	}
	return ""
}

func flagError(cmd *cobra.Command, err error) error {
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		name, dashes := e.GetSpecifiedName(), "--"
		if short := e.GetSpecifiedShortnames(); short != "" {
			name, dashes = short, "-" // perhaps a long one with one dash
		}
		name, _, _ = strings.Cut(name, "=")
		flags := &cobra.Command{}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			flags.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
		})
		return misspelled(cmd, nearest(flags, "--", name), fmt.Errorf("%s%s: %w", dashes, name, server.ErrConfigKey)) // most flags are settings
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok && admit.KindOf(e.Unwrap()) == admit.Invalid {
		return usageError{e.Unwrap(), ""}
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		if _, is := errors.AsType[*strconv.NumError](e); is {
			return misused(cmd, "--%s: %q is no whole number", e.GetFlag().Name, e.GetValue())
		}
	}
	return misused(cmd, "%w", err)
}

// hints replaces, by code, advice that is for visitors of the pages.
var hints = map[string]string{
	"identifier_taken": "it is here already, and stays as it is; admit user show tells more",
	"unknown_user":     "it is an id or an identifier; admit user list shows them",
	"unknown_api_key":  "it may have ended; admit token list shows those of a user",
	"unknown_session":  "it may have ended; admit session list shows those that live",
	"unknown_client":   "admit client list shows them",
}

// unbroken makes one line of the lines of errors.Join and of PostgreSQL's driver.
var unbroken = strings.NewReplacer(":\n\t", ": ", "\n\t", "; ", "\n", "; ")

// report tells of what went wrong, and what can be done.
func report(talk io.Writer, err error) {
	text, hint, code := err.Error(), "", "internal"
	e, refused := errors.AsType[*admit.Error](err)
	usage, written := errors.AsType[usageError](err)
	switch {
	case refused:
		text = strings.Replace(text, e.Error(), talkOf(e.Error()), 1)
		hint, code = talkOf(e.Hint()), e.Code()
	case written:
		code = "usage"
	}
	if own := hints[code]; own != "" {
		hint = own
	}
	if usage.hint != "" {
		hint = usage.hint
	}
	text = unbroken.Replace(talkOf(text))
	fmt.Fprintf(talk, "admit: error: %s (%s)\n", printable(text), code)
	if hint != "" {
		fmt.Fprintf(talk, "admit: hint: %s\n", printable(hint))
	}
}

// talkOf makes a sentence that is written for a page one for a terminal.
func talkOf(sentence string) string {
	sentence = strings.TrimSuffix(sentence, ".")
	if len(sentence) > 1 && unicode.IsUpper(rune(sentence[0])) && !unicode.IsUpper(rune(sentence[1])) {
		return strings.ToLower(sentence[:1]) + sentence[1:]
	}
	return sentence
}
