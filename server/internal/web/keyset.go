package web

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/admit-auth/admit/jose"
)

const keySetPath = "/oauth/jwks"

// A keySet is a JWK set as it is answered.
type keySet struct {
	set  *jose.KeySet
	text []byte
	etag []string
}

var (
	keySetType = []string{"application/jwk-set+json"}
	keySetAge  = maxAge(KeySetAge)
	anyOrigin  = []string{"*"}
)

// publishedKeys answers with the keys that JWTs of ours are verified with. They
// are for everybody: package jose writes public halves only, and a set that it
// cannot write so is an error.
func (c *call) publishedKeys() error {
	set, err := c.Published.KeySet(c.r.Context(), "")
	if err != nil {
		return err
	}
	p := c.keySet.Load()
	if p == nil || p.set != set {
		text, err := json.Marshal(set)
		if err != nil {
			return fmt.Errorf("publish keys: %w", err)
		}
		sum := sha256.Sum256(text)
		p = &keySet{set, text, []string{`"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}}
		c.keySet.Store(p)
	}
	return c.publish(keySetType, keySetAge, p.etag, p.text)
}

// publish answers with a document that caches may keep, and scripts of any origin
// read. Whoever asks gets the same, no cookie is looked at, and an origin that was
// left out would have a program fetch for it what is no secret; with one answer
// for all, caches need not keep origins apart.
func (c *call) publish(kind, age, etag []string, text []byte) error {
	h := c.w.Header()
	h["Cache-Control"], h["Access-Control-Allow-Origin"] = age, anyOrigin
	if etag != nil {
		h["Etag"] = etag
		if unchanged(c.r.Header.Get("If-None-Match"), etag[0]) {
			c.begin(http.StatusNotModified)
			return nil
		}
	}
	h["Content-Type"] = kind
	if len(text) > counted {
		h["Content-Length"] = []string{strconv.Itoa(len(text))}
	}
	c.begin(http.StatusOK)
	c.w.Write(text) // who is gone needs no answer
	return nil
}

// counted is up to where net/http counts a body by itself, which costs less than a header
// of ours.
const counted = 2048

func maxAge(d time.Duration) []string {
	return []string{"public, max-age=" + strconv.Itoa(int(d/time.Second))}
}

// unchanged reports whether If-None-Match has the tag (RFC 9110 section 13.1.2).
func unchanged(field, etag string) bool {
	for tag := range strings.SplitSeq(field, ",") {
		if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == etag || tag == "*" {
			return true
		}
	}
	return false
}
