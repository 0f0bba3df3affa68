package cli

import (
	"bufio"
	"io"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
)

// A stream is a table of any length. Its columns are as wide as the head and the
// first rows need; what comes later and is wider pushes its own line only.
type stream struct {
	out    *bufio.Writer
	rows   [][]string // until widths are known
	widths []int      // nil before
}

// measured rows settle how wide columns are.
const measured = 200

func newStream(w io.Writer, head ...string) *stream {
	return &stream{out: bufio.NewWriter(w), rows: [][]string{head}}
}

func (s *stream) row(cells ...string) error {
	for i, c := range cells {
		if cells[i] = printable(c); c == "" {
			cells[i] = "-"
		}
	}
	if s.widths != nil {
		return s.line(cells)
	}
	if s.rows = append(s.rows, cells); len(s.rows) > measured {
		return s.flush()
	}
	return nil
}

// flush writes what was held back.
func (s *stream) flush() error {
	if s.widths == nil {
		s.widths = make([]int, len(s.rows[0]))
		for _, row := range s.rows {
			for i, c := range row {
				s.widths[i] = max(s.widths[i], width(c))
			}
		}
		for _, row := range s.rows {
			s.line(row) // the writer keeps its error
		}
		s.rows = nil
	}
	return s.out.Flush()
}

func (s *stream) line(cells []string) error {
	for i, c := range cells {
		s.out.WriteString(c)
		if i < len(cells)-1 {
			s.out.WriteString(strings.Repeat(" ", max(0, s.widths[i]-width(c))+2))
		}
	}
	return s.out.WriteByte('\n')
}

// wide are the characters that take two columns of a terminal: the blocks that
// Unicode's East Asian Width calls wide, most of all of Chinese, Japanese and
// Korean, and the pictures.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x1100, 0x115f, 1}, {0x2e80, 0x303e, 1}, {0x3041, 0x33ff, 1}, {0x3400, 0x4dbf, 1}, {0x4e00, 0xa4cf, 1},
		{0xa960, 0xa97f, 1}, {0xac00, 0xd7a3, 1}, {0xf900, 0xfaff, 1}, {0xfe30, 0xfe6f, 1}, {0xff01, 0xff60, 1}, {0xffe0, 0xffe6, 1},
	},
	R32: []unicode.Range32{{0x16fe0, 0x18aff, 1}, {0x1b000, 0x1b2ff, 1}, {0x1f300, 0x1f64f, 1}, {0x1f680, 0x1f6ff, 1}, {0x1f900, 0x1f9ff, 1}, {0x20000, 0x3fffd, 1}},
}

// width is how many columns of a terminal a text takes.
func width(s string) (n int) {
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case unicode.Is(wide, r):
			n += 2
		default:
			n++
		}
	}
	return n
}

// A list is a JSON array that is written element by element.
type list struct {
	out   *bufio.Writer
	begun bool
}

func newList(w io.Writer) *list { return &list{out: bufio.NewWriter(w)} }

func (l *list) add(v any) error {
	open := ","
	if !l.begun {
		open, l.begun = "[", true
	}
	l.out.WriteString(open) // the writer keeps its error
	var text strings.Builder
	if err := writeJSON(&text, v); err != nil {
		return err
	}
	_, err := l.out.WriteString(strings.TrimSuffix(text.String(), "\n"))
	return err
}

func (l *list) close() error {
	if !l.begun {
		l.out.WriteString("[")
	}
	l.out.WriteString("]\n")
	return l.out.Flush()
}

// A writer writes a list as a table or as JSON, as it comes.
type writer struct {
	rows *stream
	list *list
}

func newWriter(cmd *cobra.Command, asJSON bool, head ...string) *writer {
	if asJSON {
		return &writer{list: newList(cmd.OutOrStdout())}
	}
	return &writer{rows: newStream(cmd.OutOrStdout(), head...)}
}

func (w *writer) put(v any, cells ...string) error {
	if w.list != nil {
		return w.list.add(v)
	}
	return w.rows.row(cells...)
}

func (w *writer) close() error {
	if w.list != nil {
		return w.list.close()
	}
	return w.rows.flush()
}
