package problem_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/admit-auth/admit/problem"
)

func Example() {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Identifier string `json:"identifier"`
		}
		if err := problem.Read(r, &in); err != nil {
			problem.Write(w, err, "4711")
			return
		}
		fmt.Fprintln(w, "hello,", in.Identifier)
	})

	r := httptest.NewRequest("POST", "/", strings.NewReader(`{"identifier": "alice", "admin": true}`))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	fmt.Print(w.Body)
	// Output:
	// {"type":"about:blank","title":"Bad Request","status":400,"detail":"The request has a field that is not known here.","code":"unknown_field","errors":[{"field":"admin","code":"unknown_field","detail":"The request has a field that is not known here."}],"request_id":"4711"}
}
