package server

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/admit-auth/admit"
)

// How a service that knows breached passwords is asked. It is told five digits of
// forty, which some thousand passwords of its list share, and answers with all of
// them: so it does not learn which was meant.
const (
	rangeDigits  = 5
	rangeTimeout = 2 * time.Second
	rangeRest    = 30 * time.Second // after a failure, in which nobody waits for it
	maxRange     = 1 << 20          // bytes of an answer; a padded one has 60 KB
)

var errRangesRest = errors.New("the service for breached passwords failed a moment ago, and is not asked")

// ranges asks such a service.
type ranges struct {
	base   string
	client *http.Client

	mu    sync.Mutex
	until time.Time // guarded by mu; the service is not asked before
}

func newRanges(base string) *ranges {
	return &ranges{base: strings.TrimSuffix(base, "/"), client: &http.Client{
		Timeout: rangeTimeout,
		// What a service sends on to is not what was configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// isRangeURL reports whether a service may be asked there.
func isRangeURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Host == "" {
		return false
	}
	return isOrigin(u.Scheme+"://"+u.Host, "https") || isOrigin(u.Scheme+"://"+u.Host, "http")
}

func (r *ranges) has(ctx context.Context, pw admit.Secret) (found bool, err error) {
	r.mu.Lock()
	rests := time.Now().Before(r.until)
	r.mu.Unlock()
	if rests {
		return false, errRangesRest
	}
	defer func() {
		if err != nil && ctx.Err() == nil { // who gives up says nothing of the service
			r.mu.Lock()
			r.until = time.Now().Add(rangeRest)
			r.mu.Unlock()
		}
	}()
	sum := sha1.Sum([]byte(pw.Reveal())) // the list's way to name a password
	name := strings.ToUpper(hex.EncodeToString(sum[:]))
	req, err := http.NewRequestWithContext(ctx, "GET", r.base+"/"+name[:rangeDigits], nil)
	if err != nil {
		return false, fmt.Errorf("ask about breached passwords: %w", err)
	}
	req.Header.Set("Add-Padding", "true") // so that the size of an answer tells nothing to who listens
	req.Header.Set("User-Agent", "admit")
	res, err := r.client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // the URL has the five digits
		}
		return false, fmt.Errorf("ask %s about breached passwords: %w", r.base, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return false, fmt.Errorf("ask %s about breached passwords: %s", r.base, res.Status)
	}
	return inRange(io.LimitReader(res.Body, maxRange), name[rangeDigits:])
}

// inRange looks for the rest of a SHA-1 in an answer: a line for each, with a colon
// and a count, which is 0 in lines that only pad.
func inRange(answer io.Reader, rest string) (found bool, err error) {
	lines := bufio.NewScanner(answer)
	for n := 0; lines.Scan(); n++ {
		suffix, count, ok := strings.Cut(strings.TrimSpace(lines.Text()), ":")
		if !ok || len(suffix) != len(rest) {
			return false, errors.New("the answer about breached passwords is none")
		}
		if strings.EqualFold(suffix, rest) {
			found = found || strings.Trim(count, "0") != ""
		}
	}
	return found, lines.Err()
}
