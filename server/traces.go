package server

import (
	"context"
	"time"

	"github.com/admit-auth/admit/server/internal/db"
	"github.com/admit-auth/admit/server/internal/otlp"
	"github.com/admit-auth/admit/server/internal/trace"
	"github.com/admit-auth/admit/session"
)

// A Tracer makes the spans of requests. A program that traces by an SDK of its own
// gives one to Config.
type Tracer = trace.Tracer

// A Span is what a Tracer makes: a request, or a part of one.
type Span = trace.Span

// A SpanKind says on which side of a call a span is.
type SpanKind = trace.Kind

// openTraces makes the tracer, where one is wanted.
func (s *Server) openTraces() (err error) {
	if s.tracer = s.cfg.Tracer; s.tracer != nil || s.cfg.OTLPEndpoint == "" {
		return nil
	}
	s.traces, err = otlp.New(otlp.Options{Endpoint: s.cfg.OTLPEndpoint, Headers: s.cfg.OTLPHeaders, Version: Version(), Log: s.log})
	s.tracer = s.traces
	return err
}

// A tracedStore tells what the database does for sessions. It stands below the
// copies in memory: a check that needs no database has no span of its own.
type tracedStore struct{ *db.SessionStore }

func (t tracedStore) Get(ctx context.Context, key string) (it session.Item, err error) {
	ctx, span := trace.Start(ctx, "sessions get")
	defer func() { span.End(err) }()
	return t.SessionStore.Get(ctx, key)
}

func (t tracedStore) Add(ctx context.Context, key string, it session.Item) (version uint64, err error) {
	ctx, span := trace.Start(ctx, "sessions add")
	defer func() { span.End(err) }()
	return t.SessionStore.Add(ctx, key, it)
}

func (t tracedStore) Swap(ctx context.Context, key string, old uint64, it session.Item) (version uint64, err error) {
	ctx, span := trace.Start(ctx, "sessions swap")
	defer func() { span.End(err) }()
	return t.SessionStore.Swap(ctx, key, old, it)
}

func (t tracedStore) Touch(ctx context.Context, key string, version uint64, expires time.Time) (err error) {
	ctx, span := trace.Start(ctx, "sessions touch")
	defer func() { span.End(err) }()
	return t.SessionStore.Touch(ctx, key, version, expires)
}

func (t tracedStore) Delete(ctx context.Context, key string) (err error) {
	ctx, span := trace.Start(ctx, "sessions delete")
	defer func() { span.End(err) }()
	return t.SessionStore.Delete(ctx, key)
}

func (t tracedStore) List(ctx context.Context, subject, after string, limit int) (found []session.Entry, err error) {
	ctx, span := trace.Start(ctx, "sessions list")
	defer func() { span.End(err) }()
	return t.SessionStore.List(ctx, subject, after, limit)
}
