package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/admit-auth/admit/server"
	"github.com/admit-auth/admit/token"
)

// A collector listens on loopback and takes spans.
type collector struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string // guarded by mu
	spans  []otlpSpan
}

type otlpSpan struct {
	TraceID, SpanID, ParentSpanID, Name string
	Kind                                int
	Attributes                          []struct {
		Key   string
		Value struct{ StringValue, IntValue string }
	}
}

func (s otlpSpan) at(key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.StringValue + a.Value.IntValue
		}
	}
	return ""
}

func newCollector(t testing.TB) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var in struct {
			ResourceSpans []struct{ ScopeSpans []struct{ Spans []otlpSpan } }
		}
		if err == nil {
			err = json.Unmarshal(body, &in)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.bodies = append(c.bodies, string(body))
		for _, of := range in.ResourceSpans {
			for _, scope := range of.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, "{}")
	}))
	t.Cleanup(c.Close)
	return c
}

// within returns the names of the spans right below another, in order.
func (c *collector) within(s otlpSpan) (names []string) {
	for _, child := range c.spans {
		if child.ParentSpanID == s.SpanID && child.TraceID == s.TraceID {
			names = append(names, child.Name)
		}
	}
	slices.Sort(names)
	return names
}

// find returns the first span of a name.
func (c *collector) find(t testing.TB, name string) otlpSpan {
	t.Helper()
	i := slices.IndexFunc(c.spans, func(s otlpSpan) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("there is no span %q", name)
	}
	return c.spans[i]
}

// traced runs a server while fn works, and stops it, which sends what is left.
func traced(t *testing.T, c *collector, fn func(*site), change ...func(*server.Config)) {
	t.Run("traced", func(t *testing.T) {
		s := newSite(t, append(change, func(cfg *server.Config) { cfg.OTLPEndpoint = c.URL })...)
		s.run()
		fn(s)
	})
}

func TestATraceTellsWhereARequestSpentItsTimeAndNoSecrets(t *testing.T) {
	c := newCollector(t)
	var signUpID, link string
	traced(t, c, func(s *site) {
		ann := s.client()
		r := ann.post("signup", m{"identifier": "ann@example.org", "password": goodPassword, "name": "Ann Other"}).want(202)
		signUpID = r.header.Get("X-Request-Id")
		mail := s.letter("ann@example.org", "")
		link = mail.Links[0]
		ann.page("GET", link[strings.Index(link, "/link/"):], nil)
		ann.post("signup/verify", m{"flow": r.at("flow"), "code": mail.Code}).want(200)
		ann.post("signin", m{"identifier": "ann@example.org", "password": "wrong password"}).want(401)
		ann.post("signin", m{"identifier": "ann@example.org", "password": goodPassword}).want(200)
		ann.get("session").want(200)
		nobody := s.client()
		nobody.token = token.New(token.Session).Reveal()
		nobody.get("session").want(401)
		ann.page("GET", "/no/such/ann", nil)
		ann.page("BREW", "/", nil)
		ann.page("GET", "/healthz", nil)
	})
	c.mu.Lock()
	defer c.mu.Unlock()

	up := c.find(t, "POST /api/v1/signup")
	if up.Kind != 2 || up.ParentSpanID != "" || up.at("admit.request_id") != signUpID || up.at("http.route") != "/api/v1/signup" || up.at("http.request.method") != "POST" || up.at("http.response.status_code") != "202" {
		t.Errorf("the sign-up is %+v", up)
	}
	if got := c.within(up); !slices.Contains(got, "password hash") || !slices.Contains(got, "accounts write") {
		t.Errorf("a sign-up has the parts %q", got)
	}
	// The mail was posted within the write, which it may leave long after.
	mail := c.find(t, "mail deliver")
	write := slices.IndexFunc(c.spans, func(s otlpSpan) bool { return s.SpanID == mail.ParentSpanID })
	if mail.Kind != 5 || mail.TraceID != up.TraceID || write < 0 || c.spans[write].Name != "accounts write" || c.spans[write].ParentSpanID != up.SpanID {
		t.Errorf("the mail is %+v, of the write %+v", mail, c.spans[max(write, 0)])
	}
	var in []otlpSpan
	for _, s := range c.spans {
		if s.Name == "POST /api/v1/signin" {
			in = append(in, s)
		}
	}
	if len(in) != 2 || in[0].at("error.type") != "bad_credentials" || in[1].at("error.type") != "" {
		t.Fatalf("the sign-ins are %+v", in)
	}
	for _, s := range in {
		if got := c.within(s); !slices.Contains(got, "password verify") {
			t.Errorf("a sign-in has the parts %q", got)
		}
	}
	if got := c.within(in[1]); !slices.Contains(got, "sessions add") {
		t.Errorf("a sign-in has the parts %q", got)
	}
	// A check is answered from memory, which has what its process wrote; of what is not
	// there the database is asked.
	var checks [][]string
	for _, s := range c.spans {
		if s.Name == "GET /api/v1/session" {
			checks = append(checks, c.within(s))
		}
	}
	if len(checks) != 2 || len(checks[0]) != 0 || !slices.Contains(checks[1], "sessions get") {
		t.Errorf("the session checks have the parts %q", checks)
	}
	var unknown []string
	for _, s := range c.spans {
		if s.Name == "request" {
			unknown = append(unknown, s.at("http.request.method")+s.at("http.route"))
		}
	}
	if !slices.Equal(unknown, []string{"GET", "_OTHER"}) {
		t.Errorf("what we do not know is told as %q", unknown)
	}
	c.find(t, "GET /link/{token}")
	all := strings.Join(c.bodies, "\n")
	for _, secret := range []string{"ann", "Ann", "example.org", link[strings.Index(link, "/link/")+len("/link/"):], "no/such", "BREW", "healthz", "wrong password", "127.0.0.1", "Mozilla"} {
		if strings.Contains(all, secret) {
			t.Errorf("the traces tell %q", secret)
		}
	}
}

func TestATraceAndARequestIDAreTakenFromTrustedProxiesOnly(t *testing.T) {
	const theirs = "4bf92f3577b34da6a3ce929d0e0e4736"
	c := newCollector(t)
	ids := map[string]string{}
	traced(t, c, func(s *site) {
		for _, tt := range []struct {
			name, peer, host, id string
			taken                bool
		}{
			{"the proxy", "10.1.2.3:9", "id.example.org", "f3a9c2d1-90aa", true},
			{"a program of this machine that is no proxy", "127.0.0.1:9", "localhost", "f3a9c2d1-90ab", false},
			{"a stranger past the proxy", "192.0.2.66:9", "id.example.org", "f3a9c2d1-90ac", false},
			{"the proxy, with what would forge a line", "10.1.2.3:9", "id.example.org", "a level=ERROR", false},
			{"the proxy, with what has no end", "10.1.2.3:9", "id.example.org", strings.Repeat("a", 65), false},
		} {
			for _, path := range []string{"/api/v1/session", "/api/v1/nothing", "/signin"} {
				ask := s.client().page
				if strings.HasPrefix(path, "/api/") {
					ask = func(method, path string, _ url.Values, change ...func(*http.Request)) *reply {
						return s.client().do(method, path, nil, change...)
					}
				}
				r := ask("GET", path, nil, func(r *http.Request) {
					r.RemoteAddr, r.Host = tt.peer, tt.host
					r.Header.Set("X-Request-Id", tt.id)
					r.Header.Set("Traceparent", "00-"+theirs+"-00f067aa0ba902b7-01")
					if tt.taken || strings.HasPrefix(tt.peer, "10.") {
						r.Header.Set("X-Forwarded-For", "192.0.2.7")
						r.Header.Set("X-Forwarded-Proto", "https")
					}
				})
				id := r.header.Get("X-Request-Id")
				if (id == tt.id) != tt.taken || id == "" {
					t.Errorf("%s: %s is answered with the id %q", tt.name, path, id)
				}
				if told := r.at("request_id"); strings.HasPrefix(path, "/api/") && told != id {
					t.Errorf("%s: %s: the problem says %q, the header %q", tt.name, path, told, id)
				}
				if !strings.Contains(s.log.String(), "request_id="+id+" ") {
					t.Errorf("%s: %s: no line has %q", tt.name, path, id)
				}
				ids[id] = tt.name
			}
		}
		if strings.Contains(s.log.String(), "level=ERROR") {
			t.Error("a line was forged")
		}
	}, func(cfg *server.Config) {
		cfg.Dev, cfg.PublicURL, cfg.TrustedProxy = false, "https://id.example.org", []string{"10.0.0.0/8"}
	})
	for _, s := range c.spans {
		name := ids[s.at("admit.request_id")]
		if name == "" {
			continue // a part
		}
		// The proxy's trace is taken whatever its id looks like.
		trusted := strings.HasPrefix(name, "the proxy")
		if (s.TraceID == theirs) != trusted || (s.ParentSpanID == "00f067aa0ba902b7") != trusted {
			t.Errorf("%s: the span is %+v", name, s)
		}
	}
}

// A note is a Tracer of a program that embeds the server.
type note struct {
	mu    sync.Mutex
	names []string
}

func (n *note) Begin(_ server.SpanKind, name, _ string) server.Span { return n.Child(name) }
func (n *note) Child(name string) server.Span {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names = append(n.names, name)
	return n
}
func (n *note) Name(name string) { n.Child("= " + name) }
func (n *note) Set(string, any)  {}
func (n *note) Parent() string   { return "" }
func (n *note) End(error)        {}

func TestAProgramMayTraceByItsOwnMeans(t *testing.T) {
	n := &note{}
	s := newSite(t, func(c *server.Config) { c.Tracer = n })
	s.signedUp("ann")
	want := []string{"request", "password hash", "accounts write", "sessions add", "= POST /api/v1/signup"}
	var got []string
	for _, name := range n.names {
		if slices.Contains(want, name) && !slices.Contains(got, name) {
			got = append(got, name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("it hears %q", n.names)
	}
}

func TestACollectorIsNamedByOurSettingOrTheStandardOne(t *testing.T) {
	for name, tt := range map[string]struct {
		env          []string
		want, origin string
	}{
		"nowhere":                   {nil, "", "default"},
		"by the standard variable":  {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://otel:4318"}, "http://otel:4318", "OTEL_EXPORTER_OTLP_ENDPOINT"},
		"by both":                   {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://otel:4318", "ADMIT_OTLP_ENDPOINT=https://mine"}, "https://mine", "ADMIT_OTLP_ENDPOINT"},
		"where the SDKs are off":    {[]string{"OTEL_SDK_DISABLED=true", "OTEL_EXPORTER_OTLP_ENDPOINT=http://otel:4318"}, "", "default"},
		"by ours, the SDKs are off": {[]string{"OTEL_SDK_DISABLED=true", "ADMIT_OTLP_ENDPOINT=https://mine"}, "https://mine", "ADMIT_OTLP_ENDPOINT"},
	} {
		cfg, err := server.LoadConfig("", tt.env, nil)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(cfg.Settings(), func(s server.Setting) bool { return s.Name == "otlp_endpoint" })
		if got := cfg.Settings()[i]; cfg.OTLPEndpoint != tt.want || got.Origin != tt.origin {
			t.Errorf("%s: %q from %s", name, cfg.OTLPEndpoint, got.Origin)
		}
	}
	for _, bad := range []string{"otel:4317", "grpc://otel:4317", "http://", "http://user:hunter2@otel:4318", "http://otel:4318?key=hunter2"} {
		if _, err := server.LoadConfig("", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + bad}, nil); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	cfg, err := server.LoadConfig("", []string{"OTEL_EXPORTER_OTLP_HEADERS=hunter2"}, nil)
	if err == nil {
		err = cfg.Check()
	}
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a header without a name: %v", err)
	}
}
