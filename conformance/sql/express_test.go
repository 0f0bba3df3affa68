package sql

import (
	"errors"
	"testing"
	"time"

	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/express"
	"github.com/admit-auth/admit/session/express/expresstest"
)

// The table as connect-pg-simple 10 makes it.
const expressTable = `CREATE TABLE "session" ("sid" varchar NOT NULL COLLATE "default", "sess" json NOT NULL, "expire" timestamp(6) NOT NULL);
	ALTER TABLE "session" ADD CONSTRAINT "session_pkey" PRIMARY KEY ("sid") NOT DEFERRABLE INITIALLY IMMEDIATE;
	CREATE INDEX "IDX_session_expire" ON "session" ("expire")`

func TestPostgreSQLKeepsExpressRecords(t *testing.T) {
	s := start(t, kinds[0])
	dsn := s.dsn(s.dir, "")
	db := s.open(dsn)
	defer db.Close()
	if _, err := db.Exec(expressTable); err != nil {
		t.Fatal(err)
	}
	expresstest.Run(t, func(t testing.TB) express.Store {
		db := s.open(dsn)
		t.Cleanup(func() { db.Close() })
		p, err := express.NewPostgres(db, nil)
		if err != nil {
			t.Fatal(err)
		}
		return p
	})
	t.Run("what is over is swept", func(t *testing.T) {
		p, err := express.NewPostgres(db, &express.PostgresOptions{Schema: "public", Table: "session"})
		if err != nil {
			t.Fatal(err)
		}
		var before, over int
		const count = "SELECT count(*), count(*) FILTER (WHERE expire < now()) FROM session"
		if err := db.QueryRow(count).Scan(&before, &over); err != nil {
			t.Fatal(err)
		}
		if over == 0 {
			t.Fatal("nothing is over")
		}
		for range over {
			if n, err := p.Sweep(t.Context(), time.Now(), 1); n != 1 || err != nil {
				t.Errorf("swept %d of 1: %v", n, err)
			}
		}
	})
}

// Some would rather look into their sessions with SQL. The text is PostgreSQL's
// then, and what it gave is what it compares.
func TestExpressRecordsMayBeJSONB(t *testing.T) {
	s := start(t, kinds[0])
	db := s.open(s.dsn(s.dir, ""))
	t.Cleanup(func() { db.Close() })
	if _, err := db.Exec(expressTable + `; ALTER TABLE "session" ALTER COLUMN "sess" TYPE jsonb`); err != nil {
		t.Fatal(err)
	}
	p, err := express.NewPostgres(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	next := func(n string) express.Record { return express.Record{JSON: `{"n":` + n + `,"cookie":{}}`} }
	rec, err := p.Add(t.Context(), "abc", next("1"))
	if err != nil {
		t.Fatal(err)
	}
	read, err := p.Get(t.Context(), "abc")
	if err != nil || read.JSON != rec.JSON {
		t.Errorf("Get = %+v, %v, want %+v", read, err, rec)
	}
	if rec, err = p.Swap(t.Context(), "abc", rec, next("2")); err != nil {
		t.Errorf("a swap of what was added: %v", err)
	}
	if _, err = p.Swap(t.Context(), "abc", read, next("3")); !errors.Is(err, session.ErrConflict) {
		t.Errorf("a swap of what is no more: %v", err)
	}
	if err := p.Delete(t.Context(), "abc", rec); err != nil {
		t.Errorf("a delete of what was swapped in: %v", err)
	}
}

func TestAFrozenPostgreSQLIsUnavailableToExpressSessions(t *testing.T) {
	s := start(t, kinds[0])
	w := s.wire(t)
	db := s.open(s.dsn(w.dir, ""))
	t.Cleanup(func() { db.Close() })
	if _, err := db.Exec(expressTable); err != nil {
		t.Fatal(err)
	}
	p, err := express.NewPostgres(db, &express.PostgresOptions{Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	expresstest.Outage(t, p, w.freeze)
}
