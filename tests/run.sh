#!/bin/bash
# SPDX-License-Identifier: MIT
#
# run.sh BUILD SUITE...: run test suites, one line per test program, and a sum at the end. Suites: unit card san module ioctl stress drm e2e debug.
# A program that ran no test has failed, whatever its status; 77 is "skipped", with the reason it printed last.
set -u
build=$1
shift
export PIM_CACHE=${PIM_CACHE:-$PWD/build/cache}
export PIM_DIGITS=${PIM_DIGITS:-$PIM_CACHE/data/digits.csv.gz}
logs=$build/test
mkdir -p "$logs"
rm -f "$logs"/*.status
passed=0 failed=0 skipped=0

# A guest kernel must be silent.
kernel_trouble() { grep -v '^#' tests/kernel-trouble | grep -F -f - "$@"; }

# count FILE: "passed failed" of a log in libcheck's format or in TAP.
count() {
	awk '
		/^[0-9]+%: Checks: / { gsub(/[^0-9 ]/, " "); bad += $3 + $4; good += $2 - $3 - $4 }
		/^ok / && !/# SKIP/ { good++ }
		/^not ok / { bad++ }
		END { print good + 0, bad + 0 }' "$1"
}

log_of() { echo "$logs/$(echo "$1" | tr / -).log"; }

# execute NAME COMMAND...: run it; tell() has the rest
execute() {
	local log start
	log=$(log_of "$1") start=$(date +%s%N)
	shift
	"$@" > "$log" 2>&1 < /dev/null
	echo "$? $((($(date +%s%N) - start) / 100000000))" > "$log.ending"
	mv "$log.ending" "$log.status"
}

# tell NAME: the line of a program that was executed, and its part of the sum
tell() {
	local name=$1 log good bad rc took
	log=$(log_of "$name")
	read -r rc took < "$log.status"
	rm -f "$log.status"
	took=$((took / 10)).$((took % 10))
	read -r good bad < <(count "$log")
	if [ "$rc" = 77 ]; then
		skipped=$((skipped + 1))
		printf '  %-26s skipped: %s\n' "$name" "$(tail -n 1 "$log")"
		return
	fi
	passed=$((passed + good))
	if [ "$rc" = 0 ] && [ "$bad" = 0 ] && [ "$good" -gt 0 ]; then
		printf '  %-26s %4d passed  %6s s\n' "$name" "$good" "$took"
		return
	fi
	[ "$bad" -gt 0 ] || bad=1
	failed=$((failed + bad))
	printf '  %-26s %4d passed, %d FAILED (exit status %d), see %s\n' "$name" "$good" "$bad" "$rc" "$log"
	if [ "$good" = 0 ] && [ "$rc" = 0 ]; then
		echo "    it ran no test"
	fi
	# In TAP, what is behind a failed test says why.
	awk '/^not ok|:[FE]:|ERROR: |runtime error|warning:|error:/ || (told && /^#/) { print; told = 1; next } { told = 0 }' "$log" | head -n 40 |
		sed 's/^/    /'
	[ "${PIPESTATUS[0]}" = 0 ] || tail -n 4 "$log" | sed 's/^/    | /'
}

# step NAME COMMAND...
step() {
	execute "$@"
	tell "$1"
}

# Programs that measure nothing: as many at a time as there are processors.
unit() { # unit SUITE DIR PATTERN
	local source name told=0 names=()
	for source in tests/unit/$3.c; do
		name=$(basename "$source" .c)
		names+=("$1/${name#test_}")
		[ "$(jobs -rp | wc -l)" -lt "$(nproc)" ] || wait -n
		execute "$1/${name#test_}" "$2/tests/$name" &
		while [ "$told" -lt ${#names[@]} ] && [ -e "$(log_of "${names[told]}").status" ]; do
			tell "${names[told]}"
			told=$((told + 1))
		done
	done
	wait
	for name in "${names[@]:told}"; do
		tell "$name"
	done
}

# guest NAME CARD MODULE COMMAND...: in the VM; the kernel's log is part of the result. vm_options: more for pim-vm
vm_options=()
guest() {
	local name=$1 card=$2 module=$3
	shift 3
	in_guest "$name" --card "$card" "${vm_options[@]}" --module "$module" --timeout 600 -- "$@"
}

# in_guest NAME OPTIONS-OF-PIM-VM... -- COMMAND...
in_guest() {
	local name=$1 rc
	shift
	"$build/pim-vm" run --quiet --dmesg "$logs/$name.dmesg" "$@"
	rc=$?
	if kernel_trouble -q "$logs/$name.dmesg"; then
		echo "not ok - the guest kernel's log is silent"
		kernel_trouble -A 12 "$logs/$name.dmesg" | head -n 40 | sed 's/^/# /'
	else
		echo "ok - the guest kernel's log is silent"
	fi
	return $rc
}

default_kernel() { basename "$(dirname "$(ls -d /lib/modules/*/build | sort -V | tail -n 1)")"; }
next_kernel() { cat "$PIM_CACHE/next/release"; }

# A build with all checkers on, from nothing, that must not say a word.
module_build() { # KDIR DIR
	rm -rf "$2"
	make --no-print-directory BUILD="$2" KDIR="$1" KMOD_ARGS="W=1 C=1 KCFLAGS=-Werror" module
}

# Does sparse run in a build against these headers? Kbuild goes on without it where it does not like it.
sparse_runs() { # KDIR DIR
	mkdir -p "$2"
	printf 'int pim_canary(int __user *p);\nint pim_canary(int __user *p)\n{\n\treturn *p;\n}\n' > "$2/canary.c"
	echo 'obj-m := canary.o' > "$2/Kbuild"
	make -s -C "$1" M="$(realpath "$2")" C=1 canary.o 2>&1 | grep -q 'dereference of noderef'
}

module_checked() { # KDIR DIR
	local out
	out=$(module_build "$1" "$2" 2>&1) || { echo "$out"; echo "not ok - pim.ko builds against $1 with -Werror"; return 1; }
	echo "ok - pim.ko builds against $1 with -Werror"
	if echo "$out" | grep -iE 'warning|error'; then
		echo "not ok - W=1 and sparse have nothing to say"
		return 1
	fi
	echo "ok - W=1 and sparse have nothing to say"
	sparse_runs "$1" "$2/canary" || { echo "not ok - sparse finds what it must find"; return 1; }
	echo "ok - sparse finds what it must find"
}

newest_kernel_checked() {
	local newest=$PIM_CACHE/newest rel
	[ -r "$newest/release" ] || { cat "$newest/why" 2> /dev/null || echo "tools/deps.sh --test has not fetched its headers"; return 77; }
	rel=$(cat "$newest/release")
	echo "# $rel"
	module_checked "$newest/lib/modules/$rel/build" "$build/checked-newest"
}

# Trace events are formatted as their macros ask, which checkpatch takes for statements.
checkpatch() {
	local script=$PIM_CACHE/checkpatch/checkpatch.pl
	[ -r "$script" ] || { cat "$PIM_CACHE/checkpatch/why" 2> /dev/null || echo "tools/deps.sh --test has not fetched checkpatch.pl"; return 77; }
	if perl "$script" --no-tree --terse --no-summary --max-line-length=140 -f kernel/*.c $(ls kernel/*.h | grep -v pim_trace.h) \
		tests/kunit/*.[ch] include/uapi/drm/pim_drm.h include/pim/hw.h; then
		echo "ok - checkpatch.pl has nothing to say"
	else
		echo "not ok - checkpatch.pl has nothing to say"
	fi
}

kernel_doc() {
	local out types read script
	script=/lib/modules/$(default_kernel)/build/scripts/kernel-doc
	out=$("$script" -none include/uapi/drm/pim_drm.h 2>&1)
	if [ "$out" ]; then
		echo "$out"
		echo "not ok - kernel-doc has nothing to say about the uAPI header"
	else
		echo "ok - kernel-doc has nothing to say about the uAPI header"
	fi
	types=$(grep -cE '^(struct|enum) [a-z_]+ \{$' include/uapi/drm/pim_drm.h)
	read=$("$script" -v -none include/uapi/drm/pim_drm.h 2>&1 | grep -c 'Scanning doc for')
	if [ "$types" -gt 0 ] && [ "$types" = "$read" ]; then
		echo "ok - each of $types types of the uAPI header is documented"
	else
		echo "not ok - each of $types types of the uAPI header is documented: $read are"
	fi
}

reload='m=$1; for i in 1 2 3; do [ -e /dev/dri/renderD128 ] || exit 1; rmmod pim || exit 1; [ ! -e /dev/dri/renderD128 ] || exit 1
	insmod "$m" || exit 1; done; rmmod pim && echo "ok - pim.ko loads and unloads, again and again, on $(uname -r)"'

suite_unit() {
	unit unit "$build" 'test_*'
	step unit/kunit "$build/tests/kunit"
	step unit/device-8dom env PIM_DEVICE=emu:cards/test-8dom.card "$build/tests/test_device"
}
suite_card() { unit card "$build" 'test_card*'; }
# Leaks at exit of oneDNN and of the OpenMP run-time are not ours.
suite_san() {
	export UBSAN_OPTIONS=print_stacktrace=1 CK_TIMEOUT_MULTIPLIER=10
	[ ! -e tests/lsan.supp ] || export LSAN_OPTIONS=suppressions=$PWD/tests/lsan.supp:print_suppressions=0
	unit san "$build/san" 'test_*'
	step san/kunit "$build/san/tests/kunit"
	unset UBSAN_OPTIONS LSAN_OPTIONS CK_TIMEOUT_MULTIPLIER
}
suite_module() {
	local kver next
	kver=$(default_kernel) next=$(next_kernel)
	step "module/$kver" module_checked "/lib/modules/$kver/build" "$build/checked-$kver"
	step "module/$next" module_checked "$PIM_CACHE/next/lib/modules/$next/build" "$build/checked-$next"
	step module/newest newest_kernel_checked
	step module/checkpatch checkpatch
	step module/kernel-doc kernel_doc
	for kver in "$kver" "$next"; do
		m=$build/checked-$kver/kmod/$kver/pim.ko
		step "module/load-$kver" guest "load-$kver" cards/paper.card "$m" sh -c "$reload" sh "$(realpath "$m")"
	done
}
# The same program for a 32-bit process.
ioctl32() { # KVER
	local name=$build/tests/pim-ioctl32
	if ! make --no-print-directory BUILD="$build" "$name"; then
		echo 'int main(void) { return 0; }' | ${CC:-cc} -m32 -static -xc -o /dev/null - && return 1
		echo "the compiler cannot build static 32-bit programs: install gcc-multilib"
		return 77
	fi
	guest "ioctl32-$1" cards/test-4dom.card "$build/pim.ko" sh tests/ioctl/run.sh "$name" "$build/pim.ko"
}
suite_ioctl() {
	local kver next m
	local vm_options=(--card cards/test-8dom.card --load vgem) # a second card, and another driver to share with
	kver=$(default_kernel)
	step "ioctl/$kver" guest "ioctl-$kver" cards/test-4dom.card "$build/pim.ko" \
		sh tests/ioctl/run.sh "$build/tests/pim-ioctl" "$build/pim.ko"
	step "ioctl32/$kver" ioctl32 "$kver"
	next=$(next_kernel)
	m=$build/kmod/$next/pim.ko
	make --no-print-directory BUILD="$build" KDIR="$PIM_CACHE/next/lib/modules/$next/build" module > "$logs/module-next.log" 2>&1 ||
		cat "$logs/module-next.log"
	step "ioctl/$next" guest "ioctl-$next" cards/test-4dom.card "$m" sh tests/ioctl/run.sh "$build/tests/pim-ioctl" "$m"
}
suite_stress() {
	step stress/leak guest stress-leak cards/test-4dom.card "$build/pim.ko" \
		sh tests/ioctl/run.sh "$build/tests/pim-ioctl" "$build/pim.ko" --stress
}
suite_drm() {
	step drm/device guest drm-device cards/test-4dom.card "$build/pim.ko" env PIM_DEVICE=drm "$build/tests/test_device"
}
# All of the driver's code under KASAN, lockdep, kmemleak: slow, so it has its own target. The card is there, the module is loaded in the
# guest, after kmemleak forgot what the boot leaked.
suite_debug() {
	local rel m fuzz
	rel=$(cat "$PIM_CACHE/debug/release")
	m=$build/kmod/$rel/pim.ko
	# shellcheck disable=SC2206 # words
	fuzz=(${PIM_FUZZ_ARGS:---calls 200000 --threads 4})
	export PIM_TIME_SCALE=${PIM_TIME_SCALE:-4}
	debug_guest kunit sh tests/kunit/guest.sh "$build/kunit/$rel/pim_kunit.ko"
	# virtio-9p, the guest's root, is dead after a sleep; and here the test is not the last thing that happens.
	debug_guest ioctl "$build/tests/pim-ioctl" --module "$m" --except "sleep and wake with the machine"
	debug_guest fail-nth "$build/tests/pim-ioctl" --module "$m" --fail-nth
	debug_guest fuzz "$build/tests/pim-fuzz" "${fuzz[@]}"
	unset PIM_TIME_SCALE
}
debug_guest() { # NAME COMMAND...
	local name=$1
	shift
	step "debug/$name" in_guest "debug-$name" --card cards/test-4dom.card --card cards/test-8dom.card \
		--kernel "$PIM_CACHE/debug/boot/vmlinux-$rel" --module none --memory 2048 --timeout 3600 -- sh tests/debug-kernel/guest.sh "$m" "$@"
}
suite_e2e() {
	local script
	for script in tests/e2e/*.sh; do
		step "e2e/$(basename "$script" .sh)" "$script" "$build"
	done
}

for suite in "$@"; do
	declare -F "suite_$suite" > /dev/null || { echo "run.sh: no suite $suite" >&2; exit 2; }
	"suite_$suite"
done
[ $skipped = 0 ] || echo "$skipped skipped"
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
