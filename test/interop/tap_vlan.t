#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# A VLAN on a tap: Linux has a sub-interface, or a relay of ours where the kernel has no VLANs, and we the option.
# Ping, files both ways; with a sub-interface also with all offloads, and other VLANs.
. "$(dirname "$0")/lib.sh"
need ping curl python3
net_open
ip -n "$NS" tuntap add dev tap7 mode tap
ip -n "$NS" link set tap7 up
HAS_VLANS=yes
PLAIN=()
if ! ip -n "$NS" link add link tap7 name vlan42 type vlan id 42 2>/dev/null; then
    note 'this kernel has no VLAN interfaces: a relay tags the frames'
    HAS_VLANS=
    PLAIN=(--fault loss=0%) # without offloads: the relay wants whole frames
    ip netns exec "$NS" python3 test/interop/probe/vlanrelay.py tap7 42 vlan42 >"$WORK/relay" 2>&1 &
    PIDS+=($!)
    wait_until 5 grep -q ready "$WORK/relay"
fi
ip -n "$NS" address add "$HOST_IP/24" dev vlan42
ip -n "$NS" link set vlan42 up
app_start website --net tap:tap7 --ip "$APP_IP/24" --vlan 42 "${PLAIN[@]}" || done_testing
wait_until 10 tcp_answers "$APP_IP" 80
ok $? 'a connection in the VLAN'
inside ping -q -c 3 -i 0.05 -W 10 "$APP_IP" >/dev/null
ok $? 'ping'
inside ping -q -c 2 -i 0.05 -W 10 -s 1472 -M do "$APP_IP" >/dev/null
ok $? 'packets of the whole MTU, both ways'

transfer() { # transfer NAME
    inside curl -sf -m 30 "http://$APP_IP/bytes/2000000" >"$WORK/down"
    is "$(stat -c %s "$WORK/down")" 2000000 "$1: out"
    is_like "$(inside curl -sf -m 30 -T "$WORK/down" "http://$APP_IP/upload")" '2000000' "$1: in"
}
transfer 'a file'
if [ $HAS_VLANS ]; then
    inside ethtool -K tap7 tso off gso off tx off sg off >/dev/null 2>&1
    transfer 'the host cuts and sums itself'
else
    ! grep -q foreign "$WORK/relay"
    ok $? 'every frame of ours has the tag'
fi
ip -n "$NS" address add 10.78.0.1/24 dev tap7
inside ping -q -c 3 -i 0.05 -W 1 -I tap7 "$APP_IP" >/dev/null
[ $? != 0 ]
ok $? 'nothing answers without the tag'
[ "$(counter dev0_rx_dropped)" -ge 1 ]
ok $? 'those frames are counted'
app_stop_ok
done_testing
