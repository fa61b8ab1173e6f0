#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# lib/vchan against the real libxenvchan, on a machine without Xen: server and client, all sizes, both ends closing.
. "$(dirname "$0")/lib.sh"
[ -f /usr/include/libxenvchan.h ] || skip_all 'libxen-dev is not installed'
probe=$WORK/vchan_xen
gcc -std=gnu11 -O2 -g -Wall -Wextra -Iinclude -I. -D_GNU_SOURCE -o "$probe" test/interop/probe/vchan_xen.c \
    "$B/host/libmirari.a" -l:libxenvchan.a >"$WORK/cc.log" 2>&1
[ $? = 0 ] || { sed 's/^/# /' "$WORK/cc.log"; ok 1 'the probe compiles'; done_testing; }
timeout 120 "$probe" >"$WORK/out" 2>&1
status=$?
grep -v '^ok\|^1\.\.' "$WORK/out" | sed 's/^not ok/# not ok/; s/^\([^#]\)/# \1/'
is "$status" 0 'the probe is content'
is "$(grep -c '^not ok' "$WORK/out")" 0 'no case failed'
is_like "$(tail -n 1 "$WORK/out")" '^1\.\.1[0-9][0-9]$' 'all cases ran'
done_testing
