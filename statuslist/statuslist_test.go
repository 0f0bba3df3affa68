package statuslist_test

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit/jose"
	"github.com/admit-auth/admit/statuslist"
)

func parse(t testing.TB, bits int, lst string) *statuslist.List {
	t.Helper()
	l := &statuslist.List{}
	if err := json.Unmarshal(fmt.Appendf(nil, `{"bits":%d,"lst":%q}`, bits, lst), l); err != nil {
		t.Fatal(err)
	}
	return l
}

// Sections 4.1 and 4.2 of the draft.
func TestTheExamplesOfTheDraftAreRead(t *testing.T) {
	for _, test := range []struct {
		bits int
		lst  string
		want []statuslist.Status
	}{
		{1, "eNrbuRgAAhcBXQ", []statuslist.Status{1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1}},
		{2, "eNo76fITAAPfAgc", []statuslist.Status{1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3}},
	} {
		l := parse(t, test.bits, test.lst)
		if l.Len() != len(test.want) {
			t.Errorf("%d places, want %d", l.Len(), len(test.want))
		}
		written, err := statuslist.New(test.bits, len(test.want))
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range test.want {
			if s, err := l.At(uint64(i)); s != want || err != nil {
				t.Errorf("%d bits, place %d: %d, %v, want %d", test.bits, i, s, err, want)
			}
			if err := written.Set(i, want); err != nil {
				t.Fatal(err)
			}
		}
		text, err := json.Marshal(written)
		if err != nil {
			t.Fatal(err)
		}
		again := &statuslist.List{}
		if err := json.Unmarshal(text, again); err != nil {
			t.Fatal(err)
		}
		for i, want := range test.want {
			if s, err := again.At(uint64(i)); s != want || err != nil {
				t.Errorf("%d bits, place %d, written and read: %d, %v, want %d", test.bits, i, s, err, want)
			}
		}
	}
}

// The test vectors in the appendix of the draft, of 1, 2 and 4 bits: 2^20
// places. They are those in CBOR, without the head that tells bits and length.
func TestTheVectorsOfTheDraftAreRead(t *testing.T) {
	for _, test := range []struct {
		bits    int
		want    map[uint64]statuslist.Status
		deflate string
	}{
		{1, map[uint64]statuslist.Status{
			0: 1, 1993: 1, 25460: 1, 159495: 1, 495669: 1, 554353: 1, 645645: 1, 723232: 1, 854545: 1, 934534: 1, 1000345: 1,
		}, `
			78daeddc010dc0200c0041a88249400ad2903e0f4b
			ba00bd93f002beb7a2a2010000a91e09000000000000000000000000000000807296
			04000000000000000000000000000000000000000000000000000000000000000000
			000000000000005c6f4800000000000000fc2c240000000000000000000000be1b12
			000000000000000000ecaa4b000000000000000000000000000000009b0b09000000
			00000000000038de9400000000000000002a30cc010000000080642f0bd8011b`},
		{2, map[uint64]statuslist.Status{
			0: 1, 1993: 2, 25460: 1, 159495: 3, 495669: 1, 554353: 1, 645645: 2, 723232: 1, 854545: 1, 934534: 2, 1000345: 3,
		}, `
			78daeddb310d00211000412ea1a04004fe5520ed
			357c28c81d3312b6df68bc65480000000000406e2101000000000000000000000000
			0000000000000000000000000000000000000040795b020000000000000000000000
			00000000000000000000000000000000000000000000000000000000000000000000
			00000000000000000000000000000000000000000000000000000000000000000000
			0080f4ba0400000000000000000000000000406d764a000000000000000000000000
			000000000000000000e0922101000000000000000000000000000000000000fc1312
			00000000000000000000000000000000000000000000000000000000000000c0912e
			01000000000000000000000000000000000000c07d4b020000000000000000000000
			00000000a8614a0000000000000000000000406a1fcd60010c`},
		{4, map[uint64]statuslist.Status{
			0: 1, 1993: 2, 35460: 3, 459495: 4, 595669: 5, 754353: 6, 845645: 7, 923232: 8, 924445: 9, 934534: 10,
			1004534: 11, 1000345: 12, 1030203: 13, 1030204: 14, 1030205: 15,
		}, `
			78daedd0410d8030100030081f0226908204244c
			025290840414111cecb7e4b8b5123a0e40669b020000000000000000000000000000
			0020b549010000000000000000000000000000000000000000000000000000000000
			00000000000000000000000000000000000000000000000000000000000000000000
			00000000000000000000000000000000000000000000000000000000000000000000
			00000000000000000000000000000000000000000000000000000000000000000000
			00000000000000000000000000000000000000000000000000000000000000000000
			00000000000000000000000000000000000000000000000000000000000000000000
			0000000000400ebb0200000000000000000000000000000000000000000000000000
			00000000000000000000000000000000000000000000000000000000000000000000
			000000000000e8c5a100000000000000000000000000000000000000000000000000
			00000000000000000000000000000000000000000000000000000000000000000000
			00000000000000000000000000000000000082280a00000000000000000000000000
			00000000000000000000000000000000000000000000000000000000000080ae9c0a
			00000000000000000000000000000000000000000000000000000000000000000000
			000000686a5640339702000000008865510000000000000000000000000000000000
			00000000000000000000000000000071dc0a0080ba55010000000000000000000000
			c0cf3daf03000000000000000008ec03dc4c04c0`},
	} {
		deflated, err := hex.DecodeString(strings.Join(strings.Fields(test.deflate), ""))
		if err != nil {
			t.Fatal(err)
		}
		l := parse(t, test.bits, base64.RawURLEncoding.EncodeToString(deflated))
		if l.Len() != 1<<20 {
			t.Errorf("%d bits: %d places", test.bits, l.Len())
		}
		for i := range uint64(1 << 20) {
			if s, err := l.At(i); s != test.want[i] || err != nil {
				t.Fatalf("%d bits, place %d: %d, %v, want %d", test.bits, i, s, err, test.want[i])
			}
		}
	}
}

func TestAPlaceThatAListDoesNotHaveSaysNothing(t *testing.T) {
	l, err := statuslist.New(2, 12)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []uint64{12, 1 << 31, 1 << 62, 1<<64 - 1, 1<<63 + 1} {
		if _, err := l.At(i); !errors.Is(err, statuslist.ErrIndex) {
			t.Errorf("place %d: %v", i, err)
		}
	}
	for _, i := range []int{-1, 12} {
		if err := l.Set(i, statuslist.Invalid); !errors.Is(err, statuslist.ErrIndex) {
			t.Errorf("place %d: %v", i, err)
		}
	}
	if err := l.Set(0, 4); err == nil {
		t.Error("a status of three bits fits in two")
	}
	for _, size := range [][2]int{{0, 1}, {3, 1}, {16, 1}, {1, 0}, {1, -8}, {8, statuslist.MaxBytes + 1}, {1, 8*statuslist.MaxBytes + 1}} {
		if _, err := statuslist.New(size[0], size[1]); err == nil {
			t.Errorf("%d bits, %d places are a list", size[0], size[1])
		}
	}
}

// What a place is set to, no other one shows.
func TestPlacesDoNotTouch(t *testing.T) {
	for _, bits := range []int{1, 2, 4, 8} {
		l, err := statuslist.New(bits, 64)
		if err != nil {
			t.Fatal(err)
		}
		want := make([]statuslist.Status, l.Len())
		for round := range 3 {
			for i := range want {
				want[i] = statuslist.Status((i*7 + round*13) % (1 << bits))
				if err := l.Set(i, want[i]); err != nil {
					t.Fatal(err)
				}
			}
			for i := range want {
				if s, err := l.At(uint64(i)); s != want[i] || err != nil {
					t.Errorf("%d bits, round %d, place %d: %d, %v, want %d", bits, round, i, s, err, want[i])
				}
			}
		}
	}
}

func deflate(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A bomb of a megabyte would be a gigabyte.
func TestAttackAListIsNotUnpackedBeyondItsBound(t *testing.T) {
	good := deflate(t, make([]byte, statuslist.MaxBytes))
	bomb := deflate(t, make([]byte, 64*statuslist.MaxBytes))
	text := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
	parse(t, 1, text(good))
	l := &statuslist.List{}
	allocated := testing.AllocsPerRun(1, func() {
		if err := l.UnmarshalJSON(fmt.Appendf(nil, `{"bits":1,"lst":%q}`, text(bomb))); !errors.Is(err, statuslist.ErrMalformed) {
			t.Errorf("a bomb: %v", err)
		}
	})
	if allocated > 100 {
		t.Errorf("%v allocations", allocated)
	}
	damaged := bytes.Clone(good)
	damaged[len(damaged)-1] ^= 1
	for name, lst := range map[string]string{
		"no text":               "",
		"a checksum that fails": text(damaged),
		"cut off":               text(good[:len(good)-5]),
		"something after it":    text(append(bytes.Clone(good), 0)),
		"nothing in it":         text(deflate(t, nil)),
		"not compressed":        text([]byte("hello")),
		"padding":               text(good) + "=",
		"a line break":          text(good)[:8] + "\\n" + text(good)[8:],
		"another alphabet":      "+/" + text(good),
	} {
		if err := l.UnmarshalJSON([]byte(`{"bits":1,"lst":"` + lst + `"}`)); !errors.Is(err, statuslist.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bits := range []string{"0", "3", "-1", "16", `"1"`, "1.5", "null"} {
		if err := l.UnmarshalJSON([]byte(`{"bits":` + bits + `,"lst":"eNrbuRgAAhcBXQ"}`)); !errors.Is(err, statuslist.ErrMalformed) {
			t.Errorf("bits %s: %v", bits, err)
		}
	}
}

func TestAReferenceIsReadStrictly(t *testing.T) {
	const good = `{"status_list":{"idx":4711,"uri":"https://auth.example.org/status-lists/1"}}`
	r, err := statuslist.ParseReference([]byte(good))
	if err != nil || r.Index != 4711 || r.URI != "https://auth.example.org/status-lists/1" {
		t.Errorf("%+v, %v", r, err)
	}
	if text, err := json.Marshal(r); err != nil || string(text) != good {
		t.Errorf("%s, %v", text, err)
	}
	if _, err := statuslist.ParseReference([]byte(`{"other":1,"status_list":{"idx":0,"uri":"u"}}`)); err != nil {
		t.Errorf("beside another: %v", err)
	}
	for _, bad := range []string{
		``, `null`, `{}`, `[]`, `{"status_list":null}`, `{"status_list":{}}`, `{"status_list":{"uri":"u"}}`, `{"status_list":{"idx":1}}`,
		`{"status_list":{"idx":-1,"uri":"u"}}`, `{"status_list":{"idx":1.5,"uri":"u"}}`, `{"status_list":{"idx":"1","uri":"u"}}`,
		`{"status_list":{"idx":18446744073709551616,"uri":"u"}}`, `{"status_list":{"idx":1,"uri":""}}`, `{"status_list":{"idx":1,"uri":7}}`,
	} {
		if r, err := statuslist.ParseReference([]byte(bad)); !errors.Is(err, statuslist.ErrMalformed) {
			t.Errorf("%s: %+v, %v", bad, r, err)
		}
	}
}

// What is read and written again says the same.
func FuzzList(f *testing.F) {
	f.Add([]byte(`{"bits":1,"lst":"eNrbuRgAAhcBXQ"}`))
	f.Add([]byte(`{"bits":2,"lst":"eNo76fITAAPfAgc","aggregation_uri":"https://a.example"}`))
	f.Add([]byte(`{"bits":3,"lst":"eNrbuRgAAhcBXQ"}`))
	f.Add([]byte(`{"bits":8,"lst":""}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var l, again statuslist.List
		if err := l.UnmarshalJSON(text); err != nil {
			if !errors.Is(err, statuslist.ErrMalformed) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		written, err := l.MarshalJSON()
		if err == nil {
			err = again.UnmarshalJSON(written)
		}
		if err != nil || again.Len() != l.Len() {
			t.Fatalf("%q: %s, %v", text, written, err)
		}
		for i := range uint64(l.Len()) {
			a, errA := l.At(i)
			b, errB := again.At(i)
			if a != b || errA != nil || errB != nil {
				t.Fatalf("%q, place %d: %d, %v and %d, %v", text, i, a, errA, b, errB)
			}
		}
	})
}

func FuzzReference(f *testing.F) {
	f.Add([]byte(`{"status_list":{"idx":4711,"uri":"https://auth.example.org/status-lists/1"}}`))
	f.Add([]byte(`{"status_list":{"idx":-1}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := statuslist.ParseReference(text)
		if err != nil {
			return
		}
		written, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := statuslist.ParseReference(written); err != nil || again != r {
			t.Errorf("%q: %+v, then %+v, %v", text, r, again, err)
		}
	})
}

func Example() {
	key, err := jose.GenerateKey(jose.ES256, "")
	if err != nil {
		panic(err)
	}
	list, err := statuslist.New(1, 1<<20)
	if err != nil {
		panic(err)
	}
	if err := list.Set(4711, statuslist.Invalid); err != nil {
		panic(err)
	}
	signer, err := jose.NewSigner[statuslist.Claims](key, statuslist.Type, nil)
	if err != nil {
		panic(err)
	}
	token, err := signer.Sign(&jose.Claims[statuslist.Claims]{
		Issuer: "https://auth.example.org", Subject: "https://auth.example.org/status-lists/1",
		Expires: time.Now().Add(time.Minute), Data: statuslist.Claims{List: list, TTL: 20},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println("a million statuses in less than 1 KB:", len(token) < 1000)
	s, err := list.At(4711)
	fmt.Println(s == statuslist.Invalid, err)
	// Output:
	// a million statuses in less than 1 KB: true
	// true <nil>
}
