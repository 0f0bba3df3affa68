package main

import (
	_ "unsafe" // for go:linkname

	"github.com/alexedwards/scs/v2/memstore"
)

// deleteExpired is memstore's clean-up, which it runs each minute by itself.
//
//go:linkname deleteExpired github.com/alexedwards/scs/v2/memstore.(*MemStore).deleteExpired
func deleteExpired(*memstore.MemStore)
