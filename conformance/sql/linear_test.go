package sql

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/admit-auth/admit/conformance/linear"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/sqlstore"
)

// stores are those that processes of a history open: one for each kind of server, at
// a DSN.
var stores = func() map[string]linear.Open {
	all := map[string]linear.Open{}
	for _, k := range kinds {
		all[k.name] = func(ctx context.Context, dsn string) (session.Store, error) {
			db, err := sql.Open(k.driver, dsn)
			if err != nil {
				return nil, err
			}
			db.SetMaxOpenConns(16)
			db.SetMaxIdleConns(16)
			return k.dialect.New(ctx, db, db)
		}
	}
	return all
}()

// InnoDB shows a commit to others before its log is on disk, where there is no
// binary log. Who was answered loses nothing all the same.
func TestHistoriesAreLinearizable(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		linear.Check(t, linear.Store{
			Name: s.name, Place: s.dsn(s.dir, s.database()), Durability: session.SurvivesMachine,
			Crash:     func() { s.kill(); s.start() },
			Pause:     s.pause,
			SeenEarly: s.dialect == sqlstore.MySQL,
		})
	})
}

// pause stops all processes of the server.
func (s *server) pause(d time.Duration) {
	all := []int{s.cmd.Process.Pid}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", all[0]))
	for _, text := range strings.Fields(string(children)) {
		if pid, err := strconv.Atoi(text); err == nil {
			all = append(all, pid)
		}
	}
	for _, signal := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		for _, pid := range all {
			syscall.Kill(pid, signal)
		}
		if signal == syscall.SIGSTOP {
			time.Sleep(d)
		}
	}
}

// BenchmarkHotSessionHTTP is one session that 32 clients change at once, beside
// which package linear measures other libraries.
func BenchmarkHotSessionHTTP(b *testing.B) {
	for _, k := range kinds {
		b.Run(k.name, func(b *testing.B) {
			s := start(b, k)
			h := linear.Hot(b, linear.Store{Name: s.name, Place: s.dsn(s.dir, s.database())})
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(h.PerSecond, "requests/s")
			b.ReportMetric(float64(h.P99.Microseconds())/1000, "p99-ms")
			if h.Lost != 0 {
				b.Errorf("%d of %d updates were lost", h.Lost, h.Of)
			}
		})
	}
}
