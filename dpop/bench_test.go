package dpop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/admit-auth/admit/jose"
)

// The aim is raw + 5 µs, all looks at the nonce and the replay cache included.
func BenchmarkCheck(b *testing.B) {
	b.Run("raw ES256", func(b *testing.B) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		digest := sha256.Sum256([]byte("what is signed"))
		signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
				b.Fatal("refused")
			}
		}
	})
	for _, alg := range []jose.Algorithm{jose.ES256, jose.EdDSA} {
		b.Run(string(alg), func(b *testing.B) {
			v, p := pair(b, alg)
			now := time.Now()
			r := httptest.NewRequest("POST", "https://api.example.test/orders/4711?full=1", nil)
			p.nonces["https://api.example.test"] = v.Nonce(now)
			proofs := make([]string, 1000)
			for i := range proofs {
				var err error
				if proofs[i], err = p.Proof(r, "token", now); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%len(proofs) == 0 {
					v.replays = newReplays(1<<18, v.window+ahead)
				}
				r.Header["Dpop"] = []string{proofs[i%len(proofs)]}
				if err := v.checkAt(r, "token", p.jkt, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReplays(b *testing.B) {
	r := newReplays(1<<18, 70_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if r.use(fmt.Sprintf("%043d", i), "8IF5VUQRFNPF5PXAPF4TUW7SWZ", int64(i+1), int64(i)) != fresh {
			b.Fatal("refused")
		}
	}
}

func pair(t testing.TB, alg jose.Algorithm) (*Verifier, *Prover) {
	t.Helper()
	key, err := jose.GenerateKey(alg, "")
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewProver(key)
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewVerifier("https://api.example.test", nil)
	if err != nil {
		t.Fatal(err)
	}
	return v, p
}
