// Package e2e holds the end-to-end tests: the real agent and the real collector
// as processes on this host, real peers in network namespaces of the tests' own,
// and the finding read at the collector's end. It has no code but tests.
package e2e
