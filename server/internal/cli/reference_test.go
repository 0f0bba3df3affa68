package cli

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/admit-auth/admit/server"
	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write the pages of docs/reference anew")

const made = "<!-- Made from the program: go test ./internal/cli -run TestReference -update -->\n\n"

// A page of the reference says what the program does, or the test fails.
func reference(t *testing.T, page, want string) {
	file := "../../../docs/reference/" + page
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("docs/reference/%s is stale: go test ./internal/cli -run TestReference -update", page)
	}
}

func TestReferenceOfCommandsIsExact(t *testing.T) {
	var b strings.Builder
	b.WriteString(made + `# Commands

What a command was asked for goes to standard output, talk goes to standard error. A command exits with 0 when done, with
1 when something was refused or failed, with 2 when it was used wrongly. An error is two lines at most, the first with a
code that does not change; it is ` + "`usage`" + ` where a command was written wrongly in a way that has no code of its own:

` + "```" + `
admit: error: --lisen: there is no such setting (unknown_config_key)
admit: hint: did you mean --listen?
` + "```" + `

Secrets are asked for at the terminal, unseen, or read from standard input or from a file. One LF at the end of standard
input is taken off, but not by ` + "`cookie seal`" + `: it takes every byte. Times for people are in UTC, those in JSON are RFC 3339.

Each command has ` + "`--help`" + `. ` + "`admit completion bash`" + ` writes a script that completes commands in a shell; zsh, fish and powershell
are known too.
`)
	n := 0
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "completion" || !cmd.IsAvailableCommand() && cmd.HasParent() {
			return
		}
		if !cmd.HasParent() || !cmd.HasAvailableSubCommands() {
			n++
			fmt.Fprintf(&b, "\n## %s\n\n```\n", cmd.CommandPath())
			help(&b, cmd)
			b.WriteString("```\n")
		}
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(newRoot(nil))
	if n < 10 {
		t.Fatalf("%d commands found", n)
	}
	reference(t, "cli.md", b.String())
}

func TestReferenceOfSettingsIsExact(t *testing.T) {
	var b strings.Builder
	b.WriteString(made + `# Settings

Nothing needs to be set. A flag goes before a variable of the environment, that before the file, that before the default;
` + "`admit config print`" + ` shows what holds and where it comes from, ` + "`admit config check`" + ` finds mistakes.

The file is YAML, named by ` + "`--config`" + ` or ` + "`ADMIT_CONFIG`" + `. Paths are relative to the folder that the program runs in. An
empty variable counts as none. A list is given to a flag more than once or with commas, to a variable with commas.
What is not known is refused with the nearest name that is, and so is a value that cannot be.

A running server takes those marked **live** on SIGHUP and on ` + "`admit config reload`" + `, from the file and the environment that it was started
with; what else changed it names, and takes at the next start. A file with a mistake changes nothing.

| in the file | flag | variable | default | | |
|---|---|---|---|---|---|
`)
	code := func(s string) string {
		if s == "" {
			return ""
		}
		return "`" + s + "`"
	}
	for _, s := range server.DefaultConfig().Settings() {
		name, flag, value := s.Name, "--"+s.Flag, strings.Trim(fmt.Sprint(s.Value), "[]")
		if s.Arg != "" {
			flag += " " + s.Arg
		}
		if s.Flag == "" {
			name, flag = "", "" // a secret
		}
		live := ""
		if s.Live {
			live = "live"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", code(name), code(flag), code(s.Env), code(value), s.Help, live)
	}
	b.WriteString("\nSecrets come from the environment alone: other users of a machine can list command lines, and files are copied.\n")
	reference(t, "config.md", b.String())
}
