#!/bin/bash
# SPDX-License-Identifier: MIT
# Resets from the outside: a guest that is reset while the card's process lives on, and a card whose process stands still for a while.
# usage: reset.sh [BUILD]
. "$(dirname "$0")/tap.bash"
mkdir "$tmp/rw"

# there FILE SECONDS
there() {
	local i
	for i in $(seq $(($2 * 10))); do
		[ ! -e "$1" ] || return 0
		sleep 0.1
	done
	return 1
}

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
# Two boots: more than run() allows on a busy machine.
"$vm" run --quiet --reboot --timeout 180 --dmesg "$tmp/log" --card cards/test-4dom.card --module "$build/pim.ko" --rw "$tmp/rw" -- \
	sh "$tmp/rw/command" "$tmp/rw/mark" "$build" > "$tmp/outp" 2> "$tmp/err" < /dev/null &&
	[ -e "$tmp/rw/mark" ] && [ "$(grep -c '^ok 1 ' "$tmp/outp")" = 2 ]
report $? "a card whose guest was reset in the middle of its jobs serves the next boot"

cat > "$tmp/rw/command" << 'END'
rw=$1 build=$2
ioctl() { sh tests/ioctl/run.sh "$build/tests/pim-ioctl" "$build/pim.ko" --filter "$1"; }
ioctl "FILL and COPY" || exit 1
: > "$rw/begun"
while ioctl "time that a job waits"; do :; done
: > "$rw/failed"
for i in $(seq 20); do
	! ioctl "FILL and COPY" || exit 0
	sleep 1
done
exit 1
END
"$vm" run --quiet --card cards/test-4dom.card --module "$build/pim.ko" --rw "$tmp/rw" -- sh "$tmp/rw/command" "$tmp/rw" "$build" \
	> "$tmp/outp" 2> "$tmp/err" < /dev/null &
pid=$!
rc=1
if there "$tmp/rw/begun" 90; then
	sleep 2
	kill -STOP "$(named $pid pim-emu-card)"
	there "$tmp/rw/failed" 60 || echo "no job failed" >> "$tmp/err"
	kill -CONT "$(named $pid pim-emu-card)"
	wait $pid
	rc=$?
fi
[ $rc = 0 ] && [ -e "$tmp/rw/failed" ]
report $? "a card that stands still costs its jobs, and works again when it goes on"
finish
