package main

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// draw writes the charts of the documentation. They are SVG by hand: three
// simple pictures, small, that follow the reader's light or dark.
func (rep report) draw(folder string) error {
	curve := func(of func(weight) float64) []line {
		lines := []line{{name: "admit, guest"}, {name: "admit, signed in"}, {name: "scs memstore"}}
		for _, w := range rep.Weights {
			i, ok := map[string]int{"guest": 0, "signed-in": 1, "scs": 2}[w.Kind]
			if !ok {
				continue
			}
			lines[i].points = append(lines[i].points, [2]float64{float64(w.N), of(w)})
		}
		return lines
	}
	number := func(v float64) string { return fmt.Sprintf("%.0f", v) }
	charts := map[string]string{
		"memory.svg": curves("Memory a session, 64 bytes of data", "bytes of heap a session, logarithmic", number,
			curve(func(w weight) float64 { return w.Bytes })),
		"read.svg": curves("One request that reads its session, of so many", "CPU, logarithmic", span,
			curve(func(w weight) float64 { return w.Check })),
		"gc.svg": curves("A full garbage collection while they live", "CPU, logarithmic", span,
			curve(func(w weight) float64 { return w.GCCPU })),
		"peers.svg": bars(rep.Rows),
	}
	for name, svg := range charts {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(svg), 0o644); err != nil {
			return err
		}
	}
	return nil
}

type line struct {
	name   string
	points [][2]float64
}

const style = `<style>
text{font:13px system-ui,sans-serif;fill:#1f2328}.t{font-size:15px;font-weight:600}.s{fill:#59636e;font-size:12px}
.c{font:12px ui-monospace,monospace;fill:#59636e}.g{stroke:#d1d9e0}.l{fill:none;stroke-width:2.5}
.k0{stroke:#0969da}.k1{stroke:#8250df}.k2{stroke:#bc4c00}.n0{fill:#0969da}.n1{fill:#8250df}.n2{fill:#bc4c00}.f0{fill:#0969da}.f1{fill:#818b98}.f2{fill:#bc4c00}
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.s,.c{fill:#9198a1}.g{stroke:#3d444d}
.k0{stroke:#4493f8}.k1{stroke:#ab7df8}.k2{stroke:#f0883e}.n0{fill:#4493f8}.n1{fill:#ab7df8}.n2{fill:#f0883e}.f0{fill:#4493f8}.f2{fill:#f0883e}}
</style>
`

type canvas struct{ strings.Builder }

func newCanvas(w, h int, title string) *canvas {
	c := new(canvas)
	fmt.Fprintf(c, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label=%q>`+"\n", w, h, title)
	c.WriteString(style)
	c.text("t", "start", 16, 24, title)
	return c
}

func (c *canvas) text(class, anchor string, x, y float64, s string) {
	fmt.Fprintf(c, `<text class=%q text-anchor=%q x="%.1f" y="%.1f">%s</text>`+"\n", class, anchor, x, y, s)
}

func (c *canvas) end(h int) string {
	c.text("c", "start", 16, float64(h)-10, "scripts/bench -max 10000000 -svg docs/img")
	c.WriteString("</svg>\n")
	return c.String()
}

// curves draws lines over the number of sessions, both axes logarithmic.
func curves(title, unit string, label func(float64) string, lines []line) string {
	const w, h, left, right, top, bottom = 720, 380, 78, 140, 62, 76
	x0, x1, y0, y1 := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, l := range lines {
		for _, p := range l.points {
			x0, x1 = min(x0, p[0]), max(x1, p[0])
			y0, y1 = min(y0, p[1]), max(y1, p[1])
		}
	}
	marks := ticks(y0, y1)
	y0, y1 = marks[0], marks[len(marks)-1]
	at := func(v, lo, hi, from, to float64) float64 {
		return from + (to-from)*math.Log(v/lo)/math.Log(hi/lo)
	}
	x := func(v float64) float64 { return at(v, x0, x1, left, w-right) }
	y := func(v float64) float64 { return at(v, y0, y1, h-bottom, top) }
	c := newCanvas(w, h, title)
	c.text("s", "start", 16, 44, unit)
	for _, v := range marks {
		fmt.Fprintf(c, `<path class="g" d="M%d %.1fH%d"/>`+"\n", left, y(v), w-right)
		c.text("s", "end", left-8, y(v)+4, label(v))
	}
	for v := x0; v <= x1*1.001; v *= 10 {
		c.text("s", "middle", x(v), h-bottom+20, "10"+power(v))
	}
	c.text("s", "middle", (left+w-right)/2, h-bottom+40, "live sessions, logarithmic")
	type end struct {
		x, y  float64
		class string
		name  string
		value float64
	}
	var ends []end
	var ink [][2]float64 // points of all lines
	for i, l := range lines {
		if len(l.points) == 0 {
			continue
		}
		fmt.Fprintf(c, `<path class="l k%d" d="M`, i)
		for j, p := range l.points {
			if j > 0 {
				c.WriteByte('L')
			}
			fmt.Fprintf(c, "%.1f %.1f", x(p[0]), y(p[1]))
			for s := 0.0; j > 0 && s < 1; s += 1.0 / 32 {
				before := l.points[j-1]
				ink = append(ink, [2]float64{x(before[0]) + s*(x(p[0])-x(before[0])), y(before[1]) + s*(y(p[1])-y(before[1]))})
			}
		}
		c.WriteString(`"/>` + "\n")
		last := l.points[len(l.points)-1]
		ends = append(ends, end{x(last[0]) + 8, y(last[1]) + 4, fmt.Sprintf("n%d", i), l.name, last[1]})
	}
	// A name stands where its line ends, in its colour, and gives way to lines
	// and to the names above it.
	slices.SortStableFunc(ends, func(a, b end) int { return cmp.Compare(a.y, b.y) })
	for i, e := range ends {
		free := func(y float64) bool {
			return !slices.ContainsFunc(ink, func(p [2]float64) bool {
				return p[0] > e.x && p[0] < e.x+110 && p[1] > y-15 && p[1] < y+20
			}) && !slices.ContainsFunc(ends[:i], func(o end) bool {
				return math.Abs(o.x-e.x) < 110 && math.Abs(o.y-y) < 32
			})
		}
		for shift := 0.0; shift < h; shift += 2 {
			if free(e.y + shift) {
				e.y += shift
				break
			} else if free(e.y - shift) {
				e.y -= shift
				break
			}
		}
		ends[i] = e
		c.text(e.class, "start", e.x, e.y, e.name)
		c.text("s", "start", e.x, e.y+15, label(e.value))
	}
	return c.end(h)
}

// ticks returns the marks from just below lo to just above hi: 1, 2 and 5 times
// each power of ten, or the powers alone where those would be many.
func ticks(lo, hi float64) (marks []float64) {
	steps := []float64{1, 2, 5}
	if hi/lo > 100 {
		steps = steps[:1]
	}
	for p := math.Pow(10, math.Floor(math.Log10(lo))); ; p *= 10 {
		for _, s := range steps {
			if s*p <= lo {
				marks = nil // one nearer to lo
			}
			marks = append(marks, s*p)
			if s*p >= hi {
				return marks
			}
		}
	}
}

func power(v float64) string {
	return string([]rune("⁰¹²³⁴⁵⁶⁷⁸⁹")[int(math.Round(math.Log10(v)))])
}

// bars draws floor, ours and peer of each row on one logarithmic scale.
func bars(rows []row) string {
	const w, left, right, top, pitch = 820, 385, 70, 62, 62
	shown := rows[:0:0]
	for _, r := range rows {
		if r.Floor.CPU > 0 && r.Peer.CPU > 0 {
			shown = append(shown, r)
		}
	}
	h := top + pitch*len(shown) + 30
	c := newCanvas(w, h, "admit between the floor and the libraries of today")
	c.text("s", "start", 16, 44, "CPU an operation, logarithmic; shorter is better; the bare handler is taken off")
	lo, hi := 10.0, 100_000.0
	for i, r := range shown {
		y := float64(top + pitch*i)
		c.text("", "end", left-110, y+24, strings.Split(r.What, " (")[0])
		for j, b := range []struct {
			name string
			cpu  float64
		}{{"admit", r.Ours.CPU}, {"floor", r.Floor.CPU}, {strings.Split(r.PeerName, ",")[0], r.Peer.CPU}} {
			at := y + float64(j)*17
			length := (w - left - right) * math.Log(max(b.cpu, lo)/lo) / math.Log(hi/lo)
			c.text("s", "end", left-8, at+11, strings.TrimPrefix(b.name, "net/http "))
			fmt.Fprintf(c, `<rect class="f%d" x="%d" y="%.1f" width="%.1f" height="13" rx="2"/>`+"\n", j, left, at, length)
			c.text("s", "start", left+length+6, at+11, span(b.cpu))
		}
	}
	return c.end(h)
}
