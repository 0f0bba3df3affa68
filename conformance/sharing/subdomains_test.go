package sharing

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/session"
)

type visit struct{ Count int }

// signedIn answers with who is asking.
func signedIn(sessions *session.Manager[visit]) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, err := sessions.Load(r)
		if err != nil {
			fmt.Fprintln(w, "nobody:", err)
			return
		}
		fmt.Fprintf(w, "signed in as %s at %s", s.Subject, r.Host)
	}
}

func signIn(sessions *session.Manager[visit]) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, err := sessions.Start(w, r, r.FormValue("as"), nil)
		if err != nil {
			problem.Write(w, err, "")
			return
		}
		fmt.Fprintf(w, "welcome %s at %s", s.Subject, r.Host)
	}
}

func signOut(sessions *session.Manager[visit]) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.End(w, r, "signed_out"); err != nil {
			problem.Write(w, err, "")
			return
		}
		fmt.Fprintf(w, "goodbye at %s", r.Host)
	}
}

// Each app has a manager of its own over the store that they share, as in
// docs/how-to/share-sessions-between-sub-domains.md.
func TestAppsOnSubDomainsShareSessionsAndAPlantedOneIsCaught(t *testing.T) {
	web := newWeb(t)
	store := session.NewMemory(nil)
	for _, host := range []string{"app.one.test", "shop.one.test"} {
		sessions, err := session.New[visit](store, &session.Options{Domain: "one.test"})
		if err != nil {
			t.Fatal(err)
		}
		mux := http.NewServeMux()
		mux.HandleFunc("/signin", signIn(sessions))
		mux.HandleFunc("/signout", signOut(sessions))
		mux.HandleFunc("/", signedIn(sessions))
		web.serve(host, sessions.Handler(mux))
	}
	// A page on another sub-domain, which is not ours, and another site.
	planted := ""
	web.serve("evil.one.test", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" { // and not with its icon, whenever the browser asks for that
			w.Header().Add("Set-Cookie", planted)
		}
		fmt.Fprint(w, "hello")
	}))
	web.serve("app.two.test", web.host("app.one.test"))

	ann := web.browser("")
	ann.open("https://app.one.test/signin?as=ann", "welcome ann")
	ann.open("https://shop.one.test/", "signed in as ann at shop.one.test")
	ann.open("https://app.two.test/", "nobody")
	ann.open("https://shop.one.test/signout", "goodbye")
	ann.open("https://app.one.test/", "nobody")

	// Mallory has a good session of her own, and plants its cookie.
	mallory := web.server.Client()
	r, err := http.NewRequest("GET", web.server.URL+"/signin?as=mallory", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "app.one.test"
	res, err := mallory.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	good := res.Cookies()[0]
	if good.Name != "__Secure-session" || good.Domain != "one.test" || !good.Secure || !good.HttpOnly {
		t.Fatalf("the cookie is %s", good)
	}
	for _, attributes := range []string{"; Domain=one.test; Path=/account; Secure", "; Domain=one.test; Path=/account; Secure; HttpOnly; SameSite=Lax"} {
		ann.open("https://app.one.test/signin?as=ann", "welcome ann")
		planted = good.Name + "=" + good.Value + attributes
		ann.open("https://evil.one.test/", "hello")
		ann.open("https://app.one.test/account/cards", "sent two different sessions")
		// Both are cleared: neither is taken from now on.
		ann.open("https://app.one.test/account/cards", "nobody")
		ann.open("https://app.one.test/", "nobody")
	}
	// Junk of the name hides nothing.
	ann.open("https://app.one.test/signin?as=ann", "welcome ann")
	planted = good.Name + "=junk; Domain=one.test; Path=/account; Secure"
	ann.open("https://evil.one.test/", "hello")
	ann.open("https://app.one.test/account/cards", "signed in as ann")
}
