package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

func (rep report) print(w io.Writer) {
	fmt.Fprintf(w, "%s\nCPU per operation; the bare handler taken off the session rows\n\n", rep.Machine)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "what\tours\tallocs\tfloor\tratio\tpeer\tallocs\tratio\tgoal\tmet")
	for _, r := range rep.Rows {
		fmt.Fprintf(t, "%s\t%s\t%.0f\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.What,
			span(r.Ours.CPU), r.Ours.Allocs, span(r.Floor.CPU), times(r.Ours, r.Floor),
			span(r.Peer.CPU), allocs(r.Peer), times(r.Peer, r.Ours), r.Goal, verdict(r.Goal != goal{}, r.met()))
	}
	t.Flush()
	fmt.Fprintln(w, "\nratio: ours over the floor; the peer over ours. Floors and peers:")
	for _, r := range rep.Rows {
		if names := strings.Trim(r.FloorName+"; "+r.PeerName, "; "); names != "" {
			fmt.Fprintf(t, "%s\t%s\n", r.What, names)
		}
	}
	t.Flush()

	fmt.Fprintln(w, "\nsessions in memory, 64 bytes of data each")
	fmt.Fprintln(t, "kind\tsessions\tbytes each\tread, CPU\tfull GC\tits CPU\tsweep: longest step, none expired\tall expired\tlongest wait\tlook-up p99.9, slowest\tremoved in\tleft")
	for _, x := range rep.Weights {
		fmt.Fprintf(t, "%s\t%d\t%.1f\t%s\t%s\t%s\t%s\t%s\t%s\t%s, %s\t%s\t%.1f MB\n", x.Kind, x.N, x.Bytes, span(x.Check),
			span(x.GC), span(x.GCCPU), span(x.Idle.Hold), span(x.All.Hold), span(x.All.Waited),
			span(x.All.P999), span(x.All.Slowest), span(x.All.Took), x.Left/1e6)
	}
	t.Flush()
	fmt.Fprintln(w, "\ngoals for a million sessions")
	for _, x := range rep.Weights {
		most := map[string]float64{"guest": 200, "signed-in": 320}[x.Kind]
		if x.N != 1_000_000 || most == 0 {
			continue
		}
		for _, g := range []struct {
			what string
			met  bool
		}{
			{fmt.Sprintf("≤ %.0f bytes each", most), x.Bytes <= most},
			{"full GC ≤ 10 ms", x.GC <= 10e6},
			{"no look-up waits > 1 ms for a sweep", max(x.Idle.Waited, x.All.Waited) <= 1e6},
			{"memory returned (≥ 99 %)", x.Left <= x.Bytes*float64(x.N)/100},
		} {
			fmt.Fprintf(t, "%s\t%s\t%s\n", x.Kind, g.what, verdict(true, g.met))
		}
	}
	t.Flush()
}

func (r row) met() bool {
	g := r.Goal
	return (g.CPU == 0 || r.Ours.CPU <= g.CPU) && (g.Ratio == 0 || r.Ours.CPU <= g.Ratio*r.Floor.CPU) &&
		(g.Over == 0 || r.Ours.CPU <= r.Floor.CPU+g.Over) &&
		(!g.Bounded || r.Ours.Allocs <= g.Allocs)
}

func (g goal) String() string {
	var parts []string
	if g.CPU > 0 {
		parts = append(parts, "≤ "+span(g.CPU))
	}
	if g.Ratio > 0 {
		parts = append(parts, fmt.Sprintf("≤ %.1f × floor", g.Ratio))
	}
	if g.Over > 0 {
		parts = append(parts, "≤ floor + "+span(g.Over))
	}
	if g.Bounded {
		parts = append(parts, fmt.Sprintf("≤ %.0f allocs", g.Allocs))
	}
	return strings.Join(parts, ", ")
}

func verdict(asked, met bool) string {
	switch {
	case !asked:
		return ""
	case met:
		return "yes"
	}
	return "NO"
}

func span(ns float64) string {
	switch {
	case ns == 0:
		return "–"
	case ns < 1e3:
		return fmt.Sprintf("%.0f ns", ns)
	case ns < 1e6:
		return fmt.Sprintf("%.1f µs", ns/1e3)
	case ns < 1e9:
		return fmt.Sprintf("%.1f ms", ns/1e6)
	}
	return fmt.Sprintf("%.1f s", ns/1e9)
}

func times(a, b cost) string {
	if a.CPU <= 0 || b.CPU <= 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f ×", a.CPU/b.CPU)
}

func allocs(c cost) string {
	if c.CPU == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f", c.Allocs)
}
