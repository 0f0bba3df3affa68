package token

import "math/bits"

// A uint128 is an integer of 128 bits.
type uint128 struct{ hi, lo uint64 }

const (
	digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	limb   = 839299365868340224 // 62^10, the largest power below 2^64
)

// values maps a character to its digit; 0xff is none.
var values = func() (v [256]byte) {
	for i := range v {
		v[i] = 0xff
	}
	for i := range len(digits) {
		v[digits[i]] = byte(i)
	}
	return v
}()

// encode62 fills b with w in base 62, most significant digit first. It splits
// w into limbs of ten digits, so that only two divisions are of 128 bits.
func (w uint128) encode62(b []byte) {
	for len(b) > 0 {
		n := min(len(b), 10)
		q := w.hi / limb
		lo, rem := bits.Div64(w.hi%limb, w.lo, limb)
		w = uint128{q, lo}
		for i := range n {
			b[len(b)-1-i] = digits[rem%62]
			rem /= 62
		}
		b = b[:len(b)-n]
	}
}

// decode62 reads base 62. It refuses other characters and anything over 128
// bits, so that an integer has one spelling of a given length.
func decode62(s string) (uint128, bool) {
	var w uint128
	for len(s) > 0 {
		n := min(len(s), 10)
		var part, scale uint64 = 0, 1
		for i := range n {
			d := values[s[i]]
			if d == 0xff {
				return uint128{}, false
			}
			part = part*62 + uint64(d)
			scale *= 62
		}
		s = s[n:]
		// w = w*scale + part
		over, hi := bits.Mul64(w.hi, scale)
		carry, lo := bits.Mul64(w.lo, scale)
		hi, c1 := bits.Add64(hi, carry, 0)
		lo, c2 := bits.Add64(lo, part, 0)
		hi, c3 := bits.Add64(hi, 0, c2)
		if over|c1|c3 != 0 {
			return uint128{}, false
		}
		w = uint128{hi, lo}
	}
	return w, true
}
