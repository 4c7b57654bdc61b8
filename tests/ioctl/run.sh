#!/bin/sh
# SPDX-License-Identifier: MIT
# The ioctl tests, inside the guest, as root. Exit status 0 only if all of them pass.
#
#	run.sh PIM-IOCTL PIM.KO [options of pim-ioctl]
#
# The cards should have several domains (cards/test-4dom.card); there should be two of them, and vgem (pim-vm run --load vgem): without
# them the tests that need them are skipped.
set -eu

if [ $# -lt 2 ]; then
	echo "usage: run.sh PIM-IOCTL PIM.KO [--filter PART-OF-A-NAME]" >&2
	exit 2
fi
binary=$1 module=$(realpath "$2")
shift 2
for f in "$binary" "$module"; do
	[ -f "$f" ] || { echo "run.sh: $f is not there: make it first" >&2; exit 2; }
done
[ -d /sys/module/pim ] || insmod "$module" || { echo "run.sh: $module does not load: see the kernel log" >&2; exit 1; }
# The guest's root is of 9p, whose device does not survive the sleep that the last test takes: a process with a file there could not even exit.
tmp=$(mktemp -d)
mount -t tmpfs none "$tmp"
cp "$binary" "$tmp/pim-ioctl"
cd "$tmp"
exec ./pim-ioctl --module "$module" "$@"
