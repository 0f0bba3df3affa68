package postgres

// Proves reports whether every way to the database asks the server for its
// certificate.
func (a Address) Proves() bool {
	proves := a.config.TLSConfig != nil && !a.config.TLSConfig.InsecureSkipVerify
	for _, f := range a.config.Fallbacks {
		proves = proves && f.TLSConfig != nil && !f.TLSConfig.InsecureSkipVerify
	}
	return proves
}

// SwapServers is what a pooler does between two transactions.
func SwapServers(a, b any) { a.(*conn).pg, b.(*conn).pg = b.(*conn).pg, a.(*conn).pg }
