#!/bin/sh
# Builds the real receivers that the exporters' tests use where they are found: an
# OpenTelemetry Collector, an S3 gateway and VictoriaLogs, some minutes the first
# time. What was built of the same sources is not built again. Modules come from
# the module proxy and are verified against the checksum database.
set -eu
cd "$(dirname "$0")"
to=${1:-/usr/local/bin}
cache=${SALLYPORT_PEERS_CACHE:-/var/cache/sallyport-peers}
mkdir -p "$cache"

# build NAME PACKAGE
build() {
	want=$(cat "$1"/go.mod "$1"/go.sum "$1"/*.go 2>/dev/null | sha256sum)
	if [ -x "$to/$1" ] && [ "$(cat "$cache/$1" 2>/dev/null)" = "$want" ]; then return 0; fi
	echo "peers: building $1" >&2
	(cd "$1" && CGO_ENABLED=0 go build -buildvcs=false -o "$to/.$1.new" "$2")
	mv "$to/.$1.new" "$to/$1"
	echo "$want" >"$cache/$1"
}

build otelcol .
build versitygw github.com/versity/versitygw/cmd/versitygw
build victorialogs github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs
