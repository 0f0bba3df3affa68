package express_test

import (
	"crypto/sha256"
	"fmt"
	"net/http/httptest"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/session/express"
)

func ExampleCookies() {
	secrets, err := express.NewSecrets(admit.NewSecret("new-secret"), admit.NewSecret("old-secret"))
	if err != nil {
		panic(err)
	}
	cookies := express.NewCookies(secrets)

	// This is what the browser sends back after res.cookie('c', {a: 1}, {signed: true}).
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cookie", "c=s%3Aj%3A%7B%22a%22%3A1%7D.lH1cATXKIyTM8S5fHlonXssbMpePoAz5dOeUpNyZp2A")
	v, err := cookies.GetSigned(r, "c")
	if err != nil {
		panic(err)
	}
	var c struct{ A int }
	fmt.Println(v, v.Decode(&c), c.A)

	w := httptest.NewRecorder()
	err = cookies.Set(w, "theme", express.Text("dark blue"), &express.CookieOptions{HttpOnly: true, Secure: true})
	fmt.Println(w.Header().Get("Set-Cookie"), err)
	// Output:
	// j:{"a":1} <nil> 1
	// theme=dark%20blue; Path=/; HttpOnly; Secure <nil>
}

func ExampleCookieSession() {
	keys, err := express.NewKeygrip(sha256.New, admit.NewSecret("k1"))
	if err != nil {
		panic(err)
	}
	sessions, err := express.NewCookieSession("session", keys, nil)
	if err != nil {
		panic(err)
	}
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	d, err := sessions.Update(w, r, func(d *express.Data) error { return d.Set("a", 1) })
	if err != nil {
		panic(err)
	}
	fmt.Println(d.JSON())
	for _, line := range w.Header()["Set-Cookie"] {
		fmt.Println(line)
	}
	// Output:
	// {"a":1}
	// session=eyJhIjoxfQ==; path=/; httponly
	// session.sig=I6A1B40xaZAPLPQwLLQV9GkMkpyvxjvT8reDDedcSoU; path=/; httponly
}
