package sql

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/admit-auth/admit/conformance/linear"
	"github.com/admit-auth/admit/session/sqlstore"
)

// A kind is a database server that can be started.
type kind struct {
	name    string
	dialect sqlstore.Dialect
	driver  string
	socket  string // its name in the server's folder
	// create makes a server's files in a folder, and serve is the command that
	// serves them; both run as somebody who is not root.
	create, serve func(t testing.TB, dir string) *exec.Cmd
	// dsn is for a database on the server whose socket is in the folder.
	dsn func(dir, database string) string
	// fails is a statement that fails as one does that met others at work.
	fails string
}

var kinds = []kind{
	{
		name: "PostgreSQL", dialect: sqlstore.PostgreSQL, driver: "pgx", socket: ".s.PGSQL.5432",
		create: func(t testing.TB, dir string) *exec.Cmd {
			// An order of text that is not that of bytes, as most servers have it.
			return exec.Command(find(t, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8",
				"--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US")
		},
		serve: func(t testing.TB, dir string) *exec.Cmd {
			return exec.Command(find(t, "postgres"), "-D", filepath.Join(dir, "data"), "-c", "listen_addresses=", "-c", "unix_socket_directories="+dir)
		},
		dsn: func(dir, database string) string {
			if database == "" {
				database = "postgres"
			}
			return "host=" + dir + " user=postgres sslmode=disable dbname=" + database
		},
		fails: "DO $$ BEGIN RAISE EXCEPTION 'met others' USING ERRCODE = '40P01'; END $$",
	},
	{
		name: "MariaDB", dialect: sqlstore.MySQL, driver: "mysql", socket: "socket",
		create: func(t testing.TB, dir string) *exec.Cmd {
			return exec.Command(find(t, "mariadb-install-db"), "--no-defaults", "--datadir="+filepath.Join(dir, "data"), "--skip-test-db", "--auth-root-authentication-method=normal")
		},
		serve: func(t testing.TB, dir string) *exec.Cmd {
			return exec.Command(find(t, "mariadbd"), "--no-defaults", "--datadir="+filepath.Join(dir, "data"), "--skip-networking", "--socket="+filepath.Join(dir, "socket"))
		},
		dsn: func(dir, database string) string {
			return "root@unix(" + filepath.Join(dir, "socket") + ")/" + database + "?timeout=5s&readTimeout=15s&writeTimeout=15s"
		},
		fails: "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213",
	},
}

// The driver would tell of each connection that a killed server has left.
func TestMain(m *testing.M) {
	mysql.SetLogger(log.New(io.Discard, "", 0))
	clean()
	linear.Serve(stores)
	m.Run()
}

// find returns a program's path. Where it is missing, it is a failure on the
// machine that is to test everything, and a loud skip elsewhere.
func find(t testing.TB, program string) string {
	t.Helper()
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/usr/lib/postgresql/*/bin"} {
		if paths, _ := filepath.Glob(filepath.Join(dir, program)); len(paths) > 0 {
			return paths[len(paths)-1]
		}
	}
	const how = "%s is missing: make test SETUP=1 installs it"
	if os.Getenv("CI") == "true" {
		t.Fatalf(how, program)
	}
	t.Skipf("SKIPPED: "+how, program)
	return ""
}

// A server is a database server that a test has for itself.
type server struct {
	kind
	t    testing.TB
	dir  string
	log  *os.File
	cmd  *exec.Cmd
	gone chan struct{} // closed once cmd has ended
	made atomic.Int64  // databases
}

// start starts a server in an empty folder and stops it with the test.
func start(t testing.TB, k kind) *server {
	t.Helper()
	// Not t.TempDir, which is long for a socket and closed to others.
	dir, err := os.MkdirTemp("", "admit-sql-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &server{kind: k, t: t, dir: dir}
	if os.Getuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	if s.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.log.Close() })
	create := s.apart(k.create(t, dir))
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", create, err, out)
	}
	s.start()
	t.Cleanup(s.kill)
	return s
}

const nobody = 65534

// apart lets a command run as one who is not root: database servers refuse to.
func (s *server) apart(cmd *exec.Cmd) *exec.Cmd {
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "HOME="+s.dir, "TZ=UTC")
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

// start starts the server and waits until it answers. After a kill it may have to
// wait for what was left of it.
func (s *server) start() {
	s.t.Helper()
	db := s.open(s.dsn(s.dir, ""))
	defer db.Close()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); {
		cmd, gone := s.apart(s.serve(s.t, s.dir)), make(chan struct{})
		cmd.Stdout, cmd.Stderr = s.log, s.log
		if err := cmd.Start(); err != nil {
			s.t.Fatal(err)
		}
		go func() { cmd.Wait(); close(gone) }()
		s.cmd, s.gone = cmd, gone
		for up := true; up && time.Now().Before(deadline); {
			select {
			case <-gone:
				up = false
			case <-time.After(20 * time.Millisecond):
				if s.answers(db) {
					return
				}
			}
		}
	}
	text, _ := os.ReadFile(s.log.Name())
	s.t.Fatalf("the server does not start: %s", text)
}

func (s *server) answers(db *sql.DB) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return db.PingContext(ctx) == nil
}

// kill is kill -9, of which the server hears nothing.
func (s *server) kill() {
	// PostgreSQL answers by processes of its own, which would outlive it for a moment.
	pid := s.cmd.Process.Pid
	s.cmd.Process.Signal(syscall.SIGSTOP) // so that it makes no more
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, child := range strings.Fields(string(children)) {
		if pid, err := strconv.Atoi(child); err == nil {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	s.cmd.Process.Kill()
	<-s.gone
}

// open opens a pool as the docs say.
func (s *server) open(dsn string) *sql.DB {
	s.t.Helper()
	db, err := sql.Open(s.driver, dsn)
	if err != nil {
		s.t.Fatal(err)
	}
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	return db
}

// database makes an empty database with the table in it and returns its name.
func (s *server) database() string {
	s.t.Helper()
	name := fmt.Sprint("admit", s.made.Add(1))
	all := s.open(s.dsn(s.dir, ""))
	defer all.Close()
	if _, err := all.Exec("CREATE DATABASE " + name); err != nil {
		s.t.Fatal(err)
	}
	db := s.open(s.dsn(s.dir, name))
	defer db.Close()
	for range 2 { // the second time it changes nothing
		if _, err := db.Exec(s.dialect.Schema()); err != nil {
			s.t.Fatal(err)
		}
	}
	return name
}

// replica returns a store over a database, as one program has it, and its pool.
func (s *server) replica(t testing.TB, dsn string) (*sqlstore.Store, *sql.DB) {
	t.Helper()
	db := s.open(dsn)
	t.Cleanup(func() { db.Close() })
	store, err := s.dialect.New(context.Background(), db, db)
	if err != nil {
		t.Fatal(err)
	}
	return store, db
}

// A wire stands between a store and its server. It counts what the store sends,
// takes its time, and can stop carrying anything.
type wire struct {
	dir   string
	sent  atomic.Int64
	delay atomic.Int64 // of what the store sends, in nanoseconds
	mu    sync.RWMutex // locked while nothing is carried
}

// wire starts one. Its dir is for a DSN.
func (s *server) wire(t testing.TB) *wire {
	t.Helper()
	dir, err := os.MkdirTemp("", "admit-wire-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &wire{dir: dir}
	l, err := net.Listen("unix", filepath.Join(dir, s.socket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("unix", filepath.Join(s.dir, s.socket))
			if err != nil {
				near.Close()
				continue
			}
			go w.carry(far, near, func() { w.sent.Add(1); time.Sleep(time.Duration(w.delay.Load())) })
			go w.carry(near, far, func() {})
		}
	}()
	return w
}

func (w *wire) carry(to io.WriteCloser, from io.Reader, each func()) {
	defer to.Close()
	buf := make([]byte, 1<<17)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			each()
			w.mu.RLock()
			_, werr := to.Write(buf[:n])
			w.mu.RUnlock()
			if werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// freeze stops the wire until thaw is called.
func (w *wire) freeze() (thaw func()) {
	w.mu.Lock()
	return sync.OnceFunc(w.mu.Unlock)
}
