package cli

import "iter"

// pageSize is how many are asked for at once.
const pageSize = 500

// pages walks over up to most of all that list gives; 0 is no bound. It is asked
// from a mark to the next: the zero value is the beginning, and the end.
func pages[T any, Mark comparable](most int, list func(from Mark) ([]T, Mark, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		n := 0
		for from, begin := *new(Mark), *new(Mark); ; {
			page, next, err := list(from)
			if err != nil {
				yield(*new(T), err)
				return
			}
			for _, v := range page {
				if n++; !yield(v, nil) || n == most {
					return
				}
			}
			if from = next; from == begin {
				return
			}
		}
	}
}

// last is the mark behind a page of what is in the order of its ids.
func last[T any](page []T, id func(T) string) string {
	if len(page) < pageSize {
		return ""
	}
	return id(page[len(page)-1])
}
