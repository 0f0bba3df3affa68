package web

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/problem"
)

// The development inbox shows codes and links of everybody, so it is for
// whoever sees the terminal of this machine: it opens with a key that is
// printed there, and is not there at all for a request that came through a
// proxy, which listens on a loopback address and still serves the world.

// forwarding are the beginnings of the headers by which proxies tell whom they
// ask for.
var forwarding = []string{
	"Forwarded", "Via", "X-Forwarded", "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "X-Original-", "X-Envoy-", "X-Proxy",
	"X-Azure-", "X-Arr-", "X-Amzn-", "X-Appengine-", "True-Client-Ip", "Client-Ip", "Cf-", "Fastly-", "Fly-", "Cdn-Loop",
}

// local reports whether a program of this machine asks by itself.
func (c *call) local() bool {
	peer, err := netip.ParseAddrPort(c.r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return false
	}
	for name := range c.r.Header {
		if slices.ContainsFunc(forwarding, func(begin string) bool { return strings.HasPrefix(name, begin) }) {
			return false
		}
	}
	return true
}

// local hides a page from all but programs of this machine.
func local(h handler) handler {
	return func(c *call) error {
		if !c.local() {
			return problem.ErrNotFound
		}
		return h(c)
	}
}

// near makes a refusal tell no more to others than that there is nothing.
func near(fail func(*call, error)) func(*call, error) {
	return func(c *call, err error) {
		if !c.local() {
			c.w.Header().Del("Allow")
			err = problem.ErrNotFound
		}
		fail(c, err)
	}
}

func (c *call) isKey(text string) bool { return c.Dev.Key.Equal(admit.NewSecret(text)) }

// unlocked reports whether this browser has opened the inbox before, with the
// key of this very start.
func (c *call) unlocked() bool {
	key, err := c.inbox.Get(nil, c.r)
	return err == nil && c.isKey(string(key))
}

// A mail is one that would have been sent.
type mail struct {
	To, Subject, Text, Code string
	Links                   []string
	At                      moment
}

func (c *call) inboxPage() error {
	if q := c.r.URL.Query(); q.Has("key") {
		c.w.Header().Set("Referrer-Policy", "no-referrer")
		if !c.isKey(q.Get("key")) {
			return errInbox
		}
		if err := c.inbox.Set(c.w, []byte(q.Get("key"))); err != nil {
			return err
		}
		return c.seeOther("/dev/inbox")
	}
	if !c.unlocked() {
		return errInbox
	}
	p := c.page("inbox")
	var all []mail
	for _, m := range c.Dev.Inbox.Messages() {
		all = append(all, mail{m.To, m.Subject, m.Text, m.Code, m.Links, c.moment(m.At)})
	}
	p.Data = all
	return c.show(http.StatusOK, p)
}

func (c *call) inboxJSON() error {
	if !c.isKey(c.r.URL.Query().Get("key")) && !c.unlocked() {
		return errInbox
	}
	type message struct {
		ID      int64     `json:"id"`
		To      string    `json:"to"`
		Channel string    `json:"channel"`
		Subject string    `json:"subject"`
		Text    string    `json:"text"`
		HTML    string    `json:"html"`
		Links   []string  `json:"links"`
		Code    string    `json:"code"`
		At      time.Time `json:"at"`
	}
	out := struct {
		Messages []message `json:"messages"`
	}{[]message{}}
	for _, m := range c.Dev.Inbox.Messages() {
		out.Messages = append(out.Messages, message{m.ID, m.To, m.Channel, m.Subject, m.Text, m.HTML, append([]string{}, m.Links...), m.Code, shown(m.At)})
	}
	return c.json(http.StatusOK, out)
}
