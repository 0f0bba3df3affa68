package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/sqlstore"
)

// A database is one that is cleaned: a server's, or a file.
type database struct {
	dialect sqlstore.Dialect
	driver  string
	dsn     string // for writing
	readDSN string
	server  *server // nil for a file
}

// open returns the pools for writing and reading, as the docs say.
func (d *database) open(t testing.TB) (write, read *sql.DB) {
	t.Helper()
	var err error
	if write, err = sql.Open(d.driver, d.dsn); err == nil {
		read = write
		write.SetMaxOpenConns(8)
		write.SetMaxIdleConns(8)
		if d.server == nil {
			write.SetMaxOpenConns(1)
			read, err = sql.Open(d.driver, d.readDSN)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { write.Close(); read.Close() })
	return write, read
}

func (d *database) store(t testing.TB) *sqlstore.Store {
	t.Helper()
	write, read := d.open(t)
	s, err := d.dialect.New(t.Context(), write, read)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// eachDatabase runs a test on every kind of database, with the table in it.
func eachDatabase(t *testing.T, run func(*testing.T, *database)) {
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		file := "file:" + filepath.Join(t.TempDir(), "s") + "?_pragma=busy_timeout(10000)"
		d := &database{
			dialect: sqlstore.SQLite, driver: "sqlite", readDSN: file + "&_pragma=query_only(1)",
			dsn: file + "&_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)",
		}
		write, _ := d.open(t)
		if _, err := write.Exec(sqlstore.Schema); err != nil {
			t.Fatal(err)
		}
		run(t, d)
	})
	each(t, func(t *testing.T, s *server) {
		dsn := s.dsn(s.dir, s.database())
		run(t, &database{s.dialect, s.driver, dsn, dsn, s})
	})
}

// fill adds records without the store: 1,000 of them expire in each millisecond.
func (d *database) fill(t testing.TB, db *sql.DB, prefix string, n int, expires time.Time) {
	t.Helper()
	numbers := fmt.Sprintf("(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i FROM n) AS n", n)
	switch d.dialect {
	case sqlstore.PostgreSQL:
		numbers = fmt.Sprintf("generate_series(1, %d) AS n(i)", n)
	case sqlstore.MySQL:
		numbers = fmt.Sprintf("(SELECT seq AS i FROM seq_1_to_%d) AS n", n)
	}
	text := "'%s' || i"
	if d.dialect == sqlstore.MySQL {
		text = "CONCAT('%s', i)"
	}
	if _, err := db.Exec(fmt.Sprintf("INSERT INTO sessions (id, value, subject, expires, version) SELECT "+text+", 'value', '', %d + i, 1 FROM "+numbers,
		prefix, expires.UnixMilli())); err != nil {
		t.Fatal(err)
	}
}

// sweeperEnv tells this program that it is a process that cleans.
const sweeperEnv = "ADMIT_SWEEPER"

// clean cleans until its input ends and then tells what it has removed.
func clean() {
	text := os.Getenv(sweeperEnv)
	if text == "" {
		return
	}
	var d struct {
		Dialect              sqlstore.Dialect
		Driver, DSN, ReadDSN string
	}
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	fail(json.Unmarshal([]byte(text), &d))
	write, err := sql.Open(d.Driver, d.DSN)
	fail(err)
	read, err := sql.Open(d.Driver, d.ReadDSN)
	fail(err)
	write.SetMaxIdleConns(8)
	if d.Dialect == sqlstore.SQLite {
		write.SetMaxOpenConns(1)
	}
	s, err := d.Dialect.New(context.Background(), write, read)
	fail(err)
	m, err := session.New[struct{}](s, nil)
	fail(err)
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { m.Run(ctx) })
	io.Copy(io.Discard, os.Stdin)
	cancel()
	run.Wait()
	fail(json.NewEncoder(os.Stdout).Encode(m.Swept()))
	write.Close()
	read.Close()
	os.Exit(0)
}

// A sweeper is such a process; stop returns what it has removed.
func (d *database) sweeper(t testing.TB) (stop func() session.Swept) {
	t.Helper()
	dsn := d.dsn
	if d.dialect == sqlstore.PostgreSQL {
		dsn += " application_name=sweeper"
	}
	text, err := json.Marshal(map[string]any{"Dialect": d.dialect, "Driver": d.driver, "DSN": dsn, "ReadDSN": d.readDSN})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), sweeperEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return func() (swept session.Swept) {
		t.Helper()
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("a sweeper: %v", err)
		}
		if err := json.Unmarshal([]byte(out.String()), &swept); err != nil {
			t.Errorf("a sweeper: %v", err)
		}
		return swept
	}
}

const expired = 100_000

// A backup holds its snapshot meanwhile, so that PostgreSQL and MySQL must keep all
// that is removed.
func TestTwoProcessesCleanAHundredThousandAndNoLookUpWaits(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *database) {
		write, read := d.open(t)
		now := time.Now()
		d.fill(t, write, "live-", expired, now.Add(time.Hour))
		d.fill(t, write, "dead-", expired, now.Add(-time.Hour))
		left := func(like string) (n int) {
			t.Helper()
			if err := read.QueryRow("SELECT COUNT(*) FROM sessions WHERE id LIKE '" + like + "%'").Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		backup, err := read.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
		if d.server != nil {
			backup, err = read.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
		}
		if err != nil {
			t.Fatal(err)
		}
		defer backup.Rollback()
		var n int
		if err := backup.QueryRow("SELECT COUNT(*) FROM sessions").Scan(&n); err != nil || n != 2*expired {
			t.Fatalf("%d records, %v", n, err)
		}
		before := d.blocks(t, read)

		var stopped atomic.Bool
		var looking sync.WaitGroup
		var longest time.Duration
		looks := 0
		store := d.store(t)
		looking.Go(func() {
			for ; !stopped.Load(); looks++ {
				// One that stays and one that goes: what is locked must not matter.
				begun := time.Now()
				if _, _, err := store.GetWithEpoch(t.Context(), fmt.Sprint("live-", 1+looks*7919%expired)); err != nil {
					t.Errorf("a look-up: %v", err)
					return
				}
				store.GetWithEpoch(t.Context(), fmt.Sprint("dead-", 1+looks*7919%expired))
				longest = max(longest, time.Since(begun))
			}
		})
		begun := time.Now()
		stops := []func() session.Swept{d.sweeper(t), d.sweeper(t)}
		for end := begun.Add(5 * time.Minute); left("dead-") > 0 && time.Now().Before(end); {
			time.Sleep(100 * time.Millisecond)
		}
		took := time.Since(begun)
		var removed, failed uint64
		for _, stop := range stops {
			swept := stop()
			removed += swept.Records
			failed += swept.Failed
		}
		stopped.Store(true)
		looking.Wait()
		if removed != expired || failed != 0 || left("dead-") != 0 || left("live-") != expired {
			t.Errorf("%d removed, %d sweeps failed; %d and %d are left", removed, failed, left("dead-"), left("live-"))
		}
		if looks < 100 || longest > 2*time.Second {
			t.Errorf("%d look-ups, the longest took %v", looks, longest)
		}
		per := float64(d.blocks(t, read)-before) / expired
		t.Logf("%v for %d; %d look-ups meanwhile, the longest took %v; %.2f blocks a record", took.Round(time.Millisecond), expired, looks, longest, per)
		// A step that begins at the index's start reads 2 a record in PostgreSQL, and
		// 1,000 in MariaDB.
		if most := map[sqlstore.Dialect]float64{sqlstore.PostgreSQL: 0.5, sqlstore.MySQL: 150}[d.dialect]; per > most {
			t.Errorf("removing one of %d takes %.2f blocks, want %.1f at most", expired, per, most)
		}
	})
}

// blocks is how many were looked at to find what has expired: in PostgreSQL those of
// the index, and in MariaDB all.
func (d *database) blocks(t testing.TB, db *sql.DB) (n int) {
	t.Helper()
	var err error
	switch d.dialect {
	case sqlstore.PostgreSQL:
		// A process of the server tells when it ends, which it does after it was
		// told to.
		others := 1
		for end := time.Now().Add(10 * time.Second); others > 0 && err == nil && time.Now().Before(end); {
			err = db.QueryRow("SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'sweeper'").Scan(&others)
		}
		if err == nil {
			err = db.QueryRow("SELECT idx_blks_hit + idx_blks_read FROM pg_statio_user_indexes WHERE indexrelname = 'sessions_by_expiry'").Scan(&n)
		}
	case sqlstore.MySQL:
		var name string
		err = db.QueryRow("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_read_requests'").Scan(&name, &n)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A recorder notes what a store prepares.
type recorder struct {
	driver driver.Driver
	dsn    string
	texts  []string
}

func (r *recorder) Driver() driver.Driver { return r.driver }

func (r *recorder) Connect(context.Context) (driver.Conn, error) {
	c, err := r.driver.Open(r.dsn)
	return recording{c, r}, err
}

type recording struct {
	driver.Conn
	recorder *recorder
}

func (r recording) Prepare(text string) (driver.Stmt, error) {
	r.recorder.texts = append(r.recorder.texts, text)
	return r.Conn.Prepare(text)
}

// Each statement that is made on behalf of a request or of cleaning finds its
// records by an index, whether or not the database knows the values.
func TestNothingLooksAtEveryRecord(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *database) {
		write, _ := d.open(t)
		now := time.Now()
		d.fill(t, write, "live-", 20_000, now.Add(time.Hour))
		d.fill(t, write, "dead-", 2_000, now.Add(-time.Hour))
		r := &recorder{driver: write.Driver(), dsn: d.dsn}
		recorded := sql.OpenDB(r)
		defer recorded.Close()
		recorded.SetMaxOpenConns(1)
		if _, err := d.dialect.New(t.Context(), recorded, recorded); err != nil {
			t.Fatal(err)
		}
		one, err := write.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer one.Close()
		if d.dialect == sqlstore.PostgreSQL {
			if _, err := one.ExecContext(t.Context(), "ANALYZE sessions"); err != nil {
				t.Fatal(err)
			}
		}
		expiry, kinds := 0, 0
		for _, text := range r.texts {
			if !strings.Contains(text, "sessions") || strings.HasPrefix(text, "INSERT") {
				continue
			}
			kinds++
			for _, plan := range d.plans(t, one, text) {
				if strings.Contains(text, "expires >=") {
					expiry++
					if !strings.Contains(plan, "sessions_by_expiry") {
						t.Errorf("%s\ndoes not go by expiry:\n%s", text, plan)
					}
				}
				if everything.MatchString(plan) {
					t.Errorf("%s\nlooks at every record:\n%s", text, plan)
				}
			}
		}
		if expiry < 2 || kinds < 9 {
			t.Errorf("%d statements, %d plans that go by expiry", kinds, expiry)
		}
	})
}

// everything is how each database says that it looks at a whole table.
var everything = regexp.MustCompile(`Seq Scan|(?m)^SCAN (sessions|s|e)$|\| (sessions|s|e) \| ALL \|`)

var parameter = regexp.MustCompile(`\?|\$\d`)

// plans returns how the database would run a statement: with the values, and
// without where it can plan so.
func (d *database) plans(t testing.TB, db *sql.Conn, text string) (plans []string) {
	t.Helper()
	// Values that fit the place they stand in.
	upto := fmt.Sprint(time.Now().UnixMilli())
	n := 0
	var values []string
	with := parameter.ReplaceAllStringFunc(text, func(string) string {
		before := text[:parameter.FindAllStringIndex(text, -1)[n][0]]
		n++
		value := "'k'"
		for _, end := range []string{"expires = ", "expires <= ", "expires >= ", "expires < ", "version = ", "LIMIT "} {
			if strings.HasSuffix(before, end) {
				value = upto
			}
		}
		if strings.HasSuffix(before, "LIMIT ") {
			value = "64"
		}
		if strings.HasSuffix(before, "expires >= ") {
			value = "0"
		}
		values = append(values, value)
		return value
	})
	ask := func(query string) {
		rows, err := db.QueryContext(t.Context(), query)
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		defer rows.Close()
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for rows.Next() {
			fields := make([]sql.NullString, len(columns))
			into := make([]any, len(columns))
			for i := range fields {
				into[i] = &fields[i]
			}
			if err := rows.Scan(into...); err != nil {
				t.Fatal(err)
			}
			var line []string
			for _, f := range fields {
				line = append(line, f.String)
			}
			if d.dialect == sqlstore.SQLite {
				line = line[3:] // its detail
			}
			lines = append(lines, strings.Join(line, " | "))
		}
		plans = append(plans, strings.Join(lines, "\n"))
	}
	switch d.dialect {
	case sqlstore.PostgreSQL:
		ask("EXPLAIN " + with)
		for _, prepare := range []string{"SET plan_cache_mode = force_generic_plan", "PREPARE p AS " + text} {
			if _, err := db.ExecContext(t.Context(), prepare); err != nil {
				t.Fatalf("%s: %v", prepare, err)
			}
		}
		ask("EXPLAIN EXECUTE p(" + strings.Join(values, ", ") + ")")
		if _, err := db.ExecContext(t.Context(), "DEALLOCATE p"); err != nil {
			t.Fatal(err)
		}
	case sqlstore.MySQL:
		ask("EXPLAIN " + with)
	default:
		ask("EXPLAIN QUERY PLAN " + with)
	}
	return plans
}

// A sweep that is given up must not keep the right to sweep: in MySQL the lock is the
// connection's, which goes back into the pool.
func TestASweepThatIsGivenUpLetsOthersSweep(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		w := s.wire(t)
		name := s.database()
		hasty, _ := s.replica(t, s.dsn(w.dir, name))
		other, _ := s.replica(t, s.dsn(s.dir, name))
		now := time.Now()
		for i := range 40 {
			it := item("v")
			it.Expires = now.Add(-time.Minute)
			if _, err := other.Add(t.Context(), fmt.Sprint("k", i), it); err != nil {
				t.Fatal(err)
			}
			// Somewhere between two of its statements its time is up.
			w.delay.Store(int64(2 * time.Millisecond))
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond)
			hasty.Sweep(ctx, now, 100)
			cancel()
			swept := false
			for end := time.Now().Add(10 * time.Second); !swept && time.Now().Before(end); {
				if _, err := other.Sweep(t.Context(), now, 100); err != nil {
					t.Fatal(err)
				}
				_, err := other.Get(t.Context(), fmt.Sprint("k", i))
				swept = err == session.ErrNotFound
			}
			if !swept {
				t.Fatalf("after a sweep that was given up in %d ms nobody sweeps any more", i)
			}
		}
	})
}
