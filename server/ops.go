package server

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"

	"github.com/admit-auth/admit/server/internal/metrics"
	"github.com/admit-auth/admit/server/internal/otlp"
)

// The operations listener is for who runs the server and for programs that
// watch it: metrics and health, without a password, on an address that the
// public cannot reach.

// listenOps opens the operations listener, where one is configured. Run serves
// it.
func (s *Server) listenOps() (err error) {
	if s.cfg.OpsListen == "" {
		return nil
	}
	if s.ops, err = net.Listen("tcp", s.cfg.OpsListen); err != nil {
		return fmt.Errorf("%w: %w", ErrPort.WithHint("stop what listens there, or choose another with --ops-listen"), err)
	}
	return nil
}

// operationsServer answers on the operations listener.
func (s *Server) operationsServer() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.metrics.Handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeStatus(w, http.StatusOK, "ok", nil)
	})
	mux.HandleFunc("GET /readyz", s.readiness)
	return bounded(mux, s.log)
}

// A reason is why a server is not as it should be.
type reason struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// readiness says whether requests may be sent here, and what is wrong besides.
//
// A server is ready while it can say who is asking, for which it must read its
// database, and no more. What cannot be written makes it degraded: that is
// refused call by call, with a reason. To send nothing here for it would sign
// out everybody for the sake of those who want to sign in.
func (s *Server) readiness(w http.ResponseWriter, r *http.Request) {
	var reasons []reason
	status, word := http.StatusOK, "ready"
	if v := s.watch.last.Load(); v != nil {
		for c, stands := range v.standing {
			if stands && condition(c) != databaseUnavailable {
				reasons, word = append(reasons, reason{conditions[c].code, conditions[c].says}), "degraded"
			}
		}
	}
	if s.db.Ping(r.Context()) != nil {
		is := conditions[databaseUnavailable]
		reasons, status, word = append(reasons, reason{is.code, is.says}), http.StatusServiceUnavailable, "not_ready"
	}
	if s.stopping.Load() {
		reasons, status, word = append(reasons, reason{"stopping", "the server was told to stop"}), http.StatusServiceUnavailable, "not_ready"
	}
	writeStatus(w, status, word, reasons)
}

func writeStatus(w http.ResponseWriter, status int, word string, reasons []reason) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct { // who is gone needs no answer
		Status  string   `json:"status"`
		Reasons []reason `json:"reasons,omitempty"`
	}{word, reasons})
}

// measure tells the metrics what they read at a scrape: numbers in memory, and
// what the last look has seen.
func (s *Server) measure() {
	m := s.metrics
	seen := func(read func(*view) float64) func() float64 {
		return func() float64 {
			if v := s.watch.last.Load(); v != nil {
				return read(v)
			}
			return 0
		}
	}
	one := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	for c, is := range conditions {
		m.Gauge("admit_condition", "1 while a condition stands that an operator should know.", metrics.Labels{"condition": is.code},
			seen(func(v *view) float64 { return one(v.standing[c]) }))
	}
	m.Gauge("admit_session_records", "Records of sessions that have not expired. It is read from time to time, not at a scrape.", nil,
		seen(func(v *view) float64 { return float64(v.records) }))

	m.Counter("admit_session_records_swept_total", "Records of sessions that had expired and were removed.", nil, func() float64 { return float64(s.sessions.Swept().Records) })
	m.Counter("admit_session_sweeps_failed_total", "Times that the database could not remove any. What has expired counts no more all the same.", nil, func() float64 { return float64(s.sessions.Swept().Failed) })
	m.Counter("admit_session_sweep_seconds_total", "Time that removing them took, waiting for the database's turn included.", nil, func() float64 { return s.sessions.Swept().Took.Seconds() })
	s.measureCopies()
	s.measureAlarms()

	m.Gauge("admit_password_slots", "Passwords that may be hashed at once.", nil, func() float64 { return float64(s.passwords.Stats().Slots) })
	m.Gauge("admit_password_slots_in_use", "Passwords being hashed.", nil, func() float64 { return float64(s.passwords.Stats().Busy) })
	m.Gauge("admit_password_waiting", "Passwords that wait for a slot.", nil, func() float64 { return float64(s.passwords.Stats().Waiting) })
	m.Counter("admit_password_hashes_total", "Passwords that got a slot.", nil, func() float64 { return float64(s.passwords.Stats().Hashed) })
	m.Counter("admit_password_wait_seconds_total", "Time that they waited for it, together.", nil, func() float64 { return s.passwords.Stats().Waited.Seconds() })
	m.Counter("admit_password_refused_total", "Passwords that got none in time: who sent them was told to retry.", nil, func() float64 { return float64(s.passwords.Stats().Refused) })

	m.Gauge("admit_outbox_waiting", "Messages that wait for delivery.", nil, seen(func(v *view) float64 { return float64(v.waiting) }))
	m.Gauge("admit_outbox_oldest_age_seconds", "How long the oldest of them waits.", nil, seen(func(v *view) float64 { return v.oldest.Seconds() }))
	const handed = "Messages handed over, by what they went."
	m.Counter("admit_outbox_sent_total", handed, metrics.Labels{"channel": "mail"}, func() float64 { return float64(s.accounts.MailCount().Sent) })
	m.Counter("admit_outbox_sent_total", handed, metrics.Labels{"channel": "text"}, func() float64 { return float64(s.accounts.MailCount().SentText) })
	m.Counter("admit_outbox_failures_total", "Times that handing one over failed.", nil, func() float64 { return float64(s.accounts.MailCount().Failed) })
	m.Counter("admit_outbox_given_up_total", "Messages given up after a day.", nil, func() float64 { return float64(s.accounts.MailCount().GivenUp) })
	m.Counter("admit_outbox_refused_total", "Messages that were refused for good, such as for an address that does not exist.", nil, func() float64 { return float64(s.accounts.MailCount().Refused) })
	m.Counter("admit_outbox_over_total", "Messages not sent, for the code that they carried had ended.", nil, func() float64 { return float64(s.accounts.MailCount().Over) })

	m.Gauge("admit_feed_followers", "Services that follow the feed, and snapshots being read.", nil, func() float64 { return float64(s.db.Feed().Followers()) })

	accounts, sessions := metrics.Labels{"of": "accounts"}, metrics.Labels{"of": "sessions"}
	const done, took, failed = "Transactions that wrote, by what they are of.", "Time that they took, waiting for their turn and the disk included.", "Transactions that failed for want of a disk or of time."
	m.Counter("admit_database_transactions_total", done, accounts, func() float64 { return float64(s.db.Stats().Transactions) })
	m.Counter("admit_database_transactions_total", done, sessions, func() float64 { return float64(s.stored.Stats().Transactions) })
	m.Counter("admit_database_transaction_seconds_total", took, accounts, func() float64 { return s.db.Stats().Took.Seconds() })
	m.Counter("admit_database_transaction_seconds_total", took, sessions, func() float64 { return s.stored.Stats().Took.Seconds() })
	m.Counter("admit_database_transaction_failures_total", failed, accounts, func() float64 { return float64(s.db.Stats().Failed) })
	m.Counter("admit_database_transaction_failures_total", failed, sessions, func() float64 { return float64(s.stored.Stats().Failed) })
	m.Counter("admit_database_write_waits_total", "Times that a write waited for the one before.", nil, func() float64 { return float64(s.db.Stats().Waits) })
	m.Counter("admit_database_write_wait_seconds_total", "Time that writes waited for the one before.", nil, func() float64 { return s.db.Stats().Waited.Seconds() })
	if !s.db.Shared() { // PostgreSQL tells of its own
		m.Gauge("admit_database_size_bytes", "Size of the database with its write-ahead log.", nil, func() float64 { return float64(s.db.Stats().Bytes) })
		m.Gauge("admit_disk_free_bytes", "Room on the disk of the data folder.", nil, seen(func(v *view) float64 { return float64(v.space.free) }))
		m.Gauge("admit_disk_size_bytes", "Size of that disk.", nil, seen(func(v *view) float64 { return float64(v.space.size) }))
	}

	spans := func() (of otlp.Stats) {
		if s.traces != nil {
			of = s.traces.Stats()
		}
		return of
	}
	m.Counter("admit_trace_spans_sent_total", "Spans that the collector has taken.", nil, func() float64 { return float64(spans().Sent) })
	m.Counter("admit_trace_spans_dropped_total", "Spans that were dropped: the collector refused them, or was away for too long.", nil, func() float64 { return float64(spans().Dropped) })

	const jumps = "Times that the clock jumped by more than two seconds."
	m.Counter("admit_clock_jumps_total", jumps, metrics.Labels{"direction": "forward"}, func() float64 { return float64(s.watch.jumps[0].Load()) })
	m.Counter("admit_clock_jumps_total", jumps, metrics.Labels{"direction": "back"}, func() float64 { return float64(s.watch.jumps[1].Load()) })

	if s.certificate != nil {
		m.Gauge("admit_certificate_expiry_timestamp_seconds", "When the certificate expires, in seconds since 1970.", nil, func() float64 {
			if at := s.certificate(); !at.IsZero() {
				return float64(at.Unix())
			}
			return 0
		})
	}
}

// isPrivate reports whether the public cannot reach an address: it is of this
// machine or of a network of one's own. Every address of the machine, as
// containers listen on, is the operator's to judge.
func isPrivate(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || isLoopback(host) || ip != nil && (ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified())
}
