#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# guest.sh PIM_KUNIT.KO: in a guest whose kernel has CONFIG_KUNIT: load the module, which runs the tests, and tell in TAP what the
# kernel's log says about them.
set -u
PATH=$PATH:/sbin:/usr/sbin
mark="guest.sh: $1 $$"

echo "$mark" > /dev/kmsg
insmod "$1" || { echo "not ok - $1 loads"; exit 1; }
dmesg --notime | awk -v mark="$mark" '
	$0 == mark { ours = 1 }
	!ours { next }
	/^    # Subtest: / { suite = $3 }
	/^    1\.\.[0-9]+$/ { planned += substr($0, 8) }
	/^    (not )?ok [0-9]+ / {
		ran++
		bad += $1 == "not"
		name = $0
		sub(/^    (not )?ok [0-9]+ (- )?/, "", name)
		print ($1 == "not" ? "not ok - " : "ok - ") suite "." name
		next
	}
	/^    / { print "#" $0 }
	END {
		if (!ran || ran != planned) {
			print "not ok - every test ran: " ran + 0 " of " planned + 0
			bad++
		}
		exit bad > 0
	}'
rc=$?
rmmod pim_kunit || { echo "not ok - $1 can be unloaded"; rc=1; }
exit $rc
