package web

import _ "embed"

// openAPI describes the API. Tests hold every answer against it.
//
//go:embed openapi.json
var openAPI []byte
