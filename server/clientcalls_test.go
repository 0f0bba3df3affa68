package server_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"time"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/server"
)

// The calls about clients, brought about as those in openapi_test.go are.

var clientExamples = map[string]func(s *site, example m) *reply{
	"adminListClients": func(s *site, _ m) *reply {
		root := s.administrator()
		s.register(nil)
		return root.get("admin/clients").want(200)
	},
	"adminAddClient": func(s *site, in m) *reply { return s.administrator().post("admin/clients", in).want(201) },
	"adminGetClient": func(s *site, _ m) *reply {
		root := s.administrator()
		s.register(nil)
		return root.get("admin/clients/shop").want(200)
	},
	"adminChangeClient": func(s *site, in m) *reply {
		root := s.administrator()
		s.register(nil)
		return root.do("PATCH", "/api/v1/admin/clients/shop", in).want(200)
	},
	"adminRemoveClient": func(s *site, _ m) *reply {
		root := s.administrator()
		s.register(nil)
		return root.delete("admin/clients/shop?reason=over").want(204)
	},
	"adminRotateClientSecret": func(s *site, in m) *reply {
		root := s.administrator()
		s.register(nil)
		return root.post("admin/clients/shop/secret", in).want(200)
	},
}

// aClient is a client with a secret, changed by what is given.
func aClient(change m) m {
	c := m{"id": "shop", "name": "The shop", "grant_types": []string{"authorization_code"}, "redirect_uris": []string{"https://shop.example.net/cb"}}
	maps.Copy(c, change)
	return c
}

// register registers a client as an operator does, beside a server that runs.
func (s *site) register(change func(*server.NewClient)) server.MadeClient {
	s.t.Helper()
	in := server.NewClient{ID: "shop", Name: "The shop", GrantTypes: []string{"authorization_code"}, RedirectURIs: []string{"https://shop.example.net/cb"}}
	if change != nil {
		change(&in)
	}
	made, err := s.operator().AddClient(s.t.Context(), in)
	if err != nil {
		s.t.Fatal(err)
	}
	return made
}

// registering is a call by an administrator of a server where the shop is registered.
func registering(method, path string, body any) trial {
	return func(s *site) *reply {
		root := s.administrator()
		s.register(nil)
		return root.do(method, "/api/v1/admin/clients"+path, body)
	}
}

// told has the feed tell that a client has ended, as if tokens of it were out there.
func (s *site) told(id string, until time.Time) {
	s.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.data, "admit.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	var epoch string
	var seq uint64
	if err := db.QueryRow("UPDATE feed_head SET seq = seq + 1 RETURNING epoch, seq").Scan(&epoch, &seq); err != nil {
		s.t.Fatal(err)
	}
	at, err := feed.ParseID(fmt.Sprint(epoch, "-", seq))
	if err != nil {
		s.t.Fatal(err)
	}
	e, err := feed.ClientEnded(id, "client_removed", until).Stamp(at, time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := json.Marshal(e)
	if err == nil {
		_, err = db.Exec("INSERT INTO feed (seq, until, event) VALUES (?, ?, ?)", seq, until.UnixMilli(), string(text))
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func clientTrials() map[string]trial {
	all := map[string]trial{
		"adminListClients admin_needed":      outsider("GET", "clients"),
		"adminListClients unknown_parameter": administratorAsks("GET", "clients?rol=x", nil),
		"adminListClients bad_parameter":     administratorAsks("GET", "clients?limit=0", nil),

		"adminAddClient admin_needed":            outsider("POST", "clients"),
		"adminAddClient reason_too_long":         administratorAsks("POST", "clients", aClient(m{"reason": strings.Repeat("x", 501)})),
		"adminAddClient invalid_client_metadata": administratorAsks("POST", "clients", aClient(m{"grant_types": []string{"implicit"}})),
		"adminAddClient invalid_redirect_uri":    administratorAsks("POST", "clients", aClient(m{"redirect_uris": []string{"http://shop.example.net/cb"}})),
		"adminAddClient client_taken":            registering("POST", "", aClient(nil)),
		"adminAddClient client_ending": func(s *site) *reply {
			root := s.administrator()
			s.told("shop", time.Now().Add(time.Minute))
			return root.post("admin/clients", aClient(nil))
		},

		"adminGetClient admin_needed":   outsider("GET", "clients/shop"),
		"adminGetClient unknown_client": administratorAsks("GET", "clients/nobody", nil),

		"adminChangeClient admin_needed":            outsider("PATCH", "clients/shop"),
		"adminChangeClient unknown_client":          administratorAsks("PATCH", "clients/nobody", m{"name": "x"}),
		"adminChangeClient reason_too_long":         registering("PATCH", "/shop", m{"reason": strings.Repeat("x", 501)}),
		"adminChangeClient invalid_client_metadata": registering("PATCH", "/shop", m{"grant_types": []string{}}),
		"adminChangeClient invalid_redirect_uri":    registering("PATCH", "/shop", m{"redirect_uris": []string{"http://shop.example.net/cb"}}),
		"adminChangeClient client_ending": func(s *site) *reply {
			root := s.administrator()
			s.register(nil)
			root.do("PATCH", "/api/v1/admin/clients/shop", m{"disabled": true}).want(200)
			s.told("shop", time.Now().Add(time.Minute))
			return root.do("PATCH", "/api/v1/admin/clients/shop", m{"disabled": false})
		},

		"adminRemoveClient admin_needed":      outsider("DELETE", "clients/shop"),
		"adminRemoveClient unknown_client":    administratorAsks("DELETE", "clients/nobody", nil),
		"adminRemoveClient reason_too_long":   registering("DELETE", "/shop?reason="+strings.Repeat("x", 501), nil),
		"adminRemoveClient unknown_parameter": registering("DELETE", "/shop?rol=x", nil),
		"adminRemoveClient bad_parameter":     registering("DELETE", "/shop?reason=x&reason=y", nil),

		"adminRotateClientSecret admin_needed":            outsider("POST", "clients/shop/secret"),
		"adminRotateClientSecret unknown_client":          administratorAsks("POST", "clients/nobody/secret", m{}),
		"adminRotateClientSecret reason_too_long":         registering("POST", "/shop/secret", m{"reason": strings.Repeat("x", 501)}),
		"adminRotateClientSecret overlap_malformed":       registering("POST", "/shop/secret", m{"overlap": 31 * 24 * 3600}),
		"adminRotateClientSecret invalid_client_metadata": registering("POST", "/shop/secret", m{"secret": "hunter2"}),
		"adminRotateClientSecret client_without_secret": func(s *site) *reply {
			root := s.administrator()
			s.register(func(c *server.NewClient) { c.Public = true })
			return root.post("admin/clients/shop/secret", m{})
		},
		"adminRotateClientSecret too_many_secrets": func(s *site) *reply {
			root := s.administrator()
			s.register(nil)
			for range 4 {
				root.post("admin/clients/shop/secret", m{}).want(200)
			}
			return root.post("admin/clients/shop/secret", m{})
		},
	}
	return all
}
