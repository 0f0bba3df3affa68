// Package notify delivers what the outbox holds.
//
// [Run] takes messages from the account service and hands them to a [Sender].
// The only one so far is the development [Inbox].
package notify

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

// A Sender sends one message.
type Sender interface {
	Send(ctx context.Context, m account.Message) error
}

// Run delivers until ctx ends: at once when something was posted, and each
// second what failed before.
func Run(ctx context.Context, accounts *account.Service, to Sender, log *slog.Logger) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if _, err := accounts.Deliver(ctx, time.Now(), to.Send); err != nil && ctx.Err() == nil {
			log.LogAttrs(ctx, slog.LevelError, "mail waits in the outbox", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-accounts.Mail():
		case <-tick.C:
		}
	}
}

// inboxSize is how many messages an Inbox keeps.
const inboxSize = 200

// An Inbox keeps the latest messages in memory, for development.
type Inbox struct {
	mu       sync.Mutex
	messages []account.Message // guarded by mu; latest first
}

// Send implements Sender.
func (i *Inbox) Send(_ context.Context, m account.Message) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.messages = slices.Insert(i.messages, 0, m)
	i.messages = i.messages[:min(len(i.messages), inboxSize)]
	return nil
}

// Messages returns what has arrived, latest first.
func (i *Inbox) Messages() []account.Message {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.messages)
}
