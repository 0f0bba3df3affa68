package web

import (
	"encoding/json"
	"net/http"
	"testing"
)

func TestEveryCallOfTheAPIIsDescribed(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]any
	}
	if err := json.Unmarshal(openAPI, &doc); err != nil {
		t.Fatal(err)
	}
	s := &server{mux: http.NewServeMux(), exact: map[string]route{}}
	s.api()
	if len(s.exact) < 10 {
		t.Fatalf("%d paths", len(s.exact))
	}
	for path := range s.exact {
		if doc.Paths[path] == nil {
			t.Errorf("openapi.json does not know %s", path)
		}
	}
}
