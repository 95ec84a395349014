#!/bin/sh
# Builds the Kubernetes API server and the etcd that the enrolment's tests run, from
# the Go module proxy: a quarter of an hour of one core the first time, nothing after.
set -eu
cd "$(dirname "$0")"
to=${1:-/var/cache/sallyport-peers}
kubernetes=$(cd apiserver && go list -m -f '{{.Version}}' k8s.io/kubernetes)
etcd=$(cd etcd && go list -m -f '{{.Version}}' go.etcd.io/etcd/server/v3)

# build FOLDER PACKAGE NAME VERSION FLAGS: what is there in that version stays.
build() {
	[ ! -x "$to/$3" ] || [ "$(cat "$to/$3.version" 2>/dev/null)" != "$4" ] || return 0
	echo "building $3 $4 into $to" >&2
	mkdir -p "$to"
	(cd "$1" && CGO_ENABLED=0 nice -n 10 go build -mod=readonly -p 2 -trimpath -ldflags "-s -w $5" -o "$to/$3.new" "$2")
	mv "$to/$3.new" "$to/$3"
	echo "$4" >"$to/$3.version"
}

# Without its version in it the server would take itself for one of no release.
build apiserver k8s.io/kubernetes/cmd/kube-apiserver kube-apiserver "$kubernetes" "-X k8s.io/component-base/version.gitVersion=$kubernetes"
build etcd go.etcd.io/etcd/server/v3 etcd "$etcd" ""
