#!/bin/sh
# Before the files of @UNIT@ go. An upgrade removes nothing: dpkg says "upgrade", rpm says 1.
set -e
case "${1-}" in upgrade | 1) exit 0 ;; esac
if [ -d /run/systemd/system ]; then systemctl disable --now @UNIT@.service; fi
