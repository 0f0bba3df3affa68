package password

import (
	"encoding/binary"
	"math/bits"
	"sync"

	"golang.org/x/crypto/blake2b"
)

// argon2d is Argon2d (RFC 9106), which x/crypto does not offer: it chooses what to
// read by the password, which who shares the machine may watch. It is here for
// hashes of other programs only, and is not fast.

type argonBlock [128]uint64

func argon2d(pw, salt []byte, passes, memory, lanes, size uint32) []byte {
	const slices = 4
	memory = memory / (slices * lanes) * (slices * lanes)
	columns := memory / lanes
	segment := columns / slices

	h0, _ := blake2b.New512(nil)
	word := func(n uint32) { h0.Write(binary.LittleEndian.AppendUint32(nil, n)) }
	for _, n := range []uint32{lanes, size, memory} {
		word(n)
	}
	word(passes)
	word(0x13)
	word(0) // d
	for _, part := range [][]byte{pw, salt, nil, nil} {
		word(uint32(len(part)))
		h0.Write(part)
	}
	seed := h0.Sum(nil)

	b := make([]argonBlock, memory)
	for lane := range lanes {
		for i := range uint32(2) {
			in := binary.LittleEndian.AppendUint32(append([]byte{}, seed...), i)
			in = binary.LittleEndian.AppendUint32(in, lane)
			raw := argonHash(in, 1024)
			for k := range b[0] {
				b[lane*columns+i][k] = binary.LittleEndian.Uint64(raw[8*k:])
			}
		}
	}
	for pass := range passes {
		for slice := range uint32(slices) {
			var work sync.WaitGroup
			for lane := range lanes {
				work.Go(func() {
					first := uint32(0)
					if pass == 0 && slice == 0 {
						first = 2
					}
					for i := first; i < segment; i++ {
						at := slice*segment + i
						prev := lane*columns + (at+columns-1)%columns
						random := b[prev][0]
						from := uint32(random>>32) % lanes
						if pass == 0 && slice == 0 {
							from = lane
						}
						// How much of that lane may be read: what is finished, and of one's own
						// also what this segment has.
						area, start := slice*segment, uint32(0)
						if pass > 0 {
							area, start = columns-segment, (slice+1)*segment%columns
						}
						if from == lane {
							area += i - 1
						} else if i == 0 {
							area--
						}
						x := random & 0xffffffff
						x = x * x >> 32
						x = uint64(area) * x >> 32
						ref := (uint64(start) + uint64(area) - 1 - x) % uint64(columns)
						argonFill(&b[lane*columns+at], &b[prev], &b[uint64(from*columns)+ref], pass > 0)
					}
				})
			}
			work.Wait()
		}
	}
	last := b[columns-1]
	for lane := uint32(1); lane < lanes; lane++ {
		for k, v := range b[lane*columns+columns-1] {
			last[k] ^= v
		}
	}
	raw := make([]byte, 0, 1024)
	for _, v := range last {
		raw = binary.LittleEndian.AppendUint64(raw, v)
	}
	return argonHash(raw, int(size))
}

// argonHash is H' of RFC 9106, section 3.3.
func argonHash(in []byte, size int) []byte {
	in = append(binary.LittleEndian.AppendUint32(nil, uint32(size)), in...)
	if size <= blake2b.Size {
		h, _ := blake2b.New(size, nil)
		h.Write(in)
		return h.Sum(nil)
	}
	v := blake2b.Sum512(in)
	out := append([]byte{}, v[:32]...)
	for size-len(out) > blake2b.Size {
		v = blake2b.Sum512(v[:])
		out = append(out, v[:32]...)
	}
	h, _ := blake2b.New(size-len(out), nil)
	h.Write(v[:])
	return h.Sum(out)
}

// argonFill is G of section 3.5.
func argonFill(to, x, y *argonBlock, xor bool) {
	var r argonBlock
	for i := range r {
		r[i] = x[i] ^ y[i]
	}
	z := r
	for i := 0; i < 128; i += 16 {
		var at [16]int
		for k := range at {
			at[k] = i + k
		}
		argonRound(&z, &at)
	}
	for i := 0; i < 16; i += 2 {
		var at [16]int
		for k := 0; k < 16; k += 2 {
			at[k], at[k+1] = i+8*k, i+8*k+1
		}
		argonRound(&z, &at)
	}
	for i := range z {
		z[i] ^= r[i]
		if xor {
			z[i] ^= to[i]
		}
	}
	*to = z
}

func argonRound(b *argonBlock, at *[16]int) {
	mix := func(i, j, k, l int) {
		a, c, d, e := b[at[i]], b[at[j]], b[at[k]], b[at[l]]
		fused := func(x, y uint64) uint64 { return x + y + 2*(x&0xffffffff)*(y&0xffffffff) }
		a = fused(a, c)
		e = bits.RotateLeft64(e^a, -32)
		d = fused(d, e)
		c = bits.RotateLeft64(c^d, -24)
		a = fused(a, c)
		e = bits.RotateLeft64(e^a, -16)
		d = fused(d, e)
		c = bits.RotateLeft64(c^d, -63)
		b[at[i]], b[at[j]], b[at[k]], b[at[l]] = a, c, d, e
	}
	mix(0, 4, 8, 12)
	mix(1, 5, 9, 13)
	mix(2, 6, 10, 14)
	mix(3, 7, 11, 15)
	mix(0, 5, 10, 15)
	mix(1, 6, 11, 12)
	mix(2, 7, 8, 13)
	mix(3, 4, 9, 14)
}
