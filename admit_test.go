package admit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit"
)

var (
	errTaken = admit.Conflict.New("taken", "This name is taken.")
	errOther = admit.Conflict.New("other", "Something else came first.")
)

func TestKindOfFindsTheKindInAnyWrapping(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want admit.Kind
	}{
		{"nothing is internal", nil, admit.Internal},
		{"an error that nobody classified is internal", errors.New("x"), admit.Internal},
		{"a bare kind", admit.NotFound, admit.NotFound},
		{"a wrapped kind", fmt.Errorf("x: %w", admit.NotFound), admit.NotFound},
		{"a refusal", errTaken, admit.Conflict},
		{"a wrapped refusal", fmt.Errorf("x: %w", fmt.Errorf("y: %w", errTaken)), admit.Conflict},
		{"a refusal with a hint", errTaken.WithHint("h"), admit.Conflict},
		{"a field's refusal", &admit.FieldError{Field: "f", Err: errTaken}, admit.Conflict},
		{"a refusal that passes", &admit.RetryError{After: time.Second, Err: admit.Unavailable}, admit.Unavailable},
		{"the first of several", errors.Join(errors.New("x"), errTaken, admit.Invalid.New("i", "I.")), admit.Conflict},
		{"a refusal before a bare kind", fmt.Errorf("%w: %w", admit.Invalid, errTaken), admit.Conflict},
	} {
		if got := admit.KindOf(c.err); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestErrorsAreComparedByKindAndCode(t *testing.T) {
	for _, c := range []struct {
		name        string
		err, target error
		want        bool
	}{
		{"a refusal is itself", errTaken, errTaken, true},
		{"a copy with a hint is the same", errTaken.WithHint("h"), errTaken, true},
		{"and the other way round", errTaken, errTaken.WithHint("h"), true},
		{"a refusal is of its kind", fmt.Errorf("x: %w", errTaken), admit.Conflict, true},
		{"a refusal is of no other kind", errTaken, admit.Invalid, false},
		{"another code is another refusal", errTaken, errOther, false},
		{"the same code of another kind is another refusal", errTaken, admit.Invalid.New("taken", "x"), false},
		{"a kind is no refusal of it", admit.Conflict, errTaken, false},
		{"a foreign error is none", errTaken, context.Canceled, false},
		{"what is in a field counts", &admit.FieldError{Field: "f", Err: errTaken}, errTaken, true},
		{"what will pass counts", &admit.RetryError{Err: errTaken}, errTaken, true},
	} {
		if got := errors.Is(c.err, c.target); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestAnErrorSaysWhatItWasMadeOf(t *testing.T) {
	e := errTaken.WithHint("Choose another.")
	if e.Kind() != admit.Conflict || e.Code() != "taken" || e.Error() != "This name is taken." || e.Hint() != "Choose another." {
		t.Errorf("%+v", e)
	}
	if errTaken.Hint() != "" {
		t.Error("WithHint changed the sentinel")
	}
	if got := (&admit.FieldError{Field: "name", Err: errTaken}).Error(); got != "name: This name is taken." {
		t.Errorf("FieldError: %q", got)
	}
	if got := (&admit.RetryError{Err: errTaken}).Error(); got != "This name is taken." {
		t.Errorf("RetryError: %q", got)
	}
}

func TestEveryKindHasItsOwnName(t *testing.T) {
	seen := map[string]bool{}
	for k := admit.Internal; k <= admit.Unavailable; k++ {
		if name := k.Error(); name == "" || seen[name] {
			t.Errorf("kind %d is named %q", uint8(k), name)
		} else {
			seen[name] = true
		}
	}
	if got := admit.Kind(200).Error(); got != "internal error" {
		t.Errorf("an unknown kind is named %q, want that of Internal", got)
	}
	var zero admit.Kind
	if zero != admit.Internal {
		t.Error("the zero kind is not Internal")
	}
}

func TestASecretNeverPrints(t *testing.T) {
	const text = "hunter2-\"é"
	type hidden struct{ secret admit.Secret }
	type holder struct {
		Name   string
		Secret admit.Secret
		Ptr    *admit.Secret
	}
	s := admit.NewSecret(text)
	h := holder{"n", s, &s}
	values := map[string]any{
		"the secret": s, "a pointer": &s, "a struct": h, "a pointer to a struct": &h,
		"a slice": []admit.Secret{s}, "a map's value": map[string]admit.Secret{"k": s},
		"an unexported field": hidden{s}, "a pointer to an unexported field": &hidden{s},
		"an interface": []any{s, &s},
	}
	shows := func(out string) bool {
		return strings.Contains(out, "hunter2") || strings.Contains(strings.ToLower(out), fmt.Sprintf("%x", "hunter2"))
	}
	checked := 0
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%+q", "%#q", "%x", "%X", "% x", "%d", "%t", "%c", "%U", "%o", "%b", "%e", "%20.30v", "%!"} {
			if out := fmt.Sprintf(verb, v); shows(out) {
				t.Errorf("%s by %s: %s", name, verb, out)
			}
			checked++
		}
		if out := fmt.Sprint(v) + fmt.Sprintln(v); shows(out) {
			t.Errorf("%s by Sprint: %s", name, out)
		}
		if out := fmt.Errorf("x: %v", v).Error(); shows(out) {
			t.Errorf("%s by Errorf: %s", name, out)
		}
		out, err := json.Marshal(v)
		if err != nil || shows(string(out)) {
			t.Errorf("%s by json: %s, %v", name, out, err)
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", v, slog.Group("g", "v", v))
		slog.New(slog.NewJSONHandler(&log, nil)).With("w", v).Info("m", "v", v)
		if shows(log.String()) {
			t.Errorf("%s by slog: %s", name, &log)
		}
		func() {
			defer func() {
				if out := fmt.Sprint(recover()); shows(out) {
					t.Errorf("%s by panic: %s", name, out)
				}
			}()
			panic(v)
		}()
	}
	for _, v := range []any{s, &s} {
		if out, err := json.Marshal(v); string(out) != `"[redacted]"` || err != nil {
			t.Errorf("json: %s, %v", out, err)
		}
		if out := fmt.Sprintf("%v %+v %s %#v", v, v, v, v); out != "[redacted] [redacted] [redacted] [redacted]" {
			t.Errorf("fmt: %s", out)
		}
	}
	if checked == 0 {
		t.Fatal("nothing was checked")
	}
}

func TestASecretIsRevealedAsItWas(t *testing.T) {
	if got := admit.NewSecret("a\x00b").Reveal(); got != "a\x00b" {
		t.Errorf("Reveal = %q", got)
	}
	var zero admit.Secret
	if !zero.IsZero() || zero.Reveal() != "" || admit.NewSecret("x").IsZero() {
		t.Error("IsZero tells a secret from none wrongly")
	}
	var in struct{ Password admit.Secret }
	if err := json.Unmarshal([]byte(`{"Password":"p\u0061ss"}`), &in); err != nil || in.Password.Reveal() != "pass" {
		t.Errorf("Unmarshal: %q, %v", in.Password.Reveal(), err)
	}
	// The lengths of two secrets do not show either.
	if fmt.Sprint(zero) != fmt.Sprint(admit.NewSecret("long")) {
		t.Error("an empty secret prints in its own way")
	}
}

func TestAContextCarriesOnePrincipal(t *testing.T) {
	ctx := t.Context()
	if p, ok := admit.FromContext(ctx); ok || p.Subject != "" {
		t.Errorf("FromContext of nobody = %+v, %v", p, ok)
	}
	guest := admit.NewContext(ctx, admit.Principal{SID: "s"})
	if p, ok := admit.FromContext(guest); !ok || !p.Guest() || p.SID != "s" {
		t.Errorf("FromContext of a guest = %+v, %v", p, ok)
	}
	alice := admit.NewContext(guest, admit.Principal{Subject: "alice", Roles: []string{"admin", "editor"}})
	if p, ok := admit.FromContext(alice); !ok || p.Guest() || p.Subject != "alice" || p.SID != "" {
		t.Errorf("FromContext = %+v, %v, want alice alone", p, ok)
	}
}

func TestHasRoleComparesWholeNames(t *testing.T) {
	p := admit.Principal{Roles: []string{"x", "admin"}}
	for role, want := range map[string]bool{"admin": true, "x": true, "": false, "adm": false, "Admin": false, "admins": false} {
		if got := p.HasRole(role); got != want {
			t.Errorf("HasRole(%q) = %v", role, got)
		}
	}
}

func TestSecretsAreEqualByTheirText(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"one", "one", true},
		{"one", "two", false},
		{"one", "ones", false},
		{"", "", true},
		{"", "one", false},
	} {
		if got := admit.NewSecret(test.a).Equal(admit.NewSecret(test.b)); got != test.want {
			t.Errorf("%q and %q: %t", test.a, test.b, got)
		}
	}
}
