package jose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admit-auth/admit"
)

// An issuerServer answers for an issuer, without a network: time can travel.
type issuerServer struct {
	mu      sync.Mutex
	body    string
	status  int
	headers http.Header
	away    bool
	slow    time.Duration
	fetched atomic.Int32
}

func (i *issuerServer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.fetched.Add(1)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.slow > 0 {
		select {
		case <-time.After(i.slow):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if i.away {
		return nil, errors.New("connection refused")
	}
	status := i.status
	if status == 0 {
		status = http.StatusOK
	}
	return &http.Response{StatusCode: status, Header: i.headers.Clone(), Body: io.NopCloser(strings.NewReader(i.body)), Request: r}, nil
}

func (i *issuerServer) publish(t *testing.T, keys ...*Key) {
	t.Helper()
	text, err := json.Marshal(NewKeySet(keys...))
	if err != nil {
		t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.body = string(text)
}

func (i *issuerServer) set(t *testing.T) *RemoteKeySet {
	t.Helper()
	s, err := NewRemoteKeySet("https://auth.example.org/oauth/jwks", &RemoteOptions{Client: &http.Client{Transport: i}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newES256(t *testing.T, id string) *Key {
	t.Helper()
	k, err := GenerateKey(ES256, id)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAKeySetIsFetchedOnceHoweverManyAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuerServer{slow: time.Second}
		i.publish(t, newES256(t, "a"))
		s := i.set(t)
		for range 50 {
			go func() {
				if set, err := s.KeySet(t.Context(), ""); err != nil || len(set.Keys()) != 1 {
					t.Errorf("%v, %v", set, err)
				}
			}()
		}
		time.Sleep(2 * time.Second)
		if n := i.fetched.Load(); n != 1 {
			t.Errorf("fetched %d times", n)
		}
	})
}

func TestAttackMadeUpKidsDoNotFloodTheIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuerServer{}
		i.publish(t, newES256(t, "a"))
		s := i.set(t)
		for n := range 10_000 {
			if _, err := s.KeySet(t.Context(), fmt.Sprint("made up ", n)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond) // 100 s in all
		}
		if n := i.fetched.Load(); n > 11 {
			t.Errorf("fetched %d times in 100 s", n)
		}
	})
}

// The issuer publishes a key, uses it later, and takes the old one away.
func TestKeysRotateWithoutARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuerServer{}
		a, b := newES256(t, "a"), newES256(t, "b")
		i.publish(t, a)
		v, err := NewVerifier(i.set(t), Expected{[]Algorithm{ES256}, issuer, []string{audience}, "at+jwt"}, &VerifierOptions[access]{Remember: 100})
		if err != nil {
			t.Fatal(err)
		}
		try := func(k *Key, want error) {
			t.Helper()
			if _, err := v.Verify(t.Context(), sign(t, newSigner(t, k), goodClaims())); !errors.Is(err, want) {
				t.Errorf("at %v: key %s: %v, want %v", time.Now(), k.ID(), err, want)
			}
		}
		try(a, nil)
		time.Sleep(time.Minute)
		i.publish(t, a, b)
		try(b, nil) // an unknown kid looks again
		i.publish(t, b)
		try(a, nil) // what is kept is good for ten minutes
		time.Sleep(10 * time.Minute)
		try(b, nil)
		try(a, ErrKey)
	})
}

func TestAVerifierServesOnWhileTheIssuerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuerServer{away: true}
		k := newES256(t, "a")
		i.publish(t, k)
		s := i.set(t)
		_, err := s.KeySet(t.Context(), "")
		if !errors.Is(err, ErrKeysAway) || !errors.Is(err, admit.Unavailable) {
			t.Errorf("before the first fetch: %v", err)
		}
		if retry, ok := errors.AsType[*admit.RetryError](err); !ok || retry.After <= 0 {
			t.Errorf("no word of when to try again: %v", err)
		}
		i.away = false
		if _, err := s.KeySet(t.Context(), ""); !errors.Is(err, ErrKeysAway) {
			t.Errorf("within the cool-down: %v", err)
		}
		time.Sleep(10 * time.Second)
		first, err := s.KeySet(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, trouble := range []func(){
			func() { i.away = true },
			func() { i.away, i.status = false, 500 },
			func() { i.status, i.body = 200, "<html>" },
			func() { i.body = `{"keys":[]}` },
			func() { i.body = `{"keys":[{"kty":"EC"}]}` },
			func() { i.body = `{"keys":[` + strings.Repeat(`{"kty":"EC"},`, 100_000) + `{}]}` },
		} {
			trouble()
			time.Sleep(time.Hour)
			// Of an unknown key nothing can be told; the others serve on.
			if _, err := s.KeySet(t.Context(), "b"); !errors.Is(err, ErrKeysAway) {
				t.Errorf("an unknown key after %d fetches: %v", i.fetched.Load(), err)
			}
			if got, err := s.KeySet(t.Context(), "a"); err != nil || got != first {
				t.Errorf("after %d fetches: %v, %v", i.fetched.Load(), got, err)
			}
		}
		time.Sleep(24 * time.Hour)
		if _, err := s.KeySet(t.Context(), ""); !errors.Is(err, ErrKeysAway) {
			t.Errorf("after a day: %v", err)
		}
	})
}

// An answer that says nothing new is the same set: what was remembered stays.
func TestTheSameKeysAreTheSameSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuerServer{headers: http.Header{"Cache-Control": {"public, max-age=90"}}}
		i.publish(t, newES256(t, "a"))
		s := i.set(t)
		first, err := s.KeySet(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(90 * time.Second)
		if again, err := s.KeySet(t.Context(), ""); err != nil || again != first || i.fetched.Load() != 2 {
			t.Errorf("fetched %d times, same set: %t, %v", i.fetched.Load(), again == first, err)
		}
	})
}

func TestWithRunNoVerificationWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuerServer{}
		i.publish(t, newES256(t, "a"))
		s := i.set(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		synctest.Wait()
		i.mu.Lock()
		i.slow = time.Second
		i.mu.Unlock()
		for range 1000 {
			time.Sleep(7 * time.Second)
			begun := time.Now()
			if _, err := s.KeySet(ctx, ""); err != nil || time.Since(begun) > 0 {
				t.Fatalf("waited %v: %v", time.Since(begun), err)
			}
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestKeysAreNotTakenOverPlainHTTP(t *testing.T) {
	for url, good := range map[string]bool{
		"https://auth.example.org/jwks": true, "http://localhost:8080/jwks": true, "http://127.0.0.1/jwks": true, "http://[::1]:1/jwks": true,
		"http://auth.example.org/jwks": false, "http://localhost.example.org/": false, "http://127.0.0.1.example.org/": false,
		"ftp://auth.example.org/": false, "file:///etc/passwd": false, "/jwks": false, "": false, "https://a:b@auth.example.org/": false, "https://": false,
	} {
		if _, err := NewRemoteKeySet(url, nil); (err == nil) != good {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// A redirect would have us take keys from where somebody else says, or ask
// around in our own network.
func TestAttackARedirectOfKeysIsNotFollowed(t *testing.T) {
	for _, to := range []string{"http://auth.example.org/", "http://127.0.0.1:8500/v1/kv", "http://169.254.169.254/", "https://evil.example.org/jwks", "/jwks2"} {
		i := &issuerServer{status: http.StatusFound, headers: http.Header{"Location": {to}}}
		i.publish(t, newES256(t, "a"))
		if _, err := i.set(t).KeySet(t.Context(), ""); !errors.Is(err, ErrKeysAway) {
			t.Errorf("redirected to %s: %v", to, err)
		}
		if n := i.fetched.Load(); n != 1 {
			t.Errorf("redirected to %s: asked %d times", to, n)
		}
	}
}

// Everybody reads what is published: a secret there would let everybody sign.
func TestAttackAPublishedSecretIsNoKey(t *testing.T) {
	secret := newKey(t, HS256, random(32))
	private := newES256(t, "private")
	good := newES256(t, "good")
	var all []string
	for _, k := range []*Key{secret, private} {
		text, err := k.Reveal()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text.Reveal())
	}
	i := &issuerServer{body: `{"keys":[` + strings.Join(all, ",") + "," + string(good.Public().appendJWK(nil, false)) + `]}`}
	v, err := NewVerifier[access](i.set(t), Expected{[]Algorithm{ES256, HS256}, issuer, []string{audience}, "at+jwt"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range map[*Key]error{secret: ErrKey, private: ErrKey, good: nil} {
		if _, err := v.Verify(t.Context(), sign(t, newSigner(t, k), goodClaims())); !errors.Is(err, want) {
			t.Errorf("%v: %v, want %v", k, err, want)
		}
	}
	i = &issuerServer{body: all[0]}
	if _, err := i.set(t).KeySet(t.Context(), ""); !errors.Is(err, ErrKeysAway) {
		t.Errorf("nothing but a secret: %v", err)
	}
}

// The first caller hangs up, again and again: the fetch that it began serves
// those who wait for it, and it does not wait itself.
func TestAttackACallerThatHangsUpStopsNoFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuerServer{slow: 2 * time.Second}
		i.publish(t, newES256(t, "a"))
		s := i.set(t)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		begun := time.Now()
		if _, err := s.KeySet(ctx, ""); !errors.Is(err, ErrKeysAway) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller that hung up: %v", err)
		}
		if took := time.Since(begun); took > 100*time.Millisecond {
			t.Errorf("it waited for %v", took)
		}
		if _, err := s.KeySet(t.Context(), ""); err != nil || i.fetched.Load() != 1 {
			t.Errorf("the next: %v, fetched %d times", err, i.fetched.Load())
		}
		// The same for a set that has grown old, and for an unknown kid.
		time.Sleep(10 * time.Minute)
		for _, kid := range []string{"", "b"} {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			begun := time.Now()
			_, err := s.KeySet(ctx, kid)
			if took := time.Since(begun); took > 100*time.Millisecond || (err == nil) != (kid == "") {
				t.Errorf("kid %q: after %v: %v", kid, took, err)
			}
			cancel()
		}
		time.Sleep(2 * time.Second)
	})
}

func TestAVerifierThatStartsBeforeItsIssuerWaitsASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuerServer{away: true}
		i.publish(t, newES256(t, "a"))
		s := i.set(t)
		if _, err := s.KeySet(t.Context(), ""); !errors.Is(err, ErrKeysAway) {
			t.Error(err)
		}
		i.mu.Lock()
		i.away = false
		i.mu.Unlock()
		time.Sleep(time.Second)
		if _, err := s.KeySet(t.Context(), ""); err != nil {
			t.Error(err)
		}
	})
}

// A key is taken back in an emergency: who hears of it need not wait.
func TestRefreshFetchesDespiteTheCoolDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuerServer{}
		leaked, fresh := newES256(t, "leaked"), newES256(t, "fresh")
		i.publish(t, leaked)
		v, err := NewVerifier(i.set(t), Expected{[]Algorithm{ES256}, issuer, []string{audience}, "at+jwt"}, &VerifierOptions[access]{Remember: 100})
		if err != nil {
			t.Fatal(err)
		}
		token := sign(t, newSigner(t, leaked), goodClaims())
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		i.publish(t, fresh)
		if err := v.opener.keys.(*RemoteKeySet).Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrKey) {
			t.Errorf("signed with the leaked key: %v", err)
		}
		if _, err := v.Verify(t.Context(), sign(t, newSigner(t, fresh), goodClaims())); err != nil {
			t.Errorf("signed with the fresh one: %v", err)
		}
	})
}

// Nobody has asked for hours, and then two at once: neither may be answered
// with a key that was taken back in between.
func TestAttackASetThatNobodyAskedForIsNotServedToTheSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuerServer{}
		i.publish(t, newES256(t, "leaked"))
		s := i.set(t)
		if _, err := s.KeySet(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		i.publish(t, newES256(t, "fresh"))
		i.slow = time.Second
		time.Sleep(20 * time.Hour)
		for range 2 {
			go func() {
				if set, err := s.KeySet(t.Context(), ""); err != nil || set.has("leaked") {
					t.Errorf("%v, %v", set, err)
				}
			}()
		}
		time.Sleep(2 * time.Second)
	})
}

// Whatever a hostile issuer answers, it costs little.
func TestAttackAHugeKeySetCostsLittle(t *testing.T) {
	rsaParts := `"d":"` + encode64(odd(1024)) + `"`
	for _, name := range []string{"p", "q", "dp", "dq", "qi"} {
		rsaParts += `,"` + name + `":"` + encode64(odd(512)) + `"`
	}
	var names strings.Builder
	for n := range 50_000 {
		fmt.Fprintf(&names, `"é%d":1,`, n)
	}
	for name, body := range map[string]string{
		"half a million scraps": `{"keys":[` + strings.Repeat("1,", 500_000) + `1]}`,
		"private RSA keys":      `{"keys":[` + strings.Repeat(`{"kty":"RSA","e":"AQAB","n":"`+encode64(odd(1024))+`",`+rsaParts+`},`, 100) + `1]}`,
		"two megabytes":         `{"keys":[` + strings.Repeat(" ", 2<<20) + `]}`,
		"arrays in arrays":      `{"keys":` + strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000) + `}`,
		"50,000 names":          `{` + names.String() + `"keys":[]}`,
		"a long kid":            `{"keys":[{"kty":"oct","kid":"` + strings.Repeat("x", 1<<19) + `"}]}`,
	} {
		bounded(t, name, 500*time.Millisecond, func() { // a megabyte, once in a cool-down
			s := (&issuerServer{body: body}).set(t)
			if set, err := s.KeySet(t.Context(), ""); !errors.Is(err, ErrKeysAway) {
				t.Errorf("%s: %v, %v", name, set, err)
			}
		})
	}
}

// Under load, with tokens remembered and headers learned: the next key is
// published before it signs, the last one stays for a while after.
func TestKeysRotateUnderLoadWithoutARefusal(t *testing.T) {
	i := &issuerServer{}
	last, now, next := newES256(t, ""), newES256(t, ""), newES256(t, "")
	i.publish(t, last, now, next)
	keys := i.set(t)
	v, err := NewVerifier(keys, Expected{[]Algorithm{ES256}, issuer, []string{audience}, "at+jwt"}, &VerifierOptions[access]{Remember: 64})
	if err != nil {
		t.Fatal(err)
	}
	var signer atomic.Pointer[Signer[access]]
	signer.Store(newSigner(t, now))
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	var verified [3]atomic.Int64
	for worker := range verified {
		group.Go(func() {
			for ctx.Err() == nil {
				token, err := signer.Load().Sign(goodClaims())
				if err != nil {
					t.Error(err)
					return
				}
				for range 3 {
					if c, err := v.Verify(context.Background(), token); err != nil || c.Subject != "alice" {
						t.Errorf("%+v, %v", c, err)
						return
					}
				}
				verified[worker].Add(1)
			}
		})
	}
	for range 6 {
		// No token outlives the overlap: all that was signed before is done.
		for worker := range verified {
			for begun := verified[worker].Load(); verified[worker].Load() < begun+2 && !t.Failed(); {
				time.Sleep(time.Millisecond)
			}
		}
		last, now, next = now, next, newES256(t, "")
		i.publish(t, last, now, next)
		if err := keys.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		signer.Store(newSigner(t, now))
	}
	stop()
	group.Wait()
}
