// Package express tries sessions together with Express: real packages from npm,
// a real Redis, and the express-peer example as a process of its own.
package express
