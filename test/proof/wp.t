#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# Frama-C/WP on index arithmetic and copies of lib/vchan and lib/ring: every goal of the named functions is proved.
# Shared memory returns anything at any time (frama.h); what is assumed stands in *_acsl.h. docs/proof.md has it in words.
set -u
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d "${TMPDIR:-/tmp}/mirari-wp.XXXXXX")
trap 'rm -rf "$work"' EXIT
for tool in frama-c why3 z3 cvc4; do
    command -v $tool >/dev/null || { echo "1..0 # SKIP $tool is not installed"; exit 0; }
done
export HOME=$work # the list of provers
why3 config detect >/dev/null 2>&1
n=0
report() { n=$((n + 1)); if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; fi; }

[ "$(z3 test/proof/index.smt2 | sort | uniq -c | tr -s ' ')" = ' 4 unsat' ]
report $? 'the lemmas on 32-bit numbers, over bit vectors'
prove() { # prove FILE CONTRACTS FUNCTIONS
    frama-c -machdep gcc_x86_64 -c11 -wp -wp-rte -wp-prover z3,cvc4 -wp-timeout "${WP_TIMEOUT:-30}" -wp-par 2 -wp-prop=-@lemma \
        -cpp-extra-args="-Iinclude -I. -DMIR_EXPLORE=1 -include test/proof/frama.h -include test/proof/$2" \
        -wp-fct "$3" "$1" >"$work/out" 2>&1
    local goals
    goals=$(sed -n 's/^\[wp\] Proved goals: *//p' "$work/out" | tr -d ' ')
    [ -n "$goals" ] && [ "${goals%/*}" = "${goals#*/}" ] && [ "${goals%/*}" -gt 50 ]
    report $? "$1: $goals goals of $3"
    grep -A 3 '\[Failed\]\|Error' "$work/out" | sed 's/^/# /'
}
prove lib/vchan/vchan.c vchan_acsl.h look_in,look_out,await_in,await_out,mir_vchan_consume,mir_vchan_commit,copy_in,copy_out
prove lib/ring/xring.c xring_acsl.h unreserved,bound,slot,look,mir__xring_room,take,mir__xring_arm
echo "1..$n"
