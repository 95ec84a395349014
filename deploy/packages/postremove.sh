#!/bin/sh
# After the files of @UNIT@ have gone. State goes when dpkg says "purge"; rpm never does.
set -e
case "${1-}" in
purge)
	rm -rf /var/lib/@UNIT@
	rmdir /etc/sallyport 2>/dev/null || true
	;;
esac
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
