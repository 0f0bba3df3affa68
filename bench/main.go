// Command bench measures admit beside the libraries that people use today and
// beside a floor: the same work hand-made on the standard library.
//
//	go run .                     everything, about 3 minutes
//	go run . -quick              a first impression in 20 seconds
//	go run . -only jwt           the operations whose name begins so
//	go run . -max 10000000       the curve up to ten million sessions
//	go run . -json f -svg dir    keeps the figures, and draws them
//
// Figures are processor time of the whole process (user and system, the garbage
// collector included) for each operation. Ours, floor and peer take turns in
// rounds, and medians count, so that a noisy minute of the machine hits all of
// them.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// A report is what -json keeps.
type report struct {
	Machine string   `json:"machine"`
	Rows    []row    `json:"rows"`
	Weights []weight `json:"weights"`
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	quick := flag.Bool("quick", false, "fewer and shorter rounds, at most 100,000 sessions")
	most := flag.Int("max", 1_000_000, "the largest number of sessions to weigh")
	keep := flag.String("json", "", "keep the figures in this `file`")
	only := flag.String("only", "", "measure only the operations whose name begins with this `text`, and weigh nothing")
	from := flag.String("from", "", "measure nothing: take the figures from this `file` of -json")
	svg := flag.String("svg", "", "draw the figures into this `folder`")
	kind := flag.String("weigh", "", "weigh one `kind` of session only, as the table names it")
	n := flag.Int("n", 1_000_000, "how many, with -weigh")
	flag.Parse()

	if *kind != "" {
		must(json.NewEncoder(os.Stdout).Encode(weigh(*kind, *n)))
		return
	}
	var rep report
	if *from != "" {
		b, err := os.ReadFile(*from)
		must(err)
		must(json.Unmarshal(b, &rep))
	} else {
		rep = measure(*quick, *most, *only)
	}
	rep.print(os.Stdout)
	if *keep != "" {
		b, err := json.MarshalIndent(rep, "", "\t")
		must(err)
		must(os.WriteFile(*keep, append(b, '\n'), 0o644))
	}
	if *svg != "" {
		must(rep.draw(*svg))
	}
}

func measure(quick bool, most int, only string) report {
	rounds, sample := 9, 120*time.Millisecond
	if quick {
		rounds, sample, most = 3, 30*time.Millisecond, min(most, 100_000)
	}
	if only != "" {
		most = 0
	}
	rep := report{Machine: machine()}
	for _, group := range groups {
		rows, stop := group()
		for _, r := range rows {
			if strings.HasPrefix(r.What, only) {
				fmt.Fprintf(os.Stderr, "bench: %s\n", r.What)
				rep.Rows = append(rep.Rows, r.measured(rounds, sample))
			}
		}
		stop()
	}
	// Each weight is taken in a process of its own: a heap that was once large
	// is no fair place for the next.
	self, err := os.Executable()
	must(err)
	for n := 1000; n <= most; n *= 10 {
		for _, kind := range []string{"guest", "signed-in", "sealed", "sealed, signed-in", "sealed, just changed", "scs"} {
			fmt.Fprintf(os.Stderr, "bench: %d sessions, %s\n", n, kind)
			cmd := exec.Command(self, "-weigh", kind, "-n", strconv.Itoa(n))
			cmd.Stderr = os.Stderr
			b, err := cmd.Output()
			must(err)
			var w weight
			must(json.Unmarshal(b, &w))
			rep.Weights = append(rep.Weights, w)
		}
	}
	return rep
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
