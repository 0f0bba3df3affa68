package feed

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strconv"
)

// An Epoch names one uninterrupted past of a feed. Epochs have no order. The
// zero Epoch is none.
type Epoch uint64

// NewEpoch returns a random epoch, for a feed that begins.
func NewEpoch() Epoch {
	for {
		var b [8]byte
		rand.Read(b[:])
		if e := Epoch(binary.BigEndian.Uint64(b[:])); e != 0 {
			return e
		}
	}
}

// String returns the epoch in 16 hexadecimal digits.
func (e Epoch) String() string { return fmt.Sprintf("%016x", uint64(e)) }

// An ID is a position in a feed: the number of an event, or 0 for the place
// before the first. The zero ID is no position.
type ID struct {
	Epoch Epoch
	Seq   uint64
}

// epochLen is the length of an epoch's text.
const epochLen = 16

// ParseID reads what String returned, such as "5f3a9c0e1b2d4f60-1042": 16
// lower-case hexadecimal digits, a hyphen and a decimal number without leading
// zeros. Any other spelling, and an epoch of zero, is ErrMalformed.
func ParseID(text string) (ID, error) {
	if len(text) < epochLen+2 || text[epochLen] != '-' {
		return ID{}, ErrMalformed
	}
	epoch, err1 := strconv.ParseUint(text[:epochLen], 16, 64)
	seq, err2 := strconv.ParseUint(text[epochLen+1:], 10, 64)
	id := ID{Epoch(epoch), seq}
	// The way back refuses signs, leading zeros and capitals.
	if err1 != nil || err2 != nil || epoch == 0 || id.String() != text {
		return ID{}, ErrMalformed
	}
	return id, nil
}

// IsZero reports whether id is no position.
func (id ID) IsZero() bool { return id == ID{} }

// String returns the id's text.
func (id ID) String() string { return id.Epoch.String() + "-" + strconv.FormatUint(id.Seq, 10) }

// Follows reports whether id comes after other. Between positions of different
// epochs neither does.
func (id ID) Follows(other ID) bool { return id.Epoch == other.Epoch && id.Seq > other.Seq }

// MarshalText is String; the zero ID has no text.
func (id ID) MarshalText() ([]byte, error) {
	if id.Epoch == 0 {
		return nil, ErrMalformed
	}
	return []byte(id.String()), nil
}

// UnmarshalText is ParseID.
func (id *ID) UnmarshalText(text []byte) error {
	v, err := ParseID(string(text))
	if err != nil {
		return err
	}
	*id = v
	return nil
}
