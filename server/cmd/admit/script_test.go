package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"filippo.io/age"
	"github.com/rogpeppe/go-internal/testscript"
)

// commands are what scripts know besides testscript's own.
var commands = map[string]func(*testscript.TestScript, bool, []string){
	// exits CODE PROGRAM ARG… runs a program that must exit with that code.
	"exits": func(ts *testscript.TestScript, neg bool, args []string) {
		err := ts.Exec(args[1], args[2:]...)
		code := 0
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			code = exit.ExitCode()
		} else {
			ts.Check(err)
		}
		if want, _ := strconv.Atoi(args[0]); neg || code != want {
			ts.Fatalf("exit code %d, want %s", code, args[0])
		}
	},
	// tamper FROM TO changes a letter in the middle.
	"tamper": func(ts *testscript.TestScript, _ bool, args []string) {
		b := []byte(ts.ReadFile(args[0]))
		if i := len(b) / 2; b[i] == 'x' {
			b[i] = 'y'
		} else {
			b[i] = 'x'
		}
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), b, 0o600))
	},
	// truncate FROM TO cuts a letter off the end.
	"truncate": func(ts *testscript.TestScript, _ bool, args []string) {
		b := bytes.TrimSpace([]byte(ts.ReadFile(args[0])))
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), b[:len(b)-1], 0o600))
	},
	// join A B TO writes one file after the other.
	"join": func(ts *testscript.TestScript, _ bool, args []string) {
		ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(ts.ReadFile(args[0])+ts.ReadFile(args[1])), 0o600))
	},
	// field FILE NAME VARIABLE takes a text out of JSON.
	"field": func(ts *testscript.TestScript, _ bool, args []string) {
		text := field(ts.ReadFile(args[0]), args[1])
		if text == "" {
			ts.Fatalf("no field %s", args[1])
		}
		ts.Setenv(args[2], text)
	},
	// agekey FILE VARIABLE writes a key as age-keygen does, and gives its recipient.
	"agekey": func(ts *testscript.TestScript, _ bool, args []string) {
		key, err := age.GenerateX25519Identity()
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(key.String()+"\n"), 0o600))
		ts.Setenv(args[1], key.Recipient().String())
	},
	// big N FILE makes a file of N letters.
	"big": func(ts *testscript.TestScript, _ bool, args []string) {
		n, err := strconv.Atoi(args[0])
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), bytes.Repeat([]byte("x"), n), 0o600))
	},
}

// field returns the first text of that name in some JSON.
func field(json, name string) string {
	_, rest, _ := strings.Cut(json, `"`+name+`":"`)
	text, _, _ := strings.Cut(rest, `"`)
	return text
}
