package db

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/admit-auth/admit/session"
)

func TestRecordsOfSessionsAreCountedWithoutEpochs(t *testing.T) {
	d, s := openSessions(t, NewPlace(t))
	m, err := session.New[struct{}](s, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"", "ann", "ann", "张伟"} {
		if _, err := m.Start(httptest.NewRecorder(), httptest.NewRequest("GET", "https://id.example.org", nil), subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	if n, err := d.SessionRecords(t.Context(), now); n != 4 || err != nil {
		t.Errorf("SessionRecords = %d, %v, want 4", n, err)
	}
	if n, err := d.SessionRecords(t.Context(), now.Add(48*time.Hour)); n != 0 || err != nil {
		t.Errorf("SessionRecords when all have expired = %d, %v, want 0", n, err)
	}
}
