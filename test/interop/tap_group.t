#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# Group membership seen from the wire: a querier of our own asks on a tap for the group of multicast DNS, which the
# website joins when it announces itself; versions 3, 2 and 1, and the leave at the end. Then traceroute and closed ports.
. "$(dirname "$0")/lib.sh"
need python3 ping traceroute
GROUP=224.0.0.251
net_open
ip -n "$NS" tuntap add dev tap7 mode tap
ip -n "$NS" address add "$HOST_IP/24" dev tap7
ip -n "$NS" link set tap7 up
querier() { inside timeout 60 python3 test/interop/probe/igmp.py tap7 "$HOST_IP" "$GROUP" "$@"; }
# started before the appliance, so that its first report is heard
querier 0 30 >"$WORK/join" &
joined=$!
wait_until 20 grep -q listening "$WORK/join"
app_start website --net tap:tap7 --ip "$APP_IP/24" --announce mirari || done_testing
wait $joined
is "$(tail -n 1 "$WORK/join")" 'v3 record=4 sources=0 ttl=1 alert=yes' 'a join is told: TO_EXCLUDE, router alert'
wait_until 10 grep -q '^announced' "$APP_OUT"
is "$(querier 3 15 | tail -n 1)" 'v3 record=2 sources=0 ttl=1 alert=yes' 'a query of version 3 is answered'
is "$(querier 2 15 | tail -n 1)" 'v2 report ttl=1 alert=yes' 'one of version 2 in its way'
is "$(querier 1 25 | tail -n 1)" 'v1 report ttl=1 alert=yes' 'one of version 1 too'

is_like "$(inside traceroute -n -w 10 -q 1 -m 3 "$APP_IP")" " 1 +$APP_IP " 'traceroute by UDP ends here: port unreachable'
is "$(inside python3 - "$APP_IP" <<'PY'
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(10)
s.connect((sys.argv[1], 9))
s.send(b"x")
try:
    s.recv(10)
except ConnectionRefusedError:
    print("refused")
PY
)" refused 'a client of Linux is told that a port is closed'
[ "$(counter igmp_in)" -ge 3 ]
ok $? 'queries are counted'
is "$(counter igmp_malformed)" 0 'none was malformed'
app_stop_ok
lookup=$(app_binary lookup)
if [ -x "$lookup" ]; then
    is_like "$(inside timeout 20 "$lookup" --net tap:tap7 --ip "$APP_IP/24" --ip6 off --dns "$HOST_IP" \
        --names x.example 2>&1)" 'x.example: connection refused' 'a client of ours is told that a port of Linux is closed'
fi
done_testing
