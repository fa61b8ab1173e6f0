#!/bin/bash
# SPDX-License-Identifier: ISC
# mirari-sim: networks from files, drawn ones, the shrinker with planted faults, captures.
. "$(dirname "$0")/lib.sh"
cd "$box" || exit 1
sim=$b/mirari-sim

# Every example runs, and twice the same.
for topo in "$root"/examples/topologies/*.topo; do
    name=$(basename "$topo")
    is_ok "$name" "$sim" run --seed 5 "$topo"
    has ' 0 failed, 0 hung' 'every flow comes to its end'
    has ' 0 violations' 'no rule is broken'
done
first=$("$sim" run --seed 9 --quiet "$root/examples/topologies/lossy-wireless.topo" 2>/dev/null)
is_ok 'the same seed' bash -c '"$0" run --seed 9 --quiet "$1" 2>/dev/null' "$sim" \
    "$root/examples/topologies/lossy-wireless.topo"
[ "$out" = "$first" ]; report $? 'prints the same'
is_ok 'addresses' "$sim" plan "$root/examples/topologies/dumbbell.topo"
has '^host left1 10\.[0-9.]*/30 via 10\.' 'of hosts'

# Captures by the name of a link, and the rules of TCP applied to them afterwards.
is_ok 'a capture of the bottleneck' "$sim" run --quiet --pcap bottleneck=neck.pcapng \
    --trace-tcp trace.csv "$root/examples/topologies/dumbbell.topo"
is_ok 'is checked' "$sim" check neck.pcapng
has '^[0-9]{4,} segments, 2 connections from their start, 0 rules broken' 'and good'
[ "$(head -c 12 trace.csv)" = time_s,node, ]; report $? 'a trace of the windows'
exits 1 'a planted fault' "$sim" run --quiet --plant ack --pcap air=air.pcapng \
    "$root/examples/topologies/lossy-wireless.topo"
exits 1 'is found in the capture too' "$sim" check air.pcapng
has 'ACK of data that was never sent|SACK below the ACK' 'with its name'
has 'out |in ' 'and the last packets'

# Drawn networks.
is_ok 'two hundred drawn networks' "$sim" seeds --count 200 --jobs 2
has '^200 networks from seed 1' 'all of them'
is_ok 'one of them is shown' "$sim" seeds --show --seed 17
printf '%s\n' "$out" >drawn.topo
is_ok 'and runs from its text' "$sim" run --seed 17 drawn.topo

# The same with the stack's own assertions, and the sanitizers.
if [ -x "$b/asan/mirari-sim" ]; then
    is_ok 'drawn networks in a debug build' "$b/asan/mirari-sim" seeds --seed 1000 --count 150
else
    report 0 'drawn networks in a debug build # SKIP make check builds it'
fi

# The shrinker, with faults planted on purpose.
for plant in ack data leak crash; do
    exits 1 "a planted $plant fails" "$sim" seeds --count 100 --plant $plant --out small.topo
    has 'the smallest network found' 'and is made small'
    lines=$(grep -cv '^#' small.topo)
    [ "$lines" -le 11 ]; report $? "to $lines lines"
    seed=$(sed -n 's/^# seed //p' small.topo)
    kind=$(sed -n '1s/^# //p' small.topo)
    run "$sim" run --seed "$seed" --plant $plant small.topo
    [ "$status" != 0 ]; report $? "that fail again ($kind)"
    is_ok 'but not without the fault' "$sim" run --seed "$seed" small.topo
done

# Mistakes.
echo 'hots a' >bad.topo
exits 64 'a wrong network' "$sim" run bad.topo
has 'bad.topo:1: unknown statement "hots"; did you mean "host"' 'says where and what'
exits 64 'an unknown option' "$sim" run --sed 5 bad.topo
has 'did you mean --seed' 'says what was meant'
exits 64 'a file that is not there' "$sim" run nothing.topo
exits 64 'no capture' "$sim" check bad.topo
exits 64 'no such link' "$sim" run --pcap x=y "$root/examples/topologies/dumbbell.topo"
is_ok 'help' "$sim" --help
done_testing
