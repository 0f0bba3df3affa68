package session

import "math/bits"

// A wheel orders slots of an arena by expiry, in milliseconds, at the cost of
// two links a record: a hierarchical timing wheel (Varghese and Lauck, SOSP
// 1987) whose levels are the base-64 digits of the time. A record hangs at
// the level of the highest digit in which its expiry differs from the hand's
// position, and moves down as the hand gets there: at most once a level.
//
// All work is done in steps of one record, and may stop after any of them.
type wheel struct {
	hand   uint64 // everything due before it is gone
	levels [numLevels]*[64]ref
	used   [numLevels]uint64 // a bit for each slot that is not empty
}

const (
	digitBits = 6
	numLevels = 8 // 48 bits of milliseconds: 8,900 years
)

// A link is the wheel's part of a slot: next is a ref, prev a ref or, with
// headBit set, the place in the wheel whose first record this is.
const headBit = 1 << 31

// place returns level and slot for an expiry.
func (w *wheel) place(expires uint64) (level, slot int) {
	expires = max(expires, w.hand)
	if d := expires ^ w.hand; d != 0 {
		level = (bits.Len64(d) - 1) / digitBits
	}
	return level, digit(expires, level)
}

func digit(t uint64, level int) int { return int(t >> (digitBits * level) & 63) }

// add hangs a slot into the wheel.
func (w *wheel) add(a *arena, r ref, expires uint64) {
	level, slot := w.place(expires)
	if w.levels[level] == nil {
		w.levels[level] = new([64]ref)
	}
	head := &w.levels[level][slot]
	e := entry(a.at(r))
	e.setNext(*head)
	e.setPrev(headBit | ref(level<<digitBits|slot))
	if *head != 0 {
		entry(a.at(*head)).setPrev(r)
	}
	*head = r
	w.used[level] |= 1 << slot
}

// remove takes a slot out of the wheel.
func (w *wheel) remove(a *arena, r ref) {
	e := entry(a.at(r))
	next, prev := e.next(), e.prev()
	if next != 0 {
		entry(a.at(next)).setPrev(prev)
	}
	if prev&headBit == 0 {
		entry(a.at(prev)).setNext(next)
		return
	}
	level, slot := int(prev&^headBit)>>digitBits, int(prev)&63
	w.levels[level][slot] = next
	if next == 0 {
		w.used[level] &^= 1 << slot
	}
}

// due moves the hand towards now by one step. It returns a slot that is due,
// still hanging in the wheel; or 0, and whether there is more to do.
func (w *wheel) due(a *arena, now uint64) (r ref, more bool) {
	// A slot that the hand has entered is emptied into lower levels first.
	for level := 1; level < numLevels; level++ {
		if slot := digit(w.hand, level); w.used[level]&(1<<slot) != 0 {
			r := w.levels[level][slot]
			w.remove(a, r)
			w.add(a, r, entry(a.at(r)).expires())
			return 0, true
		}
	}
	level, slot, ok := w.soonest()
	if !ok {
		w.hand = max(w.hand, now)
		w.levels = [numLevels]*[64]ref{} // all empty: give them back
		return 0, false
	}
	shift := digitBits * level
	at := w.hand>>(shift+digitBits)<<(shift+digitBits) | uint64(slot)<<shift
	if at > now {
		w.hand = max(w.hand, now)
		return 0, false
	}
	w.hand = at
	if level == 0 {
		return w.levels[0][slot], true
	}
	return 0, true
}

// soonest returns the place of the records that are due first.
func (w *wheel) soonest() (level, slot int, ok bool) {
	for level := range numLevels {
		if m := w.used[level] >> digit(w.hand, level); m != 0 {
			return level, digit(w.hand, level) + bits.TrailingZeros64(m), true
		}
	}
	return 0, 0, false
}

// first returns a record among those that are due first, or 0.
func (w *wheel) first() ref {
	level, slot, ok := w.soonest()
	if !ok {
		return 0
	}
	return w.levels[level][slot]
}
