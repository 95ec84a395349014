// Package install proves the installation: a Debian machine of its own, booted by
// qemu in software under its real systemd, on which the install script and the
// packages are used as the README says. "make test-systemd" runs it.
package install
