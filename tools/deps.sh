#!/bin/sh
# SPDX-License-Identifier: MIT
#
# deps.sh [--test | --debug-kernel]: install what building and running needs, with apt, and only what is missing; --test: what the tests
# need, too; --debug-kernel: and what the kernel of make test-debug-kernel is built from.
# Says in one line what and why. Asks only when someone sits at the terminal. Files that are no system packages (a guest kernel to boot, kernel
# headers to build against, the data set) are unpacked below $PIM_CACHE and leave the system as it is.
set -eu

cache=${PIM_CACHE:-build/cache}
tests=${1:-}
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
case $tests in '' | --test | --debug-kernel) ;; *) echo "usage: deps.sh [--test | --debug-kernel]" >&2; exit 2 ;; esac
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
log=$cache/deps.log

# package:why
packages='
build-essential:compiler
pkg-config:build
libdrm-dev:driver_interface
libnuma-dev:host_memory
libdnnl-dev:convolutions
libjson-c-dev:weight_files
libsmartcols-dev:tables
zlib1g-dev:data_files
check:tests
libsubunit-dev:tests
linux-headers-amd64:driver
qemu-system-x86:guest
kmod:guest
xz-utils:guest
zstd:guest
'
test_packages='
sparse:driver_checks
gcc-multilib:32-bit_test_program
'
debug_packages='
bc:debug_kernel
bison:debug_kernel
flex:debug_kernel
libelf-dev:debug_kernel
'

say() { echo "deps: $*"; }
die() { echo "deps: $*" >&2; exit 1; }

# Run as root: install packages, nothing else.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif ! command -v sudo > /dev/null; then
		die "packages are missing, and this is neither root nor is there sudo: as root, run: $*"
	elif [ -t 0 ]; then
		sudo --preserve-env=DEBIAN_FRONTEND "$@"
	else
		sudo -n --preserve-env=DEBIAN_FRONTEND "$@"
	fi
}

# Run quietly; show the end of what it said only when it failed.
quiet() {
	what=$1
	shift
	"$@" > "$log" 2>&1 < /dev/null || {
		tail -n 15 "$log" >&2
		die "$what failed (above: the end of $log)"
	}
}

missing_packages() {
	names=
	for entry in $1; do
		names="$names ${entry%%:*}"
	done
	have=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $names 2> /dev/null | sed -n 's/^installed //p') || true
	for entry in $1; do
		case "
$have
" in
		*"
${entry%%:*}
"*) ;;
		*) echo "$entry" ;;
		esac
	done
}

# Package lists of the system, when there are none or they are a week old.
system_lists() {
	if ! find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -mtime -7 2> /dev/null | grep -q .; then
		say "fetching apt's package lists"
		quiet "apt-get update" as_root apt-get -o DPkg::Lock::Timeout=300 update
	fi
}

install_packages() {
	todo=$(missing_packages "$1")
	[ -n "$todo" ] || return 0
	command -v apt-get > /dev/null || die "no apt-get: on this system install by hand what stands for: $(echo $todo)"
	names=$(for entry in $todo; do echo "${entry%%:*}"; done)
	say "installing with apt: $(for entry in $todo; do echo "${entry%%:*} (${entry#*:})" | tr _ ' '; done | paste -s -d, | sed 's/,/, /g')"
	if [ -t 0 ] && [ -t 1 ]; then
		printf 'deps: go on? [Y/n] '
		read -r answer
		case $answer in [nN]*) die "not installed: nothing can be built without them" ;; esac
	fi
	system_lists
	# Lists may be older than the archive: fetch them again before giving up.
	as_root apt-get -y --no-install-recommends -o DPkg::Lock::Timeout=300 install $names > "$log" 2>&1 < /dev/null || {
		quiet "apt-get update" as_root apt-get -o DPkg::Lock::Timeout=300 update
		quiet "apt-get install" as_root apt-get -y --no-install-recommends -o DPkg::Lock::Timeout=300 install $names
	}
}

# Fetch a package file into the current directory with apt's own configuration, or with that of $apt_options.
apt_options=
fetch() {
	apt-get $apt_options -o APT::Sandbox::User="$(id -un)" download "$@" > /dev/null 2>> "$log" < /dev/null
}

# unpack DIR PACKAGE...: the files of packages below DIR, all or none.
unpack() {
	target=$1
	shift
	rm -rf "$target.new"
	mkdir -p "$target.new/.deb"
	(cd "$target.new/.deb" && fetch "$@") || {
		rm -rf "$target.new"
		return 1
	}
	for deb in "$target.new"/.deb/*.deb; do
		dpkg-deb -x "$deb" "$target.new"
	done
	rm -rf "$target.new/.deb"
}

commit() {
	rm -rf "$1"
	mv "$1.new" "$1"
}

# The image of the kernel that the driver is built for: boots in the guest, never on this machine.
guest_kernel() {
	rel=$(ls -d /lib/modules/*/build 2> /dev/null | sort -V | tail -n 1)
	rel=${rel%/build}
	rel=${rel##*/}
	[ -n "$rel" ] || die "no kernel headers in /lib/modules: is linux-headers-amd64 installed?"
	[ -r "/boot/vmlinuz-$rel" ] && [ -r "/lib/modules/$rel/modules.dep" ] && return 0
	[ -r "$cache/guest/boot/vmlinuz-$rel" ] && [ -r "$cache/guest/lib/modules/$rel/modules.dep" ] && return 0
	say "fetching linux-image-$rel for the guest (unpacked in $cache/guest, not installed)"
	: > "$log"
	system_lists
	unpack "$cache/guest" "linux-image-$rel" ||
		die "cannot fetch linux-image-$rel: $(tail -n 1 "$log") (headers older than the archive? apt-get install linux-headers-amd64)"
	PATH=$PATH:/sbin:/usr/sbin depmod -b "$cache/guest.new" "$rel" || die "depmod failed in $cache/guest.new"
	commit "$cache/guest"
}

# The archive that this machine's apt uses for Debian's main packages: "uri codename".
debian_archive() {
	apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)|$(CODENAME)' 'Created-By: Packages' |
		awk -F '|' '$1 == "Debian" && $2 == "Debian" && $3 == "main" && $5 !~ /-/ { print $4, $5; exit }'
}

# Lists of our own for another suite, so that the system's apt does not learn of it: sets $apt_options. An empty status file makes apt's
# solver count every dependency as missing.
suite_lists() { # SUITE NAME
	archive=$(debian_archive)
	[ -n "$archive" ] || return 1
	suite=$(echo "$1" | sed "s/CODENAME/${archive#* }/")
	apt=$cache/apt/$2
	mkdir -p "$apt/lists/partial" "$apt/archives/partial"
	{
		echo "Types: deb"
		echo "URIs: ${archive% *}"
		echo "Suites: $suite"
		echo "Components: main"
		[ ! -r /usr/share/keyrings/debian-archive-keyring.gpg ] || echo "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg"
	} > "$apt/lists.sources"
	apt_options="-o Dir::Etc::sourcelist=$apt/lists.sources -o Dir::Etc::sourceparts=/dev/null -o Dir::State::Lists=$apt/lists"
	apt_options="$apt_options -o Dir::Cache=$apt -o Dir::State::Status=/dev/null -o Debug::NoLocking=1"
}

update_lists() {
	apt-get $apt_options -o APT::Sandbox::User="$(id -un)" update >> "$log" 2>&1 < /dev/null
}

# The package of that kernel's headers, for example linux-headers-6.12.95+deb12-amd64.
headers_package() {
	apt-cache $apt_options depends linux-headers-amd64 | sed -n 's/^ *Depends: \(linux-headers-[0-9].*\)/\1/p'
}

# Headers unpacked below DIR.new think they are at the root; they will be in DIR.
settle_headers() { # DIR PACKAGE
	sed -i "s|/usr/src/|$1/usr/src/|" "$1.new/usr/src/$2/Makefile"
	mkdir -p "$1.new/lib/modules/${2#linux-headers-}"
	ln -sfn "$1/usr/src/$2" "$1.new/lib/modules/${2#linux-headers-}/build"
}

# A newer kernel, from backports.
next_kernel() {
	[ -r "$cache/next/release" ] && return 0
	: > "$log"
	system_lists
	suite_lists CODENAME-backports next || die "apt knows no Debian archive with a main component: check /etc/apt/sources.list"
	say "fetching the kernel of $suite, to test the driver with (unpacked in $cache/next, not installed)"
	quiet "apt-get update for $suite" update_lists
	headers=$(headers_package)
	[ -n "$headers" ] || die "$suite has no linux-headers-amd64"
	rel=${headers#linux-headers-}
	more=$(apt-cache $apt_options depends "$headers" | sed -n 's/^ *Depends: \(linux-\(headers\|kbuild\)-[0-9].*\)/\1/p')
	unpack "$cache/next" "$headers" $more "linux-image-$rel" || die "cannot fetch $headers and linux-image-$rel: $(tail -n 1 "$log")"
	settle_headers "$cache/next" "$headers"
	PATH=$PATH:/sbin:/usr/sbin depmod -b "$cache/next.new" "$rel" || die "depmod failed in $cache/next.new"
	echo "$rel" > "$cache/next.new/release"
	commit "$cache/next"
	apt_options=
}

# Programs of another suite run on this system through that suite's own loader and libraries: each gets a script in its place.
wrap_programs() { # DIR: below DIR.new now, in DIR later
	loader=$(cd "$1.new" && ls usr/lib64/ld-linux-x86-64.so.2 lib64/ld-linux-x86-64.so.2 2> /dev/null | head -n 1)
	[ -n "$loader" ] || return 1
	find "$1.new/usr/bin" "$1.new/usr/libexec" "$1.new"/usr/lib/linux-kbuild-* -type f -perm -u+x ! -name '*.so*' | while read -r program; do
		[ "$(head -c 4 "$program" | tail -c 3)" = ELF ] || continue
		mv "$program" "$program.elf"
		cat > "$program" <<-END
			#!/bin/sh
			exec "$1/$loader" --argv0 "\$0" --library-path "$1/usr/lib/x86_64-linux-gnu" "$1${program#"$1.new"}.elf" "\$@"
		END
		chmod +x "$program"
	done
}

# The newest kernel that Debian has, to compile for: its headers, and the compiler, binutils and sparse of its suite. What is tested does not
# stop at a machine that cannot have it: the suite says that it was left out, and why.
newest_kernel() {
	[ -r "$cache/newest/release" ] && return 0
	: > "$log"
	system_lists
	if ! suite_lists sid newest || ! update_lists; then
		newest_missing "no package lists of sid"
		return 0
	fi
	headers=$(headers_package)
	say "fetching $headers and its compiler from $suite, to build the driver against (unpacked in $cache/newest, not installed)"
	rm -rf "$cache/newest.new" "$apt/archives"
	mkdir -p "$cache/newest.new" "$apt/archives/partial"
	if [ -z "$headers" ] || ! apt-get $apt_options -o APT::Sandbox::User="$(id -un)" -y --no-install-recommends --download-only \
		install "$headers" sparse >> "$log" 2>&1 < /dev/null; then
		newest_missing "cannot fetch ${headers:-linux-headers-amd64} of sid"
		return 0
	fi
	for deb in "$apt"/archives/*.deb; do
		dpkg-deb -x "$deb" "$cache/newest.new"
	done
	rm -rf "$apt/archives"
	settle_headers "$cache/newest" "$headers"
	newest_tools
	echo "${headers#linux-headers-}" > "$cache/newest.new/release"
	commit "$cache/newest"
	apt_options=
}

# Kbuild is told to use that suite's programs, and those find each other.
newest_tools() {
	wrap_programs "$cache/newest" || die "no loader in $cache/newest.new"
	bin=$cache/newest/usr/bin
	vars=$cache/newest.new/usr/src/$headers/.kernelvariables
	sed -i "s|\(CROSS_COMPILE = \)|\1$bin/|" "$vars"
	echo "CHECK = $bin/sparse" >> "$vars"
	echo "PAHOLE = $bin/pahole" >> "$vars"
	for program in as ld; do
		for dir in "$cache/newest.new"/usr/libexec/gcc/*/*/; do
			ln -s "$bin/x86_64-linux-gnu-$program" "$dir$program"
		done
	done
	# Kbuild asks this script, which the package lacks, whether sparse works, and else goes on without it.
	valid=$(echo "$cache/newest.new"/usr/lib/linux-kbuild-*/scripts)/checker-valid.sh
	if [ ! -e "$valid" ]; then
		printf '#!/bin/sh\nset -e\n"$@" -x c /dev/null > /dev/null 2>&1\necho 1\n' > "$valid"
		chmod +x "$valid"
	fi
}

newest_missing() {
	mkdir -p "$cache/newest"
	echo "$1: $(tail -n 1 "$log")" > "$cache/newest/why"
	say "the driver is not built against Debian's newest kernel: $(cat "$cache/newest/why")"
	apt_options=
}

# The kernel's own style checker: only its source package has it.
checkpatch() {
	[ -r "$cache/checkpatch/checkpatch.pl" ] && return 0
	: > "$log"
	system_lists
	say "fetching checkpatch.pl (out of package linux-source-6.1; unpacked in $cache/checkpatch, not installed)"
	mkdir -p "$cache/checkpatch"
	if unpack "$cache/linux-source" linux-source-6.1 && tar -xJf "$cache/linux-source.new/usr/src/linux-source-6.1.tar.xz" -C "$cache/linux-source.new" \
		--strip-components=2 linux-source-6.1/scripts/checkpatch.pl linux-source-6.1/scripts/spelling.txt \
		linux-source-6.1/scripts/const_structs.checkpatch 2>> "$log"; then
		(cd "$cache/linux-source.new" && mv spelling.txt const_structs.checkpatch checkpatch.pl "$cache/checkpatch/")
	else
		echo "cannot fetch linux-source-6.1: $(tail -n 1 "$log")" > "$cache/checkpatch/why"
		say "the driver's style is not checked: $(cat "$cache/checkpatch/why")"
	fi
	rm -rf "$cache/linux-source.new"
}

# The source of the distribution's own kernel; tests/debug-kernel/build.sh makes another one of it.
debug_source() {
	[ -r "$cache/debug/source/.version-of-package" ] && return 0
	: > "$log"
	system_lists
	package=$(apt-cache depends linux-source | sed -n 's/^ *Depends: \(linux-source-[0-9].*\)/\1/p')
	[ -n "$package" ] || die "apt knows no linux-source: check /etc/apt/sources.list"
	say "fetching $package, to build a kernel with all checkers (unpacked in $cache/debug, 1.3 GiB, not installed)"
	mkdir -p "$cache/debug"
	unpack "$cache/debug/package" "$package" || die "cannot fetch $package: $(tail -n 1 "$log")"
	rm -rf "$cache/debug/source.new"
	mkdir "$cache/debug/source.new"
	quiet "unpacking $package" tar -xJf "$cache/debug/package.new/usr/src/$package.tar.xz" -C "$cache/debug/source.new" --strip-components 1
	apt-cache show --no-all-versions "$package" | sed -n 's/^Version: //p' > "$cache/debug/source.new/.version-of-package"
	rm -rf "$cache/debug/package.new"
	commit "$cache/debug/source"
}

# Optical Recognition of Handwritten Digits, UCI (E. Alpaydin, C. Kaynak, 1998): 1797 images of 8x8 pixels, as Debian ships them.
digits_sum=46abec6b12486ad9e51943373abcf22bbea1b5a51a1619b361570d8893f1464a
digits() {
	data=$cache/data/digits.csv.gz
	echo "$digits_sum  $data" | sha256sum --status -c - 2> /dev/null && return 0
	say "fetching the digits data set (UCI, out of package python3-sklearn; unpacked in $cache/data, not installed)"
	: > "$log"
	system_lists
	unpack "$cache/sklearn" python3-sklearn || die "cannot fetch python3-sklearn: $(tail -n 1 "$log")"
	mkdir -p "$cache/data"
	cp "$cache/sklearn.new/usr/lib/python3/dist-packages/sklearn/datasets/data/digits.csv.gz" "$data.new"
	rm -rf "$cache/sklearn.new"
	echo "$digits_sum  $data.new" | sha256sum --status -c - || die "$data.new is not the known data set (SHA-256 differs): another version of the package?"
	mv "$data.new" "$data"
}

[ -z "$tests" ] || packages="$packages $test_packages"
[ "$tests" != --debug-kernel ] || packages="$packages $debug_packages"
install_packages "$packages"
guest_kernel
digits
if [ "$tests" = --test ]; then
	next_kernel
	newest_kernel
	checkpatch
fi
[ "$tests" != --debug-kernel ] || debug_source
