#!/usr/bin/env bash
# ping over a tap: every size, fragments included, and a flood; nothing lost, nothing left behind.
. "$(dirname "$0")/lib.sh"
need ping
net_open
tap_start website || done_testing

# A tap holds 500 frames; while we do not run, fewer than that would come of a flood of fragments.
ip -n "$NS" link set dev mir0 txqueuelen 10000
idle=$(counter buffers_used)
for size in 0 1 7 8 56 1471 1472 1473 1480 2952 2953 8000 16000 32768 64000 65000 65507; do
    inside ping -q -c 5 -i 0.02 -W 10 -s "$size" "$APP_IP" >"$WORK/ping" 2>&1
    is_like "$(cat "$WORK/ping")" ' 5 received, 0% packet loss' "ping with $size bytes is answered"
done
for pattern in 00 ff a55a; do
    inside ping -c 3 -i 0.02 -W 10 -s 20000 -p "$pattern" "$APP_IP" >"$WORK/ping" 2>&1
    is_like "$(cat "$WORK/ping")" ' 3 received, 0% packet loss' "pattern $pattern comes back"
    ! grep -qi 'wrong data' "$WORK/ping"
    ok $? "pattern $pattern comes back unchanged"
done
inside ping -q -f -c 1000 -W 10 "$APP_IP" >"$WORK/ping" 2>&1
is_like "$(cat "$WORK/ping")" ' 1000 received, 0% packet loss' 'a flood of 1,000 loses none'
inside ping -q -f -c 200 -W 10 -s 20000 "$APP_IP" >"$WORK/ping" 2>&1
is_like "$(cat "$WORK/ping")" ' 200 received, 0% packet loss' 'a flood of 200 fragmented ones loses none'
inside ping -q -b -c 1 -W 1 10.77.0.255 >"$WORK/ping" 2>&1
is_like "$(cat "$WORK/ping")" ' 0 received' 'a broadcast ping is not answered (RFC 1122 3.2.2.6)'
inside ping -q -c 1 -W 10 -t 1 "$APP_IP" >"$WORK/ping" 2>&1
is_like "$(cat "$WORK/ping")" ' 1 received' 'TTL 1 reaches us'

at_rest() { [ "$(counter buffers_used)" = "$idle" ]; }
[ "$(counter ip_reassembled)" -gt 200 ]
ok $? 'the fragments were counted'
wait_until 10 at_rest
is "$(counter buffers_used)" "$idle" 'packet buffers are back at the idle figure'
app_stop_ok
! ip -n "$NS" link show type tun 2>/dev/null | grep -q tap
ok $? 'the tap is gone'
done_testing
