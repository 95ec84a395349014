#!/bin/sh
# Puts the agent, the collector or both on this host, as services of systemd, or
# takes them away again:
#   install.sh install|uninstall|purge [agent] [collector]      (default: both)
# "install" over an older version keeps configuration and state and restarts what
# runs; "uninstall" keeps both too; "purge" removes them, findings included.
# DESTDIR is for packages: files only, no user, no service. The binaries are taken
# from BUILD (default: build/, as "make build" leaves them).
set -eu

cd "$(dirname "$0")/../.."
root=${DESTDIR-}
build=${BUILD-build}
say() { echo "install: $*" >&2; }

usage() {
	say "usage: install.sh install|uninstall|purge [agent] [collector]"
	exit 2
}

# of PART: the program, which the unit is named after.
of() { case "$1" in agent) echo sallyport ;; collector) echo sallyport-collector ;; esac }

file() { # MODE FROM TO
	install -D -m "$1" "$2" "$root$3"
}

# generated TO COMMAND...: a file that the program itself writes.
generated() {
	to=$root$1
	install -d "$(dirname "$to")"
	shift
	"$@" >"$to"
	chmod 644 "$to"
}

# live: the host itself is changed, and systemd is what runs it.
live() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

install_part() {
	program=$(of "$1")
	[ -x "$build/$program" ] || { say "$build/$program is missing: run \"make build\" first"; exit 1; }
	# A running program's file cannot be written to, but it can be replaced.
	file 755 "$build/$program" "/usr/bin/$program.new"
	mv "$root/usr/bin/$program.new" "$root/usr/bin/$program"
	file 644 "deploy/systemd/$program.service" "/usr/lib/systemd/system/$program.service"
	generated "/usr/share/bash-completion/completions/$program" "$build/$program" completion bash
	generated "/usr/share/zsh/vendor-completions/_$program" "$build/$program" completion zsh
	generated "/usr/share/fish/vendor_completions.d/$program.fish" "$build/$program" completion fish
	doc=/usr/share/doc/$program
	for f in README.md LICENSE docs/*.md; do file 644 "$f" "$doc/$f"; done
	file 644 "deploy/$1.yaml" "$doc/examples/$1.yaml"
	if [ "$1" = collector ]; then
		file 644 deploy/systemd/sallyport-collector.conf /usr/lib/sysusers.d/sallyport-collector.conf
		[ -n "$root" ] || systemd-sysusers sallyport-collector.conf
	fi
	config=/etc/sallyport/$1.yaml
	[ -e "$root$config" ] || file 600 "deploy/systemd/$1.yaml" "$config"
	[ -n "$root" ] || own "$1"
	live || return 0
	systemctl daemon-reload
	systemctl try-restart "$program.service"
	systemctl is-active --quiet "$program.service" || next "$1"
}

# own PART: the collector reads its configuration and keeps its state as its own user.
own() {
	[ "$1" = collector ] || return 0
	install -d -m 700 -o sallyport-collector -g sallyport-collector /var/lib/sallyport-collector
	chgrp sallyport-collector /etc/sallyport/collector.yaml
	chmod 640 /etc/sallyport/collector.yaml
}

next() {
	case "$1" in
	agent) say "next: edit /etc/sallyport/agent.yaml, then: systemctl enable --now sallyport && sallyport selftest" ;;
	collector) say "next: edit /etc/sallyport/collector.yaml, then: runuser -u sallyport-collector -- sallyport-collector init && systemctl enable --now sallyport-collector" ;;
	esac
}

uninstall_part() {
	program=$(of "$1")
	if live; then systemctl disable --now "$program.service" 2>/dev/null || true; fi
	rm -f "$root/usr/bin/$program" "$root/usr/lib/systemd/system/$program.service" \
		"$root/usr/share/bash-completion/completions/$program" "$root/usr/share/zsh/vendor-completions/_$program" \
		"$root/usr/share/fish/vendor_completions.d/$program.fish" "$root/usr/lib/sysusers.d/$program.conf"
	rm -rf "$root/usr/share/doc/$program"
	if live; then systemctl daemon-reload; fi
}

purge_part() {
	uninstall_part "$1"
	rm -rf "$root/etc/sallyport/$1.yaml" "$root/var/lib/$(of "$1")"
	rmdir "$root/etc/sallyport" 2>/dev/null || true
	[ "$1" = collector ] && [ -z "$root" ] || return 0
	if getent passwd sallyport-collector >/dev/null; then userdel sallyport-collector; fi
}

[ $# -ge 1 ] || usage
what=$1
shift
[ $# -ge 1 ] || set -- agent collector
case "$what" in install | uninstall | purge) ;; *) usage ;; esac
for part in "$@"; do [ -n "$(of "$part")" ] || usage; done
[ -n "$root" ] || [ "$(id -u)" = 0 ] || { say "not root: use sudo"; exit 1; }
for part in "$@"; do "${what}_part" "$part"; done
