package server

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Who has no backup must not find at night that the lines of the runbook do not
// work: sqlite3's own .recover did not, with the program that Debian 12 has.
func TestWhatCanBeReadOfADamagedDatabaseIsSavedByTheLinesOfTheRunbook(t *testing.T) {
	if _, err := exec.LookPath("sqlite3"); err != nil {
		const how = "sqlite3 is missing: make test SETUP=1 installs it"
		if os.Getenv("CI") == "true" {
			t.Fatal(how)
		}
		t.Skip("SKIPPED: " + how)
	}
	page, err := os.ReadFile("../docs/runbook/database-corrupt.md")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(page)) {
		if command, ok := strings.CutPrefix(line, "    "); ok && (strings.Contains(command, "sqlite3 ") || strings.Contains(command, "saved.db")) {
			lines = append(lines, command)
		}
	}
	if len(lines) != 3 {
		t.Fatalf("%d lines found", len(lines))
	}
	for _, tt := range []struct {
		name string
		sql  string // says which page is damaged
	}{
		{"an index", "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_identifiers_1'"},
		{"the sessions", "SELECT rootpage FROM sqlite_schema WHERE name = 'sessions'"},
		{"the users, and so what belongs to them", "SELECT rootpage FROM sqlite_schema WHERE name = 'users'"},
	} {
		dir := t.TempDir()
		data := filepath.Join(dir, "admit-data")
		o, err := Connect(t.Context(), Config{Data: data})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.AddUser(t.Context(), NewUser{Identifiers: []string{"ada"}, Roles: []string{"editor"}}); err != nil {
			t.Fatal(err)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		sh := func(script string) string {
			t.Helper()
			cmd := exec.Command("sh", "-c", script)
			cmd.Dir = dir
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s: %s: %v", tt.name, script, err)
			}
			return strings.TrimSpace(string(out))
		}
		sh("cp -a admit-data damaged")
		n := 0
		for _, digit := range sh(`sqlite3 damaged/admit.db "` + tt.sql + `"`) {
			n = n*10 + int(digit-'0')
		}
		f, err := os.OpenFile(filepath.Join(dir, "damaged", "admit.db"), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		const pageSize = 4096
		if _, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, pageSize), int64(n-1)*pageSize); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if _, err := Connect(t.Context(), Config{Data: filepath.Join(dir, "damaged")}); err == nil {
			t.Fatalf("%s: the damage is not seen", tt.name)
		}
		for _, line := range lines {
			sh(line)
		}
		o, err = Connect(t.Context(), Config{Data: data})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		_, err = o.User(t.Context(), "ada")
		if lost := strings.HasPrefix(tt.name, "the users"); (err != nil) != lost {
			t.Errorf("%s: the user: %v", tt.name, err)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
