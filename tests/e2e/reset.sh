#!/bin/bash
# SPDX-License-Identifier: MIT
# A guest that is reset while the card works: the card's process lives on, and its next driver must begin anew with it.
# usage: reset.sh [BUILD]
. "$(dirname "$0")/tap.bash"
mkdir "$tmp/rw"
cat > "$tmp/rw/command" << 'END'
set -e
mark=$1 build=$2
ioctl() { sh tests/ioctl/run.sh "$build/tests/pim-ioctl" "$build/pim.ko" --filter "$1"; }
if [ ! -e "$mark" ]; then
	while :; do ioctl "time that a job waits" > /dev/null; done &
	sleep 3
	: > "$mark"
	sync
	echo b > /proc/sysrq-trigger
	sleep 60
fi
[ -e /dev/dri/renderD128 ]
ioctl "waits across the engines"
ioctl "FILL and COPY"
END
run 0 "$vm" run --quiet --reboot --card cards/test-4dom.card --module "$build/pim.ko" --rw "$tmp/rw" -- sh "$tmp/rw/command" "$tmp/rw/mark" "$build" &&
	[ -e "$tmp/rw/mark" ] && [ "$(grep -c '^ok 1 ' "$tmp/outp")" = 2 ]
report $? "a card whose guest was reset in the middle of its jobs serves the next boot"
finish
