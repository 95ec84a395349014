#!/bin/sh
# "make package": .deb and .rpm of the agent and of the collector, in BUILD
# (default: build/), of the binaries that lie there.
set -eu

cd "$(dirname "$0")/../.."
module=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.41.3
build=${BUILD-build}
# A version begins with a digit: the tag's, or the commit's date and name.
version=${VERSION-$(git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null | sed 's/^v//; s/-/+/g')}
[ -n "$version" ] || version=0~$(git log -1 --format=%cd.%h --date=format:%Y%m%d%H%M%S)

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
# fill TEMPLATE: the text, what stands between @ filled in.
fill() { sed "s,@STAGE@,$stage/$part,g; s/@UNIT@/$unit/g; s/@VERSION@/$version/g; s/@ARCH@/$(go env GOARCH)/g" "$1"; }

for part in agent collector; do
	unit=sallyport
	[ "$part" = agent ] || unit=sallyport-collector
	DESTDIR=$stage/$part BUILD=$build deploy/systemd/install.sh install "$part"
	for script in postinstall preremove postremove; do fill "deploy/packages/$script.sh" >"$stage/$part/$script"; done
	fill "deploy/packages/$part.yaml" >"$stage/$part.yaml"
	for kind in deb rpm; do
		${NFPM-go run $module} package --config "$stage/$part.yaml" --packager "$kind" --target "$build/"
	done
done
