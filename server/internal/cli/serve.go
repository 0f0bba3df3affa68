package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/admit-auth/admit/server"
	"github.com/spf13/cobra"
)

func newServe() *cobra.Command {
	cmd := &cobra.Command{
		Use: "serve", Short: "run the server", Args: takes(),
		Long: `Works without any setting: listens on localhost:8080, keeps what it knows in
./admit-data, and writes where it is found. Until there is an administrator, each
start also writes a link that makes one; it is good once, for 7 days.

On the internet it speaks HTTPS: with a certificate of yours, with those that it
gets by --acme, or through a proxy that is named by --trusted-proxy. SIGTERM lets
requests finish. SIGHUP reads again what can change meanwhile; see admit config reload.`,
		Example: "admit serve --dev",
	}
	load, asJSON := settingFlags(cmd), jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		cfg, err := load()
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		context.AfterFunc(ctx, stop) // the second signal does not wait
		server.TuneMemory()
		cfg.Again, cfg.Hashers = load, hashers()
		s, err := server.New(ctx, cfg)
		if err != nil {
			return err
		}
		defer func() {
			if closed := s.Close(); err == nil {
				err = closed
			}
		}()
		if err := announce(cmd, s.Ready(), *asJSON); err != nil {
			return err
		}
		hangups := make(chan os.Signal, 1)
		signal.Notify(hangups, syscall.SIGHUP)
		defer signal.Stop(hangups)
		notify("READY=1")
		defer context.AfterFunc(ctx, func() { notify("STOPPING=1") })()
		done := make(chan struct{})
		defer close(done)
		go func() {
			for {
				select {
				case <-done:
					return
				case <-hangups:
					reload(cmd, s, load)
				}
			}
		}()
		return s.Run(ctx)
	}
	return cmd
}

func announce(cmd *cobra.Command, r server.Ready, asJSON bool) error {
	if !r.CanMail {
		say(cmd, "there is no mail yet: people sign up with a user name, an e-mail address is refused")
	}
	if r.Unsealed {
		say(cmd, "the server's own keys stand unsealed in the database: --master-key-file seals them")
	}
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), struct {
			URL       string `json:"url"`
			SetupLink string `json:"setup_link,omitempty"`
			InboxURL  string `json:"inbox_url,omitempty"`
		}{r.URL, r.SetupLink.Reveal(), r.InboxURL.Reveal()})
	}
	text := r.URL + "\n"
	if link := r.SetupLink.Reveal(); link != "" {
		text += "the first administrator is made here, once: " + link + "\n"
	}
	if inbox := r.InboxURL.Reveal(); inbox != "" {
		text += "what would be mailed is here: " + inbox + "\n"
	}
	_, err := fmt.Fprint(cmd.OutOrStdout(), text)
	return err
}
