//go:build unix

package server

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/admit-auth/admit/password"
)

func TestAHasherThatNeverAnswersIsKilledAndHoldsNobody(t *testing.T) {
	hs := &hashers{command: []string{"/bin/sleep", "600"}, asking: 50 * time.Millisecond, log: slog.New(slog.DiscardHandler)}
	defer hs.close()
	salt := make([]byte, 16)
	got := hs.argon2id([]byte("pw"), salt, 1, 64, 1, 32)
	if want := password.Argon2id([]byte("pw"), salt, 1, 64, 1, 32); !bytes.Equal(got, want) {
		t.Errorf("a key of %x, want %x", got, want)
	}
	if len(hs.resting) != 0 {
		t.Error("it is asked again")
	}
}
