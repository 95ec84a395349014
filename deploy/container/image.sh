#!/bin/sh
# "make image": both programs in one image, as an OCI archive (OCI image
# specification 1.1) in BUILD (default: build/). No builder, daemon or network is
# needed, and the same binaries give the same image, byte for byte.
#   podman load -i build/sallyport.oci.tar
#   skopeo copy oci-archive:build/sallyport.oci.tar docker://registry.example/sallyport:VERSION
# The image's user is nobody in particular (65532), which is all that the collector
# needs. The agent is started as root with the six capabilities of docs/privileges.md.
set -eu

cd "$(dirname "$0")/../.."
build=${BUILD-build}
name=${IMAGE-sallyport:latest}
user=65532
# Certification authorities, for exporters to receivers with public certificates.
roots=/etc/ssl/certs/ca-certificates.crt

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022
blobs=$work/oci/blobs/sha256
mkdir -p "$blobs" "$work/root/etc/ssl/certs" "$work/root/etc/sallyport" "$work/root/tmp" \
	"$work/root/var/lib/sallyport" "$work/root/var/lib/sallyport-collector"

digest() { sha256sum "$1" | cut -d ' ' -f 1; }
size() { stat -c %s "$1"; }
# packed FOLDER: a tar that depends on nothing but the content.
packed() { tar -C "$1" --sort=name --mtime=@0 --numeric-owner --owner=0 --group=0 --format=ustar -cf - .; }

for program in sallyport sallyport-collector; do
	[ -x "$build/$program" ] || { echo "image: $build/$program is missing: run \"make build\" first" >&2; exit 1; }
	install -m 755 "$build/$program" "$work/root/$program"
done
[ ! -e "$roots" ] || install -m 644 "$roots" "$work/root$roots"
echo "sallyport:x:$user:$user::/:/nologin" >"$work/root/etc/passwd"
echo "sallyport:x:$user:" >"$work/root/etc/group"
chmod 1777 "$work/root/tmp"
chmod 700 "$work/root/var/lib/sallyport"
# A folder that the collector's user may write to, without being root here.
chmod 1777 "$work/root/var/lib/sallyport-collector"

packed "$work/root" >"$work/layer"
diff=$(digest "$work/layer")
gzip -n9 "$work/layer"
layer=$(digest "$work/layer.gz")
mv "$work/layer.gz" "$blobs/$layer"

cat >"$work/config" <<JSON
{"architecture":"$(go env GOARCH)","os":"linux","config":{"User":"$user:$user","Entrypoint":["/sallyport"],"Cmd":["agent","--config","/etc/sallyport/agent.yaml"],"WorkingDir":"/","Labels":{"org.opencontainers.image.title":"sallyport","org.opencontainers.image.licenses":"Apache-2.0"}},"rootfs":{"type":"layers","diff_ids":["sha256:$diff"]},"history":[{"created_by":"deploy/container/image.sh"}]}
JSON
config=$(digest "$work/config")
cat >"$work/manifest" <<JSON
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:$config","size":$(size "$work/config")},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:$layer","size":$(size "$blobs/$layer")}]}
JSON
manifest=$(digest "$work/manifest")
cat >"$work/oci/index.json" <<JSON
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:$manifest","size":$(size "$work/manifest"),"platform":{"architecture":"$(go env GOARCH)","os":"linux"},"annotations":{"org.opencontainers.image.ref.name":"$name"}}]}
JSON
echo '{"imageLayoutVersion":"1.0.0"}' >"$work/oci/oci-layout"
mv "$work/config" "$blobs/$config"
mv "$work/manifest" "$blobs/$manifest"
packed "$work/oci" >"$build/sallyport.oci.tar"
echo "image: $build/sallyport.oci.tar, $name, sha256:$manifest" >&2
