package cli

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
	"github.com/spf13/cobra"
)

func newAudit() *cobra.Command {
	return group("audit", "see who did what, and when", newAuditList(), newAuditExport())
}

// auditFlags gives cmd the flags that choose records, and returns what reads
// them.
func auditFlags(cmd *cobra.Command) func(ctx context.Context, o *server.Operator) (server.RecordFilter, error) {
	var f server.RecordFilter
	cmd.Flags().StringVar(&f.Subject, "user", "", "only what concerns the `USER`, an id or identifier")
	cmd.Flags().StringVar(&f.Actor, "actor", "", "only what the `USER` did; operator is this command line")
	cmd.Flags().StringVar(&f.Event, "event", "", "only the `EVENT`, such as signed_in")
	cmd.Flags().StringVar(&f.RequestID, "request", "", "only what the request with the `ID` did, which is in the log, too")
	cmd.Flags().StringVar(&f.Text, "text", "", "only where the detail or the reason holds the `TEXT`")
	now := time.Now()
	cmd.Flags().Var(&instant{&f.Since, now}, "since", "only from the `TIME` on: 2026-01-31, 2026-01-31T12:00:00Z, or how long ago: 90m, 24h, 7d")
	cmd.Flags().Var(&instant{&f.Until, now}, "until", "only from before the `TIME`")
	return func(ctx context.Context, o *server.Operator) (server.RecordFilter, error) {
		for _, who := range []*string{&f.Subject, &f.Actor} {
			if *who == "" || *who == "operator" {
				continue
			}
			u, err := o.User(ctx, *who)
			switch {
			case err == nil:
				*who = u.ID
			case admit.KindOf(err) != admit.NotFound: // whose records stay when they are deleted
				return f, err
			}
		}
		return f, nil
	}
}

// An instant is a pflag.Value: a time, or how long ago.
type instant struct {
	to  *time.Time
	now time.Time
}

func (i *instant) Set(text string) error {
	at, ok := parseInstant(text, i.now)
	if !ok {
		return errors.New("it is such as 2026-01-31, 2026-01-31T12:00:00Z, 90m, 24h or 7d")
	}
	*i.to = at
	return nil
}

func (i *instant) String() string { return "" }
func (i *instant) Type() string   { return "TIME" }

func parseInstant(text string, now time.Time) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05 MST", time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, true
		}
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return now.AddDate(0, 0, -int(n)), err == nil
	}
	ago, err := time.ParseDuration(text)
	return now.Add(-ago), err == nil && ago >= 0
}

var auditHead = []string{"AT", "EVENT", "SUBJECT", "ACTOR", "DETAIL", "REASON", "ADDRESS", "REQUEST"}

func auditRow(r server.Record) []string {
	return []string{moment(r.At), r.Event, r.Subject, r.Actor, r.Detail, r.Reason, r.Address, r.RequestID}
}

func newAuditList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "show what happened, latest first", Args: takes(),
		Long: "With --follow the latest come last, and then what happens until it is interrupted;\nwith --json as one object a line.\n" + beside, Example: "admit audit list --user ada@example.org --since 24h",
	}
	filter := auditFlags(cmd)
	most := limitFlag(cmd, 50)
	follow := cmd.Flags().Bool("follow", false, "go on with what happens from now on")
	asJSON := jsonFlag(cmd)
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, _ []string) error {
		f, err := filter(ctx, o)
		if err != nil {
			return err
		}
		if *follow {
			ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
			defer stop()
			return followAudit(ctx, cmd, o, f, *most, *asJSON)
		}
		out := newWriter(cmd, *asJSON, auditHead...)
		for r, err := range records(ctx, o, f, *most) {
			if err == nil {
				err = out.put(r, auditRow(r)...)
			}
			if err != nil {
				return err
			}
		}
		return out.close()
	})
}

// records walks over what a filter asks for, up to most records; 0 is no bound.
func records(ctx context.Context, o *server.Operator, f server.RecordFilter, most int) iter.Seq2[server.Record, error] {
	f.Limit = 1000
	if most > 0 {
		f.Limit = min(f.Limit, most)
	}
	return pages(most, func(from server.Mark) ([]server.Record, server.Mark, error) {
		f.From = from
		return o.Records(ctx, f)
	})
}

// followAudit shows the latest records and asks for newer ones each second.
func followAudit(ctx context.Context, cmd *cobra.Command, o *server.Operator, f server.RecordFilter, most int, asJSON bool) error {
	var latest []server.Record
	for r, err := range records(ctx, o, f, max(most, 1)) {
		if err != nil {
			return err
		}
		latest = append(latest, r)
		f.Newer = max(f.Newer, r.ID)
	}
	slices.Reverse(latest)
	rows := newStream(cmd.OutOrStdout(), auditHead...)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		for _, r := range latest {
			if asJSON {
				if err := writeJSON(cmd.OutOrStdout(), r); err != nil {
					return err
				}
				continue
			}
			rows.row(auditRow(r)...) // flush tells
		}
		if !asJSON {
			if err := rows.flush(); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		latest = nil
		for r, err := range records(ctx, o, f, 0) {
			if err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
			latest = append(latest, r)
			f.Newer = max(f.Newer, r.ID)
		}
	}
}

func newAuditExport() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export > FILE", Short: "write the audit, oldest first", Args: takes(),
		Long: "Writes one JSON object a line, or a table that spreadsheets read. It holds addresses of\npeople.\n" + beside, Example: "(umask 077; admit audit export --since 30d --csv > audit.csv)",
	}
	filter := auditFlags(cmd)
	asCSV := cmd.Flags().Bool("csv", false, "write CSV")
	return operate(cmd, mustExist, func(ctx context.Context, o *server.Operator, _ []string) error {
		f, err := filter(ctx, o)
		if err != nil {
			return err
		}
		f.OldestFirst = true
		count := newProgress(cmd, "records written")
		defer count.done()
		return exportAudit(ctx, o, f, cmd.OutOrStdout(), *asCSV, count)
	})
}

func exportAudit(ctx context.Context, o *server.Operator, f server.RecordFilter, to io.Writer, asCSV bool, count *progress) error {
	out := bufio.NewWriter(to)
	rows := csv.NewWriter(out)
	if asCSV {
		rows.Write(server.RecordHead()) // Flush tells
	}
	n := 0
	for r, err := range records(ctx, o, f, 0) {
		switch {
		case err != nil:
		case asCSV:
			err = rows.Write(r.Row())
		default:
			err = writeJSON(out, r)
		}
		if err != nil {
			return fmt.Errorf("write the audit: %w", err)
		}
		n++
		count.at(n)
	}
	rows.Flush()
	return errors.Join(rows.Error(), out.Flush())
}
