package web

import (
	"net/netip"
	"strings"
	"testing"
)

func FuzzForwarded(f *testing.F) {
	for _, seed := range []string{
		"for=192.0.2.7", `for="[2001:db8::1]:55";proto=https, for=10.0.0.1`, "for=unknown", "for=_hidden", "", ",", ";", "=", `for="`, `for="\"";proto=x`, "proto=https;for=1.1.1.1,", "for==",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		hops, proto, err := parseForwarded([]string{text})
		if err != nil {
			return
		}
		if len(hops) > strings.Count(text, ",")+1 || len(proto) > len(text) {
			t.Errorf("%q has the hops %q and the protocol %q", text, hops, proto)
		}
		for _, hop := range hops {
			if addr, ok := parseHop(hop); ok && (!addr.IsValid() || addr.Zone() != "") {
				t.Errorf("%q is read as %v", hop, addr)
			}
		}
		// What a proxy adds at the end is the last hop, whatever came before.
		after, _, err := parseForwarded([]string{text, "for=192.0.2.7;proto=https"})
		if text != "" && (err != nil || after[len(after)-1] != "192.0.2.7") {
			t.Errorf("after %q: %q, %v", text, after, err)
		}
	})
}

func FuzzHop(f *testing.F) {
	for _, seed := range []string{"192.0.2.7", "192.0.2.7:5", "[::1]", "[::1]:5", "::1", "fe80::1%eth0", "::ffff:10.0.0.1", `"[::1]"`, "unknown", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		addr, ok := parseHop(text)
		if !ok {
			return
		}
		if back, err := netip.ParseAddr(addr.String()); err != nil || back != addr {
			t.Errorf("%q is read as %v, which is not read as %v: %v", text, addr, back, err)
		}
	})
}
