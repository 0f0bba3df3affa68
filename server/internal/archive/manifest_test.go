package archive_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"testing"

	"github.com/admit-auth/admit/server/internal/archive"
)

// remanifest gives a backup that is not encrypted another manifest.
func remanifest(t *testing.T, b []byte, m archive.Manifest) []byte {
	t.Helper()
	in := tar.NewReader(bytes.NewReader(b))
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == "manifest.json" {
			if text, err = json.Marshal(m); err != nil {
				t.Fatal(err)
			}
			h.Size = int64(len(text))
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
