package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/server/internal/account"
)

var sampleText = account.Message{Key: "k8", Name: "signup_code", To: "+15005550006", Channel: "text", Text: "123456 is your code\n\n@id.example.org #123456", Code: "123456", At: time.Date(2026, 11, 26, 7, 0, 0, 0, time.UTC)}

const hookSecret = "a secret of thirty two characters"

func textSender(t *testing.T, url, secret, from string) Sender {
	t.Helper()
	server, ok := ParseTextServer(url)
	if !ok {
		t.Fatalf("%s is none", url)
	}
	s, err := NewText(server, admit.NewSecret(secret), from)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAWebhookGetsATextThatItCanTrust(t *testing.T) {
	var headers []http.Header
	var bodies [][]byte
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		headers, bodies = append(headers, r.Header), append(bodies, body)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer hook.Close()
	to := textSender(t, hook.URL+"/send?tenant=a", hookSecret, "Example")
	for range 2 {
		if err := to.Send(t.Context(), sampleText); err != nil {
			t.Fatal(err)
		}
	}
	h := headers[0]
	if h.Get("Idempotency-Key") != "k8" || h.Get("Webhook-Id") != "k8" || headers[1].Get("Idempotency-Key") != "k8" || string(bodies[0]) != string(bodies[1]) {
		t.Errorf("the second is another: %v, %s", headers[1], bodies[1])
	}
	key, err := SigningKey(admit.NewSecret(hookSecret))
	if err != nil || h.Get("Webhook-Signature") != sign(key, "k8", h.Get("Webhook-Timestamp"), bodies[0]) {
		t.Errorf("signature %q, %v", h.Get("Webhook-Signature"), err)
	}
	want := `{"id":"k8","channel":"text","from":"Example","to":"+15005550006","text":"123456 is your code\n\n@id.example.org #123456","message":"signup_code","code":"123456","at":"2026-11-26T07:00:00Z"}`
	if string(bodies[0]) != want {
		t.Errorf("%s\nwant\n%s", bodies[0], want)
	}
}

// The example of the specification of Standard Webhooks.
func TestAWebhookIsSignedAsStandardWebhooksSays(t *testing.T) {
	key, err := SigningKey(admit.NewSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
	if err != nil {
		t.Fatal(err)
	}
	if got := sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`)); got != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Errorf("signature %s", got)
	}
	for _, text := range []string{"", "short", "whsec_***", "whsec_c2hvcnQ="} {
		if _, err := SigningKey(admit.NewSecret(text)); err == nil {
			t.Errorf("%q is a secret", text)
		}
	}
}

func TestWhatAWebhookAnswersIsToldApart(t *testing.T) {
	status := 0
	var asked int
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		fmt.Fprint(w, "no such number +15005550006")
	}))
	defer hook.Close()
	to := textSender(t, hook.URL, hookSecret, "")
	for _, tt := range []struct {
		status int
		final  bool
	}{{302, false}, {400, true}, {401, false}, {404, false}, {410, true}, {422, true}, {429, false}, {500, false}, {503, false}} {
		status, asked = tt.status, 0
		err := to.Send(t.Context(), sampleText)
		f, ok := errors.AsType[*account.Failure](err)
		if !ok || f.Final != tt.final || f.Unsure || f.Code != fmt.Sprintf("text %d", tt.status) || strings.Contains(err.Error(), "+1500") || asked != 1 {
			t.Errorf("%d: %#v, %v; asked %d times", tt.status, f, err, asked)
		}
	}
	hook.Close()
	if f, ok := errors.AsType[*account.Failure](to.Send(t.Context(), sampleText)); !ok || f.Final || f.Unsure || strings.Contains(f.Error(), hook.URL) {
		t.Errorf("nobody there: %#v, %v", f, f)
	}
}

// twilio answers as the documentation of Twilio's Messages resource says.
func twilio(t *testing.T, answer func(form map[string]string) (status, code int)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		say := func(status int, v map[string]any) {
			w.WriteHeader(status)
			json.NewEncoder(w).Encode(v)
		}
		user, password, _ := r.BasicAuth()
		if user != "AC0123" || password != "token" {
			say(401, map[string]any{"code": 20003, "message": "Authenticate", "more_info": "https://www.twilio.com/docs/errors/20003", "status": 401})
			return
		}
		if r.Method != "POST" || r.URL.Path != "/2010-04-01/Accounts/AC0123/Messages.json" || r.ParseForm() != nil {
			say(404, map[string]any{"code": 20404, "message": "The requested resource was not found", "status": 404})
			return
		}
		form := map[string]string{}
		for name := range r.PostForm {
			form[name] = r.PostForm.Get(name)
		}
		if status, code := answer(form); status != 201 {
			say(status, map[string]any{"code": code, "message": "The 'To' number " + form["To"] + " is not a valid phone number.", "more_info": fmt.Sprint("https://www.twilio.com/docs/errors/", code), "status": status})
			return
		}
		say(201, map[string]any{
			"account_sid": "AC0123", "api_version": "2010-04-01", "body": form["Body"], "date_created": "Thu, 26 Nov 2026 07:00:00 +0000", "direction": "outbound-api",
			"error_code": nil, "error_message": nil, "from": form["From"], "messaging_service_sid": nil, "num_media": "0", "num_segments": "1", "price": nil,
			"sid": "SM0123", "status": "queued", "to": form["To"], "uri": "/2010-04-01/Accounts/AC0123/Messages/SM0123.json",
		})
	}))
	t.Cleanup(s.Close)
	return "twilio://AC0123@" + strings.TrimPrefix(s.URL, "http://")
}

func TestTwilioGetsATextAsItsAPISays(t *testing.T) {
	var got []map[string]string
	url := twilio(t, func(form map[string]string) (int, int) { got = append(got, form); return 201, 0 })
	for _, from := range []string{"+15005550001", "MG0123"} {
		if err := textSender(t, url, "token", from).Send(t.Context(), sampleText); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != 2 || len(got[0]) != 3 || got[0]["To"] != "+15005550006" || got[0]["Body"] != sampleText.Text || got[0]["From"] != "+15005550001" || got[1]["MessagingServiceSid"] != "MG0123" || len(got[1]) != 3 {
		t.Errorf("%v", got)
	}
}

func TestWhatTwilioRefusesIsToldApartByItsCodes(t *testing.T) {
	for _, tt := range []struct {
		name         string
		status, code int
		final        bool
	}{
		{"no number", 400, 21211, true},
		{"a number that wrote STOP", 400, 21610, true},
		{"a landline", 400, 21614, true},
		{"a country that is not allowed", 400, 21408, true},
		{"a sender that is not ours", 400, 21606, false},
		{"too many at once", 429, 20429, false},
		{"an outage", 503, 20503, false},
	} {
		url := twilio(t, func(map[string]string) (int, int) { return tt.status, tt.code })
		err := textSender(t, url, "token", "+15005550001").Send(t.Context(), sampleText)
		f, ok := errors.AsType[*account.Failure](err)
		if !ok || f.Final != tt.final || f.Unsure || f.Code != fmt.Sprintf("text %d %d", tt.status, tt.code) || strings.Contains(err.Error(), "+1500") {
			t.Errorf("%s: %#v, %v", tt.name, f, err)
		}
	}
	url := twilio(t, nil)
	if f, ok := errors.AsType[*account.Failure](textSender(t, url, "wrong", "+15005550001").Send(t.Context(), sampleText)); !ok || f.Final || f.Code != "text 401 20003" {
		t.Errorf("another token: %#v", f)
	}
}

func TestATwilioThatHangsMayHaveSent(t *testing.T) {
	hang := make(chan struct{})
	url := twilio(t, func(map[string]string) (int, int) { <-hang; return 201, 0 })
	defer close(hang)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := textSender(t, url, "token", "+15005550001").Send(ctx, sampleText)
	if f, ok := errors.AsType[*account.Failure](err); !ok || f.Final || !f.Unsure {
		t.Errorf("%#v, %v", f, err)
	}
}

func TestATextServerIsReadFromAURL(t *testing.T) {
	for text, want := range map[string]TextServer{
		"https://sms.example.org/send?a=b": {URL: "https://sms.example.org/send?a=b"},
		"http://localhost:9/":              {URL: "http://localhost:9/"},
		"twilio://AC1@api.twilio.com":      {URL: "https://api.twilio.com/2010-04-01/Accounts/AC1/Messages.json", Twilio: true, User: "AC1", Account: "AC1"},
		"twilio://SK1@api.twilio.com/AC1":  {URL: "https://api.twilio.com/2010-04-01/Accounts/AC1/Messages.json", Twilio: true, User: "SK1", Account: "AC1"},
		"twilio://AC1@127.0.0.1:8080":      {URL: "http://127.0.0.1:8080/2010-04-01/Accounts/AC1/Messages.json", Twilio: true, User: "AC1", Account: "AC1"},
	} {
		if got, ok := ParseTextServer(text); !ok || got != want {
			t.Errorf("%s is %+v, %v, want %+v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "sms.example.org", "http://sms.example.org/", "https://u:p@sms.example.org", "https://u@sms.example.org", "twilio://api.twilio.com", "twilio://AC1:token@api.twilio.com", "twilio://AC1@api.twilio.com/a/b", "twilio://AC1@api.twilio.com?x=y"} {
		if got, ok := ParseTextServer(text); ok {
			t.Errorf("%s is %+v", text, got)
		}
	}
}
