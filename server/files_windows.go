package server

// openFiles is how many files this process may have open, 0 where it is not
// known.
func openFiles() int { return 0 }
