package db

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
)

// occupy keeps the database busy until the returned function is called, so that
// what is updated meanwhile comes together.
func occupy(t *testing.T, d *DB) (release func()) {
	t.Helper()
	holds, free := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	var once sync.Once
	go func() {
		done <- d.Update(context.Background(), func(account.Tx) error {
			once.Do(func() { close(holds) })
			<-free
			return nil
		})
	}()
	<-holds
	return func() {
		close(free)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// line waits until n updates wait for their turn.
func (db *DB) line(n int) {
	for {
		db.group.mu.Lock()
		waiting := len(db.group.waiting)
		db.group.mu.Unlock()
		if waiting == n {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func addUser(tx account.Tx, name string) error {
	return tx.PutUser(&account.User{ID: name, CreatedAt: time.UnixMilli(1), Identifiers: []account.Identifier{{Value: name, Kind: account.Username}}})
}

func exists(t *testing.T, d *DB, name string) bool {
	t.Helper()
	err := d.View(t.Context(), func(tx account.Tx) error {
		_, err := tx.User(name)
		return err
	})
	if err != nil && !errors.Is(err, account.ErrUnknownUser) {
		t.Fatal(err)
	}
	return err == nil
}

func TestUpdatesThatComeTogetherShareACommitAndEachHasItsOwnOutcome(t *testing.T) {
	d := openNew(t)
	boom := errors.New("boom")
	const n = 40
	before := d.Stats().Transactions
	release := occupy(t, d)
	errs := make([]error, n)
	panics := make([]any, n)
	var work sync.WaitGroup
	for i := range n {
		work.Go(func() {
			defer func() { panics[i] = recover() }()
			errs[i] = d.Update(t.Context(), func(tx account.Tx) error {
				if err := addUser(tx, fmt.Sprint("user-", i)); err != nil {
					return err
				}
				switch i % 4 {
				case 1:
					return account.ErrTaken
				case 2:
					panic(boom)
				}
				return nil
			})
		})
	}
	d.line(n)
	release()
	work.Wait()
	for i := range n {
		refused, panicked := i%4 == 1, i%4 == 2
		switch {
		case refused != errors.Is(errs[i], account.ErrTaken) || !refused && errs[i] != nil:
			t.Errorf("update %d: %v", i, errs[i])
		case panicked != (panics[i] == any(boom)):
			t.Errorf("update %d panicked with %v", i, panics[i])
		case exists(t, d, fmt.Sprint("user-", i)) != (!refused && !panicked):
			t.Errorf("update %d: refused %t, panicked %t, kept %t", i, refused, panicked, refused || panicked)
		}
	}
	if got := d.Stats().Transactions - before; got > 3 { // that which was held, and one or two for all
		t.Errorf("%d updates took %d transactions", n, got)
	}
}

// Records are written at the end of a transaction, and whoever shares it sees them
// all the same: one who is deleted in the same moment leaves no name behind.
func TestAnUpdateSeesTheRecordsOfThoseItSharesATransactionWith(t *testing.T) {
	d := openNew(t)
	for _, refuses := range []bool{false, true} {
		name := fmt.Sprint("ann-", refuses)
		release := occupy(t, d)
		var work sync.WaitGroup
		work.Go(func() {
			if err := d.Update(t.Context(), func(tx account.Tx) error {
				return tx.Record(&account.Record{At: time.Now(), Subject: name, Actor: name, Event: "signed_in"})
			}); err != nil {
				t.Error(err)
			}
		})
		d.line(1)
		work.Go(func() {
			err := d.Update(t.Context(), func(tx account.Tx) error {
				if err := tx.Erase(name, "someone"); err != nil {
					return err
				}
				if refuses {
					return account.ErrTaken
				}
				return nil
			})
			if refuses != errors.Is(err, account.ErrTaken) {
				t.Error(err)
			}
		})
		d.line(2)
		release()
		work.Wait()
		want := "someone"
		if refuses {
			want = name
		}
		if err := d.View(t.Context(), func(tx account.Tx) error {
			found, err := tx.Activity("", 0, 10)
			if len(found) == 0 || found[0].Subject != want {
				t.Errorf("refuses: %t; the audit has %+v", refuses, found)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnUpdateWhoseStatementFailsHarmsNobodyElse(t *testing.T) {
	d := openNew(t)
	release := occupy(t, d)
	var work sync.WaitGroup
	for i := range 8 {
		work.Go(func() {
			err := d.Update(t.Context(), func(tx account.Tx) error {
				if err := addUser(tx, fmt.Sprint("user-", i)); err != nil {
					return err
				}
				if i == 3 { // a family of nobody
					return tx.AddFamily(&account.Family{ID: "f", User: "nobody"})
				}
				return nil
			})
			if (err != nil) != (i == 3) || err != nil && !errors.Is(err, ErrUnavailable) {
				t.Errorf("update %d: %v", i, err)
			}
		})
	}
	d.line(8)
	release()
	work.Wait()
	for i := range 8 {
		if got := exists(t, d, fmt.Sprint("user-", i)); got != (i != 3) {
			t.Errorf("user %d is kept: %t", i, got)
		}
	}
}

func TestAnUpdateThatIsGivenUpInLineDoesNotHappen(t *testing.T) {
	d := openNew(t)
	release := occupy(t, d)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- d.Update(ctx, func(tx account.Tx) error { return addUser(tx, "ann") })
	}()
	d.line(1)
	cancel()
	if err := <-done; err == nil {
		t.Error("it was kept")
	}
	release()
	if err := d.Update(t.Context(), func(tx account.Tx) error { return addUser(tx, "bob") }); err != nil {
		t.Fatal(err)
	}
	if exists(t, d, "ann") || !exists(t, d, "bob") {
		t.Errorf("ann %t, bob %t", exists(t, d, "ann"), exists(t, d, "bob"))
	}
}

func openNew(t *testing.T) *DB {
	t.Helper()
	d, err := Open(t.Context(), NewPlace(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}
