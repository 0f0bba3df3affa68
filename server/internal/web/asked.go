package web

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit"
)

// What a form asked for stays in the browser while its user proves once more who
// it is: nothing is typed twice.

// askedLife is for how long; there is no hurry to find a password.
const askedLife = 15 * time.Minute

// keepAsked keeps what was asked for, where err says that a proof is needed
// first. Secrets are not kept, nor what is too long for a cookie: that is asked
// for again.
func (c *call) keepAsked(err error) {
	if !errors.Is(err, admit.ErrProof) || c.r.Method != "POST" {
		return
	}
	i, _, err := c.holder()
	if err != nil {
		return
	}
	fields := url.Values{}
	if c.r.PostForm.Has("credential") {
		return // its question has been answered
	}
	for name, values := range c.r.PostForm {
		if !strings.Contains(name, "password") {
			fields[name] = values
		}
	}
	if len(fields) > 0 {
		_ = c.asked.Set(c.w, []byte(i.SID+" "+c.r.URL.Path+" "+fields.Encode()))
	}
}

// pressed is what a button says that sends this field, "" where the field says
// too little.
func (c *call) pressed(name, value string) string {
	switch name {
	case "identifier":
		return c.say("asked.identifier", value)
	case "primary":
		return c.say("asked.primary", value)
	case "remove":
		return c.say("asked.remove", value)
	case "confirm":
		return c.say("asked.confirm", value)
	case "forget":
		return c.say("asked.forget")
	case "demand":
		return c.say("asked.demand")
	case "name": // of an API key
		return c.say("asked.name", value)
	}
	return ""
}

// A wish is what a form asked for.
type wish struct {
	Action, Submit string
	Fields         []wished
}

type wished struct{ Name, Value string }

// wish returns what the session asked for at a path, if anything.
func (c *call) wish(sid string) (w wish, ok bool) {
	value, err := c.asked.Get(nil, c.r)
	if err != nil {
		return w, false
	}
	parts := strings.SplitN(string(value), " ", 3)
	if len(parts) != 3 || parts[0] != sid {
		return w, false // somebody else has signed in here since
	}
	in, err := url.ParseQuery(parts[2])
	if err != nil {
		return w, false
	}
	w.Action, w.Submit = parts[1], c.say("asked.go")
	for name := range in {
		w.Fields = append(w.Fields, wished{name, in.Get(name)})
		if text := c.pressed(name, in.Get(name)); text != "" {
			w.Submit = text
		}
	}
	slices.SortFunc(w.Fields, func(a, b wished) int { return strings.Compare(a.Name, b.Name) })
	return w, true
}

// askedPage says what was asked for on a button that asks for it: with another
// press, for what follows a redirect must change nothing.
func (c *call) askedPage() error {
	p, i, err := c.member("asked")
	if err != nil {
		return err
	}
	w, ok := c.wish(i.SID)
	if !ok {
		return c.seeOther("/account")
	}
	c.asked.Delete(c.w)
	p.Data = w
	return c.show(http.StatusOK, p)
}
