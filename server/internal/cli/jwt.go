package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/jose"
	"github.com/spf13/cobra"
)

func newJWT() *cobra.Command {
	return group("jwt", "make, check and read tokens",
		newJWTKeygen(), newJWTSign(), newJWTVerify(), newJWTDecode(), newJWTEncrypt(), newJWTDecrypt())
}

var errKeyFile = admit.Invalid.New("key_malformed", "This is no key that can be used here.").
	WithHint("a JWK, a JWK set or PEM; admit jwt keygen makes one")

func newJWTKeygen() *cobra.Command {
	cmd := &cobra.Command{
		Use: "keygen --alg ALG > FILE", Short: "make a key", Args: cobra.MatchAll(takes(), needs("alg")),
		Long: `Writes a private JWK (RFC 7517) in one line. Keep it to those who sign; those who
verify need what --public writes. A key for HS256 has no public half: who can
verify with it can sign.`,
		Example: "(umask 077; admit jwt keygen --alg ES256 --public public.jwk > private.jwk)",
	}
	alg := cmd.Flags().String("alg", "", "the key's `ALGORITHM`: ES256, EdDSA, RS256, HS256, … or ECDH-ES, A256KW, RSA-OAEP-256, … to encrypt")
	kid := cmd.Flags().String("kid", "", "the key's `ID`; its thumbprint unless given")
	public := cmd.Flags().String("public", "", "write the public key to this `FILE`")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		k, err := jose.GenerateKey(jose.Algorithm(*alg), *kid)
		if err != nil {
			return misused(cmd, "--alg %s: %w", *alg, err)
		}
		if *public != "" {
			text, err := json.Marshal(k)
			if err != nil {
				return misused(cmd, "--public: %w", err)
			}
			if err := os.WriteFile(*public, append(text, '\n'), 0o644); err != nil {
				return err
			}
		}
		secret, err := k.Reveal()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), secret.Reveal())
		return err
	}
	return cmd
}

// readKeys reads a file of keys for some algorithms. A key that does not say
// its algorithm is for the first that it fits.
func readKeys(name string, algs []jose.Algorithm) ([]*jose.Key, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, unreadable(name, err)
	}
	if bytes.Contains(text, []byte("-----BEGIN ")) {
		for _, alg := range algs {
			var k *jose.Key
			if k, err = jose.ParsePEM(text, alg, ""); err == nil {
				return []*jose.Key{k}, nil
			}
		}
		return nil, fmt.Errorf("%s: %w: %w", name, errKeyFile, err)
	}
	set, _, err := jose.ParseKeySet(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, errKeyFile, err)
	}
	var keys []*jose.Key
	for _, k := range set.Keys() {
		for _, alg := range algs {
			var bound *jose.Key
			if bound, err = k.For(alg); err == nil {
				keys = append(keys, bound)
				break
			}
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s: no key for %s: %w", name, join(algs), errKeyFile)
	}
	return keys, nil
}

func join[T ~string](all []T) string {
	var b strings.Builder
	for i, s := range all {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(s))
	}
	return b.String()
}

// readKey reads a file of one key.
func readKey(name, alg string) (*jose.Key, error) {
	keys, err := readKeys(name, []jose.Algorithm{jose.Algorithm(alg)})
	if err != nil {
		return nil, err
	}
	if len(keys) > 1 {
		return nil, fmt.Errorf("%s: %d keys for %s, where one is needed: %w", name, len(keys), alg, errKeyFile)
	}
	return keys[0], nil
}

func newJWTSign() *cobra.Command {
	cmd := &cobra.Command{
		Use: "sign --alg ALG --key FILE < CLAIMS", Short: "sign claims", Args: cobra.MatchAll(takes(), needs("alg", "key")),
		Long: `Reads claims as one JSON object and writes a compact JWS (RFC 7515). The claims are
signed as they stand. What no verifier would take is refused: a name twice, a
date that is no number.`,
		Example: `echo '{"iss":"https://auth.example.org","sub":"alice","exp":4102444800}' | admit jwt sign --alg ES256 --key private.jwk > token`,
	}
	alg := cmd.Flags().String("alg", "", "the `ALGORITHM`, which the key must fit")
	file := cmd.Flags().String("key", "", "the private key, a JWK, a JWK set of one, or PEM, in this `FILE`")
	typ := cmd.Flags().String("typ", "JWT", "the `TYPE` in the header, such as at+jwt")
	cty := cmd.Flags().String("cty", "", "the content `TYPE` in the header")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		key, err := readKey(*file, *alg)
		if err != nil {
			return err
		}
		claims, err := readLine(cmd.InOrStdin())
		if err != nil {
			return err
		}
		token, err := jose.Sign(key, jose.Header{Type: *typ, ContentType: *cty}, claims)
		if err != nil {
			return err
		}
		// Our own verifier is the judge of claims, whatever their time.
		v, err := anyVerifier(jose.NewKeySet(key), []jose.Algorithm{key.Algorithm()}, jose.Expected{}, len(token))
		if err != nil {
			return err
		}
		if _, err := v.Verify(cmd.Context(), token); errors.Is(err, jose.ErrClaims) {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
		return err
	}
	return cmd
}

// anyVerifier returns a verifier that looks only at what was asked for: a tool's,
// not a service's.
func anyVerifier(keys *jose.KeySet, algs []jose.Algorithm, want jose.Expected, length int) (*jose.Verifier[map[string]any], error) {
	want.Algorithms = algs
	return jose.NewVerifier(keys, want, &jose.VerifierOptions[map[string]any]{
		MaxLength:           max(length, 1),
		InsecureAnyIssuer:   want.Issuer == "",
		InsecureAnyAudience: len(want.Audience) == 0,
		InsecureAnyType:     want.Type == "",
		InsecureNoExpiry:    true,
	})
}

func newJWTVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify --alg ALG[,ALG…] --keys FILE < TOKEN", Short: "check a token and show its claims", Args: cobra.MatchAll(takes(), needs("alg", "keys")),
		Long: `Writes the claims, as they were signed, if the token is signed by one of the keys
with one of the algorithms, and in time. What the header says beyond that is not
believed. Without --issuer, --audience or --typ that one is not looked at: this tool
is for looking; a service demands all three.`,
		Example: "admit jwt verify --alg ES256 --keys public.jwk --issuer https://auth.example.org < token",
	}
	algs := cmd.Flags().StringSlice("alg", nil, "the `ALGORITHMS` that are accepted")
	file := cmd.Flags().String("keys", "", "the keys, a JWK, a JWK set or PEM, in this `FILE`")
	issuer := cmd.Flags().String("issuer", "", "the token must be from this `ISSUER`")
	audience := cmd.Flags().StringSlice("audience", nil, "the token must be for this `AUDIENCE`")
	typ := cmd.Flags().String("typ", "", "the token must be of this `TYPE`")
	at := cmd.Flags().String("at", "", "check as of this `TIME`, RFC 3339 or seconds since 1970, instead of now")
	raw := cmd.Flags().Bool("no-claims", false, "the payload is no claims: check the signature alone, and write the payload")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		accepted := make([]jose.Algorithm, len(*algs))
		for i, a := range *algs {
			accepted[i] = jose.Algorithm(a)
		}
		if *raw && (*issuer != "" || len(*audience) > 0 || *at != "") {
			return misused(cmd, "--no-claims leaves no issuer, audience or time to look at")
		}
		when := time.Now()
		if *at != "" {
			var err error
			if when, err = parseMoment(*at); err != nil {
				return misused(cmd, "--at %s: %w", *at, err)
			}
		}
		keys, err := readKeys(*file, accepted)
		if err != nil {
			return err
		}
		token, err := readLine(cmd.InOrStdin())
		if err != nil {
			return err
		}
		set := jose.NewKeySet(keys...)
		v, err := jose.NewPayloadVerifier(set, accepted, *typ, &jose.PayloadVerifierOptions{MaxLength: len(token), InsecureAnyType: *typ == ""})
		if err != nil {
			return misused(cmd, "%w", err)
		}
		payload, _, err := v.Verify(cmd.Context(), string(token))
		if err != nil {
			return err
		}
		if !*raw {
			v, err := anyVerifier(set, accepted, jose.Expected{Issuer: *issuer, Audience: *audience, Type: *typ}, len(token))
			if err != nil {
				return misused(cmd, "%w", err)
			}
			if _, err := v.VerifyAt(cmd.Context(), string(token), when); err != nil {
				return err
			}
			payload = append(payload, '\n')
		}
		_, err = cmd.OutOrStdout().Write(payload)
		return err
	}
	return cmd
}

var errMoment = admit.Invalid.New("time_malformed", "This is no time.").WithHint("such as 2026-01-31T12:00:00Z or 1769860800")

// parseMoment reads what [parseInstant] reads, and dates as tokens write them.
func parseMoment(text string) (time.Time, error) {
	if t, ok := parseInstant(text, time.Now()); ok {
		return t, nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, errMoment
	}
	return time.Unix(seconds, 0), nil
}

func newJWTDecode() *cobra.Command {
	cmd := &cobra.Command{
		Use: "decode < TOKEN", Short: "show what a token says, unverified", Args: takes(),
		Long: `Shows header and claims, and their dates in words. Nothing is checked: anyone can
write a token that says anything. The token stays on this machine.`,
		Example: "admit jwt decode < token",
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		text, err := readLine(cmd.InOrStdin())
		if err != nil {
			return err
		}
		d, err := decodeToken(strings.TrimSpace(string(text)))
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), d)
		}
		return d.write(cmd.OutOrStdout(), time.Now())
	}
	return cmd
}

// A decoded is what a token says, of which nothing is known to be true.
type decoded struct {
	Verified  bool            `json:"verified"` // always false: a program that reads this cannot overlook it
	Header    json.RawMessage `json:"header"`
	Claims    json.RawMessage `json:"claims,omitempty"`
	Encrypted bool            `json:"encrypted,omitempty"`
}

func decodeToken(text string) (d decoded, err error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 && len(parts) != 5 {
		return d, fmt.Errorf("%d parts, where a signed token has 3 and an encrypted one 5: %w", len(parts), jose.ErrMalformed)
	}
	object := func(part, name string) (json.RawMessage, error) {
		b, err := base64.RawURLEncoding.DecodeString(part)
		var o map[string]json.RawMessage
		if err != nil || json.Unmarshal(b, &o) != nil {
			return nil, fmt.Errorf("its %s is no JSON object in base64url: %w", name, jose.ErrMalformed)
		}
		return b, nil
	}
	if d.Header, err = object(parts[0], "header"); err != nil {
		return d, err
	}
	if d.Encrypted = len(parts) == 5; !d.Encrypted {
		d.Claims, err = object(parts[1], "payload")
	}
	return d, err
}

// dates are the claims that are points in time.
var dates = []string{"iat", "nbf", "exp", "auth_time"}

func (d *decoded) write(w io.Writer, now time.Time) error {
	var b bytes.Buffer
	fmt.Fprintln(&b, "NOT VERIFIED: anyone can write this. admit jwt verify checks a token.")
	part := func(name string, raw json.RawMessage) {
		fmt.Fprintf(&b, "\n%s\n", name)
		var indented bytes.Buffer
		json.Indent(&indented, raw, "", "  ") // which decodeToken has found to be JSON
		for line := range strings.Lines(indented.String()) {
			fmt.Fprintln(&b, printable(strings.TrimSuffix(line, "\n")))
		}
	}
	part("header", d.Header)
	if d.Encrypted {
		fmt.Fprintln(&b, "\nThe rest is encrypted; admit jwt decrypt reads it with the key.")
		_, err := w.Write(b.Bytes())
		return err
	}
	part("claims", d.Claims)
	var claims map[string]json.RawMessage
	json.Unmarshal(d.Claims, &claims)
	first := true
	for _, name := range dates {
		var seconds float64
		if raw, ok := claims[name]; !ok || json.Unmarshal(raw, &seconds) != nil || seconds < 0 || seconds > 253402300799 {
			continue
		}
		if first {
			fmt.Fprintln(&b, "\ntimes")
			first = false
		}
		at := time.Unix(int64(seconds), 0)
		fmt.Fprintf(&b, "%-10s%s  %s\n", name, moment(at), distance(at.Sub(now)))
	}
	_, err := w.Write(b.Bytes())
	return err
}

// distance says how far off a time is, in one unit.
func distance(d time.Duration) string {
	form := "in %d %s"
	if d < 0 {
		form, d = "%d %s ago", -d
	}
	n, unit := int64(d/time.Second), "second"
	for _, step := range []struct {
		size int64
		unit string
	}{{60, "minute"}, {60, "hour"}, {24, "day"}, {365, "year"}} {
		if n < 2*step.size {
			break
		}
		n, unit = n/step.size, step.unit
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf(form, n, unit)
}

func newJWTEncrypt() *cobra.Command {
	cmd := &cobra.Command{
		Use: "encrypt --alg ALG --enc ENC --key FILE < PLAINTEXT", Short: "encrypt for the holder of a key", Args: cobra.MatchAll(takes(), needs("alg", "enc", "key")),
		Long: `Reads any bytes and writes a compact JWE (RFC 7516). With a public key anyone can
encrypt: it does not tell who did. Sign a token first, then encrypt it with
--cty JWT.`,
		Example: "admit jwt encrypt --alg ECDH-ES --enc A256GCM --key theirs.jwk --cty JWT < token",
	}
	alg := cmd.Flags().String("alg", "", "the `ALGORITHM` for the key: RSA-OAEP-256, ECDH-ES, A256KW, dir, …")
	enc := cmd.Flags().String("enc", "", "the `ENCRYPTION` of the content: A256GCM, A128CBC-HS256, …")
	file := cmd.Flags().String("key", "", "the key, a JWK, a JWK set of one, or PEM, in this `FILE`")
	cty := cmd.Flags().String("cty", "", "the content `TYPE` in the header: JWT for a token")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		key, err := readKey(*file, *alg)
		if err != nil {
			return err
		}
		plaintext, err := readAll(cmd.InOrStdin())
		if err != nil {
			return err
		}
		if *cty == "JWT" {
			plaintext = bytes.TrimSuffix(plaintext, []byte("\n"))
		}
		token, err := jose.Encrypt(key, jose.Encryption(*enc), jose.Header{ContentType: *cty}, plaintext)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
		return err
	}
	return cmd
}

func newJWTDecrypt() *cobra.Command {
	cmd := &cobra.Command{
		Use: "decrypt --alg ALG --enc ENC --key FILE < JWE", Short: "decrypt a token", Args: cobra.MatchAll(takes(), needs("alg", "enc", "key")),
		Long:    "Reads a compact JWE and writes the very bytes that were encrypted. What is inside is not verified.",
		Example: "admit jwt decrypt --alg ECDH-ES --enc A256GCM --key ours.jwk < jwe",
	}
	alg := cmd.Flags().String("alg", "", "the `ALGORITHM` for the key, and no other")
	enc := cmd.Flags().String("enc", "", "the `ENCRYPTION` of the content, and no other")
	file := cmd.Flags().String("key", "", "the private key, a JWK, a JWK set of one, or PEM, in this `FILE`")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		key, err := readKey(*file, *alg)
		if err != nil {
			return err
		}
		token, err := readLine(cmd.InOrStdin())
		if err != nil {
			return err
		}
		d, err := jose.NewDecrypter(jose.NewKeySet(key), []jose.Algorithm{key.Algorithm()}, []jose.Encryption{jose.Encryption(*enc)},
			&jose.DecrypterOptions{MaxLength: len(token), MaxIterations: 1_000_000})
		if err != nil {
			return misused(cmd, "%w", err)
		}
		plaintext, _, err := d.Decrypt(cmd.Context(), string(token))
		if err != nil {
			return err
		}
		_, err = cmd.OutOrStdout().Write(plaintext)
		return err
	}
	return cmd
}
