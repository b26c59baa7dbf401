#!/bin/busybox sh
# shellcheck shell=dash
# guest.sh - process 1 of the guest: runs guest.py, leaves its exit code in the folder of the run, switches off
top=$1 run=$2
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LANG=C.UTF-8

busybox ifconfig lo up
echo 0 >/proc/sys/kernel/hung_task_timeout_secs
# Debian's kernel finds its modules here, whatever asks for them.
version=$(busybox uname -r)
if [ ! -e "/lib/modules/$version/modules.dep" ]; then
	busybox mkdir -p "/lib/modules/$version"
	busybox mount --bind "$(busybox cat "$run/modules")" "/lib/modules/$version"
fi
cd "$top" || exit
/usr/bin/python3 -B tests/vm/guest.py "$run"
echo $? >"$run/rc"
busybox sync
echo o >/proc/sysrq-trigger
# The files go away before the machine does: nothing is started any more.
while :; do read -r _; done
