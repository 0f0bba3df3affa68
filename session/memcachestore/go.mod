module github.com/admit-auth/admit/session/memcachestore

go 1.26.0

require (
	github.com/admit-auth/admit v0.0.0
	github.com/bradfitz/gomemcache v0.0.0-20260422231931-4d751bb6e37c
)

replace github.com/admit-auth/admit => ../..
