#!/bin/bash
# SPDX-License-Identifier: MIT
# pim-train on the driver in the VM when something is wrong: no module, no permission, a card that dies. One clear line, no hang, nothing lost.
# usage: driver.sh [BUILD]; the data set is $PIM_DIGITS or BUILD/cache/data/digits.csv.gz
. "$(dirname "$0")/tap.bash"
digits=${PIM_DIGITS:-${PIM_CACHE:-$build/cache}/data/digits.csv.gz}
mkdir "$tmp/rw"
train="$build/pim-train --device drm --data $digits --out $tmp/rw --progress lines --channels 16"
guest="$vm run --quiet --card cards/paper.card --rw $tmp/rw"

refuses "without the module the fix is named" 1 'pim\.ko' $guest --module none -- $train --steps 5
# As the owner of the checkout, who can read it wherever it lies, without root's power over other people's files.
owner=$(stat -c %u "$build")
refuses "without permission on the render node it is named" 1 'renderD128.*[Pp]ermission|[Pp]ermission.*renderD128' \
	$guest -- sh -c "chown 65533 /dev/dri/renderD128; chmod 0600 /dev/dri/renderD128
		exec setpriv --reuid $owner --clear-groups --inh-caps -all --bounding-set -dac_override,-dac_read_search -- $train --steps 5 --out /tmp"

# training STEPS-PATTERN ARGUMENT...: $pid is pim-vm, training has gone on as far as the pattern says
training() {
	local pattern=$1
	shift
	all=
	: > "$tmp/err"
	$guest -- "$@" > "$tmp/outp" 2> "$tmp/err" < /dev/null &
	pid=$!
	appears "$tmp/err" "$pattern" 60 && all=$(family $pid)
}

# settled: $pid ends within 40 s
settled() {
	local i
	for i in $(seq 400); do
		kill -0 $pid 2> /dev/null || break
		sleep 0.1
	done
	if kill -0 $pid 2> /dev/null; then
		echo "pim-vm hangs" >> "$tmp/err"
		kill -TERM $pid
	fi
	wait $pid
}

training 'epoch 3/' $train --epochs 500 && kill -KILL "$(named $pid pim-emu)" "$(named $pid pim-emu-card)"
settled
rc=$?
[ $rc = 1 ] && grep -q '^pim-train: training: ' "$tmp/err" && grep -q 'pim-emu, the card, died' "$tmp/err"
report $? "a card that dies in mid-training ends it with a clear error"
gone $all
report $? "and leaves no process"
run 0 $guest -- $train --steps 70 --resume "$tmp/rw/digits-pipelined.safetensors"
report $? "the last checkpoint is whole: training goes on from it"

training 'epoch 3/' sh -c "$train --epochs 12; echo first ended with \$? >&2; $train --steps 30 && echo second is well >&2" &&
	kill -KILL "$(named $pid pim-emu-card)"
settled
rc=$?
[ $rc = 0 ] && grep -q 'started again over the same memory' "$tmp/err" && grep -q 'first ended with [01]' "$tmp/err" && grep -q 'second is well' "$tmp/err"
report $? "a card process that crashes costs no more than the jobs it runs, and the next run finds a working card"
weights() { sed -n 's/.*"weights":"\([0-9a-f]*\)".*/\1/p' "$tmp/outp"; }
run 0 $guest -- $train --steps 40 --json && here=$(weights) &&
	run 0 "$build/pim-train" --device emu:cards/paper.card --data "$digits" --out "$tmp/rw" --progress none --channels 16 --steps 40 --json &&
	[ -n "$here" ] && [ "$here" = "$(weights)" ]
report $? "the driver and the model in the process give the same weights, bit for bit"
finish
