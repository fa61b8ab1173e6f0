#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# The layout of a Xen network interface's rings is that of Xen's own netif.h.
. "$(dirname "$0")/lib.sh"
[ -f /usr/include/xen/io/netif.h ] || skip_all 'libxen-dev is not installed'
gcc -std=gnu11 -O2 -Wall -Iinclude -I. -D_GNU_SOURCE -o "$WORK/netif_xen" test/interop/probe/netif_xen.c \
    >"$WORK/cc.log" 2>&1
is "$?" 0 'offsets, sizes, flags and states are the same'
sed 's/^/# /' "$WORK/cc.log" | head -20
done_testing
