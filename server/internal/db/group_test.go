package db_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit/server/internal/account"
	"github.com/admit-auth/admit/server/internal/db"
)

// hold keeps the database busy until the returned function is called, so that
// what is updated meanwhile comes together.
func hold(t *testing.T, d *db.DB) (release func()) {
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

func addUser(tx account.Tx, name string) error {
	return tx.PutUser(&account.User{ID: name, CreatedAt: time.UnixMilli(1), Identifiers: []account.Identifier{{Value: name, Kind: account.Username}}})
}

func exists(t *testing.T, d *db.DB, name string) bool {
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
	d := database(t)
	boom := errors.New("boom")
	const n = 40
	before := d.Stats().Transactions
	release := hold(t, d)
	var began atomic.Int32
	errs := make([]error, n)
	panics := make([]any, n)
	var work sync.WaitGroup
	for i := range n {
		work.Go(func() {
			defer func() { panics[i] = recover() }()
			began.Add(1)
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
	for began.Load() < n {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond) // until they stand in line: those that do not are still right
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
	if got := d.Stats().Transactions - before; got > 10 {
		t.Errorf("%d updates took %d transactions", n, got)
	}
}

func TestAnUpdateWhoseStatementFailsHarmsNobodyElse(t *testing.T) {
	d := database(t)
	release := hold(t, d)
	var work sync.WaitGroup
	var runs atomic.Int32
	for i := range 8 {
		work.Go(func() {
			err := d.Update(t.Context(), func(tx account.Tx) error {
				runs.Add(1)
				if err := addUser(tx, fmt.Sprint("user-", i)); err != nil {
					return err
				}
				if i == 3 { // a family of nobody
					return tx.AddFamily(&account.Family{ID: "f", User: "nobody"})
				}
				return nil
			})
			if (err != nil) != (i == 3) || err != nil && !errors.Is(err, db.ErrUnavailable) {
				t.Errorf("update %d: %v", i, err)
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	release()
	work.Wait()
	for i := range 8 {
		if got := exists(t, d, fmt.Sprint("user-", i)); got != (i != 3) {
			t.Errorf("user %d is kept: %t", i, got)
		}
	}
}

func TestAnUpdateThatIsGivenUpInLineDoesNotHappen(t *testing.T) {
	d := database(t)
	release := hold(t, d)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- d.Update(ctx, func(tx account.Tx) error { return addUser(tx, "ann") })
	}()
	time.Sleep(20 * time.Millisecond)
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
