// Package memcached checks random histories of several processes over the stores
// whose modules are their own: memcached, and the stand-in for MongoDB.
//
// It holds tests only, which need memcached. The rest of what those stores promise
// is tested in their modules.
package memcached
