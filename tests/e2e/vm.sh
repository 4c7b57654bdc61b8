#!/bin/bash
# SPDX-License-Identifier: MIT
# pim-vm from the outside: output and exit status are the command's, bad input gets one clear line, and nothing is left behind.
# usage: vm.sh [BUILD]
. "$(dirname "$0")/tap.bash"
bare="$vm run --quiet --card none --module none"

refuses "an unknown command is named" 125 'unknown command boot' "$vm" boot
run 125 "$vm" run --colour red -- true && grep -q 'colour' "$tmp/err"
report $? "an unknown option is named"
refuses "no command is an error" 125 'no command' "$vm" run
refuses "a number out of range is named with its range" 125 '--timeout 0: not a number from 1' $bare --timeout 0 -- true
refuses "one CPU is refused: its atomics would not hold" 125 '--cpus 1: not a number from 2' $bare --cpus 1 -- true
refuses "a missing kernel is named" 125 "--kernel $tmp/none: No such file" $bare --kernel "$tmp/none" -- true
head -c 100000 /dev/zero > "$tmp/zero"
refuses "a file that is no kernel is refused" 125 'neither a bzImage nor' $bare --kernel "$tmp/zero" -- true
image=$(ls "${PIM_CACHE:-$build/cache}"/guest/boot/vmlinuz-* /boot/vmlinuz-* 2> /dev/null | tail -n 1)
head -c 1000000 "$image" > "$tmp/vmlinuz"
refuses "a truncated kernel is refused" 125 'truncated or damaged' $bare --kernel "$tmp/vmlinuz" -- true
refuses "a missing card file is named" 125 "--card $tmp/none: No such file" "$vm" run --quiet --card "$tmp/none" --module none -- true
sed 's/^banks_per_unit.*/banks_per_unit 3/' cards/paper.card > "$tmp/bad.card"
says "a wrong card file is refused with its line" 125 'bad.card:[0-9]+:' "$vm" run --quiet --card "$tmp/bad.card" --module none -- true
cards=$(printf -- '--card cards/test-4dom.card %.0s' 1 2 3 4 5)
refuses "a fifth card is refused" 125 '--card: at most 4' "$vm" run --quiet $cards --module none -- true
refuses "a missing module is named" 125 "--module $tmp/none: No such file" "$vm" run --quiet --card none --module "$tmp/none" -- true
refuses "a file that is no module is refused" 125 'not a kernel module' "$vm" run --quiet --card none --module "$tmp/zero" -- true
refuses "a directory to write to must exist" 125 "--rw $tmp/none: No such file" $bare --rw "$tmp/none" -- true
mkdir "$tmp/bin"
ln -s "$(command -v xz)" "$(command -v sh)" "$tmp/bin"
says "without QEMU the package is named" 125 'package qemu-system-x86' env PATH="$tmp/bin" $bare -- true

run 7 $bare -- sh -c 'exit 7'
report $? "the exit status is the command's"
run 0 "$vm" run --quiet --card cards/test-4dom.card --card cards/test-8dom.card --load vgem --module none -- \
	sh -c '[ "$(grep -lx 0x1110 /sys/bus/pci/devices/*/device | wc -l)" = 2 ] && [ -d /sys/module/vgem ]'
report $? "two cards are two functions, and a module of the guest's kernel is loaded by its name"
run 143 $bare -- sh -c 'kill -TERM $$'
report $? "a signal that ends the command is 128 + its number"
says "a command that is not there is named" 127 'no-such-command: no such command' $bare -- no-such-command
run 0 $bare -- sh -c 'printf "10%%\r20%%\rdone\n"; echo problem >&2' && [ "$(od -c < "$tmp/outp")" = "$(printf '10%%\r20%%\rdone\n' | od -c)" ] &&
	[ "$(cat "$tmp/err")" = problem ]
report $? "output and errors come as they are, each on its own"
run 0 $bare -- sh -c 'head -c 5000000 /dev/zero | tr "\0" x' && [ "$(tr -d x < "$tmp/outp" | wc -c)/$(wc -c < "$tmp/outp")" = 0/5000000 ]
report $? "5 MB of output arrive whole"
run 0 env PIM_E2E="two words" $bare -- sh -c 'pwd; echo "$PIM_E2E"; id -u' && [ "$(cat "$tmp/outp")" = "$(pwd; echo two words; echo 0)" ]
report $? "the command has the caller's directory and environment, and is root"
run 0 $bare -- cat && [ ! -s "$tmp/outp" ]
report $? "standard input is empty"
mkdir "$tmp/rw"
run 0 $bare --rw "$tmp/rw" -- sh -c "echo kept > $tmp/rw/file && echo lost > $tmp/file && cat $tmp/file" && [ "$(cat "$tmp/rw/file")" = kept ] &&
	[ ! -e "$tmp/file" ] && [ "$(cat "$tmp/outp")" = lost ]
report $? "writes reach the host below --rw, and nowhere else"
run 0 $bare --dmesg "$tmp/dmesg" -- true && grep -q 'Linux version' "$tmp/dmesg"
report $? "the kernel log is there for the asking"

# background ARGUMENT...: $pid and $all are pim-vm and its family once the command runs
background() {
	: > "$tmp/outp"
	"$vm" run --quiet --module none "$@" -- sh -c 'echo up; sleep 1000' > "$tmp/outp" 2> "$tmp/err" < /dev/null &
	pid=$!
	appears "$tmp/outp" up || return 1
	all=$(family $pid)
	[ "$(echo "$all" | wc -l)" -ge 4 ] || { echo "family: $all" >> "$tmp/err"; return 1; }
}

start=$SECONDS
run 124 "$vm" run --quiet --module none --card cards/paper.card --timeout 4 -- sleep 1000 && [ $((SECONDS - start)) -lt 8 ] &&
	grep -q 'time limit of 4 s' "$tmp/err"
report $? "the time limit ends it"
background --card cards/paper.card --timeout 4 && wait $pid
[ $? = 124 ] && gone $all
report $? "the time limit leaves no process"
for signal in INT TERM HUP; do
	background --card cards/paper.card && kill -$signal $pid && wait $pid
	rc=$?
	[ $rc = $((128 + $(kill -l $signal))) ] && gone $all
	report $? "SIG$signal leaves no process"
done
background --card cards/paper.card && kill -KILL $pid && { wait $pid; gone $all; }
report $? "SIGKILL leaves no process"
background --card cards/paper.card && kill -KILL "$(named $pid qemu-system-x86)" && wait $pid
[ $? = 125 ] && grep -q 'the guest ended before its command did' "$tmp/err" && gone $all
report $? "a QEMU that dies is named, and leaves no process"

$bare -- echo hello > "$tmp/outp" 2> "$tmp/err" &
pid=$!
qemu=
for i in $(seq 50); do
	qemu=$(named $pid qemu-system-x86)
	[ -z "$qemu" ] || break
	sleep 0.05
done
kill -STOP "$qemu" && wait $pid && grep -q hello "$tmp/outp" && grep -q 'starting the guest once more' "$tmp/err"
report $? "a guest that stalls in its boot is started once more"
finish
