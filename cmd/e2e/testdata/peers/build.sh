#!/bin/sh
# Builds the peers of make test-lab that Debian does not have, from the Go module
# proxy: Tailscale's node, command line and relay, and its own test control
# server. Some minutes the first time. build.sh FOLDER
set -eu
cd "$(dirname "$0")"
to=$1
mkdir -p "$to"
echo "lab peers: building Tailscale into $to" >&2
(cd tailscale && CGO_ENABLED=0 go build -o "$to/" . tailscale.com/cmd/tailscaled tailscale.com/cmd/tailscale tailscale.com/cmd/derper)
