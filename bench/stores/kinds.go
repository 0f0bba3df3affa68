package main

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	goredis "github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/redisstore"
	"github.com/admit-auth/admit/session/sqlstore"
)

// A kind of store opens an empty one.
type kind struct {
	name string
	open func() (place, func(), error)
}

var kinds = []kind{{"memory", memory}, {"SQLite", sqlite}, {"PostgreSQL", postgres}, {"Redis", redis}}

func memory() (place, func(), error) {
	store := session.NewMemory(&session.MemoryOptions{MaxRecords: 100_000_000, MaxBytes: 64 << 30})
	size := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	return place{store, size, nil}, func() {}, nil
}

func sqlite() (place, func(), error) {
	dir, err := os.MkdirTemp("", "stores")
	if err != nil {
		return place{}, nil, err
	}
	file := filepath.Join(dir, "db")
	dsn := "file:" + file + "?_pragma=busy_timeout(5000)"
	write, err := sql.Open("sqlite", dsn+"&_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	must(err)
	write.SetMaxOpenConns(1)
	_, err = write.Exec(sqlstore.Schema)
	must(err)
	read, err := sql.Open("sqlite", dsn+"&_pragma=query_only(1)")
	must(err)
	read.SetMaxOpenConns(16)
	read.SetMaxIdleConns(16)
	store, err := sqlstore.New(context.Background(), write, read)
	must(err)
	size := func() int64 {
		_, err := write.Exec("PRAGMA wal_checkpoint(TRUNCATE)")
		must(err)
		i, err := os.Stat(file)
		must(err)
		return i.Size()
	}
	return place{store, size, fill(write, sqlstore.SQLite)}, func() { read.Close(); write.Close(); os.RemoveAll(dir) }, nil
}

func postgres() (place, func(), error) {
	bin, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(bin) == 0 {
		return place{}, nil, exec.ErrNotFound
	}
	dir, err := os.MkdirTemp("", "stores")
	if err != nil {
		return place{}, nil, err
	}
	// It refuses to run as root.
	run := func(program string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin[len(bin)-1], program), append(args, "-D", filepath.Join(dir, "data"))...)
		cmd.Dir = dir
		if os.Getuid() == 0 {
			const nobody = 65534
			must(os.Chown(dir, nobody, nobody))
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		}
		return cmd
	}
	if out, err := run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C").CombinedOutput(); err != nil {
		return place{}, nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	server := run("postgres", "-c", "listen_addresses=", "-c", "unix_socket_directories="+dir, "-c", "shared_buffers=512MB", "-c", "max_wal_size=4GB")
	must(server.Start())
	db, err := sql.Open("pgx", "host="+dir+" user=postgres sslmode=disable dbname=postgres")
	must(err)
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	await(db.Ping)
	_, err = db.Exec(sqlstore.PostgreSQL.Schema())
	must(err)
	store, err := sqlstore.PostgreSQL.New(context.Background(), db, db)
	must(err)
	size := func() (n int64) {
		must(db.QueryRow("SELECT pg_total_relation_size('sessions')").Scan(&n))
		return n
	}
	return place{store, size, fill(db, sqlstore.PostgreSQL)}, func() {
		db.Close()
		server.Process.Kill()
		server.Wait()
		os.RemoveAll(dir)
	}, nil
}

// fill adds records in one transaction.
func fill(db *sql.DB, d sqlstore.Dialect) func([]session.Entry) {
	return func(records []session.Entry) {
		var text strings.Builder
		text.WriteString("INSERT INTO sessions (id, value, subject, expires, version) VALUES ")
		var args []any
		for i, r := range records {
			if i > 0 {
				text.WriteByte(',')
			}
			if d == sqlstore.PostgreSQL {
				fmt.Fprintf(&text, "($%d,$%d,$%d,$%d,$%d)", 5*i+1, 5*i+2, 5*i+3, 5*i+4, 5*i+5)
			} else {
				text.WriteString("(?,?,?,?,?)")
			}
			args = append(args, r.Key, []byte(r.Value), r.Subject, r.Expires.UnixMilli(), rand.Int64N(1<<47))
		}
		_, err := db.Exec(text.String(), args...)
		must(err)
	}
}

func redis() (place, func(), error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return place{}, nil, err
	}
	addr := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	server := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--loglevel", "warning")
	if err := server.Start(); err != nil {
		return place{}, nil, err
	}
	ctx := context.Background()
	client := goredis.NewClient(&goredis.Options{Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1})
	await(func() error { return client.Ping(ctx).Err() })
	store, err := redisstore.New(func(ctx context.Context, args ...string) (any, error) {
		return client.Do(ctx, redisstore.Any(args)...).Result()
	}, nil)
	must(err)
	size := func() (n int64) {
		text, err := client.Info(ctx, "memory").Result()
		must(err)
		_, rest, _ := strings.Cut(text, "\r\nused_memory:")
		_, err = fmt.Sscan(rest, &n)
		must(err)
		return n
	}
	return place{store, size, nil}, func() { client.Close(); server.Process.Kill(); server.Wait() }, nil
}

// await waits for a server to answer.
func await(answers func() error) {
	var err error
	for begun := time.Now(); time.Since(begun) < 30*time.Second; time.Sleep(20 * time.Millisecond) {
		if err = answers(); err == nil {
			return
		}
	}
	must(err)
}
