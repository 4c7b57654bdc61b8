#!/bin/bash
# SPDX-License-Identifier: MIT
# bench.sh BUILD: every measurement, with the machine and the versions it was made on. Wall clock; compare ratios within one run only.
set -eu
build=${1:-build}
digits=${PIM_DIGITS:-$build/cache/data/digits.csv.gz}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

steps_per_s() { # from a --json line
	awk -F'[:,]' '{ for (i = 1; i < NF; i++) { if ($i ~ /"steps"/) n = $(i + 1); if ($i ~ /"wall_s"/) { w = $(i + 1); sub(/}/, "", w) }
		if ($i ~ /"mode"/) m = $(i + 1) } printf "  %-12s %7.1f steps/s, set-up and evaluation included\n", m, n / w }'
}

echo "machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, Linux $(uname -r)"
echo "versions: rt-pim $(sed -n 's/^VERSION := //p' Makefile), $(qemu-system-x86_64 --version | head -n 1), $(cc --version | head -n 1)"

echo "card model in the process (emu:cards/paper.card)"
"$build/bench/bench_submit" emu:cards/paper.card
"$build/bench/bench_pim" emu:cards/paper.card
"$build/pim-train" --device emu:cards/paper.card --data "$digits" --out "$out" --compare --epochs 3 --json --progress none | steps_per_s

echo "driver in the VM"
for i in 1 2 3; do
	begin=$(date +%s%N)
	"$build/pim-vm" run --quiet -- true
	echo "  boot, load pim.ko, run true, power off: $((($(date +%s%N) - begin) / 1000000)) ms"
done
"$build/pim-vm" run --quiet -- "$build/bench/bench_submit" drm
"$build/pim-vm" run --quiet --rw "$out" -- "$build/pim-train" --device drm --data "$digits" --out "$out" --compare --epochs 3 --json \
	--progress none | steps_per_s
