package mongostore_test

import (
	"context"
	"log"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/mongostore"
)

// Sessions in a replica set, shared by every replica of the program.
func Example() {
	ctx := context.Background()
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://db.example.org/?replicaSet=rs0"))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Disconnect(ctx)
	store, err := mongostore.New(ctx, client.Database("app").Collection("sessions"), nil)
	if err != nil {
		log.Fatal(err)
	}
	type Visit struct{ Count int }
	sessions, err := session.New[Visit](store, nil)
	if err != nil {
		log.Fatal(err)
	}
	go sessions.Run(ctx)
}
