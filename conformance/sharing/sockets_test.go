package sharing

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/admit-auth/admit/session"
)

const socketsPage = `<!doctype html><title>sockets</title><p id=stream>no stream<p id=socket>no socket
<script>
const say = (id, text) => document.getElementById(id).textContent = id + " " + text
const stream = new EventSource("/events")
stream.onopen = () => say("stream", "open")
stream.addEventListener("over", e => { say("stream", "over: " + e.data); stream.close() })
const socket = new WebSocket("wss://app.one.test/socket")
socket.onopen = () => say("socket", "open")
socket.onclose = e => say("socket", "closed " + e.code + ": " + e.reason)
</script>`

func TestSocketsInChromiumCloseWhenAnotherTabSignsOut(t *testing.T) {
	web := newWeb(t)
	sessions, err := session.New[visit](session.NewMemory(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", newApp(sessions))
	mux.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, socketsPage)
	})
	web.serve("app.one.test", mux)
	page := web.browser("")
	other := page.tab()
	page.open("https://app.one.test/signin?as=ann", "welcome ann")
	page.open("https://app.one.test/page", "stream open")
	page.says("socket open")
	other.open("https://app.one.test/signout", "goodbye")
	page.says("stream over: This session has been ended.")
	page.says("socket closed 1008: This session has been ended.")

	// A page of another site gets no socket, though the browser sends the cookie
	// along where it is of the same site.
	page.open("https://app.one.test/signin?as=ann", "welcome ann")
	web.serve("evil.one.test", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, socketsPage)
	}))
	page.open("https://evil.one.test/", "socket closed 1006")
}
