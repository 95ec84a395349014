// Package kernels runs the kernel tests on other kernels than this host's: Debian's
// own, booted by qemu in software, with this machine's files under an overlay of
// the guest's own, so that every peer that is installed here runs there. It has no
// code but tests; "make test-kernels" runs them.
package kernels
