package linear

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// maxSessions of one user are in a history.
const maxSessions = 16

// A kind is what a client does.
type kind uint8

const (
	begin kind = iota // a session, by signing in or as a guest
	update
	read
	end
	endAll // sessions of the user
	renew  // sign in with a session: it ends, and what is in it goes on in another
	// The second half of renew: the other session begins. Between the two all may be
	// ended, which the new one is no part of.
	renewed
)

func (k kind) String() string {
	return [...]string{"begin", "update", "read", "end", "end all", "renew", "renewed"}[k]
}

// An answer is what a client was told.
type answer uint8

const (
	unknown answer = iota // it may have happened, or may yet
	done
	none // there is no such session any more
)

// An op is one call. Sessions are known by numbers, in the order of the calls
// that begin them.
type op struct {
	kind    kind
	client  int
	session int
	next    int  // of renew: the session that begins
	guest   bool // of begin
	forgets bool // the store may have forgotten any session by the time of the answer
	undoes  bool // it may have undone by then what nobody was answered, though others saw it
	call    time.Duration
	ret     time.Duration
	answer  answer
	n       int // the count that was told
}

func (o op) String() string {
	text := fmt.Sprintf("%10v to %10v  client %d  %s %d", o.call.Round(time.Microsecond), o.ret.Round(time.Microsecond), o.client, o.kind, o.session)
	if o.kind == renew || o.kind == renewed {
		text += fmt.Sprint(" to ", o.next)
	}
	if o.guest {
		text += ", a guest's"
	}
	return text + [...]string{": not known", fmt.Sprint(": ", o.n), ": none"}[o.answer]
}

// A state is what a user's sessions are; the zero state is that there are none.
//
// A call without an answer may take effect at any time from then on, or never. It
// is kept as what may be, until an answer shows that it was: so none of them has to
// be tried at every place, which would take for ever.
type state struct {
	of        [maxSessions]one
	mayEndAll bool // of a user
}

type one struct {
	life   life
	n      int
	maybe  int // updates that may have been made
	seen   int // of those, updates that were seen and nobody was answered
	mayEnd bool
	was    life // before it was seen to have ended and nobody was answered
}

type life uint8

const (
	unborn  life = iota
	carried      // what will be in it has left the session before
	user
	guest
	over
)

// is takes an answer that the session has this count, if it can be.
func (s *one) is(o op) bool {
	if s.life == over && o.undoes && s.was != unborn {
		s.life, s.was = s.was, unborn
	}
	made := o.n - s.n
	if s.life != user && s.life != guest || made > s.maybe || made < 0 && !(o.undoes && -made <= s.seen) {
		return false
	}
	s.n, s.maybe, s.seen = o.n, s.maybe-max(made, 0), s.seen+made
	if o.kind != read {
		s.seen = 0 // what is acknowledged stands on it
	}
	return true
}

// gone takes an answer that there is no such session, if it can be.
func (s *state) gone(o op) bool {
	this := &s.of[o.session]
	was := this.life
	this.life = over
	switch {
	case was == over:
		return true
	case (was == user || was == guest) && this.mayEnd || was == user && s.mayEndAll:
		this.was = was
		return true
	}
	return (was == user || was == guest) && o.forgets
}

// step returns the state after a call, and whether the call could answer as it did.
func (s state) step(o op) (state, bool) {
	this := &s.of[o.session]
	if o.answer == unknown {
		switch o.kind {
		case update:
			this.maybe++
		case end, renew:
			this.mayEnd = true
		case endAll:
			s.mayEndAll = true
		}
		return s, true
	}
	switch o.kind {
	case begin:
		this.life = user
		if o.guest {
			this.life = guest
		}
	case update, read:
		if o.answer == none {
			return s, s.gone(o)
		}
		if o.kind == update {
			this.n++
		}
		return s, this.is(o)
	case end:
		this.life, this.was = over, unborn
	case endAll:
		for i := range s.of {
			if s.of[i].life == user || s.of[i].was == user {
				s.of[i].life, s.of[i].was = over, unborn
			}
		}
	case renew:
		had := this.is(o) || o.n == 0 && s.gone(o)
		this.life, this.was = over, unborn
		s.of[o.next].life, s.of[o.next].n = carried, o.n
		return s, had
	case renewed:
		next := &s.of[o.next]
		ok := next.life == carried
		next.life = user
		return s, ok
	}
	return s, true
}

// model is a user's sessions, of which calls take effect one by one.
var model = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(s, in, _ any) (bool, any) {
		next, ok := s.(state).step(in.(op))
		return ok, next
	},
}

// linearizable reports whether calls could have taken effect one by one, each
// between its call and its answer. What was not answered may have at any time, or
// never. Decided is false where that takes too long to say.
//
// Each session is looked at alone first, with those that it was renewed from and
// what ends all: that is decided at once, and finds nearly all. Then the sessions of
// the user together, for ending all is one call.
func linearizable(ops []op) (yes, decided bool) {
	var lineage [maxSessions]int
	for i := range lineage {
		lineage[i] = i
	}
	for _, o := range ops { // in the order of their answers
		if o.kind == renew {
			lineage[o.next] = lineage[o.session]
		}
	}
	for i := range lineage {
		var its []op
		for _, o := range ops {
			if o.kind == endAll || lineage[o.session] == i {
				its = append(its, o)
			}
		}
		switch search(its, 20*time.Second) {
		case porcupine.Illegal:
			return false, true
		case porcupine.Unknown:
			return false, false
		}
	}
	return search(ops, 2*time.Second) != porcupine.Illegal, true
}

func search(ops []op, most time.Duration) porcupine.CheckResult {
	var all []porcupine.Operation
	for i, o := range ops {
		ret := o.ret
		if o.answer == unknown {
			ret = o.call + 1 // from when on it may have happened
		}
		all = append(all, porcupine.Operation{ClientId: i, Input: o, Call: int64(o.call), Return: int64(ret)})
		if o.kind == renew && o.answer == done {
			o.kind = renewed
			all = append(all, porcupine.Operation{ClientId: i, Input: o, Call: int64(o.call), Return: int64(ret)})
		}
	}
	return porcupine.CheckOperationsTimeout(model, all, most)
}

// show writes a history for people.
func show(ops []op) string {
	var b strings.Builder
	for _, o := range slices.SortedFunc(slices.Values(ops), func(a, b op) int { return int(a.call - b.call) }) {
		fmt.Fprintln(&b, o)
	}
	return b.String()
}

// A toll is what a history has lost, as users notice it.
type toll struct {
	Updates int // that were acknowledged
	Lost    int // of them
	Endings int // of sessions, acknowledged
	Revived int // of them, sessions that were there for a later call
	Mixed   int // answers with what is another session's
}

// count counts what is plain without a search, in a history without renewals: an
// update that was acknowledged and is not in the last count that was read.
func count(ops []op) (t toll) {
	var acknowledged, last, lastAt [maxSessions]int
	var ended [maxSessions]time.Duration
	var revived [maxSessions]bool
	for _, o := range ops {
		if o.kind == end && o.answer == done && (ended[o.session] == 0 || o.ret < ended[o.session]) {
			ended[o.session] = o.ret
		}
	}
	for _, o := range ops {
		if o.answer != done || o.kind != update && o.kind != read {
			continue
		}
		if o.kind == update {
			t.Updates++
			acknowledged[o.session]++
		}
		if int(o.call) >= lastAt[o.session] {
			last[o.session], lastAt[o.session] = o.n, int(o.call)
		}
		if at := ended[o.session]; at != 0 && o.call > at {
			revived[o.session] = true
		}
	}
	for i := range ended {
		if ended[i] != 0 {
			t.Endings++
			if revived[i] {
				t.Revived++
			}
		} else {
			t.Lost += max(0, acknowledged[i]-last[i])
		}
	}
	return t
}

func (t *toll) add(o toll) {
	t.Updates += o.Updates
	t.Lost += o.Lost
	t.Endings += o.Endings
	t.Revived += o.Revived
	t.Mixed += o.Mixed
}
