package express_test

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/session/express"
	// and "github.com/redis/rueidis", in your program
)

// client stands for the program's own, with one of the functions that
// redisstore.Client shows.
var client = func(ctx context.Context, args ...string) (any, error) { return []any{"", int64(-2)}, nil }

// A page that a Go server serves beside an Express app.
func Example() {
	secret := cmp.Or(os.Getenv("SESSION_SECRET"), "keyboard cat")
	secrets, err := express.NewSecrets(admit.NewSecret(secret))
	if err != nil {
		log.Fatal(err)
	}
	store, err := express.NewRedis(client, nil)
	if err != nil {
		log.Fatal(err)
	}
	sessions, err := express.New(store, secrets, nil)
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/cart/add", func(w http.ResponseWriter, r *http.Request) {
		s, err := sessions.Update(w, r, func(d *express.Data) error {
			var cart []string // what the Express app knows as req.session.cart
			if err := d.Get("cart", &cart); err != nil {
				return err
			}
			return d.Set("cart", append(cart, r.FormValue("item")))
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, s.Raw("cart"))
	})
	// Output:
}
