package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"

	"github.com/admit-auth/admit"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

const maxInput = 1 << 20 // bytes; a cookie has 4096

var (
	errEmpty    = admit.Invalid.New("empty_input", "There is nothing to read.")
	errTooLong  = admit.Invalid.New("input_too_large", "The input is longer than 1 MiB.")
	errMismatch = admit.Invalid.New("passwords_differ", "The two passwords differ.")
	errUndone   = admit.Invalid.New("not_confirmed", "Nothing was done.").WithHint("answer y to go on")
	errFile     = admit.NotFound.New("file_unreadable", "The file cannot be read.").WithHint("look at its name, and whether this user may read it")
)

// readAll returns what r holds, and an error where that is nothing.
func readAll(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the input: %w", err)
	case len(b) > maxInput:
		return nil, errTooLong
	case len(b) == 0:
		return nil, errEmpty
	}
	return b, nil
}

// readLine is readAll without one LF at the end, which echo and editors add.
func readLine(r io.Reader) ([]byte, error) {
	b, err := readAll(r)
	if b = bytes.TrimSuffix(b, []byte("\n")); err == nil && len(b) == 0 {
		err = errEmpty
	}
	return b, err
}

// unreadable says why a file that was named cannot be read.
func unreadable(name string, err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err // without the name again
	}
	return fmt.Errorf("%s: %w: %w", name, errFile, err)
}

// readFile is readLine of a file; "-" is standard input.
func readFile(cmd *cobra.Command, name string) ([]byte, error) {
	if name == "-" {
		return readLine(cmd.InOrStdin())
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, unreadable(name, err)
	}
	defer f.Close()
	b, err := readLine(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// passwordFlag gives cmd the flag that readPassword looks at.
func passwordFlag(cmd *cobra.Command) {
	cmd.Flags().String("password-file", "", "read the password from `FILE`; - is standard input")
}

// readPassword takes a password from the file that was named, else from the
// terminal, twice where it is a new one, else from standard input.
func readPassword(cmd *cobra.Command, isNew bool) (admit.Secret, error) {
	if name, _ := cmd.Flags().GetString("password-file"); name != "" {
		b, err := readFile(cmd, name)
		return admit.NewSecret(string(b)), err
	}
	if _, ok := terminal(cmd.InOrStdin()); !ok {
		b, err := readLine(cmd.InOrStdin())
		return admit.NewSecret(string(b)), err
	}
	first, err := ask(cmd, "password: ")
	if err != nil || !isNew {
		return first, err
	}
	second, err := ask(cmd, "again: ")
	if err == nil && !second.Equal(first) {
		err = errMismatch
	}
	return first, err
}

// ask reads a line from the terminal without showing it.
func ask(cmd *cobra.Command, question string) (admit.Secret, error) {
	fd, _ := terminal(cmd.InOrStdin())
	before, err := term.GetState(fd)
	if err != nil {
		return admit.Secret{}, fmt.Errorf("ask at the terminal: %w", err)
	}
	// Who interrupts must not be left with a terminal that shows nothing.
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
	defer stop()
	defer context.AfterFunc(ctx, func() {
		term.Restore(fd, before)
		fmt.Fprintln(cmd.ErrOrStderr())
		os.Exit(1)
	})()
	fmt.Fprint(cmd.ErrOrStderr(), question)
	b, err := term.ReadPassword(fd)
	fmt.Fprintln(cmd.ErrOrStderr())
	switch {
	case err != nil:
		return admit.Secret{}, fmt.Errorf("ask at the terminal: %w", err)
	case len(b) == 0:
		return admit.Secret{}, errEmpty
	}
	return admit.NewSecret(string(b)), nil
}

// confirm asks before something is lost; only a person at a terminal is asked.
func confirm(cmd *cobra.Command, question string) error {
	if _, ok := terminal(cmd.InOrStdin()); !ok {
		return nil
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s [y/N] ", printable(question))
	answer, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err == nil && (answer == "y\n" || answer == "yes\n") {
		return nil
	}
	return errUndone
}

// terminal returns the descriptor of a terminal.
func terminal(v any) (fd int, ok bool) {
	f, ok := v.(*os.File)
	if !ok {
		return 0, false
	}
	return int(f.Fd()), term.IsTerminal(int(f.Fd()))
}
