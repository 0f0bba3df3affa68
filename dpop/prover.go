package dpop

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/admit-auth/admit/jose"
)

// A Prover makes proofs with one key. It may be used by many goroutines at
// once.
type Prover struct {
	signer *jose.Signer[payload]
	jkt    string

	mu     sync.Mutex
	nonces map[string]string // by origin: the latest that each has told (guarded by mu)
}

// maxOrigins bounds how many origins' nonces are known. Past it all are
// forgotten, which costs a second request to each.
const maxOrigins = 256

// NewProver returns a Prover. The key is a private one for ES256 or EdDSA,
// unless the services that it is for take others; keep it where nobody copies
// it, for tokens are bound to it.
func NewProver(key *jose.Key) (*Prover, error) {
	s, err := jose.NewProofSigner[payload](key, proofType)
	if err != nil {
		return nil, err
	}
	return &Prover{signer: s, jkt: key.Thumbprint(), nonces: map[string]string{}}, nil
}

// Thumbprint returns the thumbprint of the key, which is cnf.jkt of the tokens
// that are bound to it.
func (p *Prover) Thumbprint() string { return p.jkt }

// Proof returns a proof for one request. Token is the access token that goes
// with it, or "". Most programs send requests through [Prover.Transport].
func (p *Prover) Proof(r *http.Request, token string, now time.Time) (string, error) {
	uri, ok := normal(r.URL.String())
	if !ok {
		return "", fmt.Errorf("dpop: no proof can name %q", r.URL.Redacted())
	}
	c := jose.Claims[payload]{ID: rand.Text(), IssuedAt: now}
	c.Data = payload{Method: r.Method, URI: uri, Nonce: p.nonce(r)}
	if c.Data.Method == "" {
		c.Data.Method = http.MethodGet
	}
	if token != "" {
		c.Data.TokenHash = hashOf(token)
	}
	return p.signer.Sign(&c)
}

// Learn takes the nonce of an answer for the next proofs to the same origin.
// Transport does it by itself.
func (p *Prover) Learn(answer *http.Response) {
	nonce := answer.Header.Get(nonceHeader)
	if nonce == "" || answer.Request == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.nonces) >= maxOrigins {
		clear(p.nonces)
	}
	p.nonces[originOf(answer.Request)] = nonce
}

func (p *Prover) nonce(r *http.Request) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nonces[originOf(r)]
}

// originOf names whose nonce it is: one of another is not for him (RFC 9449
// section 8.1).
func originOf(r *http.Request) string { return r.URL.Scheme + "://" + r.URL.Host }

// Transport returns a RoundTripper that sends requests through next, or
// http.DefaultTransport, each with a proof. An access token that is bound to
// the key stands in Authorization, after "DPoP ". Where a service asks for a
// nonce, the request is sent once more with it, if its body can be had again
// ([http.Request.GetBody]).
func (p *Prover) Transport(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return &transport{p, next}
}

type transport struct {
	prover *Prover
	next   http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.send(r, r.Body)
	if err != nil || !wantsNonce(answer) {
		return answer, err
	}
	body := r.Body
	if body != nil && body != http.NoBody {
		if r.GetBody == nil {
			return answer, nil
		}
		if body, err = r.GetBody(); err != nil {
			return answer, nil
		}
	}
	answer.Body.Close()
	return t.send(r, body)
}

func (t *transport) send(r *http.Request, body io.ReadCloser) (*http.Response, error) {
	token, _ := cutScheme(r.Header.Get("Authorization"))
	proof, err := t.prover.Proof(r, token, time.Now())
	if err != nil {
		if body != nil {
			body.Close()
		}
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body = body
	r.Header.Set(header, proof)
	answer, err := t.next.RoundTrip(r)
	if err == nil {
		t.prover.Learn(answer)
	}
	return answer, err
}

// cutScheme returns what stands after the scheme DPoP.
func cutScheme(authorization string) (token string, ok bool) {
	if len(authorization) <= len(scheme) || !strings.EqualFold(authorization[:len(scheme)], scheme) || authorization[len(scheme)] != ' ' {
		return "", false
	}
	return strings.TrimLeft(authorization[len(scheme):], " "), true
}

// wantsNonce reports whether an answer is the demand for a nonce: of a service
// in a header (RFC 9449 section 9), of who gives tokens in the body (section
// 8). Another refusal is not asked again: it may have cost a try.
func wantsNonce(answer *http.Response) bool {
	switch {
	case answer.Header.Get(nonceHeader) == "":
	case answer.StatusCode == http.StatusUnauthorized:
		for _, challenge := range answer.Header.Values("Www-Authenticate") {
			if strings.Contains(challenge, `error="`+ErrNonce.Code()+`"`) {
				return true
			}
		}
	case answer.StatusCode == http.StatusBadRequest:
		const most = 16 << 10
		text, err := io.ReadAll(io.LimitReader(answer.Body, most))
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(text), failing{err}, answer.Body), answer.Body}
		var said struct{ Error, Code string }
		return err == nil && json.Unmarshal(text, &said) == nil && (said.Error == ErrNonce.Code() || said.Code == ErrNonce.Code())
	}
	return false
}

// failing reads nothing, and fails with an error that came before.
type failing struct{ err error }

// Read implements [io.Reader].
func (f failing) Read([]byte) (int, error) {
	if f.err == nil || errors.Is(f.err, io.EOF) {
		return 0, io.EOF
	}
	return 0, f.err
}
