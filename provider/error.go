package provider

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/admit-auth/admit"
)

// The refusals, by the names of RFC 6749, 6750, 7009, 8628, 8707, 9101 and OpenID Connect
// Core and its Unmet Authentication Requirements. What is wrong in particular stands in their
// text: clients go by the code.
var (
	ErrInvalidRequest           = admit.Invalid.New("invalid_request", "The request is not one that counts here.")
	ErrInvalidClient            = admit.Unauthenticated.New("invalid_client", "The client has not proved which one it is.")
	ErrInvalidGrant             = admit.Invalid.New("invalid_grant", "This code or token is not good, or no longer.")
	ErrUnauthorizedClient       = admit.Invalid.New("unauthorized_client", "This client may not ask for that.")
	ErrUnsupportedGrant         = admit.Invalid.New("unsupported_grant_type", "There is no such grant type here.")
	ErrUnsupportedResponse      = admit.Invalid.New("unsupported_response_type", "There is no such response type here: it is code.")
	ErrInvalidScope             = admit.Invalid.New("invalid_scope", "This client may not ask for such a scope.")
	ErrInvalidTarget            = admit.Invalid.New("invalid_target", "This client may not ask for tokens for such a resource.")
	ErrAccessDenied             = admit.Forbidden.New("access_denied", "It was not allowed.")
	ErrLoginRequired            = admit.Unauthenticated.New("login_required", "Nobody is signed in.")
	ErrConsentRequired          = admit.Forbidden.New("consent_required", "The person must be asked first.")
	ErrUnmetAuthentication      = admit.Forbidden.New("unmet_authentication_requirements", "This person has no proof that is as strong.")
	ErrRequestNotSupported      = admit.Invalid.New("request_not_supported", "Request objects are taken of clients that have registered keys.")
	ErrRequestURINotSupported   = admit.Invalid.New("request_uri_not_supported", "A request_uri is taken where the request was pushed here, and is never fetched.")
	ErrInvalidRequestURI        = admit.Invalid.New("invalid_request_uri", "The request_uri is not good, or no longer.")
	ErrInvalidRequestObject     = admit.Invalid.New("invalid_request_object", "The request object is not one that counts here.")
	ErrRegistrationNotSupported = admit.Invalid.New("registration_not_supported", "The parameter registration is not taken here.")
	ErrInvalidToken             = admit.Unauthenticated.New("invalid_token", "This access token is not good, or no longer.")
	ErrInsufficientScope        = admit.Forbidden.New("insufficient_scope", "This credential has no scope for this call.")
	ErrAuthorizationPending     = admit.Invalid.New("authorization_pending", "Nobody has decided yet. Ask again.")
	ErrSlowDown                 = admit.Invalid.New("slow_down", "Ask less often: wait five seconds longer each time.")
	ErrExpiredToken             = admit.Invalid.New("expired_token", "Nobody has decided in time. Begin again.")
	ErrUnsupportedTokenType     = admit.Invalid.New("unsupported_token_type", "Such a token cannot be revoked here.")
)

// because is a refusal with its reason, for whoever writes a client.
func because(err *admit.Error, why string) error { return &refusal{err, why} }

type refusal struct {
	of  *admit.Error
	why string
}

func (r *refusal) Error() string { return r.why }
func (r *refusal) Unwrap() error { return r.of }

// An answer is a refusal as RFC 6749 section 5.2 writes it.
type answer struct {
	Error       string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

// answerOf is what a client is told of an error. Of one of ours it is nothing but that
// it is one.
func answerOf(err error) (a answer, status int) {
	e, ok := errors.AsType[*admit.Error](err)
	switch {
	case !ok || admit.KindOf(err) == admit.Internal:
		return answer{"server_error", "Something is wrong here."}, http.StatusInternalServerError
	case admit.KindOf(err) == admit.Unavailable:
		return answer{"temporarily_unavailable", "Try again in a moment."}, http.StatusServiceUnavailable
	}
	why := e.Error()
	if r, ok := errors.AsType[*refusal](err); ok {
		why = r.why
	}
	status = http.StatusBadRequest
	if e == ErrInvalidClient {
		status = http.StatusUnauthorized
	}
	return answer{e.Code(), why}, status
}

// refuse answers an endpoint that clients call themselves, and tells of it.
func (p *Provider) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p.tellRefusal(r, err)
	refuse(w, err)
}

// tellRefusal tells who runs the provider. A client is told of an error of ours nothing
// but that it is one: so somebody else must be.
func (p *Provider) tellRefusal(r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // who has hung up is told nothing
	}
	if p.o.Refused != nil {
		p.o.Refused(r, err)
		return
	}
	level := slog.LevelDebug
	a, status := answerOf(err)
	if status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	p.o.Log.Log(r.Context(), level, "refused", "path", r.URL.Path, "code", a.Error, "error", err)
}

// refuse answers with a refusal.
func refuse(w http.ResponseWriter, err error) {
	a, status := answerOf(err)
	h := w.Header()
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Basic realm="token"`)
	}
	if status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	write(w, status, a)
}

// write answers with JSON that nobody keeps.
func write(w http.ResponseWriter, status int, v any) {
	var b []byte
	known := false
	if v, ok := v.(byHand); ok {
		b, known = v.appendTo(make([]byte, 0, 1024))
	}
	if !known {
		var err error
		if b, err = json.Marshal(v); err != nil {
			status, b = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
		}
	}
	h := w.Header()
	h["Content-Type"], h["Cache-Control"], h["X-Content-Type-Options"] = jsonMedia, noStore, noSniff
	w.WriteHeader(status)
	w.Write(b)
}

// Values of headers that every answer of a sort has, and nobody changes.
var (
	jsonMedia = []string{"application/json"}
	noStore   = []string{"no-store"}
	noSniff   = []string{"nosniff"}
)
