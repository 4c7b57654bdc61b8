#!/bin/sh
# SPDX-License-Identifier: MIT
#
# build.sh: a kernel with every checker on, out of Debian's linux-source (tools/deps.sh --debug-kernel fetches it) and the file config
# beside this one. Takes some 20 minutes on two cores, once: a second run with the same source and configuration does nothing. Interrupted,
# it goes on where it was. The result, below $PIM_CACHE/debug:
#
#	release			the kernel's name
#	boot/vmlinux-RELEASE	what pim-vm boots
#	lib/modules/RELEASE	with build/, which is the KDIR for modules
#
#	source/ build/		the kernel's source and objects, which KDIR leads to
set -eu
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
cache=${PIM_CACHE:-build/cache}/debug
files=1390 # that this configuration compiles, to tell how far it is
say() { echo "debug-kernel: $*"; }
die() { echo "debug-kernel: $*" >&2; exit 1; }

[ -r "$cache/source/.version-of-package" ] || die "no kernel source in $cache/source: run tools/deps.sh --debug-kernel"
cache=$(cd "$cache" && pwd)
source=$cache/source build=$cache/build log=$cache/build.log
key="$(cat "$source/.version-of-package") $(cat "$here/config" "$0" | sha256sum | cut -d ' ' -f 1)"
done_already() { [ "$(cat "$cache/key" 2> /dev/null)" = "$key" ]; }
done_already && exit 0

# One at a time: other checkouts may share the cache.
exec 9> "$cache/.lock"
flock -n 9 || { say "waiting for another build in $cache"; flock 9; }
done_already && exit 0

for tool in flex bison bc; do
	command -v $tool > /dev/null || die "$tool is missing: run tools/deps.sh --debug-kernel"
done
free=$(df --output=avail -m "$cache" | tail -n 1)
[ "$free" -ge 3000 ] || [ -d "$build" ] || die "$cache has $free MiB of free space: the kernel needs 3000"

# enlighten.o is the PVH entry, which runs before KASAN's shadow memory is there, and calls memcmp(): with checks in it the kernel does not
# boot.
kmake() { make -C "$source" O="$build" ARCH=x86_64 KASAN_SANITIZE_enlighten.o=n KASAN_SANITIZE_string.o=n --no-print-directory "$@" 9>&-; }

configure() {
	mkdir -p "$build"
	rm -f "$build/.config"
	{
		kmake tinyconfig
		"$source/scripts/kconfig/merge_config.sh" -O "$build" -m "$build/.config" "$here/config"
		kmake olddefconfig
	} > "$log" 2>&1 || { tail -n 15 "$log" >&2; die "the configuration failed (above: the end of $log)"; }
	# What a dependency or a renamed option swallowed would be a check that never runs.
	grep -E '^(CONFIG_|# CONFIG_.* is not set)' "$here/config" | while read -r line; do
		grep -qxF "$line" "$build/.config" && continue
		name=$(echo "$line" | sed 's/^# //; s/[= ].*//')
		# An option that does not exist is not set either.
		case $line in '#'*) grep -q "^$name=" "$build/.config" || continue ;; esac
		echo "$line"
	done > "$cache/refused"
	[ ! -s "$cache/refused" ] || die "this kernel does not take: $(paste -s -d ' ' "$cache/refused") (edit $here/config)"
	rm -f "$cache/refused"
}

explain() {
	grep -E ': (fatal )?error:|\*\*\* |No space left|not found|Killed' "$log" | tail -n 8 >&2 || :
	if grep -q 'No space left' "$log"; then
		die "the disk with $cache is full"
	fi
	die "the build failed: see $log; run again to go on, or remove $build to begin anew"
}

compile() {
	: > "$log"
	start=$(date +%s)
	kmake -j"$(nproc)" vmlinux modules > "$log" 2>&1 < /dev/null &
	make_pid=$!
	trap 'kill $make_pid 2> /dev/null; wait $make_pid 2> /dev/null; echo; say "interrupted; run again to go on"; exit 130' INT TERM HUP
	tick=0
	while kill -0 $make_pid 2> /dev/null; do
		sleep 1
		tick=$((tick + 1))
		[ $((tick % 30)) = 0 ] || continue
		n=$(find "$build" -name "*.o" 2> /dev/null | wc -l)
		say "$n of about $files files, $((($(date +%s) - start) / 60)) min: $(sed -n '$s/^ *//p' "$log")"
	done
	wait $make_pid || explain
	trap - INT TERM HUP
}

install_tree() {
	release=$(kmake -s kernelrelease)
	rm -rf "$cache/install.new"
	PATH=$PATH:/sbin:/usr/sbin kmake -s modules_install INSTALL_MOD_PATH="$cache/install.new" >> "$log" 2>&1 || explain
	mkdir -p "$cache/install.new/boot"
	ln "$build/vmlinux" "$cache/install.new/boot/vmlinux-$release" 2> /dev/null ||
		cp "$build/vmlinux" "$cache/install.new/boot/vmlinux-$release"
	cp "$build/.config" "$cache/install.new/boot/config-$release"
	[ -r "$cache/install.new/lib/modules/$release/modules.dep" ] || die "no modules.dep for $release: is kmod installed? see $log"
	rm -rf "${cache:?}/boot" "${cache:?}/lib"
	mv "$cache/install.new/boot" "$cache/install.new/lib" "$cache"
	rmdir "$cache/install.new"
	echo "$release" > "$cache/release"
}

rm -f "$cache/key"
say "building a kernel with KASAN, lockdep, kmemleak and fault injection in $cache (some 20 minutes on two cores, once)"
configure
compile
install_tree
echo "$key" > "$cache/key"
say "$release is ready"
