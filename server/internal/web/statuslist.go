package web

import (
	"strconv"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/statuslist"
)

var (
	statusListType = []string{"application/" + statuslist.Type}
	statusListAge  = maxAge(account.StatusAge)
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
	return c.publish(statusListType, statusListAge, nil, []byte(token))
}
