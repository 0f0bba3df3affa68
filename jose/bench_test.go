package jose

import (
	"context"
	"testing"
	"time"
)

type own struct {
	SID   string `json:"sid"`
	Scope string `json:"scope"`
}

func sample(now time.Time) *Claims[own] {
	return &Claims[own]{
		Issuer: "https://auth.example.test", Subject: "u_01J9ZK7Q4W8V2N6T5B3C", Audience: []string{"https://api.example.test"},
		Expires: now.Add(time.Hour), NotBefore: now.Add(-5 * time.Second), IssuedAt: now.Add(-5 * time.Second), ID: "01J9ZK7Q4W8V2N6T5B3CXYZABC",
		Data: own{"s_7f3c9a52d1e84b60", "openid profile email orders:read orders:write"},
	}
}

func BenchmarkJWT(b *testing.B) {
	for _, alg := range []Algorithm{HS256, RS256, ES256, EdDSA} {
		k, err := GenerateKey(alg, "k1")
		if err != nil {
			b.Fatal(err)
		}
		s, err := NewSigner[own](k, "at+jwt", nil)
		if err != nil {
			b.Fatal(err)
		}
		c := sample(time.Now())
		text, err := s.Sign(c)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(string(alg)+"/sign", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Sign(c)
			}
		})
		for _, remember := range []int{0, 1000} {
			v, err := NewVerifier(NewKeySet(k), Expected{[]Algorithm{alg}, c.Issuer, c.Audience, "at+jwt"}, &VerifierOptions[own]{Remember: remember})
			if err != nil {
				b.Fatal(err)
			}
			name := "/verify"
			if remember > 0 {
				name = "/remembered"
			}
			b.Run(string(alg)+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if got, err := v.Verify(context.Background(), text); err != nil || got.Data != c.Data {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
