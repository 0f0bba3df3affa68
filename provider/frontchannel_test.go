package provider

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

const outPage = "https://app.example.org/out?a=b"

func TestTheAppsOfASessionAreShownInFramesOnce(t *testing.T) {
	h := newHall(t)
	framed := func(c *Client) { c.FrontchannelLogoutURI = outPage }
	h.app("app", framed)
	h.app("plain", nil)
	h.app("gone", framed)
	h.app("never", framed)
	hint := h.tokens("app", nil).string("id_token")
	h.tokens("app", scoped("openid", "offline_access"))
	h.tokens("plain", nil)
	h.tokens("gone", nil)
	h.becomes("gone", func(c *Client) { c.Disabled = true })
	frames, err := h.Frames(t.Context(), "s1")
	if err != nil || len(frames) != 1 {
		t.Fatalf("%q, %v", frames, err)
	}
	at, err := url.Parse(frames[0])
	if err != nil || !strings.HasPrefix(frames[0], outPage+"&") || at.Query().Get("iss") != deskIssuer {
		t.Errorf("the frame is %s", frames[0])
	}
	// The session by the name that the app has it by in its ID token, and nobody else.
	if sid := at.Query().Get("sid"); sid != payload(t, hint)["sid"] || sid == "s1" {
		t.Errorf("the session is called %s", sid)
	}
	if frames, err := h.Frames(t.Context(), "s2"); err != nil || len(frames) > 0 {
		t.Errorf("another session has the frames %q, %v", frames, err)
	}
}

// Somebody has let a hundred apps in, and their pages come up at once.
func TestAttackAPageOfAHundredFrames(t *testing.T) {
	h := newHall(t)
	for n := range 30 {
		id := fmt.Sprint("app", n)
		h.app(id, func(c *Client) { c.FrontchannelLogoutURI = outPage })
		h.tokens(id, nil)
	}
	if frames, err := h.Frames(t.Context(), "s1"); err != nil || len(frames) != maxFrames || len(slices.Compact(slices.Sorted(slices.Values(frames)))) != maxFrames {
		t.Errorf("%d frames, %v", len(frames), err)
	}
}
