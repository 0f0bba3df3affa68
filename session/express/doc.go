// Package express shares sessions with servers that run Express.
//
// Most programs need [New] and [Manager.Update]:
//
//	secrets, err := express.NewSecrets(secret)
//	store, err := express.NewRedis(client, nil)
//	sessions, err := express.New(store, secrets, nil)
//	…
//	s, err := sessions.Update(w, r, func(d *express.Data) error { return d.Set("cart", cart) })
//
// The cookie, the keys and the records are express-session's byte for byte, so
// that a team moves route by route from Node to Go while both serve one site.
// [Cookies] are single cookies as cookie-parser and res.cookie have them, and a
// [CookieSession] is cookie-session's.
//
// Sessions of programs that share nothing with Express belong in package
// session: there the store never sees what a browser presents, and an ended
// session is told from an unknown one.
package express
