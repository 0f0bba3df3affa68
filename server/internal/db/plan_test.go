package db

import (
	"strings"
	"testing"
)

// Whoever signs out must not wait until every grant there is has been looked at.
func TestWhatEndsGrantsFindsThemByAnIndex(t *testing.T) {
	OfAFile(t)
	d := openNew(t)
	for query, index := range map[string]string{
		"UPDATE grants SET ended = ? WHERE " + behindSession + " AND ended = ''": "grants_sid",
		"UPDATE grants SET ended = ? WHERE " + ofSubject + " AND ended = ''":     "grants_subject",
		"UPDATE grants SET sid = '' WHERE " + behindSession:                      "grants_sid",
		sqlForgetConsents:   "consents",
		sqlForgetClient[0]:  "grants_client",
		sqlSamePlace:        "sqlite_autoindex_status_places_1",
		sqlClientJWTs:       "status_places_client",
		sqlSweepProvider[0]: "access_tokens_expires",
		sqlSweepProvider[1]: "grants_expires",
		sqlSweepProvider[2]: "codes_expires",
		sqlSweepProvider[3]: "spent_until",
		sqlSweepProvider[4]: "pushed_expires",
		sqlSweepDevices:     "devices_expires",
		sqlDeviceOf:         "sqlite_autoindex_devices_2",
		sqlSweepInvite:      "invites_expires",
		sqlUnusedStrangers:  "clients_strangers",
		sqlFindKnownClients: "clients_known",
	} {
		args := make([]any, strings.Count(query, "?"))
		rows, err := d.read.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
		if err != nil {
			t.Fatal(err)
		}
		plan := ""
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			plan += detail + "; "
		}
		rows.Close()
		if !strings.Contains(plan, index) {
			t.Errorf("%s: %s, want the index %s", query, plan, index)
		}
	}
}
