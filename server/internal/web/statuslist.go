package web

import (
	"net/http"
	"strconv"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/statuslist"
)

// statusList answers with a status list. It is for everybody, as the keys are
// that it is signed with, and tells of nobody.
func (c *call) statusList() error {
	n, err := strconv.ParseUint(c.named("list"), 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != c.named("list") {
		return account.ErrNoStatusList
	}
	token, err := c.Accounts.StatusList(c.r.Context(), n, time.Now())
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(int(account.StatusAge/time.Second)))
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("Content-Type", "application/"+statuslist.Type)
	h.Set("Content-Length", strconv.Itoa(len(token)))
	c.begin(http.StatusOK)
	c.w.Write([]byte(token)) // who is gone needs no answer
	return nil
}
