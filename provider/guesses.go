package provider

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// A budget is how many are heard: so many at once, and then one each time.
type budget struct {
	burst int
	each  time.Duration
}

// Those of user codes that are no device's: of one person, of one network, and of
// everybody. Nobody is shut out because the last is spent, for that would be a lever
// against all: beyond it only those are heard that have not missed of late. So a guess
// more costs an account and a network more.
var (
	missesOfPerson    = budget{10, 10 * time.Minute}
	missesOfNetwork   = budget{50, time.Minute}
	missesOfEverybody = budget{1000, time.Second}
)

// Devices of clients that prove nothing: anybody can say that he is one, and each is a row.
var devicesOfNetwork = budget{100, time.Second}

// maxCounted bounds the memory of counts, to some 10 MB.
const maxCounted = 100_000

// counts are budgets that are spent, in the process's memory: each by the time when it is
// whole again. Several processes have one each.
type counts struct {
	mu   sync.Mutex
	full map[string]time.Time // guarded by mu
}

// A charge is what one thing costs one budget.
type charge struct {
	key string
	of  budget
}

// wait is how long until a budget has room for one more, which makes it whole at next.
func (b budget) wait(full, now time.Time) (wait time.Duration, next time.Time) {
	if full.Before(now) {
		full = now
	}
	next = full.Add(b.each)
	return max(0, next.Sub(now)-time.Duration(b.burst)*b.each), next
}

// take charges own and common, or nothing and says how long to wait. Where common has no
// room, who owes something waits for it. Refund gives back what was no guess.
func (c *counts) take(common charge, now time.Time, own ...charge) (refund func(), wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.full == nil || len(c.full) > maxCounted {
		c.sweep(now)
	}
	// Nobody shares a budget for want of an address.
	own = slices.DeleteFunc(own, func(each charge) bool { return each.key == "" })
	busy, _ := common.of.wait(c.full[common.key], now)
	for _, each := range own {
		w, _ := each.of.wait(c.full[each.key], now)
		if w == 0 && busy > 0 && c.full[each.key].After(now) {
			w = busy
		}
		wait = max(wait, w)
	}
	if wait > 0 {
		return nil, wait
	}
	if busy == 0 && common.key != "" {
		own = append(own, common)
	}
	for _, each := range own {
		_, c.full[each.key] = each.of.wait(c.full[each.key], now)
	}
	return func() { c.refund(own) }, 0
}

func (c *counts) refund(all []charge) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, each := range all {
		if full, ok := c.full[each.key]; ok {
			c.full[each.key] = full.Add(-each.of.each)
		}
	}
}

// sweep forgets what is whole; and where a flood of keys owes, all but what everybody does.
func (c *counts) sweep(now time.Time) {
	kept := map[string]time.Time{}
	for key, full := range c.full {
		if full.After(now) {
			kept[key] = full
		}
	}
	if len(kept) > maxCounted/2 {
		kept = map[string]time.Time{everybody: kept[everybody]}
	}
	c.full = kept
}

const everybody = "everybody"

// network is what counts as one neighbour, "" where that is not known: of IPv6 the /64,
// which one customer has whole. This machine is one, by whichever of its addresses: where
// people try it out, localhost is ::1 to the browser and 127.0.0.1 to the device.
func network(from netip.Addr) string {
	from = from.Unmap().WithZone("")
	switch {
	case !from.IsValid():
		return ""
	case from.IsLoopback():
		return "loopback"
	case from.Is6():
		p, _ := from.Prefix(64)
		return p.String()
	}
	return from.String()
}
