// Command admit is web sign-in: the server, and the tools beside it.
package main

import "github.com/admit-auth/admit/server/internal/cli"

func main() { cli.Main() }
