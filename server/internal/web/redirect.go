package web

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/admit-auth/admit/problem"
)

// Redirect returns what answers plain HTTP where HTTPS is ours to speak: it leads
// browsers there. What carries a secret was already read by whoever listens on
// the way; it is refused, so that the program's author sees it.
func Redirect(publicURL string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		secret := r.Header.Get("Authorization") != "" || strings.HasPrefix(r.URL.Path, "/api/")
		if r.Method != "GET" && r.Method != "HEAD" || secret {
			problem.Write(w, errHTTPS.WithHint("Use "+publicURL), "")
			return
		}
		h.Set("Location", at(publicURL, r.URL))
		w.WriteHeader(http.StatusPermanentRedirect)
	})
}

// at returns the address of u's path and query at an origin. A request may name
// something without a slash ("GET http:.evil.example"), which would change the
// host.
func at(origin string, u *url.URL) string {
	path := u.EscapedPath()
	if !strings.HasPrefix(path, "/") {
		path = "/"
	}
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	return origin + path
}
