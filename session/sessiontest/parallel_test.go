package sessiontest

import "testing"

// The operations that the histories below are made of. Version and value are
// one here.
func wrote(v string) func(state) (state, bool) {
	return func(s state) (state, bool) { return state{value: v}, true }
}

func swapped(old, v string) func(state) (state, bool) {
	return func(s state) (state, bool) { return state{value: v}, s.value == old }
}

func read(v string) func(state) (state, bool) {
	return func(s state) (state, bool) { return s, s.value == v }
}

func TestHistoriesAreJudgedRight(t *testing.T) {
	for _, c := range []struct {
		name string
		ops  []op
		want bool
	}{
		{"nothing happened", nil, true},
		{"a read sees the write before it", []op{{"", 1, 2, wrote("a")}, {"", 3, 4, read("a")}}, true},
		{"a read before the write does not", []op{{"", 1, 2, read("a")}, {"", 3, 4, wrote("a")}}, false},
		{"a read misses a write that was over", []op{{"", 1, 2, wrote("a")}, {"", 3, 4, read("")}}, false},
		{"a read beside a write may see it", []op{{"", 1, 4, wrote("a")}, {"", 2, 3, read("a")}}, true},
		{"or not", []op{{"", 1, 4, wrote("a")}, {"", 2, 3, read("")}}, true},
		{"but not first see it and then not", []op{{"", 1, 8, wrote("a")}, {"", 2, 3, read("a")}, {"", 4, 5, read("")}}, false},
		{"two swaps of one version do not both succeed", []op{{"", 1, 9, swapped("", "a")}, {"", 2, 8, swapped("", "b")}}, false},
		{"swaps follow each other in any order that fits", []op{{"", 1, 9, swapped("b", "c")}, {"", 2, 8, swapped("a", "b")}, {"", 3, 7, swapped("", "a")}}, true},
		{"the order of the calls that are over holds", []op{{"", 1, 2, swapped("a", "b")}, {"", 3, 4, swapped("", "a")}}, false},
		{"an unheard write may have happened", []op{{"", 1, never, wrote("a")}, {"", 5, 6, read("a")}}, true},
		{"or not have happened", []op{{"", 1, never, wrote("a")}, {"", 5, 6, read("")}}, true},
		{"or happen late", []op{{"", 1, never, wrote("a")}, {"", 5, 6, read("")}, {"", 7, 8, read("a")}}, true},
		{"but not before it was called", []op{{"", 7, never, wrote("a")}, {"", 5, 6, read("a")}}, false},
		{"nor twice", []op{{"", 1, never, wrote("a")}, {"", 2, 3, read("a")}, {"", 4, 5, wrote("b")}, {"", 6, 7, read("a")}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := linearizable(c.ops); got != c.want {
				t.Errorf("linearizable = %v, want %v", got, c.want)
			}
		})
	}
}
