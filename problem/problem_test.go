package problem_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/problem"
)

var (
	errShort = admit.Invalid.New("too_short", "This is too short.").WithHint("Use 8 characters.")
	errTaken = admit.Conflict.New("taken", "This is taken.")
	errSpent = admit.RateLimited.New("spent", "Too many tries.")
	errAway  = admit.Unavailable.New("away", "Not just now.")
)

func TestEveryRefusalHasItsStatusAndCode(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    error
		status int
		code   string
		after  int
	}{
		{"malformed", problem.ErrMalformed, 400, "malformed", 0},
		{"an unknown field", problem.ErrUnknown, 400, "unknown_field", 0},
		{"cross-site", problem.ErrCrossSite, 403, "cross_site", 0},
		{"nothing there", problem.ErrNotFound, 404, "not_found", 0},
		{"wrong method", problem.ErrMethod, 405, "method_not_allowed", 0},
		{"too large", problem.ErrTooLarge, 413, "too_large", 0},
		{"headers too large", problem.ErrHeader, 431, "headers_too_large", 0},
		{"too large for net/http", &http.MaxBytesError{Limit: 1}, 413, "too_large", 0},
		{"wrong content type", problem.ErrContentType, 415, "unsupported_content_type", 0},
		{"unknown host", problem.ErrHost, 421, "unknown_host", 0},
		{"a refusal of any package", errTaken, 409, "taken", 0},
		{"a wrapped refusal", fmt.Errorf("add alice@example.org: %w", errTaken), 409, "taken", 0},
		{"a field's refusal", &admit.FieldError{Field: "name", Err: errTaken}, 409, "taken", 0},
		{"a spent budget", errSpent, 429, "spent", 1},
		{"a spent budget with a time", &admit.RetryError{After: 1001 * time.Millisecond, Err: errSpent}, 429, "spent", 2},
		{"a whole second is not rounded", &admit.RetryError{After: 7 * time.Second, Err: errSpent}, 429, "spent", 7},
		{"a time that has passed", &admit.RetryError{After: -time.Hour, Err: errAway}, 503, "away", 1},
		{"a store away", fmt.Errorf("get: %w", errAway), 503, "away", 1},
		{"a time to retry means nothing elsewhere", &admit.RetryError{After: time.Hour, Err: errTaken}, 409, "taken", 0},
		{"an error that nobody classified", errors.New("dial tcp 10.0.0.1"), 500, "internal", 0},
		{"no error at all", nil, 500, "internal", 0},
		{"a bare kind", fmt.Errorf("x: %w", admit.Unauthenticated), 401, "unauthenticated", 0},
		{"the bare internal kind", admit.Internal, 500, "internal", 0},
		{"a kind that is none", admit.Kind(99), 500, "internal", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := problem.Of(c.err)
			if p.Status != c.status || p.Code != c.code || p.RetryAfter != c.after {
				t.Errorf("Of(%v) = %d %q after %d, want %d %q after %d", c.err, p.Status, p.Code, p.RetryAfter, c.status, c.code, c.after)
			}
			if p.Title != http.StatusText(c.status) || p.Type != "about:blank" || p.Detail == "" {
				t.Errorf("Of(%v) = %+v", c.err, p)
			}
		})
	}
}

func TestEveryKindHasAStatusAndWords(t *testing.T) {
	seen := map[int]admit.Kind{}
	for k := admit.Internal; k <= admit.Unavailable; k++ {
		p := problem.Of(fmt.Errorf("secret: %w", k))
		if other, ok := seen[p.Status]; ok {
			t.Errorf("%v and %v are both %d", k, other, p.Status)
		}
		seen[p.Status] = k
		if p.Code == "" || p.Detail == "" || strings.Contains(p.Detail, "secret") {
			t.Errorf("kind %v: %+v", k, p)
		}
	}
}

func TestStrangersSeeNothingOfWhatIsWrapped(t *testing.T) {
	const inside = "inside-10.0.0.1"
	for _, err := range []error{
		errors.New(inside),
		fmt.Errorf(inside+": %w", errTaken),
		fmt.Errorf("%w: "+inside, problem.ErrMalformed),
		&admit.FieldError{Field: "f", Err: errors.New(inside)},
		&admit.FieldError{Field: "f", Err: fmt.Errorf(inside+": %w", errShort)},
		errors.Join(errors.New(inside), errTaken),
	} {
		rec := httptest.NewRecorder()
		problem.Write(rec, err, "r")
		if strings.Contains(rec.Body.String(), inside) {
			t.Errorf("Write(%v) tells %s", err, rec.Body)
		}
	}
}

func TestFieldErrorsAreListed(t *testing.T) {
	err := fmt.Errorf("sign up: %w", errors.Join(
		&admit.FieldError{Field: "password", Err: fmt.Errorf("x: %w", errShort)},
		&admit.FieldError{Field: "identifier", Err: errTaken}))
	p := problem.Of(err)
	want := []problem.Field{
		{Field: "password", Code: "too_short", Detail: "This is too short.", Hint: "Use 8 characters."},
		{Field: "identifier", Code: "taken", Detail: "This is taken."},
	}
	if !reflect.DeepEqual(p.Errors, want) || p.Code != "too_short" {
		t.Errorf("Of = %+v, want errors %+v", p, want)
	}
}

func TestWrite(t *testing.T) {
	rec := httptest.NewRecorder()
	rec.Header().Set("Content-Length", "9999")
	rec.Header().Set("Etag", `"x"`)
	status, code := problem.Write(rec, &admit.RetryError{After: time.Minute, Err: errAway}, "r1")
	if status != 503 || code != "away" || rec.Code != 503 {
		t.Errorf("Write = %d, %q, answered %d", status, code, rec.Code)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/problem+json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		"Retry-After": "60", "Content-Length": "", "Etag": "", "WWW-Authenticate": "",
	} {
		if got := rec.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	const want = `{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"Not just now.","code":"away","request_id":"r1"}` + "\n"
	if rec.Body.String() != want {
		t.Errorf("body %s, want %s", rec.Body, want)
	}
}

func TestA401CarriesAChallenge(t *testing.T) {
	rec := httptest.NewRecorder()
	problem.Write(rec, admit.Unauthenticated, "")
	if got := rec.Header().Get("WWW-Authenticate"); got != "Bearer" {
		t.Errorf("WWW-Authenticate: %q, want Bearer", got)
	}
	rec = httptest.NewRecorder()
	rec.Header().Set("WWW-Authenticate", "Basic")
	problem.Write(rec, admit.Unauthenticated, "")
	if got := rec.Header().Get("WWW-Authenticate"); got != "Basic" {
		t.Errorf("WWW-Authenticate: %q, want the handler's own", got)
	}
}

// RFC 6750 section 3.1 has one for a scope that is lacking.
func TestARefusalBringsItsChallengeWithAnyStatus(t *testing.T) {
	const want = `Bearer error="insufficient_scope"`
	rec := httptest.NewRecorder()
	problem.Write(rec, admit.WithChallenge(admit.Forbidden, want), "")
	if got := rec.Header().Get("WWW-Authenticate"); got != want || rec.Code != 403 {
		t.Errorf("%d with %q, want 403 with %q", rec.Code, got, want)
	}
}

func TestParseReadsWhatWriteWrote(t *testing.T) {
	for _, err := range []error{
		problem.ErrTooLarge, problem.ErrHost, errShort, errTaken, errSpent, admit.Forbidden,
		errors.Join(&admit.FieldError{Field: "a", Err: errShort}, &admit.FieldError{Field: "b", Err: problem.ErrUnknown}),
	} {
		want := problem.Of(err)
		text, _ := json.Marshal(want)
		got := problem.Parse(text)
		p := problem.Of(got)
		p.RetryAfter = want.RetryAfter
		if admit.KindOf(got) != admit.KindOf(err) || !reflect.DeepEqual(p, want) {
			t.Errorf("Parse(%s) = %+v, want %+v", text, p, want)
		}
	}
	for _, text := range []string{"", "{}", "<html>", `{"status":404}`} {
		if err := problem.Parse([]byte(text)); admit.KindOf(err) != admit.Internal {
			t.Errorf("Parse(%q): %v, want an internal error", text, err)
		}
	}
}

type reasoned struct{ error }

func (reasoned) Reason() string  { return "password_changed" }
func (r reasoned) Unwrap() error { return r.error }

func TestAReasonInTheChainIsTold(t *testing.T) {
	ended := admit.Unauthenticated.New("session_ended", "This session has been ended.")
	p := problem.Of(fmt.Errorf("check: %w", reasoned{ended}))
	if p.Reason != "password_changed" || p.Code != "session_ended" {
		t.Errorf("%+v", p)
	}
	if p := problem.Of(ended); p.Reason != "" {
		t.Errorf("a reason from nowhere: %+v", p)
	}
}
