package password

import (
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"sort"
	"strings"
)

//go:generate go run gen.go

// common holds the 17,950 commonest passwords of eight characters and more, in
// lower case, as the first 32 bits of each one's SHA-256 in order: 256 ends of
// runs of one first byte (4 bytes each), then the other 3 bytes of each. One
// password in 239,000 that is not among them is refused by mistake.
//
//go:embed common.bin
var common string

const (
	commonIndex = 256 * 4
	commonEntry = 3
)

// Common reports whether a password is among the commonest breached ones, in
// any case of its letters.
func Common(pw string) bool {
	sum := sha256.Sum256([]byte(strings.ToLower(pw)))
	from := 0
	if sum[0] > 0 {
		from = commonEnd(sum[0] - 1)
	}
	to, want := commonEnd(sum[0]), string(sum[1:1+commonEntry])
	entry := func(i int) string { return common[commonIndex+i*commonEntry:][:commonEntry] }
	i := from + sort.Search(to-from, func(i int) bool { return entry(from+i) >= want })
	return i < to && entry(i) == want
}

func commonEnd(first byte) int {
	return int(binary.BigEndian.Uint32([]byte(common[int(first)*4:][:4])))
}
