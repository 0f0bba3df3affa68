// Command oauth measures the provider of OAuth of the binary admit: the processor time
// that the whole process takes for one request, over HTTP with keep-alive and with
// SQLite on disk behind it.
//
//	go run ./oauth                   everything, about six minutes
//	go run ./oauth -rounds 1         a first impression
//	go run ./oauth -only introspect  the rows whose name begins so
//	go run ./oauth -admit ./admit    that binary, and not one that is built here
//
// wrk asks, from the same machine, with 2 threads and 32 connections: so the peers were
// measured whose figures stand beside ours. Rows take short turns in rounds, and medians
// count; what is compared with the next row is compared in each round, for a machine that
// is shared is twice as fast in one minute as in another.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// A row is one sort of request.
type row struct {
	name string
	goal string
	peer string // the figures of those that were measured before
	than string // "×" or "+": how it is compared with the next
	next *row   // nil where it is compared with none
	// ask asks for so long, and returns how often it was answered.
	ask  func(time.Duration) int
	of   *process
	cpu  []float64 // µs for one, in each round
	rate []float64 // a second
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("oauth: ")
	binary := flag.String("admit", "", "measure this `binary`; without one it is built")
	seconds := flag.Int("seconds", 2, "how long a row is asked in each round")
	rounds := flag.Int("rounds", 7, "how often each row has its turn")
	only := flag.String("only", "", "only the rows whose name begins with this `text`")
	bare := flag.String("bare", "", "give the answer in this `file` and no other: for the command itself")
	flag.Parse()
	if *bare != "" {
		serveBare(*bare)
		return
	}

	dir, err := os.MkdirTemp("", "oauth")
	must(err)
	defer os.RemoveAll(dir)
	if *binary == "" {
		*binary = filepath.Join(dir, "admit")
		run("go", "build", "-C", "../server", "-o", *binary, "./cmd/admit")
	}
	s := startAdmit(*binary, dir)
	defer s.stop()
	all, stop := rows(s, dir)
	defer stop()
	all = slices.DeleteFunc(all, func(r *row) bool { return !strings.HasPrefix(r.name, *only) })
	for range *rounds {
		for _, r := range all {
			r.turn(time.Duration(*seconds) * time.Second)
		}
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "what\tCPU µs each\ta second\tthan the next\tgoal\tpeers, CPU µs each")
	for _, r := range all {
		beside := ""
		if r.next != nil && len(r.next.cpu) == len(r.cpu) {
			beside = r.beside()
		}
		fmt.Fprintf(t, "%s\t%.1f (%.1f to %.1f)\t%.0f\t%s\t%s\t%s\n", r.name, median(r.cpu), slices.Min(r.cpu), slices.Max(r.cpu), median(r.rate), beside, r.goal, r.peer)
	}
	t.Flush()
}

// beside compares the row with the next one, whose turns came right behind its own.
func (r *row) beside() string {
	each := make([]float64, len(r.cpu))
	for i, mine := range r.cpu {
		if each[i] = mine - r.next.cpu[i]; r.than == "×" {
			each[i] = mine / r.next.cpu[i]
		}
	}
	if r.than == "×" {
		return fmt.Sprintf("%.2f ×", median(each))
	}
	return fmt.Sprintf("%+.1f", median(each))
}

func (r *row) turn(d time.Duration) {
	log.Print(r.name)
	r.ask(d / 10) // what is made at the first request is not what is measured
	begun, cpu := time.Now(), r.of.cpu()
	n := r.ask(d)
	r.cpu = append(r.cpu, float64((r.of.cpu()-cpu).Microseconds())/float64(n))
	r.rate = append(r.rate, float64(n)/time.Since(begun).Seconds())
}

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

// A request is what wrk sends again and again.
type request struct {
	method, path, body string
	header             map[string]string
}

var (
	counted = regexp.MustCompile(`(\d+) requests in`)
	failed  = regexp.MustCompile(`(?m)^ +(Non-2xx.*|Socket errors.*)$`)
)

// wrk has a request sent over 32 connections, and returns how often it was answered with
// 2xx: anything else ends the measurement.
func wrk(dir, url string, q request) func(time.Duration) int {
	var script strings.Builder
	fmt.Fprintf(&script, "wrk.method = %q\nwrk.body = %q\n", q.method, q.body)
	for name, value := range q.header {
		fmt.Fprintf(&script, "wrk.headers[%q] = %q\n", name, value)
	}
	f, err := os.CreateTemp(dir, "*.lua")
	must(err)
	_, err = f.WriteString(script.String())
	must(err)
	must(f.Close())
	return func(d time.Duration) int {
		out := run("wrk", "-t2", "-c32", "-d"+strconv.Itoa(max(1, int(d.Seconds()))), "-s", f.Name(), url+q.path)
		if why := failed.FindString(out); why != "" {
			log.Fatalf("%s: %s", q.path, strings.TrimSpace(why))
		}
		n, err := strconv.Atoi(counted.FindStringSubmatch(out)[1])
		must(err)
		return n
	}
}

// An answer is what a bare handler gives.
type answer struct {
	Header http.Header
	Body   []byte
}

// serveBare is the floor: a handler of net/http that gives the same answer, to a form once
// it has read it and who sends it.
func serveBare(file string) {
	text, err := os.ReadFile(file)
	must(err)
	var a answer
	must(json.Unmarshal(text, &a))
	must(listen(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			_, _, known := r.BasicAuth()
			if err := r.ParseForm(); err != nil || !known {
				http.Error(w, "no form of anybody's", http.StatusBadRequest)
				return
			}
		}
		h := w.Header()
		for name, values := range a.Header {
			h[name] = values
		}
		w.Write(a.Body)
	}))
}

func run(name string, args ...string) string {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		log.Fatalf("%s: %v", name, err)
	}
	return string(out)
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
