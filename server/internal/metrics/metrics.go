// Package metrics counts what the server does, in the form that Prometheus
// scrapes.
//
// [New] makes a [Metrics]; what happens is told to its methods, what stands is
// read by the functions given to Gauge and Counter, and Handler writes it all.
// Labels are routes, codes and reasons: never a path, a name or an address.
package metrics

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/problem"
)

// Metrics is safe for use by several goroutines.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	problems *prometheus.CounterVec
	signIns  *prometheus.CounterVec
	signUps  *prometheus.CounterVec
	refreshs *prometheus.CounterVec
	begun    *prometheus.CounterVec
	ended    *prometheus.CounterVec
	endedAll *prometheus.CounterVec
	events   *prometheus.CounterVec
}

// buckets reach from a session check, 30 µs, to a sign-in that waits for its
// turn to hash.
var buckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}

// New returns metrics in which nothing has happened yet, but for the Go runtime
// and the process.
func New(version string) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "admit_http_request_duration_seconds", Help: "Requests by route and class of status, and how long each took.", Buckets: buckets,
		}, []string{"method", "route", "status"}),
		problems: counter("admit_problems_total", "Requests that were refused or failed, by the code of the problem.", "code"),
		signIns:  counter("admit_sign_ins_total", "Tries to sign in with a password, by outcome: ok, or the code of the refusal.", "outcome"),
		signUps:  counter("admit_sign_ups_total", "Steps of signing up, by step (begin, prove) and outcome: ok, or the code of the refusal.", "step", "outcome"),
		refreshs: counter("admit_refreshes_total", "Refresh tokens that were presented, by outcome: ok; refresh_repeated, where the answer before was lost or another tab asked too; or the code of the refusal.", "outcome"),
		begun:    counter("admit_sessions_begun_total", "Sessions begun, by kind: user or guest.", "kind"),
		ended:    counter("admit_sessions_ended_total", "Sessions that were ended one by one, by reason. Those that expire are not counted.", "reason"),
		endedAll: counter("admit_subjects_ended_total", "Times that all sessions of a user were ended at once, by reason.", "reason"),
		events:   counter("admit_feed_events_total", "Endings that were told to the feed, by kind: sid, a session, or sub, all of a user.", "kind"),
	}
	for _, kind := range []feed.Kind{feed.Session, feed.Subject} {
		m.events.WithLabelValues(kind.String()) // there from the start, so that a rate has a beginning
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "admit_build_info", Help: "1, with the version that runs.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.registry.MustRegister(m.requests, m.problems, m.signIns, m.signUps, m.refreshs, m.begun, m.ended, m.endedAll, m.events, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Labels are constant names and values of one series.
type Labels = prometheus.Labels

// Gauge adds a number that goes up and down, which read returns at each scrape:
// it must be quick.
func (m *Metrics) Gauge(name, help string, labels Labels, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, read))
}

// Counter adds a number that only goes up, as Gauge.
func (m *Metrics) Counter(name, help string, labels Labels, read func() float64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}, read))
}

// Handler writes the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// Route returns what is told of each request of one route. It finds its labels
// once for each class of status, for looking them up costs more than counting,
// and only those classes that occur: all would be thousands of series.
func (m *Metrics) Route(method, route string) func(status int, took time.Duration) {
	var classes [6]atomic.Pointer[prometheus.Observer]
	return func(status int, took time.Duration) {
		class := status / 100
		if class < 1 || class > 5 {
			class = 0 // the client has gone
		}
		to := classes[class].Load()
		if to == nil {
			name := "none"
			if class > 0 {
				name = strconv.Itoa(class) + "xx"
			}
			o := m.requests.WithLabelValues(method, route, name)
			to = &o
			classes[class].Store(to)
		}
		(*to).Observe(took.Seconds())
	}
}

// Problem counts a refusal.
func (m *Metrics) Problem(code string) { m.problems.WithLabelValues(code).Inc() }

// SessionBegun counts a session.
func (m *Metrics) SessionBegun(guest bool) {
	kind := "user"
	if guest {
		kind = "guest"
	}
	m.begun.WithLabelValues(kind).Inc()
}

// SignIn counts a try with a password.
func (m *Metrics) SignIn(err error) { m.signIns.WithLabelValues(outcome(err)).Inc() }

// SignUp counts a step of signing up.
func (m *Metrics) SignUp(step string, err error) { m.signUps.WithLabelValues(step, outcome(err)).Inc() }

// Refresh counts a refresh token that was presented.
func (m *Metrics) Refresh(repeated bool, err error) {
	what := outcome(err)
	if repeated && err == nil {
		what = "refresh_repeated"
	}
	m.refreshs.WithLabelValues(what).Inc()
}

// outcome is "ok" or the code of a refusal.
func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, context.Canceled):
		return "client_gone"
	}
	p := problem.Of(err)
	if len(p.Errors) > 0 {
		return p.Errors[0].Code
	}
	return p.Code
}

// Append implements feed.Sink: it counts what ends, for those reasons that are
// codes of ours.
func (m *Metrics) Append(_ context.Context, _ time.Time, events ...feed.Event) error {
	for _, e := range events {
		switch e.Kind {
		case feed.Session:
			m.SessionEnded(e.Reason)
		case feed.Subject:
			m.SubjectEnded(e.Reason)
		}
	}
	return nil
}

// SessionEnded counts the ending of a session.
func (m *Metrics) SessionEnded(reason string) {
	m.ended.WithLabelValues(reason).Inc()
	m.events.WithLabelValues(feed.Session.String()).Inc()
}

// SubjectEnded counts an ending of all sessions of a user.
func (m *Metrics) SubjectEnded(reason string) {
	m.endedAll.WithLabelValues(reason).Inc()
	m.events.WithLabelValues(feed.Subject.String()).Inc()
}
