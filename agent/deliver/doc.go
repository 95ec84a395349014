// Package deliver is the agent's queue on disk and its emptying: the spool,
// which takes findings and keeps them over any crash, and the destinations that
// take them from it. Nothing leaves the spool before every destination has
// acknowledged it.
package deliver
