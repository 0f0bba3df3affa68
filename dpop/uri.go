package dpop

import (
	"net/url"
	"strings"
)

// normal returns a URI, without its query and fragment, in the one spelling
// that RFC 3986 sections 6.2.2 and 6.2.3 give it. It is false where the URI is
// not an absolute one of http or https, or names a user.
func normal(uri string) (string, bool) {
	u, err := url.Parse(uri)
	if err != nil || u.User != nil || u.Hostname() == "" {
		return "", false
	}
	host := strings.TrimSuffix(strings.ToLower(u.Host), ":")
	switch u.Scheme { // which Parse has written small
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	default:
		return "", false
	}
	return u.Scheme + "://" + host + normalPath(u.EscapedPath()), true
}

// normalPath returns a valid path with its escapes in capitals, none for what
// needs none, and no "." and ".." in it.
func normalPath(path string) string {
	b := make([]byte, 0, len(path)+1)
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c != '%' {
			b = append(b, c)
			continue
		}
		c = hex(path[i+1])<<4 | hex(path[i+2])
		if unreserved(c) {
			b = append(b, c)
		} else {
			b = append(append(b, '%'), strings.ToUpper(path[i+1:i+3])...)
		}
		i += 2
	}
	return withoutDots(string(b))
}

// withoutDots removes dot segments as RFC 3986 section 5.2.4 does.
func withoutDots(path string) string {
	if !strings.Contains(path, "/.") && path != "" && path[0] == '/' {
		return path
	}
	all := strings.Split(strings.TrimPrefix(path, "/"), "/")
	kept := all[:0]
	for i, s := range all {
		last := i == len(all)-1
		switch s {
		case "..":
			kept = kept[:max(0, len(kept)-1)]
			fallthrough
		case ".":
			if last {
				kept = append(kept, "")
			}
		default:
			kept = append(kept, s)
		}
	}
	return "/" + strings.Join(kept, "/")
}

func unreserved(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

func hex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
