package mongostore

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/session/express"
	"github.com/admit-auth/admit/session/express/expresstest"
	"github.com/admit-auth/admit/session/mongostore/mongotest"
)

func openExpress(t testing.TB, c *mongo.Collection, o *ExpressOptions) *Express {
	t.Helper()
	e, err := NewExpress(c, o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestTheStandInKeepsExpressRecords(t *testing.T) {
	s := mongotest.Start(t)
	expresstest.Run(t, func(t testing.TB) express.Store {
		return openExpress(t, connect(t, s.URI()).Database("test").Collection("sessions"), nil)
	})
}

func TestMongoDBKeepsExpressRecords(t *testing.T) {
	uri := os.Getenv("MONGODB_URI")
	if uri == "" {
		t.Skip("SKIPPED: MONGODB_URI names no server; none can be installed here")
	}
	c := connect(t, uri).Database("admit_test").Collection("express_" + rand.Text())
	t.Cleanup(func() { c.Drop(context.Background()) })
	expresstest.Run(t, func(t testing.TB) express.Store {
		return openExpress(t, connect(t, uri).Database("admit_test").Collection(c.Name()), nil)
	})
}

// A document is connect-mongo's: these fields in this order, and others stay.
func TestADocumentIsWhatConnectMongoWrites(t *testing.T) {
	c := connect(t, mongotest.Start(t).URI()).Database("test").Collection("sessions")
	e := openExpress(t, c, nil)
	until := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	rec, err := e.Add(t.Context(), "abc", express.Record{JSON: `{"cookie":{},"n":1}`, Until: until})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.UpdateOne(t.Context(), bson.D{{Key: "_id", Value: "abc"}}, bson.D{{Key: "$set", Value: bson.D{{Key: "lastModified", Value: until}}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Swap(t.Context(), "abc", rec, express.Record{JSON: `{"cookie":{},"n":2}`, Until: until}); err != nil {
		t.Fatal(err)
	}
	var doc bson.D
	if err := c.FindOne(t.Context(), bson.D{{Key: "_id", Value: "abc"}}).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	date := bson.NewDateTimeFromTime(until)
	want := bson.D{{Key: "_id", Value: "abc"}, {Key: "session", Value: `{"cookie":{},"n":2}`}, {Key: "expires", Value: date}, {Key: "lastModified", Value: date}}
	if !slices.Equal(doc, want) {
		t.Errorf("%v, want %v", doc, want)
	}
}

// An app with stringify: false would fail on a text, and so nobody gets one.
func TestASessionThatIsADocumentIsNotTakenForNone(t *testing.T) {
	c := connect(t, mongotest.Start(t).URI()).Database("test").Collection("sessions")
	doc := bson.D{{Key: "_id", Value: "abc"}, {Key: "session", Value: bson.D{{Key: "cookie", Value: bson.D{}}}}, {Key: "expires", Value: time.Now().Add(time.Hour)}}
	if _, err := c.InsertOne(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	if _, err := openExpress(t, c, nil).Get(t.Context(), "abc"); !errors.Is(err, admit.Unavailable) || !strings.Contains(err.Error(), "stringify") {
		t.Errorf("Get: %v", err)
	}
}

func TestAFrozenMongoDBIsUnavailableToExpressSessions(t *testing.T) {
	s := mongotest.Start(t)
	c := connect(t, s.URI()).Database("test").Collection("sessions")
	expresstest.Outage(t, openExpress(t, c, &ExpressOptions{Timeout: 300 * time.Millisecond}), s.Freeze)
}
