#!/bin/sh
# SPDX-License-Identifier: MIT
#
# guest.sh PIM.KO COMMAND...: in a guest with the debug kernel: load the driver, run the command, unload the driver, then look for what was
# leaked. TAP; the command's own status is the result unless it is zero and something else went wrong.
set -u
PATH=$PATH:/sbin:/usr/sbin
module=$1
shift
leaks=/sys/kernel/debug/kmemleak
bad=0
not_ok() { echo "not ok - $*"; bad=1; }

[ -w $leaks ] || { echo "guest.sh: no $leaks: this is not the debug kernel" >&2; exit 2; }
# Injected faults are told by those who inject them, and a trace of each would hide the others. Any allocation may fail, by default only
# those may that cannot sleep.
for f in failslab fail_page_alloc fail_usercopy; do
	echo 0 > /sys/kernel/debug/$f/verbose
done
echo N > /sys/kernel/debug/failslab/ignore-gfp-wait
echo N > /sys/kernel/debug/fail_page_alloc/ignore-gfp-wait
echo N > /sys/kernel/debug/fail_page_alloc/ignore-gfp-highmem
echo 0 > /sys/kernel/debug/fail_page_alloc/min-order
# The root is virtio-9p's, which does not survive a sleep of the machine: what is used after the tests is copied up into the overlay's memory.
for name in cat grep head rmmod sed sleep; do
	file=$(readlink -f "$(command -v $name)")
	# shellcheck disable=SC2046 # words
	touch -c "$file" $(ldd "$file" | grep -o '/[^ ]*')
done
# What the boot left behind is not ours.
echo scan > $leaks
echo clear > $leaks

insmod "$module" || { echo "guest.sh: $module does not load: see the kernel log" >&2; exit 1; }
"$@"
rc=$?

# Processes that were killed may still be giving up their files.
tries=20
until rmmod pim 2> /dev/null || [ $((tries -= 1)) = 0 ]; do
	sleep 1
done
if [ -d /sys/module/pim ]; then
	not_ok "the module can be unloaded ($(cat /sys/module/pim/refcnt) references)"
else
	echo "ok - the module can be unloaded"
fi
# Younger than five seconds counts as not yet linked anywhere; and a stale pointer in a register or on a stack hides a leak from one scan.
sleep 6
{ echo scan > $leaks && sleep 3 && echo scan > $leaks; } || not_ok "kmemleak works to the end"
report=$(cat $leaks)
if [ -n "$report" ]; then
	not_ok "no memory is leaked"
	echo "$report" | head -n 120 | sed 's/^/# /'
else
	echo "ok - no memory is leaked"
fi
if grep -q 'debug_locks: *1' /proc/lockdep_stats; then
	echo "ok - lockdep works to the end"
else
	not_ok "lockdep works to the end (it stops at the first mistake, or when it has no memory: see the kernel log)"
fi
[ $rc != 0 ] || rc=$bad
exit $rc
