// Package postgres speaks to PostgreSQL through database/sql.
//
// [Open] returns a pool, and [Listen] hears notifications. The connection itself is
// pgconn's. What pgx has on top knows every type there is, by reflection, which
// costs 6 MB of a program that also has templates; here values are the five kinds
// that the server keeps: whole numbers, fractions, flags, text and bytes.
package postgres

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// ErrURL says that a database cannot be addressed so. It does not say how it was
// tried: there may be a password in it.
var ErrURL = errors.New("no URL of a PostgreSQL database, such as postgres://user@host/database")

const connectTimeout = 5 * time.Second

// An Address is where a database is, and how to get there. It may hold a password.
type Address struct{ config *pgconn.Config }

// IsURL reports whether text is meant to be a URL of a database.
func IsURL(text string) bool {
	return strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://")
}

// Parse reads a URL. Off this machine the server must prove by its certificate who
// it is, unless the URL or the environment says otherwise. Errors do not quote it.
func Parse(text string) (Address, error) {
	u, err := url.Parse(text)
	if err != nil || !IsURL(text) {
		return Address{}, ErrURL
	}
	c, err := pgconn.ParseConfig(text)
	// Where it leads may stand in the environment, or in a file that this names.
	if q := u.Query(); err == nil && !q.Has("sslmode") && os.Getenv("PGSSLMODE") == "" && !local(c) {
		q.Set("sslmode", "verify-full")
		u.RawQuery = q.Encode()
		c, err = pgconn.ParseConfig(u.String())
	}
	if err != nil {
		return Address{}, ErrURL
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "admit"
	}
	return Address{c}, nil
}

// local reports whether all hosts are of this machine: sockets, and loopback.
func local(c *pgconn.Config) bool {
	hosts := []string{c.Host}
	for _, f := range c.Fallbacks {
		hosts = append(hosts, f.Host)
	}
	for _, host := range hosts {
		addr, err := netip.ParseAddr(host)
		if host != "localhost" && !strings.HasPrefix(host, "/") && (err != nil || !addr.IsLoopback()) {
			return false
		}
	}
	return true
}

// Open returns a pool of so many connections at most, and connects to nothing yet.
// Each connection begins with the statements of setup.
func Open(a Address, connections int, setup string) *sql.DB {
	pool := sql.OpenDB(&connector{config: a.config, setup: setup})
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections) // or every other question waits for a new one
	pool.SetConnMaxIdleTime(5 * time.Minute)
	pool.SetConnMaxLifetime(30 * time.Minute) // so that a new address of the host is found
	return pool
}

// Listen calls heard for each notification of a channel that arrives, and once
// before the first, for what came until then was told to nobody. It returns when
// the connection breaks, which a silent one is tried for now and again, or when
// heard fails or ctx is done.
func Listen(ctx context.Context, a Address, channel string, probe time.Duration, heard func() error) error {
	c := a.config.Copy()
	told := false
	c.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) { told = true }
	conn, err := pgconn.ConnectConfig(ctx, c)
	if err != nil {
		return err
	}
	defer func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		conn.Close(bounded)
	}()
	if err := conn.Exec(ctx, "LISTEN "+channel).Close(); err != nil {
		return err
	}
	for {
		told = false
		if err := heard(); err != nil {
			return err
		}
		for !told {
			waiting, cancel := context.WithTimeout(ctx, probe)
			err := conn.WaitForNotification(waiting)
			cancel()
			if err == nil || told {
				continue
			}
			if ctx.Err() != nil || !pgconn.Timeout(err) {
				return err
			}
			bounded, cancel := context.WithTimeout(ctx, connectTimeout)
			err = conn.Ping(bounded)
			cancel()
			if err != nil {
				return err
			}
		}
	}
}

// Code is the SQLSTATE of an error, "" where it has none.
func Code(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

type connector struct {
	config *pgconn.Config
	setup  string
	broken atomic.Int64 // connections that broke so far
}

func (c *connector) Driver() driver.Driver { return noDriver{} }

// noDriver is what database/sql wants and never uses.
type noDriver struct{}

func (noDriver) Open(string) (driver.Conn, error) { return nil, ErrURL }

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	broken := c.broken.Load()
	pg, err := pgconn.ConnectConfig(ctx, c.config)
	if err != nil {
		return nil, err
	}
	if c.setup != "" {
		if err := pg.Exec(ctx, c.setup).Close(); err != nil {
			pg.Close(ctx)
			return nil, err
		}
	}
	return &conn{of: c, pg: pg, prepared: map[string]string{}, used: time.Now(), heard: broken}, nil
}

// maxPrepared statements are kept by each connection. Those that come later are
// made anew each time: searches of the audit are of many forms.
const maxPrepared = 256

// A conn is one connection. The methods that take no context are for what
// database/sql never does here.
type conn struct {
	of       *connector
	pg       *pgconn.PgConn
	prepared map[string]string // names of statements, by their text
	used     time.Time
	heard    int64        // what of.broken was when it was last tried
	asked    func() error // Err of the context that was last asked with
}

func (c *conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if _, err := c.name(ctx, query); err != nil {
		return nil, err
	}
	return &stmt{c, query}, nil
}

// name prepares a statement, and returns its name; "" where there are too many.
func (c *conn) name(ctx context.Context, query string) (string, error) {
	if name, ok := c.prepared[query]; ok {
		return name, nil
	}
	if len(c.prepared) >= maxPrepared {
		return "", nil
	}
	// A name is of one text. Behind a pooler that lends a connection to another, a
	// name that all count up to would have somebody else's statement run.
	sum := sha256.Sum256([]byte(query))
	name := "s" + hex.EncodeToString(sum[:16])
	if _, err := c.pg.Prepare(ctx, name, query, nil); err != nil {
		return "", c.broken(err)
	}
	c.prepared[query] = name
	return name, nil
}

// broken tells database/sql to try over another connection where this one is of no
// use and nothing was asked.
func (c *conn) broken(err error) error {
	if err != nil && pgconn.SafeToRetry(err) {
		return driver.ErrBadConn
	}
	return err
}

func (c *conn) Close() error {
	// Whoever has gone has it closed, too, and says nothing of the others. A time-out does.
	if c.pg.IsClosed() && (c.asked == nil || c.asked() != context.Canceled) {
		c.of.broken.Add(1)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return c.pg.Close(ctx)
}

func (c *conn) Ping(ctx context.Context) error { return c.broken(c.pg.Ping(ctx)) }

// probeAfter is how long a connection has been idle before it is tried: a database
// that was started again has closed it, and a cut cable has said nothing. Once one has
// broken, each of the others is tried, too.
const probeAfter = time.Second

func (c *conn) ResetSession(ctx context.Context) error {
	if !c.IsValid() {
		return driver.ErrBadConn
	}
	broken := c.of.broken.Load()
	if broken == c.heard && time.Since(c.used) <= probeAfter {
		return nil
	}
	c.asked = ctx.Err
	if c.pg.Ping(ctx) != nil {
		return driver.ErrBadConn
	}
	c.heard = broken
	return nil
}

func (c *conn) IsValid() bool { return !c.pg.IsClosed() && c.pg.TxStatus() == 'I' }

func (c *conn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

func (c *conn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	text := "BEGIN"
	switch sql.IsolationLevel(o.Isolation) {
	case sql.LevelDefault:
	case sql.LevelReadCommitted:
		text += " ISOLATION LEVEL READ COMMITTED"
	case sql.LevelRepeatableRead:
		text += " ISOLATION LEVEL REPEATABLE READ"
	default:
		return nil, fmt.Errorf("isolation %v is not spoken here", sql.IsolationLevel(o.Isolation))
	}
	if o.ReadOnly {
		text += " READ ONLY"
	}
	c.asked = ctx.Err
	if err := c.pg.Exec(ctx, text).Close(); err != nil {
		if c.pg.IsClosed() && ctx.Err() == nil { // nothing was done: another may begin it
			err = driver.ErrBadConn
		}
		return nil, err
	}
	return transaction{ctx, c}, nil
}

type transaction struct {
	ctx context.Context // that it began with, as database/sql means it
	c   *conn
}

var errAborted = errors.New("the transaction was rolled back: a statement in it had failed")

func (t transaction) Commit() error {
	results, err := t.c.pg.Exec(t.ctx, "COMMIT").ReadAll()
	if err == nil && len(results) == 1 && results[0].CommandTag.String() == "ROLLBACK" {
		err = errAborted
	}
	return err
}

func (t transaction) Rollback() error {
	// The context may be why it is rolled back.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), connectTimeout)
	defer cancel()
	return t.c.pg.Exec(ctx, "ROLLBACK").Close()
}

func (c *conn) ask(ctx context.Context, query string, args []driver.NamedValue) (*pgconn.ResultReader, error) {
	c.used, c.asked = time.Now(), ctx.Err
	values, formats := make([][]byte, len(args)), make([]int16, len(args))
	for i, arg := range args {
		switch v := arg.Value.(type) {
		case nil:
		case int64:
			values[i] = strconv.AppendInt(nil, v, 10)
		case float64:
			values[i] = strconv.AppendFloat(nil, v, 'g', -1, 64)
		case bool:
			values[i] = strconv.AppendBool(nil, v)
		case string:
			values[i] = []byte(v)
		case []byte:
			values[i], formats[i] = v, 1 // as it is
			if v == nil {
				values[i] = []byte{}
			}
		default:
			return nil, fmt.Errorf("argument %d is a %T", i+1, v)
		}
	}
	name, err := c.name(ctx, query)
	switch {
	case err != nil:
		return nil, err
	case name == "":
		return c.pg.ExecParams(ctx, query, values, nil, formats, nil), nil
	}
	return c.pg.ExecPrepared(ctx, name, values, formats, nil), nil
}

// ExecContext without arguments takes several statements at once, as migrations are.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if len(args) == 0 {
		c.used, c.asked = time.Now(), ctx.Err
		results, err := c.pg.Exec(ctx, query).ReadAll()
		if err != nil {
			return nil, c.broken(err)
		}
		n := int64(0)
		for _, r := range results {
			n += r.CommandTag.RowsAffected()
		}
		return driver.RowsAffected(n), nil
	}
	r, err := c.ask(ctx, query, args)
	if err != nil {
		return nil, err
	}
	tag, err := r.Close()
	if err != nil {
		return nil, c.broken(err)
	}
	return driver.RowsAffected(tag.RowsAffected()), nil
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	r, err := c.ask(ctx, query, args)
	if err != nil {
		return nil, err
	}
	all := &rows{c: c, r: r}
	if all.more = r.NextRow(); !all.more {
		if _, err := r.Close(); err != nil {
			return nil, c.broken(err)
		}
	}
	for _, f := range r.FieldDescriptions() {
		all.names, all.types = append(all.names, f.Name), append(all.types, f.DataTypeOID)
	}
	return all, nil
}

// A stmt is a statement that was prepared, or is prepared when it is needed.
type stmt struct {
	c     *conn
	query string
}

func (s *stmt) Close() error  { return nil } // it goes with its connection
func (s *stmt) NumInput() int { return -1 }

func (s *stmt) Exec([]driver.Value) (driver.Result, error) { return nil, driver.ErrSkip }
func (s *stmt) Query([]driver.Value) (driver.Rows, error)  { return nil, driver.ErrSkip }

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.c.ExecContext(ctx, s.query, args)
}

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.c.QueryContext(ctx, s.query, args)
}

// rows are an answer. The first row was read already, for with it comes the error
// of the whole.
type rows struct {
	c     *conn
	r     *pgconn.ResultReader
	more  bool
	names []string
	types []uint32
}

func (r *rows) Columns() []string { return r.names }

func (r *rows) Close() error {
	r.more = false
	_, err := r.r.Close()
	return err
}

func (r *rows) Next(to []driver.Value) (err error) {
	if !r.more {
		if _, err := r.r.Close(); err != nil {
			return err
		}
		return io.EOF
	}
	for i, text := range r.r.Values() {
		if to[i], err = value(r.types[i], text); err != nil {
			return err
		}
	}
	r.more = r.r.NextRow()
	return nil
}

// Types of columns (pg_type.dat).
const (
	typeBool   = 16
	typeBytes  = 17
	typeInt8   = 20
	typeInt2   = 21
	typeInt4   = 23
	typeOID    = 26
	typeFloat4 = 700
	typeFloat8 = 701
)

// value reads one as it is written; what is of another type is text.
func value(kind uint32, text []byte) (driver.Value, error) {
	if text == nil {
		return nil, nil
	}
	switch kind {
	case typeInt8, typeInt4, typeInt2, typeOID:
		return strconv.ParseInt(string(text), 10, 64)
	case typeBool:
		return string(text) == "t", nil
	case typeFloat8, typeFloat4:
		return strconv.ParseFloat(string(text), 64)
	case typeBytes:
		digits, ok := strings.CutPrefix(string(text), `\x`)
		if !ok {
			return nil, errors.New("bytes that are not in hexadecimal")
		}
		return hex.DecodeString(digits)
	}
	return string(text), nil
}
