// Issuer stands in for admit in the tests of the verifier: it publishes keys,
// signs what it is told to, and serves a feed, all by the library's own code.
// It ends with its standard input.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
)

const audience = "https://api.example.org"

type issuer struct {
	mu       sync.Mutex
	keys     []*jose.Key // the last one of an algorithm signs
	feed     *feed.Log
	refusing bool
	fetched  int
	cached   []byte // of the keys, by what stands in between
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	i := &issuer{feed: feed.NewLog(nil)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /oauth/jwks", i.jwks)
	mux.HandleFunc("GET /feed", func(w http.ResponseWriter, r *http.Request) { feed.Handler(i.log(), i.authorize, nil).ServeHTTP(w, r) })
	mux.HandleFunc("GET /feed/snapshot", func(w http.ResponseWriter, r *http.Request) {
		feed.SnapshotHandler(i.log(), i.authorize, nil).ServeHTTP(w, r)
	})
	for pattern, do := range map[string]func(*order) (any, error){
		"POST /keys/add": i.addKey, "POST /keys/drop": i.dropKey, "POST /sign": i.sign, "POST /end": i.end,
		"POST /forget": i.forget, "POST /refuse": i.refuse, "POST /fetched": i.count,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			var o order
			err := json.NewDecoder(r.Body).Decode(&o)
			var answer any
			if err == nil {
				answer, err = do(&o)
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			json.NewEncoder(w).Encode(answer)
		})
	}
	go http.Serve(listener, mux)
	fmt.Printf("http://%v\n", listener.Addr())
	io.Copy(io.Discard, os.Stdin)
}

// An order is what a test asks for.
type order struct {
	Alg       jose.Algorithm  `json:"alg"`
	Kid       string          `json:"kid"`
	Type      string          `json:"typ"`
	Payload   json.RawMessage `json:"payload"`
	Events    []ending        `json:"events"`
	On        bool            `json:"on"`
	Audiences []string        `json:"audiences"`
}

type ending struct {
	Kind    feed.Kind `json:"kind"`
	Target  string    `json:"target"`
	SEV     uint64    `json:"sev"`
	Seconds int       `json:"seconds"`
}

func (i *issuer) log() *feed.Log {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.feed
}

func (i *issuer) authorize(r *http.Request) ([]string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.refusing || r.Header.Get("Authorization") != "Bearer feed-key" {
		return nil, admit.Unauthenticated.New("unknown_credential", "Not with this key.")
	}
	return []string{audience}, nil
}

// jwks answers as a cache does that stands in between.
func (i *issuer) jwks(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fetched++
	if i.cached == nil || r.Header.Get("Cache-Control") == "no-cache" {
		var err error
		if i.cached, err = json.Marshal(jose.NewKeySet(i.keys...)); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	w.Write(i.cached)
}

func (i *issuer) addKey(o *order) (any, error) {
	k, err := jose.GenerateKey(o.Alg, o.Kid)
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, k)
	return k.ID(), nil
}

func (i *issuer) dropKey(o *order) (any, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for n, k := range i.keys {
		if k.ID() == o.Kid {
			i.keys = append(i.keys[:n:n], i.keys[n+1:]...)
			return nil, nil
		}
	}
	return nil, errors.New("no such key")
}

func (i *issuer) sign(o *order) (any, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for n := len(i.keys) - 1; n >= 0; n-- {
		if k := i.keys[n]; k.Algorithm() == o.Alg && (o.Kid == "" || o.Kid == k.ID()) {
			return jose.Sign(k, jose.Header{Type: o.Type}, o.Payload)
		}
	}
	return nil, errors.New("no such key")
}

func (i *issuer) end(o *order) (any, error) {
	now := time.Now()
	var events []feed.Event
	for _, e := range o.Events {
		events = append(events, feed.Event{
			Kind: e.Kind, Target: e.Target, SEV: e.SEV, Reason: "test", Until: now.Add(time.Duration(e.Seconds) * time.Second), Audiences: o.Audiences,
		})
	}
	return nil, i.log().Append(context.Background(), now, events...)
}

// forget begins a new epoch, as a restored database does. Streams of the old one
// go on until they are cut.
func (i *issuer) forget(*order) (any, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.feed = feed.NewLog(nil)
	return nil, nil
}

func (i *issuer) refuse(o *order) (any, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.refusing = o.On
	return nil, nil
}

// count is how often the keys were fetched.
func (i *issuer) count(*order) (any, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetched, nil
}
