package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server"
	"github.com/admit-auth/admit/server/internal/db"
	"github.com/admit-auth/admit/server/internal/postgrestest"
	"github.com/admit-auth/admit/server/internal/web"
)

// A site is a server of its own with a data folder of its own, asked without a
// network in between unless a test listens.
type site struct {
	t       testing.TB
	server  *server.Server
	handler http.Handler
	data    string
	shared  string // URL of its database, "" where it is in the folder
	log     lines
}

const (
	goodPassword  = "correct horse battery"
	otherPassword = "staple another horse"
	devKey        = "key-of-the-test"
)

// newSite opens a development server, in whose inbox mail arrives.
func newSite(t testing.TB, change ...func(*server.Config)) *site {
	t.Helper()
	s := &site{t: t, data: t.TempDir()}
	s.begin()
	s.open(change...)
	t.Cleanup(func() { s.server.Close() })
	return s
}

// blank returns the content of a database that has its schema and nothing else.
var blank = sync.OnceValues(func() ([]byte, error) {
	file := filepath.Join(scratch, "blank.db")
	if _, err := db.Migrate(context.Background(), file); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
})

var begun atomic.Bool // the first site of this process

// begin gives the first site a place without a database, as a new server has, and the
// others one that has run the migrations: they take longer than most tests. What makes
// a database one's own, such as its keys, each server makes itself.
func (s *site) begin() {
	s.t.Helper()
	first := !begun.Swap(true)
	if os.Getenv(onPostgres) != "" {
		pg := postgrestest.Shared(s.t)
		if first {
			s.shared = pg.Database(s.t)
			return
		}
		s.shared = pg.Copy(s.t, func(url string) error {
			_, err := db.Migrate(context.Background(), url)
			return err
		})
		return
	}
	if first {
		return
	}
	content, err := blank()
	if err == nil {
		err = os.WriteFile(filepath.Join(s.data, "admit.db"), content, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) open(change ...func(*server.Config)) {
	s.t.Helper()
	cfg := server.Config{
		Data: s.data, Database: s.shared, Dev: true, DevKey: admit.NewSecret(devKey),
		Log: slog.New(slog.NewTextHandler(&s.log, nil)),
	}
	for _, fn := range change {
		fn(&cfg)
	}
	var err error
	if s.server, err = server.New(s.t.Context(), cfg); err != nil {
		s.t.Fatal(err)
	}
	s.handler = s.server.Handler()
}

// run lets the server do its work in the background until the test ends.
func (s *site) run() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.server.Run(ctx) }()
	for range 1000 { // until commands are heard
		if _, err := os.Stat(filepath.Join(s.data, "admit.sock")); err == nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("Run: %v", err)
		}
	})
}

// A client is one browser, or one program that keeps a token.
type client struct {
	*site
	jar       http.CookieJar
	token     string
	userAgent string
	address   string
}

func (s *site) client() *client {
	jar, _ := cookiejar.New(nil) // nil options do not fail
	return &client{site: s, jar: jar, userAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", address: "127.0.0.1:4711"}
}

// signedUp is a client whose user has just signed up under a user name.
func (s *site) signedUp(name string) *client {
	s.t.Helper()
	c := s.client()
	c.post("signup", m{"identifier": name, "password": goodPassword}).want(201)
	return c
}

// m is a JSON object.
type m = map[string]any

// A reply is what the API answered.
type reply struct {
	t      testing.TB
	what   string
	status int
	header http.Header
	body   []byte
	m      m
}

func (c *client) post(path string, body any, change ...func(*http.Request)) *reply {
	c.t.Helper()
	return c.do("POST", "/api/v1/"+path, body, change...)
}

func (c *client) get(path string, change ...func(*http.Request)) *reply {
	c.t.Helper()
	return c.do("GET", "/api/v1/"+path, nil, change...)
}

func (c *client) delete(path string, change ...func(*http.Request)) *reply {
	c.t.Helper()
	return c.do("DELETE", "/api/v1/"+path, nil, change...)
}

// do sends a request and holds the answer against the description of the API.
// A body that is no string is sent as JSON.
func (c *client) do(method, path string, body any, change ...func(*http.Request)) *reply {
	c.t.Helper()
	var text string
	switch b := body.(type) {
	case nil:
	case string:
		text = b
	default:
		j, err := json.Marshal(b)
		if err != nil {
			c.t.Fatal(err)
		}
		text = string(j)
	}
	r := httptest.NewRequestWithContext(context.Background(), method, "http://localhost"+path, strings.NewReader(text))
	if body == nil {
		r.Body = http.NoBody
	} else {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	out := c.send(r, change...)
	if strings.HasSuffix(out.header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(out.body, &out.m); err != nil {
			c.t.Fatalf("%s: %d with %q: %v", out.what, out.status, out.body, err)
		}
	}
	described(out, r)
	return out
}

// send sends a request with what this client adds to each, and keeps the cookies
// of the answer.
func (c *client) send(r *http.Request, change ...func(*http.Request)) *reply {
	r.RemoteAddr = c.address
	r.Header.Set("User-Agent", c.userAgent)
	for _, k := range c.jar.Cookies(r.URL) {
		r.AddCookie(k)
	}
	for _, fn := range change {
		fn(r)
	}
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	res := w.Result()
	c.jar.SetCookies(&url.URL{Scheme: "http", Host: "localhost"}, res.Cookies())
	out := &reply{t: c.t, what: r.Method + " " + r.URL.RequestURI(), status: res.StatusCode, header: res.Header}
	out.body, _ = io.ReadAll(res.Body) // of memory
	return out
}

// want fails the test unless the answer has this status and, if it is a
// refusal, one of the codes.
func (r *reply) want(status int, code ...string) *reply {
	r.t.Helper()
	if r.status != status || len(code) > 0 && !slices.Contains(code, fmt.Sprint(r.m["code"])) {
		r.t.Fatalf("%s: %d %s, want %d %v", r.what, r.status, r.body, status, code)
	}
	return r
}

// at returns the text at a path such as "session.sid", "" where there is none.
func (r *reply) at(path string) string {
	var v any = r.m
	for part := range strings.SplitSeq(path, ".") {
		object, _ := v.(m)
		v = object[part]
	}
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// fault returns the code of what is wrong with a field, "" if nothing is.
func (r *reply) fault(field string) string {
	list, _ := r.m["errors"].([]any)
	for _, e := range list {
		if e, ok := e.(m); ok && e["field"] == field {
			return fmt.Sprint(e["code"])
		}
	}
	return ""
}

// field fails the test unless the refusal says this of the field.
func (r *reply) field(name, code string) *reply {
	r.t.Helper()
	if got := r.fault(name); got != code {
		r.t.Fatalf("%s: %s, want code %s of field %s", r.what, r.body, code, name)
	}
	return r
}

// mailTo returns the code and the link that was mailed last to the address,
// waiting for the delivery that Run does.
func (s *site) mailTo(address string) (code, link, subject string) {
	s.t.Helper()
	l := s.letter(address, "")
	if len(l.Links) > 0 {
		link = l.Links[0]
	}
	return l.Code, link, l.Subject
}

// described holds an answer against the description that the server gives, so
// that it tells the truth.
func described(r *reply, req *http.Request) {
	r.t.Helper()
	if r.status == http.StatusNoContent && req.Method == "OPTIONS" {
		return
	}
	doc := description(r.t)
	op := doc.operation(req.Method, req.URL.EscapedPath())
	if op == nil {
		if r.status < 400 {
			r.t.Errorf("%s answers %d and is not described", r.what, r.status)
		}
		return // refused for its path or its method
	}
	answer, ok := doc.follow(object(op).at("responses", fmt.Sprint(r.status)))
	if !ok {
		r.t.Errorf("%s answers %d %s, which openapi.json does not know", r.what, r.status, r.body)
		return
	}
	if answer["content"] == nil {
		if len(r.body) > 0 {
			r.t.Errorf("%s answers %d with %q, and openapi.json with nothing", r.what, r.status, r.body)
		}
		return
	}
	kind := "application/json"
	if r.status >= 400 {
		kind = "application/problem+json"
		if leads := "/problems/" + r.at("code"); !strings.HasSuffix(r.at("type"), leads) {
			r.t.Errorf("%s: the type is %q, which does not lead to %s", r.what, r.at("type"), leads)
		}
	}
	got := r.header.Get("Content-Type")
	if media, _, _ := strings.Cut(got, ";"); r.status < 400 && object(answer).at("content", kind) == nil && object(answer).at("content", media) != nil {
		return // a file
	}
	if got != kind {
		r.t.Errorf("%s answers %d as %s", r.what, r.status, got)
		return
	}
	schema := object(answer).at("content", kind, "schema").(m)
	if why := doc.explain("", schema, r.m); why != "" {
		r.t.Errorf("%s: %d %s is not as openapi.json says: %s", r.what, r.status, r.body, why)
	}
}

// operation returns what is said of a call, nil if nothing is.
func (o object) operation(method, path string) m {
	if method == "HEAD" {
		method = "GET"
	}
	method = strings.ToLower(method)
	if op, ok := o.at("paths", path, method).(m); ok {
		return op
	}
	for described, of := range object(o.at("paths").(m)) {
		if op, ok := of.(m)[method].(m); ok && matches(strings.Split(described, "/"), strings.Split(path, "/")) {
			return op
		}
	}
	return nil
}

// matches reports whether a path is one of those that are described.
func matches(described, path []string) bool {
	return slices.EqualFunc(described, path, func(d, p string) bool { return d == p || strings.HasPrefix(d, "{") && p != "" })
}

// follow returns an object, that which it refers to if it does.
func (o object) follow(v any) (m, bool) {
	of, _ := v.(m)
	if ref, ok := of["$ref"].(string); ok {
		of, _ = o.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...).(m)
	}
	return of, of != nil
}

type object m

func (o object) at(path ...string) any {
	var v any = m(o)
	for _, p := range path {
		inner, _ := v.(m)
		v = inner[p]
	}
	return v
}

// explain says why a value is not of a schema, "" if it is. It knows the part
// of JSON Schema that the description uses.
func (o object) explain(path string, schema m, v any) string {
	if of, ok := o.follow(schema); ok {
		schema = of
	} else {
		return fmt.Sprintf("there is no %v", schema["$ref"])
	}
	if all, ok := schema["allOf"].([]any); ok {
		for _, s := range all {
			if why := o.explain(path, s.(m), v); why != "" {
				return why
			}
		}
		return ""
	}
	if one, ok := schema["oneOf"].([]any); ok {
		var why []string
		for _, s := range one {
			reason := o.explain(path, s.(m), v)
			if reason == "" {
				return ""
			}
			why = append(why, reason)
		}
		return strings.Join(why, " and ")
	}
	if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, v) {
		return fmt.Sprintf("%s is %v", path, v)
	}
	wrong := fmt.Sprintf("%s is %v and not of type %v", path, v, schema["type"])
	switch schema["type"] {
	case "null":
		if v != nil {
			return wrong
		}
	case "string":
		s, ok := v.(string)
		if !ok {
			return wrong
		}
		if schema["format"] == "date-time" {
			at, err := time.Parse(time.RFC3339, s)
			if err != nil || !strings.HasSuffix(s, "Z") || at.Year() < 2000 {
				return path + " is " + s + " and no time in UTC"
			}
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			return wrong
		}
	case "integer":
		if _, ok := v.(float64); !ok {
			return wrong
		}
	case "array":
		list, ok := v.([]any)
		if !ok {
			return wrong
		}
		for i, e := range list {
			if why := o.explain(fmt.Sprintf("%s[%d]", path, i), schema["items"].(m), e); why != "" {
				return why
			}
		}
	case "object":
		in, ok := v.(m)
		if !ok {
			return wrong
		}
		properties, _ := schema["properties"].(m)
		required, _ := schema["required"].([]any)
		for _, name := range required {
			if _, ok := in[name.(string)]; !ok {
				return fmt.Sprintf("%s has no %v", path, name)
			}
		}
		for name, value := range in {
			property, ok := properties[name].(m)
			if !ok {
				if schema["additionalProperties"] == false {
					return path + " has an unknown " + name
				}
				continue
			}
			if why := o.explain(path+"."+name, property, value); why != "" {
				return why
			}
		}
	case nil:
	default:
		return "a schema without a type at " + path
	}
	return ""
}

// description is what a server says of its API.
func description(t testing.TB) object {
	t.Helper()
	doc, err := readDescription()
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

var readDescription = sync.OnceValues(func() (doc object, err error) {
	text, err := web.Description("https://id.example.org", "__Host-admit")
	if err == nil {
		err = json.Unmarshal(text, &doc)
	}
	return doc, err
})

// lines keeps what is printed.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// until waits for something that must come within twenty seconds.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
