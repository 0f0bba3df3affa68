// Package passkey reads what authenticators answer, and checks it.
//
// It hides WebAuthn Level 3, sections 7.1 and 7.2, behind the two methods of
// [Site]. What is asked of authenticators the edge writes; whose a passkey is,
// package account knows.
package passkey

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"

	"github.com/admit-auth/admit/server/internal/account"
)

// What is longer is not looked at. WebAuthn bounds ids to 1023 bytes and user
// handles to 64; the rest is many times what authenticators send, of which an
// RSA key with the certificates of a TPM is the longest.
const (
	maxID        = 1023
	maxHandle    = 64
	maxClient    = 4 << 10
	maxObject    = 16 << 10
	maxData      = 4 << 10
	maxSignature = 1 << 10
	maxRoutes    = 8
)

// minRSA is the fewest bits of an RSA key.
const minRSA = 2048

// A Site is what passkeys are bound to. It is immutable.
type Site struct {
	id, origin string
	hash       [sha256.Size]byte
}

// New returns the site at a public URL, nil where browsers have no passkeys: at
// an IP address, and over plain HTTP off localhost.
func New(publicURL string) *Site {
	u, err := url.Parse(publicURL)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Hostname() != "localhost" {
		return nil
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		return nil
	}
	return &Site{u.Hostname(), u.Scheme + "://" + u.Host, sha256.Sum256([]byte(u.Hostname()))}
}

// RelyingParty is the RP ID: the host name of the public URL.
func (s *Site) RelyingParty() string { return s.id }

// An answer is a credential as PublicKeyCredential.toJSON writes it. Members
// that browsers add to it are not looked at.
type answer struct {
	ID       string `json:"id"`
	RawID    string `json:"rawId"`
	Type     string `json:"type"`
	Response struct {
		ClientData string   `json:"clientDataJSON"`
		Object     string   `json:"attestationObject"`
		Data       string   `json:"authenticatorData"`
		Signature  string   `json:"signature"`
		Handle     string   `json:"userHandle"`
		Transports []string `json:"transports"`
	} `json:"response"`
}

// read decodes an answer, after a look at how long its parts are.
func read(text []byte) (*answer, error) {
	a := &answer{}
	if err := json.Unmarshal(text, a); err != nil {
		return nil, malformed(err)
	}
	r := &a.Response
	for _, part := range []struct {
		text string
		max  int
	}{
		{a.ID, maxID}, {a.RawID, maxID}, {r.ClientData, maxClient}, {r.Object, maxObject}, {r.Data, maxData}, {r.Signature, maxSignature}, {r.Handle, maxHandle},
	} {
		if len(part.text) > base64.RawURLEncoding.EncodedLen(part.max) {
			return nil, malformed(errors.New("a part is too long"))
		}
	}
	if len(r.Transports) > maxRoutes {
		return nil, malformed(errors.New("too many transports"))
	}
	return a, nil
}

func malformed(err error) error { return fmt.Errorf("%w: %w", account.ErrPasskeyMalformed, err) }

// decode reads base64url in its one spelling: what differs in bits that are not
// used, or in line ends, would be another name of the same.
func decode(text string) (protocol.URLEncodedBase64, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err == nil && base64.RawURLEncoding.EncodeToString(b) != text {
		err = errors.New("not in base64url")
	}
	if err != nil {
		return nil, malformed(err)
	}
	return b, nil
}

// credential returns the part that both kinds of answer have.
func (a *answer) credential() (c protocol.PublicKeyCredential, client protocol.AuthenticatorResponse, err error) {
	id, err := decode(a.ID)
	if err != nil {
		return c, client, err
	}
	if a.RawID != a.ID || len(id) == 0 {
		return c, client, malformed(errors.New("id and rawId differ, or are empty"))
	}
	c = protocol.PublicKeyCredential{Credential: protocol.Credential{ID: a.ID, Type: a.Type}, RawID: id}
	client.ClientDataJSON, err = decode(a.Response.ClientData)
	return c, client, err
}

// Register checks the answer to a registration with this challenge. Where silent
// the browser may have made the passkey with nobody asked (conditional create),
// after a password was filled in for the same account: there is no test of a
// person then, which each use of the passkey makes up for.
//
// The attestation is not looked at: none is asked for, and a chain of certificates
// that anybody may have made would only be more to parse.
func (s *Site) Register(text, challenge []byte, silent bool) (*account.Registered, error) {
	a, err := read(text)
	if err != nil {
		return nil, err
	}
	c, client, err := a.credential()
	if err != nil {
		return nil, err
	}
	object, err := decode(a.Response.Object)
	if err != nil {
		return nil, err
	}
	p, err := protocol.CredentialCreationResponse{
		PublicKeyCredential: c,
		AttestationResponse: protocol.AuthenticatorAttestationResponse{AuthenticatorResponse: client, Transports: a.Response.Transports, AttestationObject: object},
	}.Parse()
	if err != nil {
		return nil, malformed(err)
	}
	data := &p.Response.AttestationObject.AuthData
	if err := s.here(&p.Response.CollectedClientData, protocol.CreateCeremony, challenge, data, !silent, !silent); err != nil {
		return nil, err
	}
	if !bytes.Equal(data.AttData.CredentialID, c.RawID) {
		return nil, malformed(errors.New("the id is another than what was attested"))
	}
	if err := allowed(data.AttData.CredentialPublicKey); err != nil {
		return nil, err
	}
	r := &account.Registered{
		Credential: bytes.Clone(c.RawID), Key: bytes.Clone(data.AttData.CredentialPublicKey), AAGUID: [16]byte(data.AttData.AAGUID), Signed: signed(data),
	}
	for _, t := range p.Response.Transports {
		if route[t] {
			r.Transports = append(r.Transports, string(t))
		}
	}
	return r, nil
}

// route are the transports that we give back to browsers.
var route = map[protocol.AuthenticatorTransport]bool{
	protocol.USB: true, protocol.NFC: true, protocol.BLE: true, protocol.SmartCard: true, protocol.Hybrid: true, protocol.Internal: true,
}

// Verify checks the answer to a request with this challenge, by the key that keyOf
// returns for the credential and the user handle, "" where none was sent. Where
// verified, the authenticator must have checked who holds it.
func (s *Site) Verify(text, challenge []byte, verified bool, keyOf func(credential, handle []byte) ([]byte, error)) (account.Signed, error) {
	var none account.Signed
	a, err := read(text)
	if err != nil {
		return none, err
	}
	c, client, err := a.credential()
	if err != nil {
		return none, err
	}
	r := protocol.AuthenticatorAssertionResponse{AuthenticatorResponse: client}
	for _, part := range []struct {
		to   *protocol.URLEncodedBase64
		text string
	}{{&r.AuthenticatorData, a.Response.Data}, {&r.Signature, a.Response.Signature}, {&r.UserHandle, a.Response.Handle}} {
		if *part.to, err = decode(part.text); err != nil {
			return none, err
		}
	}
	p, err := protocol.CredentialAssertionResponse{PublicKeyCredential: c, AssertionResponse: r}.Parse()
	if err != nil {
		return none, malformed(err)
	}
	data := &p.Response.AuthenticatorData
	if err := s.here(&p.Response.CollectedClientData, protocol.AssertCeremony, challenge, data, true, verified); err != nil {
		return none, err
	}
	key, err := keyOf(c.RawID, r.UserHandle)
	if err != nil {
		return none, err
	}
	// The list may have become shorter since the passkey was made.
	if err := allowed(key); err != nil {
		return none, err
	}
	err = p.Verify(text64(challenge), s.id, "", []string{s.origin}, nil, nil, protocol.TopOriginExplicitVerificationMode, false, verified, true, key, protocol.SignaturePolicy{})
	if err != nil {
		return none, refused(err)
	}
	return signed(data), nil
}

func text64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// here checks what an answer was made for. Each refusal that a person can do
// something about has a text of its own.
func (s *Site) here(client *protocol.CollectedClientData, kind protocol.CeremonyType, challenge []byte, data *protocol.AuthenticatorData, present, verified bool) error {
	// Of the library's rules for origins, which fold case and default ports, none
	// is needed: browsers write an origin in one way.
	if client.Origin != s.origin || !bytes.Equal(data.RPIDHash, s.hash[:]) {
		return fmt.Errorf("%w: origin %.200q", account.ErrPasskeyElsewhere, client.Origin)
	}
	err := client.Verify(text64(challenge), kind, []string{s.origin}, nil, nil, protocol.TopOriginExplicitVerificationMode, false)
	if err == nil {
		err = data.Verify(s.hash[:], nil, false, present)
	}
	if err != nil {
		return refused(err)
	}
	if verified && !data.Flags.HasUserVerified() {
		return account.ErrPasskeyUnverified
	}
	if data.Flags.HasBackupState() && !data.Flags.HasBackupEligible() {
		return malformed(errors.New("backed up, and cannot be"))
	}
	return nil
}

// refused hides what the library says, which has the challenge in it.
func refused(err error) error {
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		return fmt.Errorf("%w: %s", account.ErrPasskeyRefused, e.Details)
	}
	return account.ErrPasskeyRefused
}

func signed(data *protocol.AuthenticatorData) account.Signed {
	return account.Signed{
		Count: data.Counter, Verified: data.Flags.HasUserVerified(), Eligible: data.Flags.HasBackupEligible(), BackedUp: data.Flags.HasBackupState(),
	}
}

// allowed refuses keys of other algorithms than those that were asked for, and
// weak ones.
func allowed(key []byte) error {
	parsed, err := webauthncose.ParsePublicKey(key)
	if err != nil {
		return fmt.Errorf("%w: %w", account.ErrPasskeyAlgorithm, err)
	}
	switch k := parsed.(type) {
	case webauthncose.EC2PublicKeyData:
		if k.Algorithm == int64(account.ES256) && k.Curve == int64(webauthncose.P256) {
			return nil
		}
	case webauthncose.OKPPublicKeyData:
		if k.Algorithm == int64(account.EdDSA) && k.Curve == int64(webauthncose.Ed25519) {
			return nil
		}
	case webauthncose.RSAPublicKeyData:
		if k.Algorithm == int64(account.RS256) && len(bytes.TrimLeft(k.Modulus, "\x00"))*8 >= minRSA {
			return nil
		}
	}
	return account.ErrPasskeyAlgorithm
}
