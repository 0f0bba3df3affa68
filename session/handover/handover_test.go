package handover_test

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/problem"
	"github.com/admit-auth/admit/session"
	"github.com/admit-auth/admit/session/handover"
	"github.com/admit-auth/admit/token"
)

// A world is the handlers of all hosts, and a network without sockets.
type world struct {
	mu    sync.Mutex
	hosts map[string]http.Handler
	down  atomic.Bool                                     // of the origin
	seen  func(*http.Request, *httptest.ResponseRecorder) // of each exchange; nil for nobody
}

func (wd *world) RoundTrip(r *http.Request) (*http.Response, error) {
	wd.mu.Lock()
	h := wd.hosts[r.URL.Host]
	wd.mu.Unlock()
	if h == nil || wd.down.Load() && r.URL.Host == "id.example.org" {
		return nil, errors.New("no such host: " + r.URL.Host)
	}
	in := r.Clone(r.Context())
	in.Host = r.URL.Host
	in.RequestURI = r.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, in)
	if wd.seen != nil {
		wd.seen(in, w)
	}
	res := w.Result()
	res.Request = r
	return res, nil
}

type cart struct{ Items []string }

// A shop is a target with its sessions.
type shop struct {
	target   *handover.Target
	sessions *session.Manager[cart]
	refused  error // of the last arrival
}

type site struct {
	*world
	log    *feed.Log
	people *session.Manager[struct{}]
	shops  map[string]*shop // by host
}

func secretOf(name string) admit.Secret {
	return admit.NewSecret("the secret of " + name + strings.Repeat(".", 32))
}

// newSite has people sign in at id.example.org, and two shops.
func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{world: &world{hosts: map[string]http.Handler{}}, log: feed.NewLog(nil), shops: map[string]*shop{}}
	store := session.NewMemory(nil)
	var err error
	if s.people, err = session.New[struct{}](store, &session.Options{Feed: s.log}); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/signin", func(w http.ResponseWriter, r *http.Request) {
		if _, err := s.people.Start(w, r, r.FormValue("as"), &session.StartOptions{AMR: []string{"pwd", "otp"}, ACR: "2fa"}); err != nil {
			problem.Write(w, err, "")
		}
	})
	mux.HandleFunc("/signout", func(w http.ResponseWriter, r *http.Request) {
		if err := s.people.End(w, r, "signed_out"); err != nil {
			problem.Write(w, err, "")
		}
	})
	mux.HandleFunc("/who", who(s.people.Check))
	origin, err := handover.NewOrigin(s.people, store, &handover.OriginOptions{
		Sites: []handover.Site{
			{Name: "shop", Callback: "https://shop.example.net/arrive", Secret: secretOf("shop")},
			{Name: "news", Callback: "https://news.example.com/arrive", Secret: secretOf("news")},
		},
		SignIn: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "please sign in: "+r.URL.RequestURI()) }),
	})
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/handover/", origin)
	s.hosts["id.example.org"] = mux
	s.shop(t, "shop", "shop.example.net")
	s.shop(t, "news", "news.example.com")
	return s
}

func (s *site) shop(t *testing.T, name, host string) {
	t.Helper()
	sh := &shop{}
	var err error
	if sh.target, err = handover.NewTarget("https://id.example.org/handover", name, secretOf(name), &handover.TargetOptions{Transport: s.world}); err != nil {
		t.Fatal(err)
	}
	if sh.sessions, err = session.New[cart](session.NewMemory(nil), &session.Options{Parents: sh.target}); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/begin", func(w http.ResponseWriter, r *http.Request) {
		if err := sh.target.Begin(w, r, r.FormValue("to")); err != nil {
			problem.Write(w, err, "")
		}
	})
	mux.HandleFunc("/arrive", func(w http.ResponseWriter, r *http.Request) {
		var arrival *handover.Arrival
		if arrival, sh.refused = sh.target.Arrive(w, r); sh.refused != nil {
			problem.Write(w, sh.refused, "")
			return
		}
		if _, err := sh.sessions.Start(w, r, arrival.Subject, arrival.StartOptions()); err != nil {
			problem.Write(w, err, "")
			return
		}
		http.Redirect(w, r, arrival.ReturnTo, http.StatusSeeOther)
	})
	mux.HandleFunc("/signout", func(w http.ResponseWriter, r *http.Request) {
		if err := sh.sessions.End(w, r, "signed_out"); err != nil {
			problem.Write(w, err, "")
		}
	})
	mux.HandleFunc("/", who(sh.sessions.Check))
	s.hosts[host], s.shops[name] = mux, sh
}

// who answers with who is asking.
func who(check func(*http.Request) (session.Info, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		info, err := check(r)
		if err != nil {
			problem.Write(w, err, "")
			return
		}
		io.WriteString(w, r.URL.RequestURI()+" "+info.Subject)
	}
}

// A person has a browser.
type person struct {
	t *testing.T
	c *http.Client
}

func (s *site) person(t *testing.T) *person {
	jar, _ := cookiejar.New(nil) // nil options do not fail
	return &person{t, &http.Client{Transport: s.world, Jar: jar}}
}

// get returns the status and the body at the end of all redirects.
func (p *person) get(at string) (int, string) {
	p.t.Helper()
	res, err := p.c.Get(at)
	if err != nil {
		p.t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func (p *person) wants(at string, status int, text string) {
	p.t.Helper()
	if got, body := p.get(at); got != status || !strings.Contains(body, text) {
		p.t.Fatalf("%s: %d %s, want %d %s", at, got, body, status, text)
	}
}

// step follows no redirect, and returns where it leads.
func (p *person) step(at string) *url.URL {
	p.t.Helper()
	c := *p.c
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := c.Get(at)
	if err != nil {
		p.t.Fatal(err)
	}
	to, err := res.Location()
	if err != nil {
		body, _ := io.ReadAll(res.Body)
		p.t.Fatalf("%s: %d %s: %v", at, res.StatusCode, body, err)
	}
	return to
}

const (
	shopHost = "https://shop.example.net"
	newsHost = "https://news.example.com"
	home     = "https://id.example.org"
)

func TestASignInIsTakenOverToAnotherDomain(t *testing.T) {
	s := newSite(t)
	ann := s.person(t)
	ann.wants(shopHost+"/begin?to=/cart", 200, "please sign in: /handover/begin?")
	ann.wants(home+"/signin?as=ann", 200, "")
	ann.wants(shopHost+"/begin?to=/cart%3Fa%3Db", 200, "/cart?a=b ann")
	ann.wants(newsHost+"/begin?to=/", 200, "/ ann")
	all, err := s.shops["shop"].sessions.List(t.Context(), "ann")
	if err != nil || len(all) != 1 {
		t.Fatalf("%d sessions, %v", len(all), err)
	}
	origin, err := s.people.List(t.Context(), "ann")
	if err != nil || len(origin) != 1 {
		t.Fatalf("%d sessions at the origin, %v", len(origin), err)
	}
	got, want := all[0], origin[0]
	if got.Parent != want.SID || !got.AuthTime.Equal(want.AuthTime) || got.ACR != "2fa" || strings.Join(got.AMR(), " ") != "pwd otp" || got.ExpiresAt.After(want.ExpiresAt.Add(time.Second)) {
		t.Errorf("the session is %+v, and its parent %+v", got, want)
	}
}

func TestSessionsOfTwoDomainsEndTogether(t *testing.T) {
	for name, end := range map[string]string{"at the origin": home, "at the target": shopHost, "at another target": newsHost} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				ann := s.person(t)
				ann.wants(home+"/signin?as=ann", 200, "")
				ann.wants(shopHost+"/begin?to=/", 200, "ann")
				ann.wants(newsHost+"/begin?to=/", 200, "ann")
				ann.wants(end+"/signout", 200, "")
				time.Sleep(5*time.Second + time.Millisecond) // TargetOptions.Remember
				for _, at := range []string{home + "/who", shopHost + "/", newsHost + "/"} {
					ann.wants(at, 401, "session")
				}
			})
		})
	}
}

func TestNewsOfTheOriginEndsSessionsOfTargetsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		ann := s.person(t)
		ann.wants(home+"/signin?as=ann", 200, "")
		ann.wants(shopHost+"/begin?to=/", 200, "ann")
		sh := s.shops["shop"]
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- s.log.Follow(ctx, feed.ID{}, func(n feed.News) error {
				n = n.For("https://shop.example.net") // another domain is told digests
				return errors.Join(sh.target.Hear(n), sh.sessions.Hear(n))
			})
		}()
		all, err := sh.sessions.List(t.Context(), "ann")
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		socket, stop := sh.sessions.Watch(t.Context(), all[0].SID, nil)
		defer stop()
		synctest.Wait()
		began := time.Now()
		ann.wants(home+"/signout", 200, "")
		synctest.Wait()
		ann.wants(shopHost+"/", 401, "session_ended")
		if socket.Err() == nil || time.Since(began) > 0 {
			t.Errorf("after %v a socket at the target is %v", time.Since(began), socket.Err())
		}
		cancel()
		<-done
	})
}

func TestAttackALoginCSRFWithTheAttackersCode(t *testing.T) {
	s := newSite(t)
	mallory, ann := s.person(t), s.person(t)
	mallory.wants(home+"/signin?as=mallory", 200, "")
	// Mallory stops before her code is used, and gives its address to ann.
	planted := mallory.step(mallory.step(shopHost + "/begin?to=/").String())
	ann.wants(planted.String(), 403, "handover_unsolicited")
	ann.wants(shopHost+"/", 401, "no_session")
	// Ann is under way herself; her own state does not help mallory's code.
	own := ann.step(shopHost + "/begin?to=/").Query().Get("state")
	q := planted.Query()
	q.Set("state", own)
	planted.RawQuery = q.Encode()
	ann.wants(planted.String(), 400, "handover_code")
	ann.wants(shopHost+"/", 401, "no_session")
}

func TestAttackAReplayedCode(t *testing.T) {
	s := newSite(t)
	ann := s.person(t)
	ann.wants(home+"/signin?as=ann", 200, "")
	jar := ann.c.Jar
	begun := ann.step(shopHost + "/begin?to=/")
	arrive := ann.step(begun.String())
	copied, _ := cookiejar.New(nil)
	u, _ := url.Parse(shopHost)
	copied.SetCookies(u, jar.Cookies(u))
	ann.wants(arrive.String(), 200, "ann")
	ann.wants(arrive.String(), 403, "handover_unsolicited") // the browser's own second visit
	thief := &person{t, &http.Client{Transport: s.world, Jar: copied}}
	thief.wants(arrive.String(), 400, "handover_code") // with the very cookies
	ann.wants(shopHost+"/", 200, "ann")
}

func TestOfTwoWhoRedeemACodeAtOnceOneIsAnswered(t *testing.T) {
	s := newSite(t)
	ann := s.person(t)
	ann.wants(home+"/signin?as=ann", 200, "")
	arrive := ann.step(ann.step(shopHost + "/begin?to=/").String())
	u, _ := url.Parse(shopHost)
	cookies := ann.c.Jar.Cookies(u)
	var good atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			r := httptest.NewRequest("GET", arrive.String(), nil)
			for _, c := range cookies {
				r.AddCookie(c)
			}
			if _, err := s.shops["shop"].target.Arrive(httptest.NewRecorder(), r); err == nil {
				good.Add(1)
			} else if !errors.Is(err, handover.ErrCode) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if good.Load() != 1 {
		t.Errorf("%d of 20 redeemed one code", good.Load())
	}
}

// A target that is bad has its own visitors set out with the challenge of a flow
// that the attacker began at another target, and gives him their codes.
func TestAttackACodeThatWasMadeForAnotherTarget(t *testing.T) {
	s := newSite(t)
	mallory, ann := s.person(t), s.person(t)
	ann.wants(home+"/signin?as=ann", 200, "")
	begun := mallory.step(shopHost + "/begin?to=/")
	q := begun.Query()
	q.Set("site", "news")
	begun.RawQuery = q.Encode()
	arrive := ann.step(begun.String()) // ann visits the bad news
	if arrive.Host != "news.example.com" {
		t.Fatalf("the code goes to %s", arrive.Host)
	}
	arrive.Host = "shop.example.net"
	mallory.wants(arrive.String(), 400, "handover_code")
	mallory.wants(shopHost+"/", 401, "no_session")
}

func TestAttackAStolenCodeWithoutTheVerifier(t *testing.T) {
	s := newSite(t)
	ann, thief := s.person(t), s.person(t)
	ann.wants(home+"/signin?as=ann", 200, "")
	arrive := ann.step(ann.step(shopHost + "/begin?to=/").String()) // seen in a log
	thief.wants(arrive.String(), 403, "handover_unsolicited")
	code := arrive.Query().Get("code")
	redeem := func(user string, secret admit.Secret, body string) (int, string) {
		r, err := http.NewRequest("POST", home+"/handover/redeem", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.SetBasicAuth(user, secret.Reveal())
		res, err := thief.c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(text)
	}
	body := `{"code":"` + code + `","verifier":"guessed"}`
	for _, by := range []struct {
		user   string
		secret admit.Secret
	}{{"", admit.Secret{}}, {"shop", admit.NewSecret("")}, {"shop", secretOf("news")}, {"nobody", admit.NewSecret("")}} {
		if status, text := redeem(by.user, by.secret, body); status != 403 || !strings.Contains(text, "handover_site") {
			t.Errorf("redeemed by %q without its secret: %d %s", by.user, status, text)
		}
	}
	// Even who has the server's secret guesses once.
	for range 2 {
		if status, text := redeem("shop", secretOf("shop"), body); status != 400 || !strings.Contains(text, "handover_code") {
			t.Errorf("redeemed with a guess: %d %s", status, text)
		}
	}
	ann.wants(arrive.String(), 400, "handover_code")
}

func TestACodeIsNotSpentByWhoKnowsAPartOfIt(t *testing.T) {
	s := newSite(t)
	ann := s.person(t)
	ann.wants(home+"/signin?as=ann", 200, "")
	arrive := ann.step(ann.step(shopHost + "/begin?to=/").String())
	code, err := token.Parse(token.OneTime, arrive.Query().Get("code"))
	if err != nil {
		t.Fatal(err)
	}
	other := ann.step(shopHost + "/begin?to=/").Query().Get("state")
	forged := *arrive
	forged.RawQuery = url.Values{"state": {other}, "code": {code.WithNewVerifier().Reveal()}}.Encode()
	ann.wants(forged.String(), 400, "handover_code")
	ann.wants(arrive.String(), 200, "ann")
}

func TestAGuestOfTheOriginIsAskedToSignIn(t *testing.T) {
	s := newSite(t)
	guest := s.person(t)
	guest.wants(home+"/signin?as=", 200, "") // an empty subject is a guest
	guest.wants(home+"/who", 200, "")
	guest.wants(shopHost+"/begin?to=/", 200, "please sign in")
}

func TestAttackACookieThatLeadsElsewhere(t *testing.T) {
	s := newSite(t)
	ann := s.person(t)
	ann.wants(home+"/signin?as=ann", 200, "")
	arrive := ann.step(ann.step(shopHost + "/begin?to=/").String())
	u, _ := url.Parse(shopHost)
	for _, c := range ann.c.Jar.Cookies(u) {
		verifier, _, _ := strings.Cut(c.Value, ".")
		for _, to := range []string{"https://evil.example/", "//evil.example/", ""} {
			r := httptest.NewRequest("GET", arrive.String(), nil)
			r.AddCookie(&http.Cookie{Name: c.Name, Value: verifier + "." + base64.RawURLEncoding.EncodeToString([]byte(to))})
			if _, err := s.shops["shop"].target.Arrive(httptest.NewRecorder(), r); !errors.Is(err, handover.ErrUnsolicited) {
				t.Errorf("with a cookie that leads to %q: %v", to, err)
			}
		}
	}
}

func TestAttackAnOpenRedirect(t *testing.T) {
	s := newSite(t)
	ann := s.person(t)
	ann.wants(home+"/signin?as=ann", 200, "")
	for _, to := range []string{"", "https://evil.example/", "//evil.example/", "///evil.example/", `/\evil.example/`, `\\evil.example`, "javascript:alert(1)", "cart", "/a\r\nSet-Cookie: a=b", "/\t/evil.example", "/" + strings.Repeat("a", 3000)} {
		ann.wants(shopHost+"/begin?to="+url.QueryEscape(to), 400, "handover_return")
	}
	// At the origin no address is given, only a name; others lead nowhere.
	begun := ann.step(shopHost + "/begin?to=/")
	for key, value := range map[string]string{"site": "https://evil.example/", "challenge": "short", "state": "a b"} {
		q := begun.Query()
		q.Set(key, value)
		at := *begun
		at.RawQuery = q.Encode()
		c := *ann.c
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		res, err := c.Get(at.String())
		if err != nil || res.StatusCode < 400 || res.Header.Get("Location") != "" {
			t.Errorf("with %s=%s: %d to %q, %v", key, value, res.StatusCode, res.Header.Get("Location"), err)
		}
	}
}

func TestASessionThatEndedBeforeItWasRedeemedIsNotHandedOver(t *testing.T) {
	s := newSite(t)
	ann := s.person(t)
	ann.wants(home+"/signin?as=ann", 200, "")
	arrive := ann.step(ann.step(shopHost + "/begin?to=/").String())
	ann.wants(home+"/signout", 200, "")
	ann.wants(arrive.String(), 401, "session_ended")
	ann.wants(shopHost+"/", 401, "no_session")
}

func TestACodeIsGoodForThirtySeconds(t *testing.T) {
	for wait, status := range map[time.Duration]int{29 * time.Second: 200, 30 * time.Second: 400} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			ann := s.person(t)
			ann.wants(home+"/signin?as=ann", 200, "")
			arrive := ann.step(ann.step(shopHost + "/begin?to=/").String())
			time.Sleep(wait)
			ann.wants(arrive.String(), status, "")
		})
	}
}

func TestTabsThatSignInAtOnceDoNotMix(t *testing.T) {
	s := newSite(t)
	ann := s.person(t)
	ann.wants(home+"/signin?as=ann", 200, "")
	var arrivals []*url.URL
	for _, to := range []string{"/one", "/two", "/three"} {
		arrivals = append(arrivals, ann.step(ann.step(shopHost+"/begin?to="+to).String()))
	}
	for i, to := range []string{"/three ann", "/two ann", "/one ann"} {
		ann.wants(arrivals[len(arrivals)-1-i].String(), 200, to)
	}
	ann.wants(home+"/who", 200, "ann") // the sessions of the earlier tabs were replaced, and took nothing along
	for range 40 {
		ann.step(shopHost + "/begin?to=/")
	}
	u, _ := url.Parse(shopHost)
	if n := len(ann.c.Jar.Cookies(u)); n > 10 {
		t.Errorf("flows that came to nothing left %d cookies", n)
	}
}

func TestAnOriginThatIsAwayIsAnOutageAndSignsNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		ann := s.person(t)
		ann.wants(home+"/signin?as=ann", 200, "")
		arrive := ann.step(ann.step(newsHost + "/begin?to=/").String())
		ann.wants(shopHost+"/begin?to=/", 200, "ann")
		s.down.Store(true)
		ann.wants(shopHost+"/", 200, "ann") // its word counts for 5 s
		time.Sleep(6 * time.Second)
		ann.wants(shopHost+"/", 503, "session_store_unavailable")
		ann.wants(shopHost+"/signout", 503, "session_store_unavailable")
		ann.wants(arrive.String(), 503, "session_store_unavailable")
		s.down.Store(false)
		ann.wants(shopHost+"/", 200, "ann")
		// Somebody else's answer in its place is none.
		real := s.hosts["id.example.org"]
		s.hosts["id.example.org"] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(401) })
		time.Sleep(6 * time.Second)
		ann.wants(shopHost+"/", 503, "session_store_unavailable")
		s.hosts["id.example.org"] = real
		ann.wants(shopHost+"/signout", 200, "")
		ann.wants(home+"/who", 401, "session_ended")
	})
}

func TestAnAnswerThatWasOnItsWayWhenTheSessionEndedIsNotRemembered(t *testing.T) {
	s := newSite(t)
	ann := s.person(t)
	ann.wants(home+"/signin?as=ann", 200, "")
	all, err := s.people.List(t.Context(), "ann")
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	target := s.shops["shop"].target
	s.seen = func(r *http.Request, _ *httptest.ResponseRecorder) {
		if strings.HasSuffix(r.URL.Path, "/alive") {
			s.seen = nil
			if err := target.EndAny(t.Context(), all[0].SID, "x"); err != nil {
				t.Error(err)
			}
			soon, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := target.Alive(soon, all[0].SID); !errors.Is(err, session.ErrEnded) {
				t.Errorf("who asks after the ending: %v, want ErrEnded", err)
			}
		}
	}
	if err := target.Alive(t.Context(), all[0].SID); err != nil {
		t.Fatal(err) // as it was when it was asked
	}
	if err := target.Alive(t.Context(), all[0].SID); !errors.Is(err, session.ErrEnded) {
		t.Errorf("a moment later: %v, want ErrEnded", err)
	}
}

func TestReplicasOfTheOriginRedeemEachOthersCodesOnce(t *testing.T) {
	s := newSite(t)
	store := session.NewMemory(nil)
	var replicas []http.Handler
	for range 2 {
		people, err := session.New[struct{}](store, nil)
		if err != nil {
			t.Fatal(err)
		}
		origin, err := handover.NewOrigin(people, store, &handover.OriginOptions{
			Sites: []handover.Site{{Name: "shop", Callback: shopHost + "/arrive", Secret: secretOf("shop")}},
		})
		if err != nil {
			t.Fatal(err)
		}
		mux := http.NewServeMux()
		mux.Handle("/handover/", origin)
		mux.HandleFunc("/signin", func(w http.ResponseWriter, r *http.Request) {
			if _, err := people.Start(w, r, r.FormValue("as"), nil); err != nil {
				t.Error(err)
			}
		})
		replicas = append(replicas, mux)
	}
	turn := 0
	s.hosts["id.example.org"] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		turn++
		replicas[turn%2].ServeHTTP(w, r)
	})
	ann := s.person(t)
	ann.wants(home+"/signin?as=ann", 200, "")
	for range 3 {
		ann.wants(shopHost+"/begin?to=/", 200, "/ ann")
	}
}

func TestNoCodeAndNoSecretIsToldToOthers(t *testing.T) {
	s := newSite(t)
	ann := s.person(t)
	ann.wants(home+"/signin?as=ann", 200, "")
	n := 0
	s.seen = func(r *http.Request, w *httptest.ResponseRecorder) {
		h := w.Header()
		if strings.Contains(r.URL.RawQuery, "code=") || strings.Contains(h.Get("Location"), "code=") {
			n++
			if h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("%s: %v", r.URL.Path, h)
			}
		}
		if strings.Contains(r.URL.RawQuery, "verifier") {
			t.Errorf("a verifier is in %s", r.URL)
		}
	}
	ann.wants(shopHost+"/begin?to=/", 200, "ann")
	if n != 2 {
		t.Errorf("%d exchanges with a code were seen", n)
	}
}

func TestWhatCannotBeSafeIsNoSite(t *testing.T) {
	people, err := session.New[struct{}](session.NewMemory(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	good := handover.Site{Name: "shop", Callback: "https://shop.example.net/arrive", Secret: secretOf("shop")}
	for name, change := range map[string]func(*handover.Site){
		"no name":                func(s *handover.Site) { s.Name = "" },
		"a colon in its name":    func(s *handover.Site) { s.Name = "a:b" },
		"a short secret":         func(s *handover.Site) { s.Secret = admit.NewSecret("short") },
		"no secret":              func(s *handover.Site) { s.Secret = admit.Secret{} },
		"plain HTTP":             func(s *handover.Site) { s.Callback = "http://shop.example.net/arrive" },
		"a callback of a path":   func(s *handover.Site) { s.Callback = "/arrive" },
		"a callback that asks":   func(s *handover.Site) { s.Callback += "?a=b" },
		"a callback with a part": func(s *handover.Site) { s.Callback += "#a" },
		"a password in its URL":  func(s *handover.Site) { s.Callback = "https://a:b@shop.example.net/arrive" },
	} {
		bad := good
		change(&bad)
		if _, err := handover.NewOrigin(people, session.NewMemory(nil), &handover.OriginOptions{Sites: []handover.Site{bad}}); err == nil {
			t.Errorf("a site with %s is taken", name)
		}
	}
	if _, err := handover.NewOrigin(people, session.NewMemory(nil), &handover.OriginOptions{Sites: []handover.Site{good, good}}); err == nil {
		t.Error("one name is taken twice")
	}
	if _, err := handover.NewTarget("https://id.example.org/handover", "shop", secretOf("shop"), &handover.TargetOptions{Calls: "http://id.example.org"}); err == nil {
		t.Error("a server is asked over plain HTTP")
	}
	for name, c := range map[string]struct {
		origin, name string
		secret       admit.Secret
	}{
		"plain HTTP":     {"http://id.example.org/handover", "shop", secretOf("shop")},
		"no name":        {"https://id.example.org/handover", "", secretOf("shop")},
		"a short secret": {"https://id.example.org/handover", "shop", admit.NewSecret("short")},
	} {
		if _, err := handover.NewTarget(c.origin, c.name, c.secret, nil); err == nil {
			t.Errorf("a target with %s is taken", name)
		}
	}
}

func TestManyRequestsAtOnceAskTheOriginOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		ann := s.person(t)
		ann.wants(home+"/signin?as=ann", 200, "")
		ann.wants(shopHost+"/begin?to=/", 200, "ann")
		time.Sleep(6 * time.Second)
		var asked atomic.Int32
		s.seen = func(r *http.Request, _ *httptest.ResponseRecorder) {
			if strings.HasSuffix(r.URL.Path, "/alive") {
				asked.Add(1)
				time.Sleep(time.Second) // the origin is slow
			}
		}
		for range 2 {
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					if res, err := ann.c.Get(shopHost + "/"); err != nil || res.StatusCode != 200 {
						t.Errorf("%v, %v", res, err)
					}
				})
			}
			all.Wait()
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("100 requests asked the origin %d times, want 1", n)
		}
		ann.wants(home+"/signout", 200, "")
		time.Sleep(5 * time.Second)
		for range 10 {
			ann.wants(shopHost+"/", 401, "session_ended")
		}
		if n := asked.Load(); n != 2 {
			t.Errorf("10 requests after the ending asked %d times more, want 1", n-1)
		}
	})
}

// Nobody is let in who has neither a code nor the cookie of a flow.
func FuzzArrive(f *testing.F) {
	f.Add("state=0123456789abcdefghijkl&code=adm_o_x", "__Host-handover-0123456789abcdefghijkl=adm_o_y.Lw")
	f.Add("", "")
	f.Add("state=a&state=b", "__Host-handover-a=.")
	world := &world{hosts: map[string]http.Handler{}}
	target, err := handover.NewTarget("https://id.example.org/handover", "shop", secretOf("shop"), &handover.TargetOptions{Transport: world})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query, cookies string) {
		r := httptest.NewRequest("GET", shopHost+"/arrive", nil)
		r.URL.RawQuery = query
		r.Header.Set("Cookie", cookies)
		_, err := target.Arrive(httptest.NewRecorder(), r)
		if !errors.Is(err, handover.ErrUnsolicited) && admit.KindOf(err) != admit.Unavailable {
			t.Errorf("Arrive: %v", err)
		}
	})
}
