package trace

import (
	"context"
	"errors"
	"strings"
	"testing"
)

const aTrace, aParent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

func TestATraceIsReadOnlyWhereItIsWritten(t *testing.T) {
	for name, c := range map[string]struct {
		header  string
		want    string
		sampled bool
	}{
		"of version 0":             {"00-" + aTrace + "-" + aParent + "-01", aTrace, true},
		"that nobody samples":      {"00-" + aTrace + "-" + aParent + "-00", aTrace, false},
		"with a flag of tomorrow":  {"00-" + aTrace + "-" + aParent + "-03", aTrace, true},
		"of a later version":       {"01-" + aTrace + "-" + aParent + "-01-more", aTrace, true},
		"empty":                    {"", "", false},
		"too short":                {"00-" + aTrace + "-" + aParent, "", false},
		"version 0 with more":      {"00-" + aTrace + "-" + aParent + "-01-more", "", false},
		"version ff":               {"ff-" + aTrace + "-" + aParent + "-01", "", false},
		"a trace of zeros":         {"00-" + strings.Repeat("0", 32) + "-" + aParent + "-01", "", false},
		"a parent of zeros":        {"00-" + aTrace + "-" + strings.Repeat("0", 16) + "-01", "", false},
		"capitals":                 {"00-" + strings.ToUpper(aTrace) + "-" + aParent + "-01", "", false},
		"what would forge a line":  {"00-" + "level=ERROR\nmsg=forged__________" + "-" + aParent + "-01", "", false},
		"no dash where one stands": {"00_" + aTrace + "-" + aParent + "-01", "", false},
	} {
		got, _, sampled, ok := Parse(c.header)
		if got != c.want || sampled != c.sampled || ok != (c.want != "") {
			t.Errorf("%s: %q, %v, %v; want %q, %v", name, got, sampled, ok, c.want, c.sampled)
		}
	}
}

func FuzzATraceIsThirtyTwoHexDigitsOrNothing(f *testing.F) {
	f.Add("00-" + aTrace + "-" + aParent + "-01")
	f.Add("01-" + aTrace + "-" + aParent + "-01-")
	f.Fuzz(func(t *testing.T, header string) {
		got, parent, _, ok := Parse(header)
		if ok && (len(got) != 32 || !isHex(got) || header[3:35] != got || len(parent) != 16 || !isHex(parent)) || !ok && got+parent != "" {
			t.Errorf("%q is read as %q, %q, %v", header, got, parent, ok)
		}
	})
}

var errFull = errors.New("full")

func TestSpansCostNoAllocationWhereNobodyTraces(t *testing.T) {
	type other struct{}
	ctx := context.WithValue(context.WithValue(t.Context(), other{}, 1), new(int), 2)
	got := testing.AllocsPerRun(1000, func() {
		ctx, span := Start(ctx, "password verify")
		_, inner := Start(ctx, "store read")
		inner.End(nil)
		span.Name("another")
		span.End(errFull)
		if Parent(ctx) != "" {
			t.Fatal("there is a trace")
		}
	})
	if got != 0 {
		t.Errorf("a span that nobody sees costs %v allocations, want none", got)
	}
}

func BenchmarkASpanThatNobodySees(b *testing.B) {
	ctx := context.WithValue(b.Context(), new(int), 2) // as net/http's
	b.ReportAllocs()
	for b.Loop() {
		_, span := Start(ctx, "store read")
		span.End(nil)
	}
}

// A note is a span that remembers what it heard.
type note struct {
	off
	name string
	says *[]string
}

func (n note) Child(name string) Span {
	*n.says = append(*n.says, n.name+" > "+name)
	return note{name: name, says: n.says}
}

func TestASpanIsTheChildOfTheOneInItsContext(t *testing.T) {
	var said []string
	ctx := With(t.Context(), note{name: "request", says: &said})
	inside, _ := Start(ctx, "update")
	Start(inside, "store write")
	Start(ctx, "password")
	if got := strings.Join(said, ", "); got != "request > update, update > store write, request > password" {
		t.Errorf("heard %s", got)
	}
}
