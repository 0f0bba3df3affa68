// Package breached keeps a list of breached passwords as a filter in one file.
//
// The full list of Have I Been Pwned is 40 GB of text and more, a thousand million
// SHA-1 in order. [Build] makes a filter of it in one pass with little memory, and
// goes on where an earlier run was killed. [Has] looks a password up with three
// small reads.
//
// A filter has the first bits of each SHA-1: as many that a password which is not in
// the list is found all the same once in one to two million times. They stand in
// their order as Golomb-Rice codes of their distances, 22 bits or so for each, in
// buckets of some 200 by their first bits. An index says where each bucket begins.
package breached

import (
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
	"os"

	"github.com/admit-auth/admit"
)

// What is refused.
var (
	ErrList   = admit.Invalid.New("list_malformed", "This is no list of breached passwords.").WithHint("one SHA-1 in hex a line, in ascending order, as Have I Been Pwned gives them")
	ErrNTLM   = admit.Invalid.New("list_of_ntlm", "This is the list of NTLM hashes, which are of no use here.").WithHint("take the one of SHA-1, ordered by hash")
	ErrPacked = admit.Invalid.New("list_packed", "This file is packed.").WithHint("unpack it, such as by 7z x -so FILE | admit password import-breached -")
	ErrOther  = admit.Conflict.New("list_differs", "This list begins like one that was read in part, and then differs.").WithHint("name the file, so that it can be read from its beginning")
	ErrFilter = admit.Unavailable.New("filter_damaged", "The filter of breached passwords is damaged, or of another program.").WithHint("make it again: admit password import-breached")
)

const (
	magic      = "admit breached 1"
	headerSize = 64
	wrongBits  = 20  // a filter is wrong once in 2^20 to 2^21 times
	perBucket  = 200 // or more, up to twice as many
	maxBucket  = 1 << 20
)

// A header is the first 64 bytes of a filter: the magic, then these as they stand,
// and a CRC-32 of it all at the end.
type header struct {
	passwords  uint64
	size       uint64 // of the buckets together, in bytes
	minCount   uint64
	precision  uint8 // bits of a SHA-1 that count
	bucketBits uint8 // of these, that say which bucket
	rice       uint8 // low bits of a distance that are written as they are
}

func (h *header) encode() []byte {
	b := make([]byte, headerSize)
	copy(b, magic)
	binary.BigEndian.PutUint64(b[16:], h.passwords)
	binary.BigEndian.PutUint64(b[24:], h.size)
	binary.BigEndian.PutUint64(b[32:], h.minCount)
	b[40], b[41], b[42] = h.precision, h.bucketBits, h.rice
	binary.BigEndian.PutUint32(b[60:], crc32.ChecksumIEEE(b[:60]))
	return b
}

func parseHeader(b []byte) (h header, ok bool) {
	if len(b) != headerSize || string(b[:16]) != magic || binary.BigEndian.Uint32(b[60:]) != crc32.ChecksumIEEE(b[:60]) {
		return h, false
	}
	h.passwords = binary.BigEndian.Uint64(b[16:])
	h.size = binary.BigEndian.Uint64(b[24:])
	h.minCount = binary.BigEndian.Uint64(b[32:])
	h.precision, h.bucketBits, h.rice = b[40], b[41], b[42]
	return h, h.precision <= 64 && h.bucketBits <= 32 && h.bucketBits < h.precision && h.rice < h.precision && h.size < 1<<48
}

// fit chooses the numbers for how many passwords there will be, more or less.
func fit(passwords float64) (h header) {
	n := uint64(max(passwords, 1))
	log := uint8(bits.Len64(n - 1)) // 2^log is n or more
	h.precision = log + wrongBits
	if n > perBucket {
		h.bucketBits = uint8(bits.Len64(n/perBucket) - 1)
	}
	// The mean distance is 2^precision/n; 0.69 of it is the best divisor.
	mean := float64(uint64(1)<<h.precision) / float64(n)
	h.rice = uint8(max(bits.Len64(uint64(mean*0.69))-1, 0))
	return h
}

func (h *header) buckets() uint64 { return 1 << h.bucketBits }

// place says which bucket a SHA-1 belongs to, and what it is in there.
func (h *header) place(prefix uint64) (bucket, rest uint64) {
	kept := prefix >> (64 - h.precision)
	within := h.precision - h.bucketBits
	return kept >> within, kept & (1<<within - 1)
}

// Prefix is what a list knows a password by.
func Prefix(pw admit.Secret) uint64 {
	sum := sha1.Sum([]byte(pw.Reveal())) // the list's way to name a password
	return binary.BigEndian.Uint64(sum[:])
}

// Stat is what a filter has.
type Stat struct {
	Passwords uint64
	MinCount  uint64
	Bytes     int64
	Wrong     float64 // how often a password is found that is not in the list
}

func (h *header) stat(size int64) Stat {
	return Stat{h.passwords, h.minCount, size, float64(h.passwords) / float64(uint64(1)<<(h.precision-1)) / 2}
}

// Look returns what a filter has. ErrFilter where it is none, or not whole.
func Look(file string) (Stat, error) {
	f, h, err := open(file)
	if err != nil {
		return Stat{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Stat{}, err
	}
	if uint64(info.Size()) != headerSize+h.size+8*(h.buckets()+1) {
		return Stat{}, fmt.Errorf("%s: %w", file, ErrFilter)
	}
	return h.stat(info.Size()), nil
}

func open(file string) (*os.File, header, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, header{}, err
	}
	var b [headerSize]byte
	_, err = f.ReadAt(b[:], 0)
	h, ok := parseHeader(b[:])
	if err != nil || !ok {
		f.Close()
		return nil, header{}, errors.Join(fmt.Errorf("%s: %w", file, ErrFilter), err)
	}
	return f, h, nil
}

// Has reports whether a filter has a password, by its Prefix. The file is opened
// each time, so that a running server asks the one that was made last; its pages
// stay in the system's memory.
func Has(file string, prefix uint64) (bool, error) {
	f, h, err := open(file)
	if err != nil {
		return false, err
	}
	defer f.Close()
	bucket, rest := h.place(prefix)
	var at [16]byte
	if _, err := f.ReadAt(at[:], int64(headerSize+h.size+8*bucket)); err != nil {
		return false, fmt.Errorf("%s: %w: %w", file, ErrFilter, err)
	}
	from, to := binary.BigEndian.Uint64(at[:]), binary.BigEndian.Uint64(at[8:])
	if from > to || to > h.size || to-from > maxBucket {
		return false, fmt.Errorf("%s: %w", file, ErrFilter)
	}
	codes := make([]byte, to-from)
	if _, err := f.ReadAt(codes, int64(headerSize+from)); err != nil {
		return false, fmt.Errorf("%s: %w: %w", file, ErrFilter, err)
	}
	return contains(codes, h.rice, rest), nil
}

// contains reports whether a bucket has a value. What is not whole at its end is
// what fills the last byte.
func contains(codes []byte, rice uint8, want uint64) bool {
	r := bitReader{codes: codes}
	for value, first := uint64(0), true; ; first = false {
		distance, ok := r.next(rice)
		if !ok {
			return false
		}
		value += distance
		if !first {
			value++ // no value stands twice
		}
		if value >= want {
			return value == want
		}
	}
}

// A bitReader reads Golomb-Rice codes: ones, as many as the high part says, a zero,
// and the low part. Ones without a zero are no code.
type bitReader struct {
	codes []byte
	at    int // in bits
}

func (r *bitReader) next(rice uint8) (uint64, bool) {
	high := uint64(0)
	for {
		if r.at >= 8*len(r.codes) {
			return 0, false
		}
		one := r.codes[r.at/8]>>(7-r.at%8)&1 == 1
		r.at++
		if !one {
			break
		}
		high++
	}
	if r.at+int(rice) > 8*len(r.codes) {
		return 0, false
	}
	low := uint64(0)
	for left := int(rice); left > 0; {
		have := 8 - r.at%8
		n := min(left, have)
		low = low<<n | uint64(r.codes[r.at/8]>>(have-n))&(1<<n-1)
		r.at += n
		left -= n
	}
	return high<<rice | low, true
}

// A bitWriter writes them.
type bitWriter struct {
	codes []byte
	free  int // bits of the last byte
}

func (w *bitWriter) put(value uint64, n int) {
	for n > 0 {
		if w.free == 0 {
			w.codes, w.free = append(w.codes, 0), 8
		}
		m := min(n, w.free)
		part := byte(value>>(n-m)) & (1<<m - 1)
		w.codes[len(w.codes)-1] |= part << (w.free - m)
		w.free -= m
		n -= m
	}
}

func (w *bitWriter) code(distance uint64, rice uint8) {
	for high := distance >> rice; high > 0; {
		n := min(high, 32)
		w.put(1<<n-1, int(n))
		high -= n
	}
	w.put(0, 1)
	w.put(distance&(1<<rice-1), int(rice))
}

// end fills the last byte with ones, which are no code, and returns what was written.
func (w *bitWriter) end() []byte {
	w.put(1<<w.free-1, w.free)
	codes := w.codes
	w.codes, w.free = w.codes[:0], 0
	return codes
}
