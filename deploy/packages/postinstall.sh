#!/bin/sh
# After the files of @UNIT@ are there, new or over older ones.
set -e
if [ -e /usr/lib/sysusers.d/@UNIT@.conf ]; then
	systemd-sysusers @UNIT@.conf
	install -d -m 700 -o sallyport-collector -g sallyport-collector /var/lib/sallyport-collector
	chgrp sallyport-collector /etc/sallyport/collector.yaml
	chmod 640 /etc/sallyport/collector.yaml
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart @UNIT@.service
fi
