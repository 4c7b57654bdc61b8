# SPDX-License-Identifier: MIT
# Shared by the end-to-end scripts: checks in TAP, processes by their parents. Sourced with the build directory in $1.
set -u
build=${1:-build}
vm=$build/pim-vm
emu=$build/pim-emu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
n=0 failed=0

report() { # report STATUS NAME
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		sed 's/^/# /' "$tmp/err" "$tmp/outp" "$tmp/log" 2> /dev/null | tail -n 12
		failed=$((failed + 1))
	fi
}

# run STATUS COMMAND...: true if it ends with STATUS within a minute; output in $tmp/outp and $tmp/err
run() {
	local want=$1 rc
	shift
	timeout -k 5 60 "$@" > "$tmp/outp" 2> "$tmp/err" < /dev/null
	rc=$?
	[ $rc = "$want" ] || { echo "exit status $rc, not $want" >> "$tmp/err"; return 1; }
}

# refuses NAME STATUS PATTERN COMMAND...: ends with STATUS and one line of error that matches
refuses() {
	local name=$1 status=$2 pattern=$3
	shift 3
	run "$status" "$@" && [ "$(wc -l < "$tmp/err")" = 1 ] && grep -qE -- "$pattern" "$tmp/err"
	report $? "$name"
}

# says NAME STATUS PATTERN COMMAND...: the same, among other lines
says() {
	local name=$1 status=$2 pattern=$3
	shift 3
	run "$status" "$@" && grep -qE -- "$pattern" "$tmp/err"
	report $? "$name"
}

# family PID: it and everything below it
family() {
	local stat rest pid=$1
	echo "$pid"
	for stat in /proc/[0-9]*/stat; do
		read -r rest 2> /dev/null < "$stat" || continue
		set -- ${rest##*) }
		if [ "$2" = "$pid" ]; then
			family "$(basename "$(dirname "$stat")")"
		fi
	done
	return 0
}

# gone PID...: within 5 s none of them is running
gone() {
	local i pid left state
	for i in $(seq 50); do
		left=
		for pid in "$@"; do
			# A dead one that nobody has waited for yet is no process any more.
			state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$pid/status" 2> /dev/null) || true
			[ -z "$state" ] || [ "$state" = Z ] || left="$left $pid"
		done
		[ -n "$left" ] || return 0
		sleep 0.1
	done
	echo "still there: $left" >> "$tmp/err"
	return 1
}

# appears FILE PATTERN [SECONDS]
appears() {
	local i
	for i in $(seq $((${3:-20} * 10))); do
		grep -qE -- "$2" "$1" 2> /dev/null && return 0
		sleep 0.1
	done
	echo "no $2 in $1" >> "$tmp/err"
	return 1
}

# named PID NAME: the process of that name in its family
named() {
	local pid
	for pid in $(family "$1"); do
		[ "$(cat "/proc/$pid/comm" 2> /dev/null)" = "$2" ] && echo "$pid" && return
	done
}

finish() {
	echo "1..$n"
	[ $failed = 0 ]
	exit
}
