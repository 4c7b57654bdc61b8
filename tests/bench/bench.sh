#!/bin/bash
# SPDX-License-Identifier: MIT
#
# bench.sh BUILD: everything that is measured, with machine and versions. Real time of this machine; modelled time is what pim-train prints.
set -eu
build=$1
card=cards/paper.card
data=${PIM_DIGITS:-build/cache/data/digits.csv.gz}

echo "machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) processors, $(awk '/MemTotal/ { printf "%.1f GiB", $2 / 1048576 }' /proc/meminfo)"
echo "system: $(uname -sr), $(qemu-system-x86_64 --version | head -n 1), oneDNN $(dpkg-query -W -f '${Version}' libdnnl-dev)"
echo "rt-pim: $(git describe --always --dirty 2> /dev/null || echo unknown)"

vm() { "$build/pim-vm" run --quiet --card "$card" --module "$build/pim.ko" --timeout 300 -- "$@"; }

for what in submit authority; do
	echo "-- $what, in this process"
	"$build/bench/bench_$what" "emu:$card"
	echo "-- $what, through pim.ko in the VM"
	vm "$build/bench/bench_$what" drm
done
echo "-- the emulator's PIM units"
"$build/bench/bench_pim" "emu:$card"
echo "-- boot of the VM, to the end of /bin/true"
for i in 1 2 3; do
	start=$(date +%s%N)
	vm /bin/true
	echo "  $((($(date +%s%N) - start) / 1000000)) ms"
done
echo "-- training, in this process"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$build/pim-train" --device "emu:$card" --data "$data" --epochs 2 --out "$out" --progress lines
echo "-- training of larger networks on random images, in this process"
"$build/pim-train" --device "emu:$card" --net resnet20 --data random --images 640 --batch 64 --steps 8 --out "$out" --progress lines
"$build/pim-train" --device "emu:$card" --net resnet18 --data random --images 40 --batch 8 --steps 3 --out "$out" --progress lines
echo "-- training, through pim.ko in the VM"
vm "$build/pim-train" --device drm --data "$data" --epochs 1 --out /tmp --progress lines
