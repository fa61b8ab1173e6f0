#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# lib/ring/xring step by step beside the macros of Xen's own ring.h.
. "$(dirname "$0")/lib.sh"
[ -f /usr/include/xen/io/ring.h ] || skip_all 'libxen-dev is not installed'
gcc -std=gnu11 -O2 -g -Wall -Wextra -Iinclude -I. -D_GNU_SOURCE -o "$WORK/xring_xen" test/interop/probe/xring_xen.c \
    "$B/host/libmirari.a" >"$WORK/cc.log" 2>&1 || { sed 's/^/# /' "$WORK/cc.log"; ok 1 'the probe compiles'; done_testing; }
timeout 60 "$WORK/xring_xen" >"$WORK/out" 2>&1
status=$?
grep '^#' "$WORK/out"
is "$status" 0 'the same pages, entries and notifications in 500,000 steps'
done_testing
