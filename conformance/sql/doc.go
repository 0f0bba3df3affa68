// Package sql keeps sessions in the SQL databases that people run.
//
// It holds tests and benchmarks only, which need PostgreSQL and MariaDB. They start
// servers of their own.
package sql
