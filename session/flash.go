package session

// A Flash is a field of a session's data that keeps values until a page asks for
// them, such as a notice that outlives a redirect:
//
//	type Visit struct {
//		Notices session.Flash[string] `json:"notices,omitempty"`
//	}
//
// Add and Take belong inside [Manager.Update].
type Flash[T any] []T

// Add keeps a value for whoever takes next.
func (f *Flash[T]) Add(value T) { *f = append(*f, value) }

// Take returns what was added since the last Take, oldest first, and keeps none
// of it. Of two requests that take at once, one gets a value.
func (f *Flash[T]) Take() []T {
	values := *f
	*f = nil
	return values
}
