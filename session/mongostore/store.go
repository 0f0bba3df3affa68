// Package mongostore keeps sessions in MongoDB. It is experimental.
//
// [New] is all that most programs call. Experimental means that the suite of
// promises has been run on a stand-in which speaks the wire protocol, and not
// yet on MongoDB itself: MONGODB_URI=… go test runs it there.
package mongostore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/session"
)

// Options are the choices of a store.
type Options struct {
	// Timeout bounds every call; 5 s for 0.
	Timeout time.Duration
}

// Store is a [session.Store] in one collection. It also implements Lister and
// Durable, and needs no sweeping: MongoDB removes what has expired, by an index,
// about once a minute. It is no EpochGetter, so that a check of a signed-in session
// is two trips.
//
// Writes are acknowledged once a majority of the replica set has them on disk, and
// reads see only such: a primary that takes over undoes nothing that was told.
// What the collection or its client says otherwise does not count.
//
// One thing is not noticed: a primary that is cut off from the others answers reads
// until it steps down, which is 10 s by default. What was ended meanwhile counts
// there for as long.
type Store struct {
	coll    *mongo.Collection
	timeout time.Duration
}

// A record is how MongoDB keeps one.
type record struct {
	Key     string        `bson:"_id"`
	Version int64         `bson:"version"`
	Subject string        `bson:"subject"`
	Expires bson.DateTime `bson:"expires"`
	Value   []byte        `bson:"value"`
}

func newRecord(key string, it session.Item) record {
	return record{key, int64(it.Version), it.Subject, date(it.Expires), []byte(it.Value)}
}

func (r *record) item() session.Item {
	return session.Item{Value: string(r.Value), Subject: r.Subject, Expires: r.Expires.Time(), Version: uint64(r.Version)}
}

// date is the expiry as it is kept.
func date(t time.Time) bson.DateTime {
	const end = 253402300799999 // of the year 9999
	return bson.DateTime(min(max(t.UnixMilli(), 0), end))
}

var errOptions = admit.Invalid.New("mongo_options", "These options of the MongoDB store cannot be right.")

// New returns a store in a collection that is the store's alone, and makes its
// indexes where they are missing. The collection must not have a collation, which
// none has by default: "Alice" is not "alice". Nil options are the defaults.
func New(ctx context.Context, coll *mongo.Collection, o *Options) (*Store, error) {
	if o == nil {
		o = &Options{}
	}
	if coll == nil || o.Timeout < 0 {
		return nil, fmt.Errorf("collection %v, timeout %v: %w", coll != nil, o.Timeout, errOptions)
	}
	s := &Store{timeout: o.Timeout, coll: sure(coll)}
	if s.timeout == 0 {
		s.timeout = 5 * time.Second
	}
	return s, s.do(ctx, func(ctx context.Context) error {
		_, err := s.coll.Indexes().CreateMany(ctx, []mongo.IndexModel{
			{Keys: bson.D{{Key: "expires", Value: 1}}, Options: options.Index().SetExpireAfterSeconds(0)},
			{Keys: bson.D{{Key: "subject", Value: 1}, {Key: "_id", Value: 1}}},
		})
		return err
	})
}

// sure lets a collection acknowledge what a majority has on disk, and read only
// that.
func sure(coll *mongo.Collection) *mongo.Collection {
	onDisk := true
	return coll.Clone(options.Collection().
		SetReadPreference(readpref.Primary()).
		SetReadConcern(readconcern.Majority()).
		SetWriteConcern(&writeconcern.WriteConcern{W: writeconcern.WCMajority, Journal: &onDisk}))
}

// do bounds a call. Its errors are those of package session, unavailable, or the
// context's; where it is one of the latter two, a write may have happened, or may
// yet.
func (s *Store) do(ctx context.Context, fn func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := fn(bounded)
	switch {
	case err == nil, admit.KindOf(err) != admit.Internal:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", session.ErrUnavailable, err)
}

// keeps reports whether a key can be that of a record.
func keeps(key string) bool { return session.CheckRecord(key, session.Item{}) == nil }

func byKey(key string) bson.D { return bson.D{{Key: "_id", Value: key}} }

func byVersion(key string, version uint64) bson.D {
	// A larger one equals none that is kept.
	return append(byKey(key), bson.E{Key: "version", Value: int64(min(version, 1<<48))})
}

// Get implements [session.Store].
func (s *Store) Get(ctx context.Context, key string) (it session.Item, err error) {
	if !keeps(key) {
		return it, session.ErrNotFound
	}
	err = s.do(ctx, func(ctx context.Context) error {
		var r record
		err := s.coll.FindOne(ctx, byKey(key)).Decode(&r)
		if errors.Is(err, mongo.ErrNoDocuments) {
			return session.ErrNotFound
		}
		it = r.item()
		return err
	})
	return it, err
}

// Add implements [session.Store].
func (s *Store) Add(ctx context.Context, key string, it session.Item) (uint64, error) {
	if err := session.CheckRecord(key, it); err != nil {
		return 0, err
	}
	it.Version = newVersion()
	return it.Version, s.do(ctx, func(ctx context.Context) error {
		_, err := s.coll.InsertOne(ctx, newRecord(key, it))
		if mongo.IsDuplicateKeyError(err) {
			return session.ErrConflict
		}
		return err
	})
}

func newVersion() uint64 { return rand.Uint64N(1<<48-1) + 1 }

// Swap implements [session.Store].
func (s *Store) Swap(ctx context.Context, key string, old uint64, it session.Item) (uint64, error) {
	if err := session.CheckRecord(key, it); err != nil {
		return 0, err
	}
	it.Version = newVersion()
	r := newRecord(key, it)
	return it.Version, s.update(ctx, key, old, bson.D{{Key: "$set", Value: bson.D{
		{Key: "version", Value: r.Version}, {Key: "subject", Value: r.Subject}, {Key: "expires", Value: r.Expires}, {Key: "value", Value: r.Value},
	}}})
}

// Touch implements [session.Store].
func (s *Store) Touch(ctx context.Context, key string, version uint64, expires time.Time) error {
	if !keeps(key) {
		return session.ErrNotFound
	}
	return s.update(ctx, key, version, bson.D{{Key: "$max", Value: bson.D{{Key: "expires", Value: date(expires)}}}})
}

// update changes the record that has this version.
func (s *Store) update(ctx context.Context, key string, version uint64, change bson.D) error {
	return s.do(ctx, func(ctx context.Context) error {
		// Not by _id alone and not as an upsert: what was removed must not come back.
		done, err := s.coll.UpdateOne(ctx, byVersion(key, version), change)
		if err != nil || done.MatchedCount == 1 {
			return err
		}
		// MongoDB has waited until a majority has what the update found instead, so
		// whoever reads again sees it.
		err = s.coll.FindOne(ctx, byKey(key), options.FindOne().SetProjection(bson.D{{Key: "_id", Value: 1}})).Err()
		switch {
		case err == nil:
			return session.ErrConflict
		case errors.Is(err, mongo.ErrNoDocuments):
			return session.ErrNotFound
		}
		return err
	})
}

// Delete implements [session.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	if !keeps(key) {
		return nil
	}
	return s.do(ctx, func(ctx context.Context) error {
		_, err := s.coll.DeleteOne(ctx, byKey(key))
		return err
	})
}

// List implements [session.Lister].
func (s *Store) List(ctx context.Context, subject, after string, limit int) (found []session.Entry, err error) {
	if limit <= 0 {
		return nil, ctx.Err() // MongoDB would take 0 for no limit
	}
	filter := bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: after}}}}
	if subject != "" {
		filter = append(bson.D{{Key: "subject", Value: subject}}, filter...)
	}
	err = s.do(ctx, func(ctx context.Context) error {
		all, err := s.coll.Find(ctx, filter, options.Find().SetSort(byKeys).SetLimit(int64(limit)))
		if err != nil {
			return err
		}
		defer all.Close(ctx)
		for all.Next(ctx) {
			var r record
			if err := all.Decode(&r); err != nil {
				return err
			}
			found = append(found, session.Entry{Key: r.Key, Item: r.item()})
		}
		return all.Err()
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

var byKeys = bson.D{{Key: "_id", Value: 1}}

// Durability implements [session.Durable].
func (s *Store) Durability() session.Durability { return session.SurvivesMachine }
