#!/usr/bin/env bash
# Instructions of the stack for each kind of packet, against the budgets in docs/performance.md.
# callgrind counts: the same build gives the same numbers, whatever else the machine does.
# Prints `name value unit` for each; fails when one is 15 % above its budget.
set -u
cd "$(dirname "$0")/../.." || exit 1
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
B=${B:-${MIRARI_BUILD:-build}}
packets=$B/host/test/bench/packets
if ! command -v valgrind >/dev/null; then
    echo "1..0 # SKIP valgrind is not installed"
    exit 0
fi
if [ "$(uname -m)" != x86_64 ]; then
    echo "1..0 # SKIP the budgets are for x86_64"
    exit 0
fi
make -s B="$B" "$packets" >/dev/null 2>&1 || { echo "Bail out! $packets does not build"; exit 1; }

# "| `data_in` | what | 2,300 | ... |" between the marks
mapfile -t rows < <(sed -n '/<!-- budget:begin -->/,/<!-- budget:end -->/p' docs/performance.md |
    sed -n 's/^| `\([a-z_]*\)` |[^|]*| *\([0-9,]*\) *|.*/\1 \2/p' | tr -d ,)
echo "1..$((${#rows[@]} + 1))"
n=0
for row in "${rows[@]}"; do
    read -r kind budget <<<"$row"
    n=$((n + 1))
    count=320 measured=mir_measured
    [ "$kind" = handshake ] && count=128 measured=mir_measured_life
    out=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect="$measured" \
        "$packets" "$kind" "$count" 2>&1)
    total=$(sed -n 's/.*Collected : \([0-9]*\).*/\1/p' <<<"$out")
    number=$(sed -n 's/^packets \([0-9]*\) .*/\1/p' <<<"$out")
    if [ -z "$total" ] || [ -z "$number" ] || [ "$number" = 0 ]; then
        echo "not ok $n - $kind: it could not be counted"
        echo "$out" | sed 's/^/# /'
        continue
    fi
    each=$((total / number))
    echo "# ins_$kind $each instructions"
    if [ $((each * 100)) -gt $((budget * 115)) ]; then
        echo "not ok $n - $kind: $each instructions, the budget is $budget"
    else
        echo "ok $n - $kind: $each instructions of $budget"
    fi
done
if [ $n -ge 6 ]; then
    echo "ok $((n + 1)) - every kind has a budget"
else
    echo "not ok $((n + 1)) - docs/performance.md has $n budgets"
fi
