//go:build ignore

// This program makes common.bin of a list of passwords in JSON: those that the
// npm package @zxcvbn-ts/language-common 4.1.3 (MIT) carries.
//
//	npm pack @zxcvbn-ts/language-common@4.1.3 && tar xzf zxcvbn-ts-*.tgz
//	go run gen.go < package/src/passwords.json
package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"log"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

func main() {
	var list []string
	if err := json.NewDecoder(os.Stdin).Decode(&list); err != nil {
		log.Fatal(err)
	}
	var all []uint32
	for _, pw := range list {
		if utf8.RuneCountInString(pw) >= 8 { // shorter ones are refused anyway
			sum := sha256.Sum256([]byte(strings.ToLower(pw)))
			all = append(all, binary.BigEndian.Uint32(sum[:]))
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
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
	log.Printf("%d passwords", len(all))
}
