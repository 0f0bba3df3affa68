// Command beside is an app of your own next to a running admit server: it asks
// the server who its visitor is, and serves both under one address.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
)

// A visitor is the part of admit's answer that this app needs.
type visitor struct {
	User *struct { // nil for a guest
		ID          string `json:"id"` // what to keep beside what is the user's: names change
		Name        string `json:"name"`
		Identifiers []struct {
			Value   string `json:"value"`
			Primary bool   `json:"primary"`
		} `json:"identifiers"`
		Roles []string `json:"roles"`
	} `json:"user"`
}

// who asks admit about the cookies that the visitor sent. It is nil where nobody
// is signed in, and an error where that cannot be told.
func who(admit string, w http.ResponseWriter, r *http.Request) (*visitor, error) {
	ask, err := http.NewRequestWithContext(r.Context(), "GET", admit+"/api/v1/session", nil)
	if err != nil {
		return nil, err
	}
	ask.Header["Cookie"] = r.Header["Cookie"]
	res, err := http.DefaultClient.Do(ask)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
		w.Header()["Set-Cookie"] = res.Header["Set-Cookie"] // a session that is used is renewed
		v := &visitor{}
		return v, json.NewDecoder(res.Body).Decode(v)
	case http.StatusUnauthorized:
		return nil, nil
	}
	return nil, fmt.Errorf("admit answers %s", res.Status)
}

var page = template.Must(template.New("").Parse(`<!doctype html><title>Notes</title>
<p>Hello {{with .Name}}{{.}}{{else}}{{range .Identifiers}}{{if .Primary}}{{.Value}}{{end}}{{end}}{{end}}. <a href="/account">Your account</a>
`))

// app is the whole site: the app's own page, and admit behind all else.
func app(admit *url.URL) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /notes", func(w http.ResponseWriter, r *http.Request) {
		v, err := who(admit.String(), w, r)
		switch {
		case err != nil:
			log.Print(err)
			http.Error(w, "Please try again in a moment.", http.StatusServiceUnavailable)
		case v == nil || v.User == nil:
			http.Redirect(w, r, "/signin?return_to=/notes", http.StatusSeeOther)
		default:
			page.Execute(w, v.User)
		}
	})
	mux.Handle("/", &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(admit)
		p.Out.Host = p.In.Host // admit compares it with where forms come from
	}})
	return mux
}

func main() {
	listen := flag.String("listen", "localhost:3000", "where the site is")
	admit := flag.String("admit", "http://localhost:8080", "where admit is")
	flag.Parse()
	u, err := url.Parse(*admit)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("http://%s/notes", *listen)
	log.Fatal(http.ListenAndServe(*listen, app(u)))
}
