package linear

import (
	"testing"
	"time"
)

// Histories in the order of their answers. The checker is as good as what it
// refuses.
func TestTheModelTakesWhatCanBeAndRefusesWhatCannot(t *testing.T) {
	at := func(call, ret int, o op) op {
		o.call, o.ret = time.Duration(call), time.Duration(ret)
		return o
	}
	begun := at(0, 1, op{kind: begin, answer: done})
	for _, c := range []struct {
		name string
		ops  []op
		want bool
	}{
		{"two updates at once, each with its number", []op{begun, at(2, 9, op{kind: update, answer: done, n: 2}), at(3, 8, op{kind: update, answer: done, n: 1})}, true},
		{"two updates with one number", []op{begun, at(2, 9, op{kind: update, answer: done, n: 1}), at(3, 8, op{kind: update, answer: done, n: 1})}, false},
		{"an update that a later read does not see", []op{begun, at(2, 3, op{kind: update, answer: done, n: 1}), at(4, 5, op{kind: read, answer: done})}, false},
		{"an update that a read at the same time does not see", []op{begun, at(2, 5, op{kind: update, answer: done, n: 1}), at(3, 4, op{kind: read, answer: done})}, true},
		{"an update without an answer that was made", []op{begun, at(2, 3, op{kind: update}), at(4, 5, op{kind: read, answer: done, n: 1})}, true},
		{"an update without an answer that was not made", []op{begun, at(2, 3, op{kind: update}), at(4, 5, op{kind: read, answer: done})}, true},
		{"an update without an answer that is made late", []op{begun, at(2, 3, op{kind: update}), at(4, 5, op{kind: read, answer: done}), at(6, 7, op{kind: read, answer: done, n: 1})}, true},
		{"an update without an answer that was made twice", []op{begun, at(2, 3, op{kind: update}), at(4, 5, op{kind: read, answer: done, n: 2})}, false},
		{"an update without an answer that was made before it was sent", []op{begun, at(2, 3, op{kind: read, answer: done, n: 1}), at(4, 5, op{kind: update})}, false},
		{"an update without an answer that was undone", []op{begun, at(2, 3, op{kind: update}), at(4, 5, op{kind: read, answer: done, n: 1}), at(6, 7, op{kind: read, answer: done})}, false},
		{"a session that is gone for no reason", []op{begun, at(2, 3, op{kind: read, answer: none})}, false},
		{"a session that was ended", []op{begun, at(2, 3, op{kind: end, answer: done}), at(4, 5, op{kind: read, answer: none})}, true},
		{"a session that lives after its ending", []op{begun, at(2, 3, op{kind: end, answer: done}), at(4, 5, op{kind: read, answer: done})}, false},
		{"an update in flight while its session ends", []op{begun, at(2, 5, op{kind: end, answer: done}), at(3, 9, op{kind: update, answer: done, n: 1}), at(10, 11, op{kind: read, answer: none})}, true},
		{"an update that was seen and undone by a crash, though nobody was answered", []op{begun, at(2, 3, op{kind: update}), at(4, 5, op{kind: read, answer: done, n: 1}), at(6, 7, op{kind: read, answer: done, undoes: true})}, true},
		{"an update that was answered and undone by a crash", []op{begun, at(2, 3, op{kind: update, answer: done, n: 1}), at(6, 7, op{kind: read, answer: done, undoes: true})}, false},
		{"an update that was built upon and undone by a crash", []op{begun, at(2, 3, op{kind: update}), at(4, 5, op{kind: update, answer: done, n: 2}), at(6, 7, op{kind: read, answer: done, n: 1, undoes: true})}, false},
		{"an ending that was seen and undone by a crash, though nobody was answered", []op{begun, at(2, 3, op{kind: end}), at(4, 5, op{kind: read, answer: none}), at(6, 7, op{kind: read, answer: done, undoes: true})}, true},
		{"an ending that was answered and undone by a crash", []op{begun, at(2, 3, op{kind: end, answer: done}), at(6, 7, op{kind: read, answer: done, undoes: true})}, false},
		{"an ending without an answer", []op{begun, at(2, 3, op{kind: end}), at(4, 5, op{kind: read, answer: done}), at(6, 7, op{kind: read, answer: none})}, true},
		{"an ending without an answer that was undone", []op{begun, at(2, 3, op{kind: end}), at(4, 5, op{kind: read, answer: none}), at(6, 7, op{kind: read, answer: done})}, false},
		{"a session that was forgotten", []op{begun, at(2, 3, op{kind: read, answer: none, forgets: true})}, true},
		{"a session that was forgotten and is back", []op{begun, at(2, 3, op{kind: read, answer: none, forgets: true}), at(4, 5, op{kind: read, answer: done, forgets: true})}, false},
		{"all ended at once", []op{begun, at(0, 1, op{kind: begin, session: 1, answer: done}), at(2, 5, op{kind: endAll, answer: done}), at(3, 4, op{kind: read, answer: none}), at(6, 7, op{kind: read, session: 1, answer: none})}, true},
		{"all ended, but one not yet", []op{begun, at(0, 1, op{kind: begin, session: 1, answer: done}), at(2, 9, op{kind: endAll, answer: done}), at(3, 4, op{kind: read, answer: none}), at(5, 6, op{kind: read, session: 1, answer: done})}, false},
		{"all of the user's ended, and a guest's lives", []op{at(0, 1, op{kind: begin, guest: true, answer: done}), at(2, 3, op{kind: endAll, answer: done}), at(4, 5, op{kind: read, answer: done})}, true},
		{"a renewal keeps the count and ends the session", []op{begun, at(2, 3, op{kind: update, answer: done, n: 1}), at(4, 5, op{kind: renew, next: 1, answer: done, n: 1}), at(6, 7, op{kind: update, session: 1, answer: done, n: 2}), at(8, 9, op{kind: read, answer: none})}, true},
		{"a renewal loses the count", []op{begun, at(2, 3, op{kind: update, answer: done, n: 1}), at(4, 5, op{kind: renew, next: 1, answer: done})}, false},
		{"a renewal leaves the session alive", []op{begun, at(2, 3, op{kind: renew, next: 1, answer: done}), at(4, 5, op{kind: read, answer: done})}, false},
		{"all are ended between the halves of a renewal", []op{begun, at(2, 3, op{kind: update, answer: done, n: 1}), at(5, 6, op{kind: endAll, answer: done}), at(4, 7, op{kind: renew, next: 1, answer: done, n: 1}), at(8, 9, op{kind: read, session: 1, answer: done, n: 1})}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if yes, decided := linearizable(c.ops); !decided || yes != c.want {
				t.Errorf("%v, decided %v, want %v:\n%s", yes, decided, c.want, show(c.ops))
			}
		})
	}
}
