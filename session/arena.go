package session

import "math"

// An arena hands out slots of bytes from chunks that hold no pointers, so that
// the garbage collector looks at one pointer a chunk and not at one a record.
// Slots of one size share chunks; a chunk with no slot in use is given back.
// The zero arena is ready. It is not safe for use by several goroutines.
type arena struct {
	chunks  []chunk // chunks[0] is never used, so that no ref is zero
	spare   []uint32
	classes [numClasses]class
	bytes   int64 // what the chunks weigh
}

// A ref names a slot: chunk number << 8 | slot number. Zero is none. The top
// bit is left to the wheel.
type ref uint32

type chunk struct {
	buf        []byte // nil once given back
	size       uint32 // of a slot
	next, prev uint32 // among the chunks of its class that have room
	live       uint16 // slots in use
	fresh      uint16 // slots from here on were never used
	free       uint16 // the first slot that was used and freed, or noSlot
	room       bool   // stands in its class's list
}

type class struct {
	room   uint32 // the first chunk with room
	chunks uint32 // how many chunks there are
}

const (
	noSlot     = math.MaxUint16
	maxSlots   = 256   // a ref has 8 bits for them
	maxChunk   = 16384 // bytes; a size class of the Go allocator
	minChunk   = 512   // so that a small store stays small
	fineStep   = 8     // sizes up to fineMax are multiples of it
	fineMax    = 512
	coarseStep = 64 // sizes up to coarseMax are multiples of it
	coarseMax  = 2048
	numClasses = 1 + fineMax/fineStep + (coarseMax-fineMax)/coarseStep
)

// slotSize returns the class for n bytes and the size of its slots. Class 0
// is for slots with a chunk of their own.
func slotSize(n int) (cl, size int) {
	switch {
	case n <= fineMax:
		cl = (n + fineStep - 1) / fineStep
		return cl, cl * fineStep
	case n <= coarseMax:
		k := (n - fineMax + coarseStep - 1) / coarseStep
		return fineMax/fineStep + k, fineMax + k*coarseStep
	}
	return 0, (n + coarseStep - 1) / coarseStep * coarseStep
}

// alloc returns a slot of at least n bytes. What stands in it is undefined.
func (a *arena) alloc(n int) (ref, []byte) {
	cl, size := slotSize(n)
	c := a.classes[cl].room
	if c == 0 {
		c = a.grow(cl, size)
	}
	k := &a.chunks[c]
	var slot uint16
	if k.free != noSlot {
		slot = k.free
		k.free = uint16(k.buf[int(slot)*size]) | uint16(k.buf[int(slot)*size+1])<<8
	} else {
		slot = k.fresh
		k.fresh++
	}
	k.live++
	if k.free == noSlot && int(k.fresh) == len(k.buf)/size {
		a.leave(cl, c)
	}
	return ref(c<<8 | uint32(slot)), k.buf[int(slot)*size : int(slot+1)*size]
}

// release takes a slot back.
func (a *arena) release(r ref) {
	c, slot := uint32(r>>8), uint16(r&0xff)
	k := &a.chunks[c]
	cl, size := slotSize(int(k.size))
	k.live--
	if k.live == 0 {
		a.leave(cl, c)
		a.bytes -= int64(len(k.buf))
		a.classes[cl].chunks--
		*k = chunk{}
		a.spare = append(a.spare, c)
		return
	}
	b := k.buf[int(slot)*size:]
	b[0], b[1] = byte(k.free), byte(k.free>>8)
	k.free = slot
	a.enter(cl, c)
}

// at returns the bytes of a slot.
func (a *arena) at(r ref) []byte {
	k := &a.chunks[r>>8]
	off := int(r&0xff) * int(k.size)
	return k.buf[off : off+int(k.size)]
}

// grow adds a chunk to a class. Chunks double from minChunk to maxChunk.
func (a *arena) grow(cl, size int) uint32 {
	slots := 1
	if cl != 0 {
		target := min(minChunk<<min(a.classes[cl].chunks, 5), maxChunk)
		slots = min(max(target/size, 1), maxSlots)
	}
	if a.chunks == nil {
		a.chunks = make([]chunk, 1, 4)
	}
	var c uint32
	if n := len(a.spare); n > 0 {
		c, a.spare = a.spare[n-1], a.spare[:n-1]
	} else {
		c = uint32(len(a.chunks))
		a.chunks = append(a.chunks, chunk{})
	}
	a.chunks[c] = chunk{buf: make([]byte, slots*size), size: uint32(size), free: noSlot}
	a.bytes += int64(slots * size)
	a.classes[cl].chunks++
	a.enter(cl, c)
	return c
}

// enter puts a chunk into its class's list of chunks with room.
func (a *arena) enter(cl int, c uint32) {
	k := &a.chunks[c]
	if k.room {
		return
	}
	k.room, k.prev, k.next = true, 0, a.classes[cl].room
	if k.next != 0 {
		a.chunks[k.next].prev = c
	}
	a.classes[cl].room = c
}

// leave takes a chunk out of that list.
func (a *arena) leave(cl int, c uint32) {
	k := &a.chunks[c]
	if !k.room {
		return
	}
	k.room = false
	if k.prev != 0 {
		a.chunks[k.prev].next = k.next
	} else {
		a.classes[cl].room = k.next
	}
	if k.next != 0 {
		a.chunks[k.next].prev = k.prev
	}
}

// shrink gives the bookkeeping back once nothing is kept.
func (a *arena) shrink() {
	if len(a.spare) > 0 && len(a.spare) == len(a.chunks)-1 {
		a.chunks, a.spare = nil, nil
	}
}
