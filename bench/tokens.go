package main

import (
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	peer "github.com/go-jose/go-jose/v4"
	peerjwt "github.com/go-jose/go-jose/v4/jwt"
	golang "github.com/golang-jwt/jwt/v5"
	"github.com/kataras/jwt"
	"github.com/lestrrat-go/jwx/v3/jwa"
	jwx "github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/admit-auth/admit/access"
	"github.com/admit-auth/admit/feed"
	"github.com/admit-auth/admit/jose"
)

const (
	issuer   = "https://auth.example.test"
	audience = "https://api.example.test"
	scope    = "openid profile email orders:read orders:write"
	sid      = "s_7f3c9a52d1e84b60"
	jti      = "01J9ZK7Q4W8V2N6T5B3CXYZABC"
)

// own are the claims beside the registered ones.
type own struct {
	SID   string `json:"sid"`
	Scope string `json:"scope"`
}

// material is a key for one algorithm, as the standard library has it.
type material struct {
	alg             jose.Algorithm
	private, public any
	sign            func(input []byte) []byte
	verify          func(input, signature []byte) bool
}

func materials() []material {
	secret := make([]byte, 32)
	rand.Read(secret)
	mac := hmac.New(sha256.New, secret)
	var room [32]byte
	tag := func(b []byte) []byte {
		mac.Reset()
		mac.Write(b)
		return mac.Sum(room[:0])
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	must(err)
	// ECDSA's floor verifies the ASN.1 that the standard library makes.
	return []material{
		{jose.HS256, secret, secret, tag, func(b, s []byte) bool { return hmac.Equal(tag(b), s) }},
		{jose.RS256, rsaKey, &rsaKey.PublicKey, func(b []byte) []byte {
			sum := sha256.Sum256(b)
			s, err := rsa.SignPKCS1v15(nil, rsaKey, crypto.SHA256, sum[:])
			must(err)
			return s
		}, func(b, s []byte) bool {
			sum := sha256.Sum256(b)
			return rsa.VerifyPKCS1v15(&rsaKey.PublicKey, crypto.SHA256, sum[:], s) == nil
		}},
		{jose.ES256, ecKey, &ecKey.PublicKey, func(b []byte) []byte {
			sum := sha256.Sum256(b)
			s, err := ecdsa.SignASN1(rand.Reader, ecKey, sum[:])
			must(err)
			return s
		}, func(b, s []byte) bool {
			sum := sha256.Sum256(b)
			return ecdsa.VerifyASN1(&ecKey.PublicKey, sum[:], s)
		}},
		{jose.EdDSA, edKey, edPublic, func(b []byte) []byte { return ed25519.Sign(edKey, b) },
			func(b, s []byte) bool { return ed25519.Verify(edPublic, b, s) }},
	}
}

func ourClaims(now time.Time) *jose.Claims[own] {
	return &jose.Claims[own]{
		Issuer: issuer, Subject: uid, Audience: []string{audience}, ID: jti,
		Expires: now.Add(time.Hour), IssuedAt: now.Add(-5 * time.Second), NotBefore: now.Add(-5 * time.Second),
		Data: own{sid, scope},
	}
}

func verifier(k *jose.Key, o *jose.VerifierOptions[own]) *jose.Verifier[own] {
	v, err := jose.NewVerifier(jose.NewKeySet(k), jose.Expected{
		Algorithms: []jose.Algorithm{k.Algorithm()}, Issuer: issuer, Audience: []string{audience}, Type: "JWT",
	}, o)
	must(err)
	return v
}

func tokenRows() []row {
	var rows []row
	ctx := context.Background()
	now := time.Now()
	for _, m := range materials() {
		k, err := jose.NewKey(m.alg, "k1", m.private)
		must(err)
		s, err := jose.NewSigner[own](k, "JWT", nil)
		must(err)
		c := ourClaims(now)
		text, err := s.Sign(c)
		must(err)
		v := verifier(k, nil)
		input := []byte(text[:strings.LastIndexByte(text, '.')])
		signature := m.sign(input)
		signature = append([]byte(nil), signature...)
		ours := loop(func() {
			got, err := v.Verify(ctx, text)
			check(err == nil && got.Subject == uid && got.Data.SID == sid)
		})
		floor := loop(func() { check(m.verify(input, signature)) })
		bound := goal{Over: 2000}
		if m.alg == jose.HS256 {
			bound = goal{CPU: 2000, Allocs: 4, Bounded: true}
		}
		for _, p := range peers(m, text) {
			if m.alg == jose.HS256 || p.name == "golang-jwt" {
				rows = append(rows, row{What: "jwt: verify " + string(m.alg), Goal: bound, FloorName: "the signature alone", PeerName: p.name,
					ours: ours, floor: floor, peer: loop(p.verify)})
			}
		}
		bound = goal{}
		if m.alg == jose.HS256 {
			bound = goal{CPU: 1500, Allocs: 3, Bounded: true}
		}
		for _, p := range peers(m, text) {
			if p.sign != nil && (m.alg == jose.HS256 || p.name == "golang-jwt") {
				rows = append(rows, row{What: "jwt: sign " + string(m.alg), Goal: bound, FloorName: "the signature alone", PeerName: p.name,
					ours: loop(func() {
						_, err := s.Sign(c)
						check(err == nil)
					}), floor: loop(func() { m.sign(input) }), peer: loop(p.sign)})
			}
		}
		if m.alg == jose.HS256 {
			rows = append(rows, forgedRow(m, v, text))
		}
		if m.alg == jose.ES256 {
			rows = append(rows, rememberedRow(k, s, 300), rememberedRow(k, s, 900), serviceRow(k, 300), serviceRow(k, 900))
		}
	}
	return append(rows, encryptedRows()...)
}

// rememberedRow measures a token of about so many bytes that was verified before.
func rememberedRow(k *jose.Key, s *jose.Signer[own], size int) row {
	c := ourClaims(time.Now())
	c.Data, c.ID, c.Audience = own{SID: sid}, "", []string{audience}
	bare, err := s.Sign(c)
	must(err)
	what, bound := "jwt: remembered, 300 bytes", goal{CPU: 600}
	if size > 300 {
		what, bound = "jwt: remembered, 900 bytes", goal{CPU: 1000}
		c.Data.Scope = strings.Repeat("s", (size-len(bare))*3/4)
	}
	text, err := s.Sign(c)
	must(err)
	v := verifier(k, &jose.VerifierOptions[own]{Remember: 1000})
	b := []byte(text)
	return row{What: what, Goal: bound, FloorName: "one SHA-256 of the token",
		ours: loop(func() {
			_, err := v.Verify(context.Background(), text)
			check(err == nil)
		}),
		floor: loop(func() { sha256.Sum256(b) })}
}

// serviceRow measures what a service does with an access token of about so many
// bytes that it has seen before: all that package access does, with a look at
// 100,000 endings.
func serviceRow(k *jose.Key, size int) row {
	const issuer, audience = "https://a.test", "https://b.test"
	now := time.Now()
	s, err := jose.NewSigner[access.Claims](k, "at+jwt", nil)
	must(err)
	c := &jose.Claims[access.Claims]{
		Issuer: issuer, Subject: "u", Audience: []string{audience}, Expires: now.Add(time.Hour), Data: access.Claims{SID: sid[:8], SEV: 7},
	}
	bare, err := s.Sign(c)
	must(err)
	what, bound := "jwt: remembered at a service, 300 bytes", goal{CPU: 600}
	if size > 300 {
		what, bound = "jwt: remembered at a service, 900 bytes", goal{CPU: 1000}
	}
	c.Subject = strings.Repeat("u", 1+(size-len(bare)+2)*3/4)
	text, err := s.Sign(c)
	must(err)
	check(len(text) >= size && len(text) < size+4)
	ended := feed.NewLog(nil)
	for i := range 100_000 {
		must(ended.Append(context.Background(), now, feed.SessionEnded(fmt.Sprint("s_", i), uid, "signed_out", now.Add(time.Hour))))
	}
	v, err := access.NewVerifier(issuer, audience, &access.Options{Keys: jose.NewKeySet(k), Feed: ended})
	must(err)
	go v.Run(context.Background())
	must(v.Ready(context.Background()))
	b := []byte(text)
	return row{What: what, Goal: bound, FloorName: "one SHA-256 of the token",
		ours: loop(func() {
			_, err := v.Verify(context.Background(), text)
			check(err == nil)
		}),
		floor: loop(func() { sha256.Sum256(b) })}
}

// forgedRow measures a token of 500 KB that nobody has signed.
func forgedRow(m material, v *jose.Verifier[own], text string) row {
	header, _, _ := strings.Cut(text, ".")
	payload := `{"iss":"` + issuer + `","x":` + strings.Repeat(`{"a":`, 60_000) + "1" + strings.Repeat("}", 60_000) + "}"
	long := header + "." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	p := golang.NewParser(golang.WithValidMethods([]string{string(m.alg)}))
	return row{What: "jwt: refuse a forged 500 KB", Goal: goal{CPU: 5000}, PeerName: "golang-jwt",
		ours: loop(func() {
			_, err := v.Verify(context.Background(), long)
			check(err != nil)
		}),
		peer: loop(func() {
			_, err := p.ParseWithClaims(long, &golangClaims{}, func(*golang.Token) (any, error) { return m.public, nil })
			check(err != nil)
		})}
}

// A library is how a peer does the work.
type library struct {
	name         string
	verify, sign func()
}

type golangClaims struct {
	own
	golang.RegisteredClaims
}

func peers(m material, text string) []library {
	now := time.Now()
	alg := string(m.alg)
	method := golang.GetSigningMethod(alg)
	parser := golang.NewParser(golang.WithValidMethods([]string{alg}), golang.WithIssuer(issuer), golang.WithAudience(audience),
		golang.WithExpirationRequired(), golang.WithIssuedAt())
	at := golang.NewNumericDate
	theirs := &golangClaims{own{sid, scope}, golang.RegisteredClaims{
		Issuer: issuer, Subject: uid, Audience: golang.ClaimStrings{audience}, ID: jti,
		ExpiresAt: at(now.Add(time.Hour)), IssuedAt: at(now.Add(-5 * time.Second)), NotBefore: at(now.Add(-5 * time.Second)),
	}}
	signer, err := peer.NewSigner(peer.SigningKey{Algorithm: peer.SignatureAlgorithm(alg), Key: m.private}, (&peer.SignerOptions{}).WithType("JWT"))
	must(err)
	registered := peerjwt.Claims{Issuer: issuer, Subject: uid, Audience: peerjwt.Audience{audience}, ID: jti,
		Expiry: peerjwt.NewNumericDate(now.Add(time.Hour)), IssuedAt: peerjwt.NewNumericDate(now), NotBefore: peerjwt.NewNumericDate(now)}
	all := []library{
		{"golang-jwt", func() {
			var c golangClaims
			_, err := parser.ParseWithClaims(text, &c, func(*golang.Token) (any, error) { return m.public, nil })
			check(err == nil && c.Subject == uid)
		}, func() {
			_, err := golang.NewWithClaims(method, theirs).SignedString(m.private)
			check(err == nil)
		}},
		{"go-jose", func() {
			tok, err := peerjwt.ParseSigned(text, []peer.SignatureAlgorithm{peer.SignatureAlgorithm(alg)})
			must(err)
			var c peerjwt.Claims
			var o own
			must(tok.Claims(m.public, &c, &o))
			must(c.Validate(peerjwt.Expected{Issuer: issuer, AnyAudience: peerjwt.Audience{audience}}))
		}, func() {
			_, err := peerjwt.Signed(signer).Claims(registered).Claims(own{sid, scope}).Serialize()
			check(err == nil)
		}},
	}
	if m.alg != jose.HS256 {
		return all
	}
	secret := m.private.([]byte)
	// kataras/jwt takes no header but its own.
	kataras, err := jwt.Sign(jwt.HS256, secret, own{sid, scope}, jwt.Claims{Issuer: issuer, Subject: uid, Audience: []string{audience}, Expiry: now.Add(time.Hour).Unix()})
	must(err)
	return append(all, library{"kataras/jwt", func() {
		tok, err := jwt.Verify(jwt.HS256, secret, kataras, jwt.Expected{Issuer: issuer})
		must(err)
		var o own
		must(tok.Claims(&o))
	}, func() {
		_, err := jwt.Sign(jwt.HS256, secret, own{sid, scope}, jwt.Claims{Issuer: issuer, Subject: uid, ID: jti, Audience: []string{audience},
			Expiry: now.Add(time.Hour).Unix(), IssuedAt: now.Unix(), NotBefore: now.Unix()})
		check(err == nil)
	}}, library{"jwx", func() {
		tok, err := jwx.Parse([]byte(text), jwx.WithKey(jwa.HS256(), secret), jwx.WithIssuer(issuer), jwx.WithAudience(audience))
		must(err)
		var s string
		must(tok.Get("sid", &s))
	}, nil})
}

func encryptedRows() []row {
	secret := make([]byte, 32)
	rand.Read(secret)
	k, err := jose.NewKey(jose.Dir, "k1", secret)
	must(err)
	d, err := jose.NewDecrypter(jose.NewKeySet(k), []jose.Algorithm{jose.Dir}, []jose.Encryption{jose.A256GCM}, nil)
	must(err)
	plaintext := []byte(strings.Repeat("0123456789abcdef", 16))
	text, err := jose.Encrypt(k, jose.A256GCM, jose.Header{}, plaintext)
	must(err)
	block, err := aes.NewCipher(secret)
	must(err)
	gcm, err := cipher.NewGCM(block)
	must(err)
	e, err := peer.NewEncrypter(peer.A256GCM, peer.Recipient{Algorithm: peer.DIRECT, Key: secret}, nil)
	must(err)
	b64 := base64.RawURLEncoding
	header, _, _ := strings.Cut(text, ".")
	iv := make([]byte, 12)
	seal := func() string {
		rand.Read(iv)
		out := append(make([]byte, 0, 1024), header...)
		sealed := gcm.Seal(make([]byte, 0, 512), iv, plaintext, out)
		out = b64.AppendEncode(append(out, '.', '.'), iv)
		out = b64.AppendEncode(append(out, '.'), sealed[:len(plaintext)])
		return string(b64.AppendEncode(append(out, '.'), sealed[len(plaintext):]))
	}
	raw := seal()
	const floorName = "AES-256-GCM and base64"
	near := goal{Ratio: 2}
	return []row{
		{What: "jwe: encrypt, dir and A256GCM", Goal: near, FloorName: floorName, PeerName: "go-jose",
			ours: loop(func() {
				_, err := jose.Encrypt(k, jose.A256GCM, jose.Header{}, plaintext)
				check(err == nil)
			}),
			floor: loop(func() { seal() }),
			peer: loop(func() {
				o, err := e.Encrypt(plaintext)
				must(err)
				_, err = o.CompactSerialize()
				check(err == nil)
			})},
		{What: "jwe: decrypt, dir and A256GCM", Goal: near, FloorName: floorName, PeerName: "go-jose",
			ours: loop(func() {
				_, _, err := d.Decrypt(context.Background(), text)
				check(err == nil)
			}),
			floor: loop(func() {
				parts := strings.Split(raw, ".")
				iv, _ := b64.DecodeString(parts[2])
				sealed, _ := b64.DecodeString(parts[3])
				tag, _ := b64.DecodeString(parts[4])
				_, err := gcm.Open(sealed[:0], iv, append(sealed, tag...), []byte(parts[0]))
				check(err == nil)
			}),
			peer: loop(func() {
				o, err := peer.ParseEncryptedCompact(text, []peer.KeyAlgorithm{peer.DIRECT}, []peer.ContentEncryption{peer.A256GCM})
				must(err)
				_, err = o.Decrypt(secret)
				check(err == nil)
			})},
	}
}
