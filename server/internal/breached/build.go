package breached

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

const (
	headLen = 64 << 10 // by which a list is known again
	sample  = 1 << 16  // passwords that tell how many there will be
	every   = 2 * time.Second
	maxLine = 256
)

// Options of Build.
type Options struct {
	MinCount uint64                       // leave out what was seen less often; lines without a count stay
	Progress func(lines int, bytes int64) // is told now and then: lines of this run, bytes of the list; may be nil
}

// Built is what a run of Build has made.
type Built struct {
	Stat
	Lines  uint64
	Before int64 // bytes of the list that an earlier run had read
}

// A mark is how far a run is, on disk. It stands between two buckets.
type mark struct {
	Head     string // SHA-256 of how the list begins
	MinCount uint64
	Read     int64  // bytes of the list
	Tail     string // the last of them
	Lines    uint64
	Last     uint64 // the last prefix
	Kept     uint64
	Size     uint64 // of the buckets
	Buckets  uint64 // that are whole
	Log      [3]uint8
}

// Build makes a filter of a list: one SHA-1 in hex a line, in ascending order,
// perhaps with a colon and a count. It replaces the filter in file at the end, and
// not before; until then FILE.part is on the way, and FILE.mark says how far it is,
// so that the same list goes on after a crash.
func Build(ctx context.Context, file string, list io.Reader, o Options) (Built, error) {
	return buildEvery(ctx, file, list, o, every)
}

// buildEvery makes a mark as often as that.
func buildEvery(ctx context.Context, file string, list io.Reader, o Options, often time.Duration) (Built, error) {
	b := &builder{file: file, o: o, in: bufio.NewReaderSize(list, 1<<20), list: list, often: often, next: time.Now().Add(often)}
	head, err := b.in.Peek(headLen)
	if err != nil && !errors.Is(err, io.EOF) {
		return Built{}, fmt.Errorf("read the list: %w", err)
	}
	if bytes.HasPrefix(head, []byte("\x1f\x8b")) || bytes.HasPrefix(head, []byte("7z\xbc\xaf")) || bytes.HasPrefix(head, []byte("PK\x03\x04")) {
		return Built{}, ErrPacked
	}
	sum := sha256.Sum256(head)
	b.m.Head, b.m.MinCount = hex.EncodeToString(sum[:]), o.MinCount
	if err := b.open(); err != nil {
		return Built{}, err
	}
	defer b.close()
	if err := b.run(ctx); err != nil {
		return Built{}, err
	}
	return b.finish()
}

type builder struct {
	file string
	o    Options
	list io.Reader
	in   *bufio.Reader

	part, index *os.File // buckets; their lengths
	out, idx    *bufio.Writer
	h           header
	m           mark
	before      int64
	begun       uint64 // lines that an earlier run had read

	bits   bitWriter
	bucket uint64
	prev   uint64
	some   bool // in this bucket
	often  time.Duration
	next   time.Time
	tail   []byte
	early  []uint64 // those that tell how many there will be
}

func (b *builder) name(suffix string) string { return b.file + suffix }

// open takes up what an earlier run has left of the same list, or begins.
func (b *builder) open() (err error) {
	var m mark
	text, err := os.ReadFile(b.name(".mark"))
	goOn := err == nil && json.Unmarshal(text, &m) == nil && m.Head == b.m.Head && m.MinCount == b.m.MinCount
	flags := os.O_CREATE | os.O_RDWR
	if b.part, err = os.OpenFile(b.name(".part"), flags, 0o600); err != nil {
		return err
	}
	if b.index, err = os.OpenFile(b.name(".index"), flags, 0o600); err != nil {
		return err
	}
	if goOn {
		err := b.skip(m)
		if err != nil && b.in == nil {
			return fmt.Errorf("read on in the list: %w", err)
		}
		goOn = err == nil
	}
	if !goOn {
		os.Remove(b.name(".mark"))
		m = mark{Head: b.m.Head, MinCount: b.m.MinCount}
	}
	b.m, b.before, b.begun, b.bucket = m, m.Read, m.Lines, m.Buckets
	b.h.precision, b.h.bucketBits, b.h.rice = m.Log[0], m.Log[1], m.Log[2]
	err = errors.Join(b.part.Truncate(int64(headerSize+m.Size)), b.index.Truncate(int64(4*m.Buckets)))
	if err == nil {
		_, err = b.part.Seek(0, io.SeekEnd)
	}
	if err == nil {
		_, err = b.index.Seek(0, io.SeekEnd)
	}
	b.out, b.idx = bufio.NewWriterSize(b.part, 1<<20), bufio.NewWriter(b.index)
	if err != nil {
		return fmt.Errorf("go on with the filter: %w", err)
	}
	return nil
}

// skip passes over what an earlier run has read, if it is that. Otherwise the list
// is at its beginning again, or in is nil where that cannot be.
func (b *builder) skip(m mark) error {
	whole := func() bool {
		part, err := b.part.Stat()
		index, err2 := b.index.Stat()
		return err == nil && err2 == nil && part.Size() >= int64(headerSize+m.Size) && index.Size() >= int64(4*m.Buckets)
	}
	if !whole() {
		return ErrFilter
	}
	want, err := hex.DecodeString(m.Tail)
	if err != nil || int64(len(want)) > m.Read {
		return ErrFilter
	}
	tail := make([]byte, len(want))
	seeker, ok := b.list.(io.Seeker)
	begun := int64(0)
	if ok {
		// in has read ahead, from wherever the list was.
		at, err := seeker.Seek(0, io.SeekCurrent)
		if ok = err == nil; ok {
			begun = at - int64(b.in.Buffered())
		}
	}
	if ok {
		_, err = seeker.Seek(begun+m.Read-int64(len(want)), io.SeekStart)
		b.in.Reset(b.list)
	} else {
		_, err = io.CopyN(io.Discard, b.in, m.Read-int64(len(want)))
	}
	if err == nil {
		_, err = io.ReadFull(b.in, tail)
	}
	if err == nil && bytes.Equal(tail, want) {
		return nil
	}
	if !ok {
		b.in = nil
		if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = ErrOther
		}
		return err
	}
	if _, err := seeker.Seek(begun, io.SeekStart); err != nil {
		return err
	}
	b.in.Reset(b.list)
	return ErrList
}

func (b *builder) close() {
	b.part.Close()
	b.index.Close()
}

func (b *builder) run(ctx context.Context) error {
	for {
		if b.m.Lines%4096 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if b.o.Progress != nil {
				b.o.Progress(int(b.m.Lines-b.begun), b.m.Read)
			}
		}
		text, err := b.in.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(text) == 0 {
			break
		}
		if err != nil && !errors.Is(err, io.EOF) {
			if errors.Is(err, bufio.ErrBufferFull) {
				err = ErrList
			}
			return fmt.Errorf("line %d: %w", b.m.Lines+1, err)
		}
		prefix, count, err := parseLine(text)
		if err == nil && prefix < b.m.Last {
			err = fmt.Errorf("out of order: %w", ErrList)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", b.m.Lines+1, err)
		}
		if count >= b.o.MinCount {
			if err := b.take(prefix); err != nil {
				return err
			}
		}
		b.m.Lines++
		b.m.Last = prefix
		b.m.Read += int64(len(text))
		b.tail = append(b.tail[:0], text...)
	}
	if b.h.precision == 0 {
		return b.settle(float64(len(b.early)))
	}
	return nil
}

// parseLine reads 40 digits of hex, perhaps a colon and a number.
func parseLine(text []byte) (prefix, count uint64, err error) {
	if len(text) > maxLine {
		return 0, 0, ErrList
	}
	text = bytes.TrimRight(text, " \r\n")
	n := 0
	for ; n < len(text) && text[n] != ':'; n++ {
		d := text[n]
		switch {
		case d >= '0' && d <= '9':
			d -= '0'
		case d >= 'A' && d <= 'F':
			d -= 'A' - 10
		case d >= 'a' && d <= 'f':
			d -= 'a' - 10
		default:
			return 0, 0, ErrList
		}
		if n < 16 {
			prefix = prefix<<4 | uint64(d)
		}
	}
	if n == 32 {
		return 0, 0, ErrNTLM
	}
	if n != 40 {
		return 0, 0, ErrList
	}
	if n == len(text) {
		return prefix, 1<<64 - 1, nil
	}
	if count, err = strconv.ParseUint(string(text[n+1:]), 10, 63); err != nil {
		return 0, 0, ErrList
	}
	return prefix, count, nil
}

// take adds a password. The first ones wait until they tell how many there will
// be: they are spread evenly, so that the last of n is n times as far as the first.
func (b *builder) take(prefix uint64) error {
	if b.h.precision == 0 {
		b.early = append(b.early, prefix)
		if len(b.early) < sample {
			return nil
		}
		return b.settle(float64(len(b.early)) / (float64(prefix) + 1) * (1 << 63) * 2)
	}
	bucket, rest := b.h.place(prefix)
	if bucket != b.bucket {
		if err := b.to(bucket); err != nil {
			return err
		}
	}
	switch {
	case !b.some:
		b.bits.code(rest, b.h.rice)
	case rest == b.prev:
		return nil
	default:
		b.bits.code(rest-b.prev-1, b.h.rice)
	}
	b.prev, b.some = rest, true
	b.m.Kept++
	return nil
}

// settle chooses the numbers, and takes those that waited.
func (b *builder) settle(passwords float64) error {
	h := fit(passwords)
	b.h.precision, b.h.bucketBits, b.h.rice = h.precision, h.bucketBits, h.rice
	early := b.early
	b.early = nil
	for _, prefix := range early {
		if err := b.take(prefix); err != nil {
			return err
		}
	}
	return nil
}

// to ends buckets up to one. A mark is made before the line that begins it.
func (b *builder) to(bucket uint64) error {
	for ; b.bucket < bucket; b.bucket++ {
		codes := b.bits.end()
		if len(codes) > maxBucket {
			return fmt.Errorf("its passwords are not spread as hashes are: %w", ErrList)
		}
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(codes)))
		b.out.Write(codes) // Flush has the error
		b.idx.Write(n[:])
		b.m.Size += uint64(len(codes))
		b.m.Buckets++
		b.some, b.prev = false, 0
	}
	if now := time.Now(); now.After(b.next) && b.early == nil {
		b.next = now.Add(b.often)
		return b.note()
	}
	return nil
}

// note makes what there is durable, and then says so.
func (b *builder) note() error {
	b.m.Tail = hex.EncodeToString(b.tail)
	b.m.Log = [3]uint8{b.h.precision, b.h.bucketBits, b.h.rice}
	text, err := json.Marshal(b.m)
	if err == nil {
		err = errors.Join(b.out.Flush(), b.idx.Flush(), b.part.Sync(), b.index.Sync())
	}
	if err == nil {
		err = replace(b.name(".mark"), text)
	}
	if err != nil {
		return fmt.Errorf("note how far the list is: %w", err)
	}
	return nil
}

// replace writes a small file whole or not at all.
func replace(file string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// finish writes the index and the header, and puts the filter in place.
func (b *builder) finish() (Built, error) {
	if b.m.Lines == 0 || b.m.Kept == 0 {
		b.remove(".part")
		return Built{}, ErrList
	}
	if err := b.to(b.h.buckets()); err != nil {
		return Built{}, err
	}
	if err := errors.Join(b.out.Flush(), b.idx.Flush()); err != nil {
		return Built{}, err
	}
	if _, err := b.index.Seek(0, io.SeekStart); err != nil {
		return Built{}, err
	}
	lengths := bufio.NewReader(b.index)
	var n [4]byte
	var at [8]byte
	offset := uint64(0)
	for i := uint64(0); ; i++ {
		binary.BigEndian.PutUint64(at[:], offset)
		b.out.Write(at[:]) // Flush has the error
		if i == b.h.buckets() {
			break
		}
		if _, err := io.ReadFull(lengths, n[:]); err != nil {
			return Built{}, fmt.Errorf("read the index: %w", err)
		}
		offset += uint64(binary.BigEndian.Uint32(n[:]))
	}
	b.h.passwords, b.h.size, b.h.minCount = b.m.Kept, b.m.Size, b.m.MinCount
	err := b.out.Flush()
	if err == nil {
		_, err = b.part.WriteAt(b.h.encode(), 0)
	}
	if err = errors.Join(err, b.part.Sync(), b.part.Close()); err == nil {
		err = os.Rename(b.name(".part"), b.file)
	}
	if err != nil {
		return Built{}, err
	}
	b.remove(".mark", ".index")
	s, err := Look(b.file)
	return Built{s, b.m.Lines, b.before}, err
}

func (b *builder) remove(suffixes ...string) {
	for _, s := range suffixes {
		os.Remove(b.name(s))
	}
}
