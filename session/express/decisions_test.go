package express

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit"
)

func secrets(t testing.TB, all ...string) *Secrets {
	t.Helper()
	list := make([]admit.Secret, len(all))
	for i, s := range all {
		list[i] = admit.NewSecret(s)
	}
	s, err := NewSecrets(list...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func manager(t testing.TB, store Store, o *Options) *Manager {
	t.Helper()
	m, err := New(store, secrets(t, "keyboard cat"), o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A decision is a line of what express-session was seen to do.
type decision struct {
	maxAge, saveUninitialized, resave, rolling bool
	unset, sent, handler                       string
	does
}

// does is what became of a request: whether the cookie was set, whether it had
// an end, and what the store was asked.
type does struct {
	cookie, expires bool
	store           string
}

func decisions(t *testing.T) (all []decision) {
	t.Helper()
	b, err := os.ReadFile("testdata/decisions.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Rows [][]any }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	for _, r := range file.Rows {
		all = append(all, decision{
			r[0].(bool), r[1].(bool), r[2].(bool), r[3].(bool), r[4].(string), r[5].(string), r[6].(string),
			does{r[7].(bool), r[8].(bool), r[9].(string)},
		})
	}
	return all
}

// differences are where we do something else than Express on purpose. Each says
// what, in the words of the table.
var differences = []struct {
	why      string
	handlers []string
	sent     string // "" for any
	change   func(d decision, want *does)
}{
	{"a change of the cookie alone is a change: Express loses it", []string{"cookie.maxAge = 5000 only"}, "live session", func(_ decision, want *does) {
		*want = does{true, true, "get set"}
	}},
	{"there is no saving without a change: Update writes what changed, once", []string{"save()"}, "", func(d decision, want *does) {
		switch {
		case d.sent == "live session" && d.resave:
			want.store = "get set"
		case d.sent == "live session":
			want.store = "get touch"
		case !d.saveUninitialized: // a session whose id nobody learns
			want.store = strings.TrimSuffix(strings.TrimSuffix(want.store, "set"), " ")
		}
	}},
	{"what was written is written", []string{"modify, save()", "save(), modify", "regenerate(), modify, save()"}, "", func(_ decision, want *does) {
		want.store = strings.NewReplacer("set set", "set", "set touch", "set").Replace(want.store)
	}},
	{"a session that is not there need not be destroyed", []string{"regenerate()", "regenerate(), modify", "regenerate(), modify, save()"}, "", func(d decision, want *does) {
		if d.sent != "live session" {
			want.store = strings.Replace(want.store, "destroy ", "", 1)
		}
	}},
	{"who signs out need not be looked up, and once is enough", []string{"destroy()"}, "", func(d decision, want *does) {
		want.store = "destroy"
		if d.sent == "no cookie" || d.sent == "bad signature" {
			want.store = ""
		}
	}},
	{"the same", []string{"req.session = null", "delete req.session"}, "", func(d decision, want *does) {
		switch {
		case d.unset == "keep":
		case d.sent == "no cookie" || d.sent == "bad signature":
			want.store = ""
		default:
			want.store = "destroy"
		}
	}},
}

// Each line of the table is asserted: what Express does, or what we do instead
// and why. That End also clears the cookie is asserted apart from it.
func TestEachLineOfExpressesDecisionsIsKept(t *testing.T) {
	all := decisions(t)
	if len(all) != 1120 {
		t.Fatalf("%d lines", len(all))
	}
	used := make([]int, len(differences))
	same, cookies := 0, 0
	for _, d := range all {
		want := d.does
		for i, x := range differences {
			if slices.Contains(x.handlers, d.handler) && (x.sent == "" || x.sent == d.sent) {
				before := want
				if x.change(d, &want); want != before {
					used[i]++
				}
			}
		}
		if want == d.does {
			same++
		}
		if want.cookie == d.cookie && want.expires == d.expires {
			cookies++
		}
		if got := decide(t, d); got != want {
			t.Errorf("%+v:\n  got  %+v\n  want %+v", d, got, want)
		}
	}
	for i, n := range used {
		if n == 0 {
			t.Errorf("no line differs because %s", differences[i].why)
		}
	}
	t.Logf("of %d lines %d are as in Express, and %d as far as the cookie goes", len(all), same, cookies)
}

func decide(t *testing.T, d decision) does {
	store := newFake()
	o := &Options{SaveUninitialized: d.saveUninitialized, Resave: d.resave, Rolling: d.rolling}
	if d.maxAge {
		o.Cookie.MaxAge = time.Minute
	}
	m := manager(t, store, o)
	r := httptest.NewRequest("GET", "http://site.test/", nil)
	sign := func(s string) string { return m.o.Name + "=" + encodeURIComponent(s) }
	switch d.sent {
	case "live session":
		w := httptest.NewRecorder()
		s, err := m.Update(w, r, func(d *Data) error { return d.Set("n", 1) })
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", sign(m.secrets.Sign(s.ID)))
	case "signed id not in store":
		r.Header.Set("Cookie", sign(m.secrets.Sign(NewID())))
	case "bad signature":
		r.Header.Set("Cookie", sign(m.secrets.Sign(NewID())+"x"))
	case "no cookie":
	default:
		t.Fatal(d.sent)
	}
	store.told()
	w := httptest.NewRecorder()
	n := 1
	modify := func(d *Data) error { n++; return d.Set("n", n) }
	leave := func(*Data) error { return nil }
	same := func(d *Data) error {
		if raw := d.Raw("n"); raw != "" {
			return d.SetRaw("n", raw)
		}
		return nil
	}
	var err error
	switch d.handler {
	case "nothing", "touch()":
		_, err = m.Use(w, r)
	case "modify", "modify, save()", "save(), modify":
		_, err = m.Update(w, r, modify)
	case "set to the same value":
		_, err = m.Update(w, r, same)
	case "save()":
		_, err = m.Update(w, r, leave)
	case "cookie.maxAge = 5000 only":
		_, err = m.Update(w, r, func(d *Data) error { d.SetMaxAge(5 * time.Second); return nil })
	case "reload()", "modify, reload()":
		var s *Session
		if s, err = m.Load(r); err == nil {
			err = s.Set("n", 100) // of the copy
		}
		if err == nil {
			_, err = m.Use(w, r)
		}
	case "regenerate()":
		_, err = m.Start(w, r, nil)
	case "regenerate(), modify", "regenerate(), modify, save()":
		_, err = m.Start(w, r, modify)
	case "destroy()":
		err = m.End(w, r)
	case "req.session = null", "delete req.session":
		if d.unset == "destroy" {
			err = m.End(w, r)
		} else {
			_, err = m.Load(r)
		}
	default:
		t.Fatal(d.handler)
	}
	if err != nil && admit.KindOf(err) != admit.Unauthenticated {
		t.Errorf("%+v: %v", d, err)
	}
	got := does{store: store.told()}
	for _, line := range w.Header()["Set-Cookie"] {
		if strings.Contains(line, "=; Max-Age=0") {
			continue
		}
		if got.cookie {
			t.Errorf("%+v: the cookie is set twice", d)
		}
		got.cookie, got.expires = true, strings.Contains(line, "Expires=")
	}
	return got
}

func TestNewCookiesAndRecordsAreByteForByteThoseOfExpress(t *testing.T) {
	b, err := os.ReadFile("testdata/sessions.json")
	if err != nil {
		t.Fatal(err)
	}
	type options struct {
		Expires          any
		Secure, HTTPOnly *bool
		Domain, Path     string
		Partitioned      bool
		Priority         string
		SameSite         any
	}
	var file struct {
		SetCookie []struct {
			Options   options
			SetCookie string `json:"set_cookie"`
		} `json:"session_set_cookie"`
		JSON []struct {
			Options options
			JSON    string
		} `json:"session_json"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.SetCookie) == 0 || len(file.JSON) == 0 {
		t.Fatal("nothing to test")
	}
	// data is a session with the options, where they can be had here.
	data := func(o options) (Data, bool) {
		a := Attributes{Domain: o.Domain, Path: o.Path, Partitioned: o.Partitioned, Priority: o.Priority, InsecureAllowScript: o.HTTPOnly != nil && !*o.HTTPOnly}
		a.Secure = o.Secure != nil && *o.Secure
		modes := map[any]http.SameSite{nil: 0, true: http.SameSiteStrictMode, "strict": http.SameSiteStrictMode, "lax": http.SameSiteLaxMode, "none": http.SameSiteNoneMode}
		a.SameSite = modes[o.SameSite]
		d := Data{members: []member{{"cookie", `"cookie"`, ""}}, cookie: a.members()}
		if s, ok := o.Expires.(string); ok {
			set(&d.cookie, "expires", `"`+s+`"`)
			set(&d.cookie, "originalMaxAge", "60000")
		}
		// Express writes these as it was given them.
		return d, o.Expires != false && o.SameSite != true && (o.Secure == nil || *o.Secure)
	}
	for _, c := range file.SetCookie {
		d, _ := data(c.Options)
		name, _, _ := strings.Cut(c.SetCookie, "=")
		_, signed, _ := strings.Cut(c.SetCookie, "=")
		signed, _, _ = strings.Cut(signed, ";")
		if got := d.line(name, plain(signed)); got != c.SetCookie {
			t.Errorf("%+v:\n got  %s\n want %s", c.Options, got, c.SetCookie)
		}
	}
	for _, c := range file.JSON {
		d, err := parse(c.JSON)
		if err != nil || d.JSON() != c.JSON {
			t.Errorf("%s reads as %s, %v", c.JSON, d.JSON(), err)
		}
		made, ok := data(c.Options)
		if !ok {
			continue
		}
		if err := made.Set("isVisit", 1); err != nil {
			t.Fatal(err)
		}
		if err := made.Set("s", "<é&\u2028😀>"); err != nil {
			t.Fatal(err)
		}
		if made.JSON() != c.JSON {
			t.Errorf("%+v:\n got  %s\n want %s", c.Options, made.JSON(), c.JSON)
		}
	}
}
