package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

type stateError string

func (e stateError) Error() string    { return "failed" }
func (e stateError) SQLState() string { return string(e) }

func TestOnlyATransactionThatMetOthersIsRunAgain(t *testing.T) {
	for _, c := range []struct {
		dialect Dialect
		err     error
		want    bool
	}{
		{PostgreSQL, stateError("40P01"), true},
		{PostgreSQL, stateError("40001"), true},
		{PostgreSQL, fmt.Errorf("raise epoch: %w", stateError("55P03")), true},
		{PostgreSQL, &alongError{stateError("40P01")}, true},
		{PostgreSQL, stateError("23505"), false},
		{PostgreSQL, errors.New("ERROR: deadlock detected"), false},
		{MySQL, errors.New("Error 1213 (40001): Deadlock found when trying to get lock"), true},
		{MySQL, errors.New("Error 1205: Lock wait timeout exceeded"), true},
		{MySQL, fmt.Errorf("raise epoch: %w", errors.New("Error 1213 (40001): Deadlock found")), true},
		{MySQL, &alongError{fmt.Errorf("audit: %w", errors.New("Error 1213 (40001): Deadlock found"))}, true},
		{MySQL, errors.New("Error 1062 (23000): Duplicate entry 'Error 1213 ' for key"), false},
		{MySQL, errors.New("Error 12130 (HY000)"), false},
		{MySQL, errors.New("Error "), false},
		{MySQL, stateError("40P01"), false},
		{SQLite, stateError("40P01"), false},
		{PostgreSQL, context.DeadlineExceeded, false},
		{MySQL, nil, false},
	} {
		if got := c.dialect.Again(c.err); got != c.want {
			t.Errorf("dialect %d, Again(%v) = %v, want %v", c.dialect, c.err, got, c.want)
		}
	}
}

func TestPostgreSQLIsAskedWithNumberedParameters(t *testing.T) {
	for text, want := range map[string]string{
		"SELECT 1":                       "SELECT 1",
		"UPDATE t SET a = ? WHERE b = ?": "UPDATE t SET a = $1 WHERE b = $2",
		strings.Repeat("?,", 10):         "$1,$2,$3,$4,$5,$6,$7,$8,$9,$10,",
	} {
		if got := numbered(text); got != want {
			t.Errorf("numbered(%q) = %q, want %q", text, got, want)
		}
	}
}
