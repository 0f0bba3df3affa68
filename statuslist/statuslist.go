// Package statuslist packs the statuses of many tokens in few bits: Token Status
// Lists (draft-ietf-oauth-status-list-21).
//
// A token names its place in a list with a [Reference], its claim "status". The
// list itself is fetched as a JWT of the type [Type], whose claims are [Claims]:
//
//	signer, err := jose.NewSigner[statuslist.Claims](key, statuslist.Type, nil)
//
//	list, err := statuslist.New(1, 1<<20)
//	err = list.Set(4711, statuslist.Invalid)
//	token, err := signer.Sign(&jose.Claims[statuslist.Claims]{
//		Subject: "https://auth.example.org/status-lists/1", Expires: …, Data: statuslist.Claims{List: list, TTL: 20},
//	})
//
// Package access looks such lists up.
package statuslist

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/admit-auth/admit"
)

// Type is that of the JWT that carries a list; as a media type, with
// "application/" before it.
const Type = "statuslist+jwt"

// MaxBytes is the length of the longest list: a million statuses of 8 bits, or
// eight million of one. More is not unpacked, however little there is to unpack.
const MaxBytes = 1 << 20

// Why a list, or a place in it, says nothing.
var (
	ErrMalformed = admit.Invalid.New("status_list_malformed", "The status list is not well-formed.")
	ErrIndex     = admit.Invalid.New("status_list_index", "The status list has no such place.")
)

// A Status is what a list says of one token (section 7.1).
type Status uint8

// The statuses that every list may use.
const (
	Valid     Status = 0
	Invalid   Status = 1 // for good
	Suspended Status = 2 // for now
)

// A Reference is where a token's status is. As JSON it is the claim "status":
// {"status_list":{"idx","uri"}}.
type Reference struct {
	Index uint64
	URI   string
}

type referenceJSON struct {
	List *placeJSON `json:"status_list"`
}

type placeJSON struct {
	Index *uint64 `json:"idx"`
	URI   string  `json:"uri"`
}

// ParseReference reads the claim "status". Other ways to tell a status, which
// may stand beside this one, are passed over.
func ParseReference(claim []byte) (Reference, error) {
	var r referenceJSON
	if err := json.Unmarshal(claim, &r); err != nil || r.List == nil || r.List.Index == nil || r.List.URI == "" {
		return Reference{}, fmt.Errorf("claim status: %w", ErrMalformed)
	}
	return Reference{*r.List.Index, r.List.URI}, nil
}

// MarshalJSON writes the claim.
func (r Reference) MarshalJSON() ([]byte, error) {
	if r.URI == "" {
		return nil, errors.New("statuslist: a reference to no list")
	}
	uri, err := json.Marshal(r.URI)
	b := strconv.AppendUint([]byte(`{"status_list":{"idx":`), r.Index, 10)
	return append(append(append(b, `,"uri":`...), uri...), "}}"...), err
}

// Claims are a list's own, beside the registered ones: sub is the list's
// address, iat is required, exp says until when it counts.
type Claims struct {
	List *List `json:"status_list"`
	// TTL is after how many seconds a newer list should be looked for, 0 if it
	// does not say.
	TTL uint64 `json:"ttl,omitempty"`
}

// A List has a status for each place from 0 on. As JSON it is {"bits","lst"}.
type List struct {
	bits   int
	packed []byte // the lowest bits of a byte come first (section 4.1)
}

// New returns a list of n places, all of them Valid, with 1, 2, 4 or 8 bits for
// each.
func New(bits, n int) (*List, error) {
	if !sized(bits) || n < 1 || n > MaxBytes*8/bits {
		return nil, fmt.Errorf("statuslist: %d places of %d bits", n, bits)
	}
	return &List{bits, make([]byte, (n*bits+7)/8)}, nil
}

func sized(bits int) bool { return bits == 1 || bits == 2 || bits == 4 || bits == 8 }

// Len returns how many places there are. A list fills its last byte.
func (l *List) Len() int { return len(l.packed) * 8 / l.bits }

// place returns where a status is, and what covers it.
func (l *List) place(index uint64) (at, shift int, mask byte) {
	bit := int(index) * l.bits
	return bit / 8, bit % 8, byte(math.MaxUint8 >> (8 - l.bits))
}

// Set says what a place's status is now. A list must not be set while it is
// read.
func (l *List) Set(index int, s Status) error {
	if index < 0 || index >= l.Len() {
		return ErrIndex
	}
	at, shift, mask := l.place(uint64(index))
	if byte(s)&^mask != 0 {
		return fmt.Errorf("statuslist: status %d does not fit in %d bits", s, l.bits)
	}
	l.packed[at] = l.packed[at]&^(mask<<shift) | byte(s)<<shift
	return nil
}

// At returns a place's status. One that the list does not have is ErrIndex, and
// says nothing (section 8.3).
func (l *List) At(index uint64) (Status, error) {
	if index >= uint64(l.Len()) {
		return 0, ErrIndex
	}
	at, shift, mask := l.place(index)
	return Status(l.packed[at] >> shift & mask), nil
}

type listJSON struct {
	Bits int    `json:"bits"`
	List string `json:"lst"`
}

// MarshalJSON packs the list.
func (l *List) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, zlib.BestCompression)
	if err == nil {
		_, err = w.Write(l.packed)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("pack a status list: %w", err)
	}
	return json.Marshal(listJSON{l.bits, base64.RawURLEncoding.EncodeToString(b.Bytes())})
}

// UnmarshalJSON unpacks a list, of up to MaxBytes.
func (l *List) UnmarshalJSON(text []byte) error {
	var j listJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return fmt.Errorf("%w: %w", err, ErrMalformed)
	}
	if !sized(j.Bits) || j.List == "" {
		return fmt.Errorf("%d bits: %w", j.Bits, ErrMalformed)
	}
	packed, err := unpack(j.List)
	if err != nil {
		return fmt.Errorf("%w: %w", err, ErrMalformed)
	}
	*l = List{j.Bits, packed}
	return nil
}

func unpack(text string) ([]byte, error) {
	deflated, err := base64.RawURLEncoding.Strict().DecodeString(text)
	switch {
	case err != nil:
		return nil, err
	case base64.RawURLEncoding.EncodedLen(len(deflated)) != len(text):
		return nil, errors.New("line breaks in base64url") // which the decoder passes over
	}
	in := bytes.NewReader(deflated)
	r, err := zlib.NewReader(in)
	if err != nil {
		return nil, err
	}
	// A kilobyte could be unpacked to a megabyte, and that many to gigabytes.
	packed, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	switch {
	case err != nil:
		return nil, err
	case len(packed) == 0 || len(packed) > MaxBytes:
		return nil, errors.New("an empty list, or one that is too long")
	case in.Len() > 0:
		return nil, errors.New("something after the list")
	}
	return packed, nil
}
