package server

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/admit-auth/admit"
	"github.com/admit-auth/admit/password"
)

// breachedList writes passwords as a list of breached ones.
func breachedList(passwords ...string) string {
	var lines []string
	for i, pw := range passwords {
		lines = append(lines, fmt.Sprintf("%X:%d\r\n", sha1.Sum([]byte(pw)), i))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func TestABreachedPasswordIsRefusedOnceItsListIsImported(t *testing.T) {
	cfg := Config{Data: filepath.Join(t.TempDir(), "data")}
	check := func(pw string) error { return cfg.PasswordPolicy().Check(t.Context(), admit.NewSecret(pw)) }
	var all []string
	for i := range 300 {
		all = append(all, fmt.Sprintf("a long walk by the sea %d", i))
	}
	if err := check(all[0]); err != nil {
		t.Fatalf("without a list: %v", err)
	}
	counted := 0
	n, err := ImportBreached(cfg.Data, strings.NewReader(breachedList(all...)), func(n int) { counted = n })
	if n != len(all) || counted != n || err != nil {
		t.Fatalf("imported %d, counted %d, %v", n, counted, err)
	}
	for _, pw := range all {
		if err := check(pw); !errors.Is(err, password.ErrBreached) {
			t.Errorf("%q: got %v", pw, err)
		}
	}
	for i := range 300 {
		if err := check(fmt.Sprintf("another walk by the sea %d", i)); err != nil {
			t.Errorf("a password that is in no list: %v", err)
		}
	}
	good := breachedList("one", "two")
	for name, bad := range map[string]string{
		"nothing":            "",
		"words":              "password\n",
		"a digest too short": good + "AB\n",
		"no hex":             strings.Repeat("Z", 40),
		"out of order":       good + good,
	} {
		if _, err := ImportBreached(cfg.Data, strings.NewReader(bad), func(int) {}); !errors.Is(err, ErrBreachedList) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := check(all[7]); !errors.Is(err, password.ErrBreached) {
		t.Errorf("after a refused list the one before is gone: %v", err)
	}
	if files, err := os.ReadDir(cfg.Data); err != nil || len(files) != 1 {
		t.Errorf("the folder holds %v, %v", files, err)
	}
}

func FuzzBreachedList(f *testing.F) {
	f.Add(breachedList("a", "b", "c"))
	f.Add("")
	f.Add("\n:\n")
	f.Fuzz(func(t *testing.T, list string) {
		dir := t.TempDir()
		n, err := ImportBreached(dir, strings.NewReader(list), func(int) {})
		if err != nil {
			return
		}
		info, err := os.Stat(filepath.Join(dir, breachedName))
		if err != nil || info.Size() != int64(n)*breachedSize || n == 0 {
			t.Errorf("%d were taken of %q: %v", n, list, err)
		}
	})
}
