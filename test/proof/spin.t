#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# SPIN on the notification protocols: safety and, if all go on, liveness; and what it finds when something is missing.
set -u
cd "$(dirname "$0")" || exit 1
work=$(mktemp -d "${TMPDIR:-/tmp}/mirari-spin.XXXXXX")
trap 'rm -rf "$work"' EXIT
n=0
report() { n=$((n + 1)); if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; sed 's/^/# /' "$work/out"; fi; }
if ! command -v spin >/dev/null; then
    echo '1..0 # SKIP spin is not installed'
    exit 0
fi
models=$PWD
# search MODEL WHAT DEFINES...: 0 nothing found, 1 an error, 2 trouble
search() {
    local model=$1 what=$2 flags=
    shift 2
    rm -f "$work"/pan*
    cd "$work" || return 2
    if [ "$what" = safety ]; then spin -a "$@" "$models/$model.pml" >out 2>&1 || return 2
        gcc -O1 -w -DSAFETY -DNOCLAIM -o pan pan.c >>out 2>&1 || return 2
    else spin -a "$@" "$models/$model.pml" >out 2>&1 || return 2
        gcc -O1 -w -DNFAIR=3 -o pan pan.c >>out 2>&1 || return 2
        flags='-a -f'
    fi
    # shellcheck disable=SC2086
    ./pan -m200000 $flags >out 2>&1 || return 2
    grep -q 'max search depth too small\|out of memory' out && return 2
    grep -q 'errors: 0' out
}
for size in 1 2 3; do
    search vchan safety -DSIZE=$size -DTOTAL=6
    report $? "vchan, ring of $size: no deadlock, nothing lost ($(awk '/states, stored/{print $1; exit}' "$work/out") states)"
    search vchan liveness -DSIZE=$size -DTOTAL=6
    report $? "vchan, ring of $size: the reader comes to the end"
done
for slots in 1 2 4; do
    search ring safety -DSLOTS=$slots -DTOTAL=7
    report $? "ring of $slots: no deadlock, no overflow ($(awk '/states, stored/{print $1; exit}' "$work/out") states)"
    search ring liveness -DSLOTS=$slots -DTOTAL=7
    report $? "ring of $slots: everything is answered"
done
for broken in 'vchan HASTY' 'vchan DEAF' 'ring DEAF' 'ring LATE'; do
    # shellcheck disable=SC2086
    set -- $broken
    search "$1" safety "-D$2"
    [ $? = 1 ] || { search "$1" liveness "-D$2"; [ $? = 1 ]; }
    report $? "$1 with $2: found to be wrong"
done
echo "1..$n"
