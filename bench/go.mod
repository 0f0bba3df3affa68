module github.com/admit-auth/admit/bench

go 1.26.0

require (
	github.com/admit-auth/admit v0.0.0
	github.com/alexedwards/scs/v2 v2.9.0
	github.com/gorilla/securecookie v1.1.2
	golang.org/x/crypto v0.58.0
	golang.org/x/sys v0.49.0
)

require golang.org/x/exp v0.0.0-20261113113407-e3970619a1a4

replace github.com/admit-auth/admit => ../
