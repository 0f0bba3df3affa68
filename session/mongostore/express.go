package mongostore

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/express"
)

// ExpressOptions are what connect-mongo was given.
type ExpressOptions struct {
	TTL     time.Duration // ttl, for cookies that end with the browser; 14 days for 0
	Timeout time.Duration // bounds every call; 5 s for 0
}

// Express keeps sessions as Express's connect-mongo does. It is an
// [express.Store].
//
// Every change has the session that was read in its filter, so that it meets no
// one else's. What connect-mongo writes, it writes over all that came in between.
// Reads and writes are a majority's, as those of [Store], whatever Node's are.
//
// It reads and writes what connect-mongo keeps by default: the session as a text.
// A session that is a document (stringify: false) is an error, for the app would not
// read what is written here; one that is encrypted is none.
// Fields of touchAfter, timestamps and others stay as they are.
type Express struct {
	ttl   time.Duration
	store Store // its collection
}

// NewExpress returns a store over a collection, which connect-mongo calls
// "sessions" and gives an index that removes what has expired. Nil options are
// the defaults. It sends nothing yet.
func NewExpress(coll *mongo.Collection, o *ExpressOptions) (*Express, error) {
	if o == nil {
		o = &ExpressOptions{}
	}
	e := &Express{ttl: o.TTL, store: Store{timeout: o.Timeout}}
	if e.ttl == 0 {
		e.ttl = 14 * 24 * time.Hour
	}
	if e.store.timeout == 0 {
		e.store.timeout = 5 * time.Second
	}
	if coll == nil || e.ttl < time.Second || o.Timeout < 0 {
		return nil, fmt.Errorf("collection %v, ttl %v, timeout %v: %w", coll != nil, o.TTL, o.Timeout, errOptions)
	}
	e.store.coll = sure(coll)
	return e, nil
}

// alive is connect-mongo's filter for a session that has not expired, and more
// that must be so.
func alive(sid string, more ...bson.E) bson.D {
	return append(bson.D{
		{Key: "_id", Value: sid},
		{Key: "$or", Value: bson.A{
			bson.D{{Key: "expires", Value: bson.D{{Key: "$exists", Value: false}}}},
			bson.D{{Key: "expires", Value: bson.D{{Key: "$gt", Value: time.Now()}}}},
		}},
	}, more...)
}

func (e *Express) until(t time.Time) time.Time {
	if t.IsZero() {
		return time.Now().Add(e.ttl)
	}
	return t
}

// Get implements [express.Store].
func (e *Express) Get(ctx context.Context, sid string) (rec express.Record, err error) {
	if !utf8.ValidString(sid) {
		return rec, session.ErrNotFound
	}
	err = e.store.do(ctx, func(ctx context.Context) error {
		var doc struct {
			Session bson.RawValue
			Expires time.Time
		}
		err := e.store.coll.FindOne(ctx, alive(sid)).Decode(&doc)
		if errors.Is(err, mongo.ErrNoDocuments) {
			return session.ErrNotFound
		}
		if doc.Session.Type == bson.TypeEmbeddedDocument {
			return errors.New("the session is a document: connect-mongo has stringify: false")
		}
		// What else is no text is no record to the Manager, which says so.
		rec.JSON, _ = doc.Session.StringValueOK()
		rec.Until = doc.Expires
		return err
	})
	return rec, err
}

// Add implements [express.Store].
func (e *Express) Add(ctx context.Context, sid string, rec express.Record) (express.Record, error) {
	rec.Until = e.until(rec.Until)
	return rec, e.store.do(ctx, func(ctx context.Context) error {
		_, err := e.store.coll.InsertOne(ctx, bson.D{{Key: "_id", Value: sid}, {Key: "session", Value: rec.JSON}, {Key: "expires", Value: rec.Until}})
		if mongo.IsDuplicateKeyError(err) {
			return session.ErrConflict
		}
		return err
	})
}

// Swap implements [express.Store].
func (e *Express) Swap(ctx context.Context, sid string, old, next express.Record) (express.Record, error) {
	next.Until = e.until(next.Until)
	return next, e.change(ctx, sid, old, bson.D{{Key: "session", Value: next.JSON}, {Key: "expires", Value: next.Until}})
}

// Touch implements [express.Store].
func (e *Express) Touch(ctx context.Context, sid string, old express.Record, until time.Time) error {
	err := e.change(ctx, sid, old, bson.D{{Key: "expires", Value: e.until(until)}})
	if errors.Is(err, session.ErrConflict) {
		return nil
	}
	return err
}

// change sets fields of the session's document, if it has the old text.
func (e *Express) change(ctx context.Context, sid string, old express.Record, fields bson.D) error {
	return e.store.do(ctx, func(ctx context.Context) error {
		met, err := e.store.coll.UpdateOne(ctx, alive(sid, bson.E{Key: "session", Value: old.JSON}), bson.D{{Key: "$set", Value: fields}})
		if err != nil || met.MatchedCount > 0 {
			return err
		}
		return e.missed(ctx, sid)
	})
}

// missed says why a change met no document.
func (e *Express) missed(ctx context.Context, sid string) error {
	switch err := e.store.coll.FindOne(ctx, alive(sid)).Err(); {
	case err == nil:
		return session.ErrConflict
	case errors.Is(err, mongo.ErrNoDocuments):
		return session.ErrNotFound
	default:
		return err
	}
}

// Delete implements [express.Store].
func (e *Express) Delete(ctx context.Context, sid string, old express.Record) error {
	whatever := old == express.Record{}
	filter := bson.D{{Key: "_id", Value: sid}}
	if !whatever {
		filter = append(filter, bson.E{Key: "session", Value: old.JSON})
	}
	return e.store.do(ctx, func(ctx context.Context) error {
		met, err := e.store.coll.DeleteOne(ctx, filter)
		if err != nil || whatever || met.DeletedCount > 0 {
			return err
		}
		return e.missed(ctx, sid)
	})
}

var _ express.Store = (*Express)(nil)
