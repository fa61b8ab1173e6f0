#!/usr/bin/env bash
# The offloads of a tap, on and off, on our side and on the host's: the same bytes, only the frames differ.
. "$(dirname "$0")/lib.sh"
need curl ethtool
pattern=$B/host/test/bench/pattern
[ -x "$pattern" ] || skip_all "$pattern is not built (make bench-bins)"
net_open
bytes=50000000
tap_start website || done_testing
tap=$(ip -n "$NS" -br link show type tun | awk '{print $1; exit}')
"$pattern" $bytes >"$WORK/up"
crc=$("$pattern" sum <"$WORK/up" | cut -d ' ' -f 2)
packets() { inside cat "/sys/class/net/$tap/statistics/$1_packets"; }

transfer() { # transfer NAME: both directions, prints how many frames each took
    local rx tx
    rx=$(packets rx) tx=$(packets tx)
    inside curl -sf -m 60 "http://$APP_IP/bytes/$bytes" | cmp - "$WORK/up"
    ok $? "$1: $bytes bytes out"
    is_like "$(inside curl -sf -m 60 -T "$WORK/up" "http://$APP_IP/upload")" "$bytes, \"crc32\": \"$crc\"" \
        "$1: $bytes bytes in"
    OUT_FRAMES=$(($(packets rx) - rx)) IN_FRAMES=$(($(packets tx) - tx))
    note "$1: $OUT_FRAMES frames from us, $IN_FRAMES frames to us"
}
segments=$((bytes / 1448))
transfer 'offloads on'
[ "$OUT_FRAMES" -lt $((segments / 2)) ]
ok $? 'large frames go out'
[ "$IN_FRAMES" -lt $((segments / 2)) ]
ok $? 'large frames come in'
inside ethtool -K "$tap" tso off gso off tx off sg off >/dev/null 2>&1
transfer 'the host cuts and sums itself'
[ "$IN_FRAMES" -gt "$segments" ]
ok $? 'segments of one MTU come in'
inside ethtool -K "$tap" tx on sg on tso on gso on >/dev/null 2>&1
transfer 'offloads on again'
app_stop_ok
done_testing
