package cli

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/cookie"
	"github.com/spf13/cobra"
)

func newCookie() *cobra.Command {
	return group("cookie", "sign, seal and check cookies",
		newCookieKeygen(), newCookieSign(), newCookieVerify(), newCookieSeal(), newCookieOpen(), newCookieCheck())
}

func newCookieKeygen() *cobra.Command {
	return &cobra.Command{
		Use: "keygen > FILE", Short: "make a secret key", Args: takes(),
		Long: `A file of secrets holds one key a line, newest first: the first one signs and
seals, each of them verifies and opens. To change keys, put a new one in front.`,
		Example: "(umask 077; admit cookie keygen > keys)",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), cookie.GenerateKey())
			return err
		},
	}
}

// protection is what the flags of a command tell of how a cookie is protected.
type protection struct {
	cmd        *cobra.Command
	file, name *string
}

func protectionFlags(cmd *cobra.Command) protection {
	return protection{
		cmd:  cmd,
		file: cmd.Flags().String("secret-file", "", "read the keys from `FILE`, as keygen makes it"),
		name: cmd.Flags().String("name", "", "the cookie's `NAME`; a value is good under its own name only"),
	}
}

var errKeys = admit.Invalid.New("cookie_keys_malformed", "This is no file of keys.").WithHint("admit cookie keygen makes one")

// keys returns the keys for a cookie.
func (p protection) keys() (*cookie.Keys, error) {
	if _, err := cookie.New(*p.name, nil); err != nil {
		return nil, misused(p.cmd, "%w", err)
	}
	text, err := os.ReadFile(*p.file)
	if err != nil {
		return nil, unreadable(*p.file, err)
	}
	keys, err := cookie.ParseKeys(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", *p.file, errKeys, err)
	}
	return keys, nil
}

// secrets returns the secrets for a cookie of Express.
func (p protection) secrets() ([]string, error) { return readExpressSecrets(*p.file) }

// readBoth returns the keys, and then what they are for.
func readBoth[K any](cmd *cobra.Command, keys func() (K, error), read func(io.Reader) ([]byte, error)) (k K, input []byte, err error) {
	if k, err = keys(); err != nil {
		return k, nil, err
	}
	input, err = read(cmd.InOrStdin())
	return k, input, err
}

// needsKeys asks for the flags of a protection; Express signs no name.
func needsKeys(cmd *cobra.Command, args []string) error {
	if express, _ := cmd.Flags().GetBool("express"); express {
		return needs("secret-file")(cmd, args)
	}
	return needs("secret-file", "name")(cmd, args)
}

const expressHelp = "the form of Express (cookie-signature, s:…): the file holds one secret a line as it is, newest first, and the name is in no signature"

func newCookieSign() *cobra.Command {
	cmd := &cobra.Command{
		Use: "sign --secret-file FILE --name NAME < VALUE", Short: "make a value that is readable and tamper-evident", Args: cobra.MatchAll(takes(), needsKeys),
		Long:    "Reads a value, without one LF at its end, and writes what to put in the cookie.",
		Example: "echo dark | admit cookie sign --secret-file keys --name __Host-theme",
	}
	p := protectionFlags(cmd)
	express := cmd.Flags().Bool("express", false, expressHelp)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *express {
			secrets, value, err := readBoth(cmd, p.secrets, readLine)
			if err != nil {
				return err
			}
			signed, err := signExpress(string(value), secrets[0])
			if err != nil {
				return err
			}
			return writeCookie(cmd, "", []byte(signed))
		}
		keys, value, err := readBoth(cmd, p.keys, readLine)
		if err != nil {
			return err
		}
		return writeCookie(cmd, *p.name, keys.Sign(nil, *p.name, value, time.Now()))
	}
	return cmd
}

func newCookieVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify --secret-file FILE --name NAME < COOKIE", Short: "check a signed value and show it", Args: cobra.MatchAll(takes(), needsKeys),
		Long:    "Reads what a cookie holds and writes the value, with an LF, if it is as it was signed.",
		Example: "echo dark | admit cookie sign --secret-file keys --name __Host-theme |\n  admit cookie verify --secret-file keys --name __Host-theme",
	}
	p := protectionFlags(cmd)
	maxAge := ageFlag(cmd)
	express := cmd.Flags().Bool("express", false, expressHelp)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *express {
			if *maxAge != 0 {
				return misused(cmd, "--max-age and --express: Express signs no time")
			}
			secrets, text, err := readBoth(cmd, p.secrets, readLine)
			if err != nil {
				return err
			}
			value, old, err := verifyExpress(string(text), secrets)
			return writeValue(cmd, []byte(value), old, "\n", err)
		}
		keys, text, err := readBoth(cmd, p.keys, readLine)
		if err != nil {
			return err
		}
		value, old, err := keys.Verify(nil, *p.name, string(text), *maxAge, time.Now())
		return writeValue(cmd, value, old, "\n", err)
	}
	return cmd
}

func newCookieSeal() *cobra.Command {
	cmd := &cobra.Command{
		Use: "seal --secret-file FILE --name NAME < VALUE", Short: "make a value that nobody else can read", Args: cobra.MatchAll(takes(), needs("secret-file", "name")),
		Long:    "Reads any bytes, to the last one, and writes what to put in the cookie.",
		Example: "printf 42 | admit cookie seal --secret-file keys --name __Host-cart",
	}
	p := protectionFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		keys, value, err := readBoth(cmd, p.keys, readAll)
		if err != nil {
			return err
		}
		return writeCookie(cmd, *p.name, keys.Seal(nil, *p.name, value, time.Now()))
	}
	return cmd
}

func newCookieOpen() *cobra.Command {
	cmd := &cobra.Command{
		Use: "open --secret-file FILE --name NAME < COOKIE", Short: "check a sealed value and show it", Args: cobra.MatchAll(takes(), needs("secret-file", "name")),
		Long:    "Reads what a cookie holds and writes the very bytes that were sealed.",
		Example: "printf 42 | admit cookie seal --secret-file keys --name __Host-cart |\n  admit cookie open --secret-file keys --name __Host-cart",
	}
	p := protectionFlags(cmd)
	maxAge := ageFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		// A sealed value is base64url: an LF after it is the shell's.
		keys, text, err := readBoth(cmd, p.keys, readLine)
		if err != nil {
			return err
		}
		value, old, err := keys.Open(nil, *p.name, string(text), *maxAge, time.Now())
		return writeValue(cmd, value, old, "", err)
	}
	return cmd
}

func ageFlag(cmd *cobra.Command) *time.Duration {
	return cmd.Flags().Duration("max-age", 0, "refuse what is older than `AGE`, such as 720h")
}

// writeCookie writes what goes into a cookie, unless browsers would drop it.
func writeCookie(cmd *cobra.Command, name string, text []byte) error {
	if n := len(name) + len(text); n > cookie.MaxSize {
		return fmt.Errorf("%w (name and value have %d bytes, %d are kept)", cookie.ErrTooLarge, n, cookie.MaxSize)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", text)
	return err
}

func writeValue(cmd *cobra.Command, value []byte, old bool, end string, err error) error {
	if err != nil {
		return err
	}
	if old {
		say(cmd, "this was made with an older key")
	}
	_, err = cmd.OutOrStdout().Write(append(value, end...))
	return err
}

var errDropped = admit.Invalid.New("cookie_dropped", "Browsers drop this cookie.")

func newCookieCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check [--url URL] < LINE", Short: "explain what browsers make of a Set-Cookie line", Args: takes(),
		Long:    "Exits with 1 if they drop it. Rules are those of RFC 6265bis.",
		Example: "echo 'Set-Cookie: __Host-id=1; Path=/; Secure; HttpOnly; SameSite=Lax' | admit cookie check",
	}
	from := cmd.Flags().String("url", "", "the `URL` that answers with the line (default any https)")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		origin := cookie.Origin{Secure: true}
		if *from != "" {
			u, err := url.Parse(*from)
			if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
				return misused(cmd, "--url: %q is no http or https URL", *from)
			}
			ip := net.ParseIP(u.Hostname())
			origin.Host = u.Hostname()
			// Browsers trust their own machine as they trust https.
			origin.Secure = u.Scheme == "https" || u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
		}
		line, err := readLine(cmd.InOrStdin())
		if err != nil {
			return err
		}
		if bytes.ContainsRune(line, '\n') {
			return misused(cmd, "one line is read, and there are more")
		}
		e := cookie.Explain(string(line), origin)
		if *asJSON {
			err = writeJSON(cmd.OutOrStdout(), e)
		} else {
			t := table{{"name", e.Name}, {"value", e.Value}, {"lives", e.Life}, {"is sent", e.Sent}}
			for _, k := range slices.Sorted(maps.Keys(e.Attributes)) {
				t = append(t, []string{k, e.Attributes[k]})
			}
			for _, f := range e.Problems {
				t = append(t, []string{"problem", f.Text + " (" + f.Section + ")"})
			}
			for _, f := range e.Warnings {
				t = append(t, []string{"warning", f.Text + " (" + f.Section + ")"})
			}
			err = t.write(cmd.OutOrStdout())
		}
		if err == nil && !e.Accepted {
			err = errDropped
		}
		return err
	}
	return cmd
}
