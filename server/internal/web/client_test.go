package web

import (
	"reflect"
	"strings"
	"testing"
)

// Whoever registers a client can change all of it later, but for who it is and how it
// proves itself.
func TestWhatIsSaidOfAClientCanBeChanged(t *testing.T) {
	change := map[string]bool{"id": true, "public": true, "secret": true}
	for _, name := range membersOf[ClientChange]() {
		change[name] = true
	}
	for _, name := range membersOf[NewClient]() {
		if !change[name] {
			t.Errorf("%s cannot be changed", name)
		}
	}
}

func membersOf[T any]() (names []string) {
	for f := range reflect.TypeFor[T]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}
