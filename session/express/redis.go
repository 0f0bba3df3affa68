package express

import (
	"context"
	"crypto/sha1"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/admit-auth/admit/session"
)

// RedisOptions are those of connect-redis. Give both sides the same.
type RedisOptions struct {
	Prefix  string        // of the keys; default "sess:"
	TTL     time.Duration // of sessions whose cookie ends with the browser; default a day
	Timeout time.Duration // bounds every call; default 2 s
}

// Redis is the [Store] that connect-redis is. Every call is one round trip and
// one script on one key, so it runs on a Redis Cluster as well.
type Redis struct {
	client      func(ctx context.Context, args ...string) (any, error)
	sha         string // of the script
	prefix, ttl string
	timeout     time.Duration
}

//go:embed redis.lua
var redisScript string

// NewRedis returns a store. The client is one function, such as those that
// redisstore.Client shows for rueidis, go-redis and redigo. It must not send a
// write a second time by itself. Nil options are the defaults. It sends nothing
// yet.
func NewRedis(client func(ctx context.Context, args ...string) (any, error), o *RedisOptions) (*Redis, error) {
	sum := sha1.Sum([]byte(redisScript)) // it is a name here, and Redis's choice
	s := &Redis{client: client, sha: hex.EncodeToString(sum[:]), prefix: "sess:", ttl: "86400", timeout: 2 * time.Second}
	if o == nil {
		o = &RedisOptions{}
	}
	if client == nil || o.TTL < 0 || o.Timeout < 0 {
		return nil, errors.New("express: no Redis client, or a negative time")
	}
	if o.Prefix != "" {
		s.prefix = o.Prefix
	}
	if o.TTL > 0 {
		s.ttl = wholeSeconds(o.TTL)
	}
	if o.Timeout > 0 {
		s.timeout = o.Timeout
	}
	return s, nil
}

// wholeSeconds rounds up, as connect-redis does.
func wholeSeconds(d time.Duration) string {
	return strconv.FormatInt(int64(max((d+time.Second-1)/time.Second, 1)), 10)
}

// Get implements [Store].
func (s *Redis) Get(ctx context.Context, sid string) (Record, error) {
	reply, err := s.do(ctx, sid, "get", "", "", "0")
	if err != nil && strings.Contains(err.Error(), "WRONGTYPE") {
		return Record{JSON: "(no string)"}, nil // which cannot be read, as others cannot
	}
	if err != nil {
		return Record{}, err
	}
	parts, _ := reply.([]any)
	if len(parts) != 2 {
		return Record{}, noAnswer(reply)
	}
	rec := Record{}
	switch text := parts[0].(type) {
	case string:
		rec.JSON = text
	case []byte:
		rec.JSON = string(text)
	default:
		return Record{}, noAnswer(reply)
	}
	if rec.JSON == "" {
		return Record{}, session.ErrNotFound
	}
	if left, ok := parts[1].(int64); ok && left >= 0 {
		rec.Until = time.Now().Add(time.Duration(min(left, maxAge)) * time.Millisecond)
	}
	return rec, nil
}

// Add implements [Store].
func (s *Redis) Add(ctx context.Context, sid string, rec Record) (Record, error) {
	return rec, s.change(ctx, sid, "add", "", rec.JSON, rec.Until)
}

// Swap implements [Store].
func (s *Redis) Swap(ctx context.Context, sid string, old, next Record) (Record, error) {
	return next, s.change(ctx, sid, "swap", old.JSON, next.JSON, next.Until)
}

// Touch implements [Store].
func (s *Redis) Touch(ctx context.Context, sid string, old Record, until time.Time) error {
	err := s.change(ctx, sid, "touch", old.JSON, "", until)
	if errors.Is(err, session.ErrConflict) {
		return nil // who changed it gave it its time
	}
	return err
}

// Delete implements [Store].
func (s *Redis) Delete(ctx context.Context, sid string, old Record) error {
	return s.change(ctx, sid, "delete", old.JSON, "", time.Time{})
}

func (s *Redis) change(ctx context.Context, sid, op, old, next string, until time.Time) error {
	ttl := s.ttl
	if !until.IsZero() {
		ttl = wholeSeconds(time.Until(until))
	}
	reply, err := s.do(ctx, sid, op, old, next, ttl)
	if err != nil {
		return err
	}
	switch reply {
	case int64(1):
		return nil
	case int64(0):
		return session.ErrConflict
	case int64(-1):
		return session.ErrNotFound
	}
	return noAnswer(reply)
}

// do runs the script. After an error a write may have happened or may yet.
func (s *Redis) do(ctx context.Context, sid string, rest ...string) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	args := append([]string{"EVALSHA", s.sha, "1", s.prefix + sid}, rest...)
	reply, err := s.client(bounded, args...)
	if err != nil && strings.Contains(err.Error(), "NOSCRIPT") {
		args[0], args[1] = "EVAL", redisScript
		reply, err = s.client(bounded, args...)
	}
	switch {
	case err == nil:
		return reply, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case strings.Contains(err.Error(), "OOM "):
		return nil, fmt.Errorf("%w: %w", session.ErrFull, err)
	}
	return nil, fmt.Errorf("%w: %w", session.ErrUnavailable, err)
}

func noAnswer(reply any) error {
	return fmt.Errorf("%w: the client answers with %T", session.ErrUnavailable, reply)
}
