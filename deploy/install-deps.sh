#!/bin/sh
# Installs what building (and, with "test", testing; with "lab", the long list of
# real peers) needs on Debian 12 or newer and Ubuntu 22.04 or newer: Debian's
# packages, and Go where the installed one is older than go.mod asks for. Says what it does; run again, it does nothing.
set -eu

# The Go release that is installed where none new enough is found.
GO_RELEASE=1.26.8
GO_DIR=/usr/local/go

BUILD_PACKAGES="ca-certificates git make iproute2 procps util-linux"
PEER_PACKAGES="clang llvm libbpf-dev tshark tcpdump xrdp xorgxrdp freerdp2-x11 freerdp2-shadow-x11
 xvfb xauth x11-utils tigervnc-standalone-server tigervnc-viewer tigervnc-tools xterm stunnel4
 softether-vpnserver softether-vpnclient softether-vpncmd openvpn wireguard-tools wireguard-go
 strongswan strongswan-swanctl strongswan-pki charon-systemd libstrongswan-standard-plugins
 libstrongswan-extra-plugins libcharon-extra-plugins ocserv openconnect vpnc-scripts pptpd
 pptp-linux xl2tpd ppp nebula tinc n2n openssh-server openssh-client dante-server dnsmasq
 squid tinyproxy haproxy runc nginx-light curl openssl dnsutils nftables iptables socat libndpi-bin chromium postgresql
 rsyslog rsyslog-gnutls zstd kcat iputils-ping psmisc x11-utils"
# Debian's kernels under qemu: "make test-kernels".
KERNEL_PACKAGES="qemu-system-x86 busybox-static kmod xz-utils debian-archive-keyring wireguard-tools ppp iputils-ping"
SYSTEMD_PACKAGES="systemd-container debootstrap qemu-system-x86 e2fsprogs"
LAB_PACKAGES="sstp-client openfortivpn rdesktop x11vnc tightvncserver xfonts-base qemu-system-x86
 spice-client-gtk dropbear-bin python3-paramiko putty-tools microsocks"

say() { echo "install-deps: $*" >&2; }

install_packages() {
	missing=
	for p in "$@"; do
		dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || missing="$missing $p"
	done
	[ -n "$missing" ] || return 0
	[ "$(id -u)" = 0 ] || { say "missing:$missing; run with sudo"; exit 1; }
	say "installing:$missing"
	# No peer's daemon may start on the host: the tests start their own.
	guard=/usr/sbin/policy-rc.d
	made=
	if [ ! -e "$guard" ]; then
		printf '#!/bin/sh\nexit 101\n' >"$guard"
		chmod 755 "$guard"
		made=1
	fi
	rc=0
	{ apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $missing; } >&2 || rc=$?
	[ -z "$made" ] || rm -f "$guard"
	[ "$rc" = 0 ] || { say "apt-get failed; its message is above"; exit 1; }
}

# new_enough GO: the program is a Go that go.mod accepts.
new_enough() {
	[ -x "$1" ] || return 1
	want=$(sed -n 's/^go //p' "$(dirname "$0")/../go.mod")
	have=$("$1" env GOVERSION 2>/dev/null | sed 's/^go//; s/[^0-9.].*//')
	[ "$(printf '%s\n%s\n' "$want" "$have" | sort -V | head -n 1)" = "$want" ]
}

# Go's own toolchain module, fetched and checked against the checksum database by
# Debian's Go, however old that is.
install_go() {
	for go in "$(command -v go || true)" "$GO_DIR/bin/go"; do
		if [ -n "$go" ] && new_enough "$go"; then return 0; fi
	done
	install_packages golang-go
	say "installing Go $GO_RELEASE into $GO_DIR"
	arch=$(dpkg --print-architecture)
	module=golang.org/toolchain@v0.0.1-go$GO_RELEASE.linux-$arch
	cache=$(mktemp -d)
	(cd "$cache" && GOPATH="$cache" GOFLAGS=-modcacherw GOTOOLCHAIN=local /usr/bin/go mod download "$module" >&2)
	rm -rf "$GO_DIR.new"
	mv "$cache/pkg/mod/$module" "$GO_DIR.new"
	rm -rf "$cache"
	# Module archives carry neither execute bits nor nested go.mod files.
	find "$GO_DIR.new/bin" "$GO_DIR.new/pkg/tool" -type f -exec chmod 755 {} +
	find "$GO_DIR.new" -name _go.mod | while read -r f; do mv "$f" "$(dirname "$f")/go.mod"; done
	[ ! -e "$GO_DIR" ] || mv "$GO_DIR" "$GO_DIR.old.$$"
	mv "$GO_DIR.new" "$GO_DIR"
	say "$("$GO_DIR/bin/go" version)"
}

install_packages $BUILD_PACKAGES
case ${1:-build} in
test) install_packages $PEER_PACKAGES ;;
kernels) install_packages $KERNEL_PACKAGES ;;
systemd) install_packages $SYSTEMD_PACKAGES ;;
lab) install_packages $PEER_PACKAGES $LAB_PACKAGES ;;
esac
install_go
