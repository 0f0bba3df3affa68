package copies

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/admit-auth/admit/session"
)

// channel, behind the prefix, carries the messages.
const channel = "changes"

// Run looks at the generation, tries the way to Redis and follows the messages,
// until ctx ends.
func (c *Copies) Run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	defer c.redis.close()
	work.Go(func() { c.follow(ctx) })
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for ctx.Err() == nil {
		c.takeKeys()
		err := c.lookOnce(ctx)
		c.why.Store(&err)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// lookOnce is what Run does at each beat.
func (c *Copies) lookOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c.forgetEndings(time.Now())
	run := ""
	if !c.redis.up.Load() {
		var err error
		if run, err = c.redis.probe(); err != nil {
			// The generation is known all the same: what is near may not go by it.
			c.mu.Lock()
			defer c.mu.Unlock()
			known := c.readGeneration(ctx)
			if known == nil {
				c.tidy(ctx)
			}
			return errors.Join(err, ignoreAbsent(known))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.readGeneration(ctx)
	if errors.Is(err, session.ErrNotFound) {
		// There never was one, or the database was put back to before that.
		c.generation.Store(&generation{})
	} else if err != nil {
		return err
	}
	if run != "" {
		// Of several that may answer to the name, all processes must use one.
		if run != c.generation.Load().run {
			if err := c.begin(ctx, run); err != nil {
				return err
			}
		}
		c.redis.up.Store(true)
	}
	if c.generation.Load().run == "" {
		c.redis.up.Store(false) // so that the next look begins one
		return errWithout
	}
	c.tidy(ctx)
	return nil
}

func ignoreAbsent(err error) error {
	if errors.Is(err, session.ErrNotFound) {
		return nil
	}
	return err
}

// tidy forgets again what may have been written since: in Redis, or where that cannot be
// told by another generation. What could not be done is for the next time. The copies are
// locked.
func (c *Copies) tidy(ctx context.Context) {
	now := time.Now()
	var due, names, messages []string
	for key, at := range c.later {
		if now.Before(at) {
			continue
		}
		due = append(due, key)
		names, messages = append(names, c.name(key)), append(messages, c.message(key, false))
	}
	if len(due) == 0 {
		return
	}
	told := c.redis.up.Load() && !slices.Contains(due, tooMany) && c.redis.forget(c.generation.Load().run, c.o.Prefix+channel, names, messages) == nil
	if !told && c.begin(ctx, "") != nil {
		return
	}
	for _, key := range due {
		delete(c.later, key)
		switch {
		case key == tooMany:
			c.forgetNear()
		case c.near != nil:
			c.near.Forget(key) // now that nobody can fill it with what was before
		}
	}
}

// forgetEndings forgets those that no copy is older than, also while Redis is away.
func (c *Copies) forgetEndings(now time.Time) {
	c.ended.Range(func(key, until any) bool {
		if now.After(until.(time.Time)) {
			c.ended.CompareAndDelete(key, until) // it may have ended again
		}
		return true
	})
}

// follow subscribes again and again.
func (c *Copies) follow(ctx context.Context) {
	for ctx.Err() == nil {
		if g := *c.generation.Load(); c.redis.up.Load() && g.run != "" {
			_ = c.subscribe(ctx, g.run) // why is told where the way is tried
		}
		select {
		case <-ctx.Done():
		case <-time.After(beat / 5):
		}
	}
}

// subscribe follows the messages of a server's run until that fails.
func (c *Copies) subscribe(ctx context.Context, run string) error {
	k, err := c.redis.dial()
	if err != nil {
		return err
	}
	defer k.Close()
	if k.run != run {
		return errOther
	}
	sub := redis.PubSubConn{Conn: k.Conn}
	asked := time.Now()
	if err := sub.Subscribe(c.o.Prefix + channel); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { k.Close() })
	defer stop()

	// A ping on the same way: when it is back, everything that was published before
	// it was sent has arrived.
	var sent atomic.Int64
	done := make(chan struct{})
	var pings sync.WaitGroup
	defer pings.Wait()
	defer close(done)
	pings.Go(func() {
		tick := time.NewTicker(beat)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			at := int64(time.Since(c.began))
			sent.Store(at)
			if sub.Ping(strconv.FormatInt(at, 10)) != nil {
				return
			}
		}
	})
	for {
		switch m := sub.ReceiveWithTimeout(session.NearLease).(type) {
		case redis.Subscription:
			// Nobody knows what was missed.
			c.forgetNear()
			if c.wake != nil {
				c.wake()
			}
			c.hear(0, asked)
		case redis.Pong:
			at, err := strconv.ParseInt(m.Data, 10, 64)
			if err != nil || at > sent.Load() {
				return errors.New("an answer to no question")
			}
			if c.generation.Load().run != run {
				return errOther
			}
			c.hear(0, c.began.Add(time.Duration(at)))
		case redis.Message:
			c.take(string(m.Data))
		case error:
			return m
		}
	}
}

// take takes in a message.
func (c *Copies) take(text string) {
	sender, key, ends, err := c.readMessage(text)
	switch {
	case errors.Is(err, errUnknownKey):
		// A key that another process made a moment ago; or nobody's.
		c.takeKeys()
		if sender, key, ends, err = c.readMessage(text); err != nil {
			c.forged.Add(1)
			// It may be true: what is near is read again.
			c.forgetNear()
			return
		}
	case err != nil:
		c.forged.Add(1)
		return
	}
	if sender == c.sender {
		return // what we wrote we have forgotten ourselves
	}
	if c.near != nil {
		c.near.Forget(key)
	}
	if c.forget != nil {
		c.forget(key)
	}
	if ends && c.wake != nil {
		c.wake()
	}
}
