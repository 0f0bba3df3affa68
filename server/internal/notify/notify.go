// Package notify delivers what the outbox holds.
//
// [Run] takes messages from the account service and hands them to a [Sender]:
// [SMTP], a [Webhook] or [Twilio] for text messages, the [Inbox] of development.
package notify

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

// A Sender sends one message. What it knows of a failure it tells as an
// *account.Failure. It may be used by several goroutines.
type Sender interface {
	Send(ctx context.Context, m account.Message) error
}

const (
	// atOnce is how many messages of a channel are sent at once.
	atOnce = 8
	// atOnceTo is how many of them may go to one domain, whose servers may be
	// slow: the other half is everybody else's.
	atOnceTo = atOnce / 2
	// sendTime bounds one message. It is less than account.ClaimLife, so that no
	// other server takes it for abandoned.
	sendTime = 60 * time.Second
	// parting is for what is being sent when the server stops.
	parting = 5 * time.Second
	// quiet is between two lines of the log about failures that pass.
	quiet = 10 * time.Second
)

// A lane is one channel. Its fields are those of the goroutine that runs it.
type lane struct {
	channel string
	to      Sender
	busy    map[string]int // recipients, and domains of recipients
	sending int
	told    time.Time // of a failure
}

// Run delivers until ctx ends: at once when something was posted, and each second
// what failed before. By what a message goes, "mail" or "text", says who sends it.
// What is being sent when ctx ends has five seconds more.
func Run(ctx context.Context, accounts *account.Service, senders map[string]Sender, log *slog.Logger) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	// Half a message is worse than a late stop.
	sends, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var lanes []*lane
	for _, channel := range slices.Sorted(maps.Keys(senders)) {
		lanes = append(lanes, &lane{channel: channel, to: senders[channel], busy: map[string]int{}})
	}
	type result struct {
		lane    *lane
		claimed account.Claimed
		failed  error
		givenUp bool
		err     error // of the outbox
	}
	results := make(chan result)
	under := 0
	finish := func(r result) {
		under--
		r.lane.count(r.claimed.To, -1)
		r.lane.tell(ctx, log, r.claimed, r.failed, r.givenUp, time.Now())
		if r.err != nil {
			log.LogAttrs(ctx, slog.LevelError, "a message that was handed over may be sent again", slog.Int64("id", r.claimed.ID), slog.Any("error", r.err))
		}
	}
	for {
		for _, l := range lanes {
			if l.sending == atOnce {
				continue
			}
			claimed, err := accounts.Claim(ctx, l.channel, atOnce-l.sending, l.wants(), time.Now())
			if err != nil && ctx.Err() == nil {
				log.LogAttrs(ctx, slog.LevelError, "the outbox cannot be read", slog.Any("error", err))
			}
			for _, c := range claimed {
				l.count(c.To, 1)
				under++
				go func() {
					r := result{lane: l, claimed: c}
					r.failed, r.givenUp, r.err = deliver(sends, accounts, c, l.to)
					results <- r
				}()
			}
		}
		select {
		case <-ctx.Done():
			defer time.AfterFunc(parting, cancel).Stop()
			for under > 0 {
				finish(<-results)
			}
			return
		case r := <-results:
			finish(r)
		case <-accounts.Mail():
		case <-tick.C:
		}
	}
}

// deliver sends one message and settles it. A database that is away for a moment
// must not make it two.
func deliver(ctx context.Context, accounts *account.Service, c account.Claimed, to Sender) (failed error, givenUp bool, err error) {
	bounded, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	failed = accounts.Send(bounded, c, to.Send)
	for tries := 0; ; tries++ {
		if givenUp, err = accounts.Settle(ctx, c, failed, time.Now()); err == nil || tries == 20 || ctx.Err() != nil {
			return failed, givenUp, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// wants returns what says of messages, one after the other, whether this lane has
// a place for them: one recipient gets one at a time, and one domain not all.
func (l *lane) wants() func(account.Message) bool {
	busy := maps.Clone(l.busy)
	return func(m account.Message) bool {
		domain := domainOf(m.To)
		if busy[m.To] > 0 || domain != "" && busy[domain] >= atOnceTo {
			return false
		}
		busy[m.To]++
		busy[domain]++
		return true
	}
}

// count notes that a message is being sent, or with -1 that it is no more.
func (l *lane) count(to string, n int) {
	l.sending += n
	for _, key := range []string{to, domainOf(to)} {
		if l.busy[key] += n; l.busy[key] <= 0 {
			delete(l.busy, key)
		}
	}
}

// domainOf returns the domain of an address, with its @, so that it is nobody's
// address; "" of a phone number.
func domainOf(to string) string {
	if i := strings.LastIndexByte(to, '@'); i >= 0 {
		return to[i:]
	}
	return ""
}

// tell logs a failure: of those that pass not each, for a server that is down
// fails all that waits.
func (l *lane) tell(ctx context.Context, log *slog.Logger, c account.Claimed, failed error, givenUp bool, now time.Time) {
	if failed == nil || !givenUp && now.Sub(l.told) < quiet {
		return
	}
	says := "a message was not sent and waits for another try"
	if givenUp {
		says = "a message was not sent and is given up"
	} else {
		l.told = now
	}
	log.LogAttrs(ctx, slog.LevelWarn, says, slog.String("channel", l.channel), slog.Int64("id", c.ID), slog.String("message", c.Name), slog.Any("error", failed))
}

// cutShort is an error without what could tell of people: what a server says about
// a message names its recipient.
func cutShort(err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("it took too long")
	case errors.Is(err, context.Canceled):
		return errors.New("the server stopped")
	}
	return err
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
	// Several are sent at once, but the latest is that which was posted last.
	at, _ := slices.BinarySearchFunc(i.messages, m, func(a, b account.Message) int { return b.At.Compare(a.At) })
	i.messages = slices.Insert(i.messages, at, m)
	i.messages = i.messages[:min(len(i.messages), inboxSize)]
	return nil
}

// Messages returns what has arrived, latest first.
func (i *Inbox) Messages() []account.Message {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.messages)
}
