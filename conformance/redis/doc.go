// Package redis runs the store of sessions in Redis on real servers, through the
// clients that people have.
//
// It holds tests only, which need redis-server, and use valkey-server beside it
// where there is one.
package redis
