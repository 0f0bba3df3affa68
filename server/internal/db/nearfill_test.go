package db

import (
	"testing"
	"time"
)

func TestWhatWasForgottenWhileItWasReadIsNotKept(t *testing.T) {
	r, on := nearRow{ofSession, "s"}, nearRow{ofEpoch, "ann"}
	for name, forget := range map[string]func(*near){
		"the row":               func(n *near) { n.forget(r) },
		"what it stands on":     func(n *near) { n.forget(on) },
		"everything":            func(n *near) { n.clear() },
		"more than is recalled": func(n *near) { n.forget(make([]nearRow, 1000)...) },
		"it, and then others":   func(n *near) { n.forget(r); n.forget(make([]nearRow, 200)...) },
	} {
		n := &near{}
		since := n.now()
		forget(n)
		if n.fill(1, since, r, on); n.has(r) {
			t.Errorf("%s: a copy was kept of what may have been read before", name)
		}
		if n.fill(1, n.now(), r, on); !n.has(r) {
			t.Errorf("%s: nothing is kept any more", name)
		}
	}
	n := &near{}
	since := n.now()
	n.forget(nearRow{ofSession, "another"})
	if n.fill(1, since, r, on); !n.has(r) {
		t.Error("a row that nobody wrote is not kept")
	}
}

func TestNothingIsKeptWhileAWriteMayHappenYet(t *testing.T) {
	n := &near{}
	r := nearRow{ofSession, "s"}
	n.fill(1, n.now(), r)
	n.doubt(time.Now())
	if n.has(r) {
		t.Error("a copy is used that may be of before")
	}
	if n.fill(1, n.now(), r); n.has(r) {
		t.Error("a copy is made of what may be of before")
	}
	n.doubt(time.Now().Add(-time.Hour))
	if n.fill(1, n.now(), r); !n.has(r) {
		t.Error("nothing is kept any more")
	}
}

func TestNothingIsKeptOfARowThatMayBeWrittenYetAndAllElseIs(t *testing.T) {
	n := &near{}
	row, on, other := nearRow{ofSession, "s"}, nearRow{ofEpoch, "ann"}, nearRow{ofSession, "another"}
	for _, r := range []nearRow{row, on, other} {
		n.fill(1, n.now(), r)
	}
	n.doubt(time.Now(), row)
	if n.fill(1, n.now(), row); n.has(row) || !n.has(on) || !n.has(other) {
		t.Error("more or less is forgotten than what may be written yet")
	}
	n.doubt(time.Now(), on)
	if n.fill(1, n.now(), other, on); n.has(on) {
		t.Error("a copy is kept that stands on what may be written yet")
	}
	n.doubt(time.Now().Add(-time.Hour), row)
	if n.fill(1, n.now(), row); !n.has(row) {
		t.Error("nothing of it is kept any more")
	}
	for i := range 2 * nearDoubted {
		n.doubt(time.Now(), nearRow{ofSession, string(rune(i + 1000))})
	}
	if len(n.doubted) > nearDoubted || n.has(row) {
		t.Errorf("%d rows are doubted, and copies are kept", len(n.doubted))
	}
}

func TestCopiesAreBoundedAndWhatIsUsedStays(t *testing.T) {
	n := &near{}
	used := nearRow{ofToken, "used"}
	n.fill(1, n.now(), used)
	for i := range 5 * nearMost {
		n.fill(1, n.now(), nearRow{ofToken, string(rune(i))})
		if i%1000 == 0 && !n.has(used) {
			t.Fatalf("what is used is gone after %d others", i)
		}
	}
	if all := len(n.young) + len(n.old); all > 2*nearMost {
		t.Errorf("%d copies, want %d at most", all, 2*nearMost)
	}
}

func (n *near) has(r nearRow) bool {
	_, ok := n.get(r)
	return ok
}
