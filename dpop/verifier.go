package dpop

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/internal/remote"
	"github.com/admit-auth/admit/jose"
)

// Options are the rare choices of a [Verifier].
type Options struct {
	// Algorithms are those that proofs may be signed with, none of them with a
	// shared secret: ES256 and EdDSA unless set.
	Algorithms []jose.Algorithm
	// Window is how long a nonce is good; without nonces, how old the iat of a
	// proof may be: 1 minute unless set, at most 10.
	Window time.Duration
	// NonceKey, of 32 bytes or more and for nothing else, lets several processes
	// take each other's nonces. Unless set each verifier makes its own, so that
	// what was used before a restart is not good after it. Which proofs were
	// used, each process knows for itself: with a common key a proof counts once
	// at each.
	NonceKey []byte
	// NonceKeys, in the place of NonceKey, returns the keys that count now, of
	// which nonces are made with the first: for keys that are replaced while the
	// process runs. It is called for each nonce, and returns one or more.
	NonceKeys func() [][]byte
	// MaxReplays is how many used proofs are remembered: 262,144 unless set.
	// Each takes some 40 bytes while it could be used again.
	MaxReplays int
	// MaxLength bounds a proof in bytes, before any work: 4 KiB unless set.
	MaxLength int

	// InsecureNoNonce demands no nonces. Then proofs can be made in advance by
	// who has the key for a moment, the sender's clock must be right, one that
	// was used just before a restart counts once more, and a flood of proofs is
	// answered with ErrBusy.
	InsecureNoNonce bool
	// InsecureAllowHTTP lets the origin be plain HTTP off loopback.
	InsecureAllowHTTP bool
}

// ahead is how far in the future a proof may be from, in milliseconds: clocks
// differ.
const ahead = 10_000

// A Verifier checks proofs. It may be used by many goroutines at once.
type Verifier struct {
	origin  string // as normal writes it, without the slash at its end
	window  int64  // in milliseconds
	algs    string
	proofs  *jose.ProofVerifier[payload]
	nonces  *nonces // nil where they were given up
	replays *replays
}

// NewVerifier returns a Verifier of the requests to one origin, such as
// "https://api.example.org": as clients write it, whatever a proxy makes of it.
// It is never taken from the request, for then a proof for another site would
// do with that site's name in Host. A path in it goes before that of requests.
func NewVerifier(origin string, o *Options) (*Verifier, error) {
	if o == nil {
		o = &Options{}
	}
	at, ok := normal(origin)
	if !ok || strings.ContainsAny(origin, "?#") {
		return nil, fmt.Errorf("dpop: %q is no origin, such as https://api.example.org", origin)
	}
	if !remote.Safe(at, o.InsecureAllowHTTP) {
		return nil, fmt.Errorf("dpop: %s is plain HTTP, where everybody on the way reads the token", origin)
	}
	if o.Window < 0 || o.Window > 10*time.Minute || o.MaxReplays < 0 {
		return nil, errors.New("dpop: a bound is negative, or the window longer than 10 minutes")
	}
	window, most, length, algs := o.Window, o.MaxReplays, o.MaxLength, o.Algorithms
	if window == 0 {
		window = time.Minute
	}
	if most == 0 {
		most = 1 << 18
	}
	if length == 0 {
		length = 4 << 10
	}
	if len(algs) == 0 {
		algs = algorithms[:]
	}
	v := &Verifier{origin: strings.TrimSuffix(at, "/"), window: window.Milliseconds()}
	v.replays = newReplays(most, v.window+ahead)
	for _, a := range algs {
		v.algs += " " + string(a)
	}
	v.algs = v.algs[1:]
	var err error
	if v.proofs, err = jose.NewProofVerifier[payload](algs, proofType, length); err != nil {
		return nil, err
	}
	switch {
	case o.InsecureNoNonce:
		return v, nil
	case o.NonceKeys != nil && o.NonceKey != nil:
		return nil, errors.New("dpop: NonceKey and NonceKeys are both set")
	case o.NonceKeys != nil:
		v.nonces = &nonces{keys: o.NonceKeys}
		v.replays.forget(time.Now().UnixMilli())
	case o.NonceKey == nil:
		v.nonces = newNonces(random())
	case len(o.NonceKey) < 32:
		return nil, errors.New("dpop: a nonce key of less than 32 bytes")
	default:
		v.nonces = newNonces(slices.Clone(o.NonceKey))
		v.replays.forget(time.Now().UnixMilli())
	}
	return v, nil
}

func random() []byte {
	b := make([]byte, 32)
	rand.Read(b)
	return b
}

// Check reports why a request does not prove that its sender has the key with
// this thumbprint: the one in cnf.jkt of the access token that the request
// carries and that has been verified. Where it returns nil the proof is spent.
//
// A refusal has a method Challenge() string, which is what the answer says in
// WWW-Authenticate (RFC 9449 section 7.1); packages problem and authn ask for
// it. A nonce comes by [Verifier.Handler].
func (v *Verifier) Check(r *http.Request, token, jkt string) error {
	return v.checkAt(r, token, jkt, time.Now())
}

// checkAt is Check at a time.
func (v *Verifier) checkAt(r *http.Request, token, jkt string, now time.Time) error {
	p, err := v.read(r, token, now)
	switch {
	case token == "" || jkt == "":
		err = fmt.Errorf("a token that is bound to no key: %w", ErrOtherKey)
	case err != nil:
	case !same(p.jkt, jkt):
		err = ErrOtherKey
	default:
		err = v.spend(p, now)
	}
	return v.Challenged(err)
}

// Prove returns the thumbprint (RFC 7638) of the key that the sender of a
// request has proved to have, for a token that he is about to be given: what
// goes into its cnf.jkt. The proof is spent. The token endpoint of OAuth answers
// a refusal with status 400 (RFC 9449 section 8).
func (v *Verifier) Prove(r *http.Request, now time.Time) (jkt string, err error) {
	p, err := v.Take(r, "", now)
	return p.JKT, err
}

// A Proof is one that was taken.
type Proof struct {
	JKT      string    // thumbprint of the key that its sender has
	ID       string    // what it is called: of 43 characters, and no other proof's by any key
	IssuedAt time.Time // by the sender's clock, which may be wrong where there are nonces
	Until    time.Time // it counts nowhere from then on
}

// Take is Prove, or Check before whose key it is was compared, for a service of
// several processes that share the keys of nonces and a store: what ID says is
// to be spent there until Until, or the proof counts once at each of them.
func (v *Verifier) Take(r *http.Request, token string, now time.Time) (Proof, error) {
	p, err := v.read(r, token, now)
	if err == nil {
		err = v.spend(p, now)
	}
	if err != nil {
		return Proof{}, v.Challenged(err)
	}
	sum := sha256.Sum256([]byte(p.jkt + p.jti)) // a jkt is always of 43 characters
	return Proof{p.jkt, base64.RawURLEncoding.EncodeToString(sum[:]), p.issued, time.UnixMilli(p.at + v.window + 1)}, nil
}

// Algorithms are those that proofs may be signed with, by every name that they
// have: for dpop_signing_alg_values_supported of RFC 9449 section 5.1.
func (v *Verifier) Algorithms() []jose.Algorithm {
	var all []jose.Algorithm
	for name := range strings.FieldsSeq(v.algs) {
		if all = append(all, jose.Algorithm(name)); name == string(jose.EdDSA) {
			all = append(all, jose.Ed25519) // its name in RFC 9864
		}
	}
	return all
}

// Challenged gives a refusal its challenge: of a proof, or of a token that needed
// one. Check and Prove have done so already. What does not say that the sender is
// unknown, such as [ErrBusy], has none.
func (v *Verifier) Challenged(err error) error {
	if !errors.Is(err, admit.Unauthenticated) {
		return err
	}
	code := "invalid_token" // RFC 6750 section 3.1
	switch {
	case errors.Is(err, ErrNonce):
		code = ErrNonce.Code()
	case errors.Is(err, ErrProof), errors.Is(err, ErrReplayed):
		code = ErrProof.Code()
	}
	return admit.WithChallenge(err, scheme+` error="`+code+`", algs="`+v.algs+`"`)
}

// Has reports whether a request carries a proof, of whatever worth.
func Has(r *http.Request) bool { return len(r.Header[header]) > 0 }

// A proof is one that is good but for its key and that it may have been used.
type proof struct {
	jkt, jti string
	issued   time.Time
	at       int64 // in milliseconds
}

// read checks a proof as RFC 9449 section 4.3 says, which numbers the checks.
func (v *Verifier) read(r *http.Request, token string, now time.Time) (p proof, err error) {
	sent := r.Header[header]
	if len(sent) != 1 {
		return p, fmt.Errorf("%d headers: %w", len(sent), ErrProof) // 1
	}
	c, key, err := v.proofs.Verify(sent[0]) // 2, 4 to 7, and that what is known is well-formed
	if err != nil {
		return p, fmt.Errorf("%w: %w", ErrProof, err)
	}
	p = proof{jkt: key.Thumbprint(), jti: c.ID, issued: c.IssuedAt}
	d := &c.Data
	switch {
	case c.ID == "" || c.IssuedAt.IsZero() || d.Method == "" || d.URI == "": // 3
		return p, fmt.Errorf("a claim is missing: %w", ErrProof)
	case d.Method != r.Method: // 8
		return p, fmt.Errorf("htm is %q: %w", d.Method, ErrProof)
	case !v.here(r, d.URI): // 9
		return p, fmt.Errorf("htu is %q: %w", d.URI, ErrProof)
	case token != "" && !same(d.TokenHash, hashOf(token)): // 12; the key is compared by Check
		return p, fmt.Errorf("ath is of another token: %w", ErrProof)
	case !c.Expires.IsZero() && !now.Before(c.Expires) || now.Add(ahead*time.Millisecond).Before(c.NotBefore):
		return p, fmt.Errorf("exp or nbf: %w", ErrProof)
	}
	if p.at, err = v.made(&c, now); err != nil { // 10, 11
		return p, err
	}
	return p, nil
}

// made returns when a proof was made, which must be in the window. With nonces
// that is a time by our own clock, and the sender's may be wrong: RFC 9449
// section 4.3 wants one of the two. Many telephones' clocks are.
func (v *Verifier) made(c *jose.Claims[payload], now time.Time) (int64, error) {
	at, ok := c.IssuedAt.UnixMilli(), true
	if v.nonces != nil {
		at, ok = v.nonces.read(c.Data.Nonce)
	}
	switch age := now.UnixMilli() - at; {
	case ok && -ahead <= age && age <= v.window:
		return at, nil
	case v.nonces != nil:
		return 0, ErrNonce
	}
	return 0, fmt.Errorf("iat is %d: %w", c.IssuedAt.Unix(), ErrProof)
}

// here reports whether uri is where the request was sent.
func (v *Verifier) here(r *http.Request, uri string) bool {
	path := r.URL.EscapedPath()
	if rest, ok := strings.CutPrefix(uri, v.origin); ok && rest == path && path != "" {
		return true // letter by letter, as nearly all are
	}
	uri, ok := normal(uri)
	return ok && uri == v.origin+normalPath(path)
}

// spend takes a proof, once.
func (v *Verifier) spend(p proof, now time.Time) error {
	switch v.replays.use(p.jkt, p.jti, p.at, now.UnixMilli()) {
	case replayed:
		return ErrReplayed
	case forgotten:
		if v.nonces != nil {
			return ErrNonce
		}
		return &admit.RetryError{After: time.Second, Err: ErrBusy}
	}
	return nil
}

// Nonce returns a nonce to sign the next proofs with, or "" where none is
// demanded.
func (v *Verifier) Nonce(now time.Time) string {
	if v.nonces == nil {
		return ""
	}
	return v.nonces.at(now.UnixMilli())
}

// Handler tells a new nonce in the header DPoP-Nonce with each answer to who
// sends proofs, or a token that wants one: so none of his requests comes back
// for want of it but the first (RFC 9449 section 8.2). Pages of other origins
// need the header's name in Access-Control-Expose-Headers.
func (v *Verifier) Handler(next http.Handler) http.Handler {
	if v.nonces == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, bound := cutScheme(r.Header.Get("Authorization")); bound || Has(r) {
			w.Header().Set(nonceHeader, v.Nonce(time.Now()))
		}
		next.ServeHTTP(w, r)
	})
}

func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
