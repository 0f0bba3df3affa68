package jose

import "testing"

// A digest is of the whole token, and of no other memory's.
func TestTokensThatDifferAnywhereHaveOtherDigests(t *testing.T) {
	for _, fips := range []bool{false, true} {
		m, other := newMemory[struct{}](1), newMemory[struct{}](1)
		if fips {
			m.gmac, other.gmac = nil, nil
		}
		token := make([]byte, 300)
		for i := range token {
			token[i] = 'a'
		}
		seen := map[[32]byte]int{m.digest(&scratch{token: token}): -1}
		for i := range token {
			token[i] = 'b'
			id := m.digest(&scratch{token: token})
			if at, known := seen[id]; known {
				t.Errorf("fips %t: a change at %d gives the digest of one at %d", fips, i, at)
			}
			seen[id] = i
			if cut := m.digest(&scratch{token: token[:i]}); seen[cut] != 0 {
				t.Errorf("fips %t: %d bytes have the digest of a whole token", fips, i)
			}
			token[i] = 'a'
		}
		same := m.digest(&scratch{token: token}) == other.digest(&scratch{token: token})
		if same != fips {
			t.Errorf("fips %t: two memories have the same digest: %t", fips, same)
		}
	}
}
