#!/bin/bash
# SPDX-License-Identifier: MIT
# pim-train on the card model in this process: it learns, resumes exactly, and answers bad input with one clear line.
# usage: train.sh [BUILD]; the data set is $PIM_DIGITS or BUILD/cache/data/digits.csv.gz
. "$(dirname "$0")/tap.bash"
digits=${PIM_DIGITS:-$build/cache/data/digits.csv.gz}
train="$build/pim-train --device emu:cards/paper.card"

weights() { sed -n 's/.*"weights":"\([0-9a-f]*\)".*/\1/p' "$1"; }

refuses "an unknown option is named" 2 'unknown option.*--colour' $train --data "$digits" --colour
refuses "a value out of range is named with its range" 2 '--batch takes 1' $train --data "$digits" --batch 0
refuses "a value that is no number is refused" 2 '--lr takes' $train --data "$digits" --lr fast
refuses "a missing data file is named" 1 "$tmp/none.csv.*No such file" $train --data "$tmp/none.csv" --out "$tmp"
zcat "$digits" | head -c 5000 >"$tmp/short.csv"
refuses "a truncated data file is refused with its line" 1 'short.csv:[0-9]+:' $train --data "$tmp/short.csv" --out "$tmp"
head -c 3000 "$digits" >"$tmp/short.csv.gz"
refuses "a truncated gz file is refused" 1 'short.csv.gz' $train --data "$tmp/short.csv.gz" --out "$tmp"
sed 's/^banks_per_unit.*/banks_per_unit 3/' cards/paper.card >"$tmp/bad.card"
refuses "a wrong card file is refused with its line" 1 'bad.card:[0-9]+:' \
	$build/pim-train --device "emu:$tmp/bad.card" --data "$digits" --out "$tmp"
refuses "a missing card file is named" 1 'none.card.*No such file' \
	$build/pim-train --device "emu:$tmp/none.card" --data "$digits" --out "$tmp"
if [ ! -e /sys/module/pim ]; then
	refuses "without the module the fix is named" 1 'pim.ko|emu:' $build/pim-train --device drm --data "$digits" --out "$tmp"
fi
refuses "an unknown device is refused" 1 'emu:|drm' $build/pim-train --device gpu --data "$digits" --out "$tmp"
refuses "a directory that cannot be written is named" 1 '/proc/none' $train --data "$digits" --out /proc/none
echo garbage >"$tmp/garbage"
refuses "a wrong checkpoint is refused" 1 'garbage' $train --data "$digits" --out "$tmp" --resume "$tmp/garbage"

# Networks from files, and what the plan says of them.
cat > "$tmp/small.net" << 'END'
image	input shape=1x8x8
c1	conv image out=16 k=3 pad=1
n1	bn c1
r1	relu6 n1
c2	conv r1 out=16 k=3 pad=1 groups=16
n2	bn c2
r2	silu n2
cat	concat r1 r2
p	maxpool cat k=3 stride=2 pad=1
g	avgpool p k=4
fc	linear g out=10
loss	softmax_ce fc smoothing=0.1
END
run 0 $train --data "$digits" --net "$tmp/small.net" --out "$tmp" --compare --epochs 4 --optimizer adamw --lr 0.01 --target 50 &&
	grep -q 'same bits' "$tmp/outp"
report $? "a network out of a file learns, with the same bits in both modes"
run 0 $train --data "$digits" --net "$tmp/small.net" --out "$tmp" --plan &&
	grep -qE '^c1 +conv_fwd +GPU .*CONV: ' "$tmp/outp" && grep -qE 'maxpool +pool_fwd +GPU .*overlap' "$tmp/outp" &&
	grep -qE '^n1 +bn_fwd +PIM ' "$tmp/outp" && grep -q '^PIM memory: ' "$tmp/outp" && ! grep -q 'concat' "$tmp/outp"
report $? "the plan tells of each layer where it runs, and why"
run 0 $train --data "$digits" --net "$tmp/small.net" --out "$tmp" --plan --json && head -n 1 "$tmp/outp" | grep -q '^{' &&
	[ "$(grep -c '"engine": *"\(GPU\|PIM\)"' "$tmp/outp")" -gt 20 ]
report $? "the plan comes as JSON, too"
refuses "images of another size than the network's are refused with both" 1 '3x32x32.*1x8x8' \
	$train --data "$digits" --net resnet20 --out "$tmp"
sed 's/k=4/k=9/' "$tmp/small.net" > "$tmp/wrong.net"
refuses "a wrong network file is refused with its line" 1 'wrong.net:10:' $train --data "$digits" --net "$tmp/wrong.net" --out "$tmp"
refuses "a network that is neither known nor a file is refused" 1 'resnet19' $train --data "$digits" --net resnet19 --out "$tmp"

# A run, and the same run stopped by Ctrl-C and gone on with.
opts="--steps 60 --channels 16 --json --progress lines"
mkdir "$tmp/whole" "$tmp/part"
timeout 120 $train --data "$digits" --out "$tmp/whole" $opts >"$tmp/whole.json" 2>"$tmp/err"
report $? "a run of 60 steps ends well"
$train --data "$digits" --out "$tmp/part" $opts >"$tmp/outp" 2>"$tmp/err" &
pid=$!
for _ in $(seq 200); do grep -q 'epoch 1/' "$tmp/err" && break; sleep 0.05; done
kill -INT $pid
wait $pid
rc=$?
if [ $rc = 0 ]; then # it was faster than the signal: then it must be whole
	cp "$tmp/outp" "$tmp/part.json"
	[ "$(weights "$tmp/whole.json")" = "$(weights "$tmp/part.json")" ]
	report $? "a run that ends before Ctrl-C is whole"
else
	[ $rc = 130 ] && grep -q -- '--resume' "$tmp/err"
	report $? "Ctrl-C saves a checkpoint and says how to go on (status $rc)"
	timeout 120 $train --data "$digits" --out "$tmp/part" $opts --resume "$tmp/part/digits-pipelined.safetensors" \
		>"$tmp/part.json" 2>"$tmp/err"
	[ $? = 0 ] && [ -n "$(weights "$tmp/whole.json")" ] && [ "$(weights "$tmp/whole.json")" = "$(weights "$tmp/part.json")" ]
	report $? "the resumed run ends with the same bits"
fi

# Killed in the middle: the last checkpoint is whole.
$train --data "$digits" --out "$tmp/part" --epochs 50 --channels 16 --progress lines >"$tmp/outp" 2>"$tmp/err" &
pid=$!
for _ in $(seq 400); do grep -q 'epoch 2/' "$tmp/err" && break; sleep 0.05; done
kill -KILL $pid
wait $pid 2>/dev/null
timeout 60 $train --data "$digits" --out "$tmp/whole" --steps 50 --channels 16 --json --resume "$tmp/part/digits-pipelined.safetensors" \
	>"$tmp/outp" 2>"$tmp/err"
report $? "after SIGKILL the last checkpoint loads"

timeout 300 $train --data "$digits" --out "$tmp/whole" --compare --epochs 6 --target 95 >"$tmp/outp" 2>"$tmp/err"
rc=$?
[ $rc = 0 ] && grep -q 'same bits' "$tmp/outp"
report $? "digits reach 95 % and serial and pipelined weights are the same bits"

finish
