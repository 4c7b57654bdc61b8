#!/bin/bash
# SPDX-License-Identifier: MIT
# pim-emu from the outside: bad input gets one clear line, a crash of the model is survived, and nothing is left behind.
# usage: emu.sh [BUILD]
. "$(dirname "$0")/tap.bash"
card="--card cards/paper.card"

refuses "no card is an error" 2 'no card' "$emu" --socket "$tmp/s"
refuses "neither socket nor descriptor is an error" 2 'one of --socket' "$emu" $card
refuses "a missing card file is named" 1 'none.card.*No such file' "$emu" --card "$tmp/none.card" --socket "$tmp/s"
sed 's/^banks_per_unit.*/banks_per_unit 3/' cards/paper.card > "$tmp/bad.card"
refuses "a wrong card file is refused with its line" 1 'bad.card:[0-9]+:' "$emu" --card "$tmp/bad.card" --socket "$tmp/s"
refuses "a directory for the socket that is not there is named" 1 "$tmp/no/s: No such file" "$emu" $card --socket "$tmp/no/s"
refuses "a socket name that is too long is refused" 1 'longer than' "$emu" $card --socket "/$(head -c 200 /dev/zero | tr '\0' x)"
refuses "a descriptor that is no socket is refused" 1 'nobody at the other end' "$emu" $card --fd 0
: > "$tmp/file"
refuses "a file is not taken for a socket" 1 'in use' "$emu" $card --socket "$tmp/file"
[ -e "$tmp/file" ]
report $? "and is still there"

# background ARGUMENT...: $pid is the supervisor, $worker the card's process
background() {
	rm -f "$tmp/log"
	"$emu" $card --socket "$tmp/s" --verbose "$@" 2> "$tmp/log" &
	pid=$!
	appears "$tmp/log" 'card paper: process' && worker=$(named $pid pim-emu-card) && [ -n "$worker" ]
}

background && refuses "a socket that another pim-emu has is refused" 1 'in use' "$emu" $card --socket "$tmp/s"
kill -TERM $pid && wait $pid && gone $pid $worker && [ ! -e "$tmp/s" ]
report $? "SIGTERM ends it with status 0, no process and no socket left"
background && kill -INT $pid && wait $pid && gone $pid $worker
report $? "so does SIGINT"
background && kill -KILL $pid && { wait $pid; gone $pid $worker; } && [ -S "$tmp/s" ] && background
report $? "a socket left by a killed one is taken over"
kill -KILL $worker && appears "$tmp/log" 'started again over the same memory \(1 of 8\)' && kill -SEGV "$(named $pid pim-emu-card)" &&
	appears "$tmp/log" '2 of 8'
report $? "a card's process that dies is started again"
kill -TERM $pid && wait $pid
report $? "and it still ends well"
background --restarts 1 && kill -KILL $worker && appears "$tmp/log" '1 of 1' && kill -KILL "$(named $pid pim-emu-card)" && wait $pid
[ $? = 1 ] && grep -q 'giving up' "$tmp/log"
report $? "but not for ever"
finish
