#!/bin/sh
# Builds the real receivers that the exporters' tests use where they are found:
# an OpenTelemetry Collector and an S3 gateway, some minutes each the first time.
set -eu
cd "$(dirname "$0")"
to=${1:-/usr/local/bin}
(cd otelcol && CGO_ENABLED=0 go build -o "$to/otelcol" .)
(cd versitygw && CGO_ENABLED=0 go build -o "$to/versitygw" github.com/versity/versitygw/cmd/versitygw)
