#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# Two workers on an interface that is there already (--workers 2 --net packet): the host spreads frames over a socket for each, and a
# connection stays with its worker, also one that was begun here; neighbours, pings, datagrams in fragments; a worker that is killed
# takes only its own connections along; both are replaced while clients come; DHCP; the interface goes down and comes back.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/workers.sh"
need curl wrk ping python3 dnsmasq
mirari=$B/mirari
[ -x "$mirari" ] || skip_all "$mirari is not built (make)"
pattern=$B/host/test/bench/pattern
[ -x "$pattern" ] || skip_all "$pattern is not built (make bench-bins)"
net_open
inside sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0
ip -n "$NS" link add pk0 type veth peer name pk1 || skip_all "this host gives no veth pair"
inside sh -c 'echo 1 >/proc/sys/net/ipv6/conf/pk0/disable_ipv6' 2>/dev/null
ip -n "$NS" link set pk0 up && ip -n "$NS" link set pk1 up
ip -n "$NS" address add "$HOST_IP/24" dev pk1 && ip -n "$NS" address add "$HOST_IP6/64" dev pk1 nodad
monitor=$WORK/monitor
control=$WORK/control
opens() { "$mirari" stats "$control" --worker "$1" -a | awk '$1 == "tcp_passive_opens" {print $2}'; }
both_serve() { # both_serve ADDRESS: connections until each worker has had one
    local before=("$(opens 0)" "$(opens 1)") i
    for i in $(seq 200); do
        [ "$(page "$1")" = 200 ] || return 1
        [ "$(opens 0)" -gt "${before[0]}" ] && [ "$(opens 1)" -gt "${before[1]}" ] && return 0
    done
    return 1
}

# ---- a site --------------------------------------------------------------------------------------
site() { app_start website --workers 2 --net packet:pk0 --monitor "$monitor" --control "$control" --log info "$@" || done_testing; }
site --ip "$APP_IP/24" --ip "$APP_IP6/64" --ip6 static
wait_until 20 tcp_answers "$APP_IP" 80
is "$(workers | wc -l)" 2 'a monitor and two workers'
for pid in $(workers); do awk '/^CapEff:/ {print $2} /^Seccomp:/ {print $2}' "/proc/$pid/status"; done | tr '\n' ' ' >"$WORK/rights"
is "$(cat "$WORK/rights")" '0000000000000000 2 0000000000000000 2 ' 'without capabilities, with a filter'
pinged() { inside ping -q -c 1 -W 1 "$1" >/dev/null; }
wait_until 20 pinged "$APP_IP6"
both_serve "$APP_IP" && both_serve "[$APP_IP6]"
ok $? 'both serve, over both families'
serve_as_one
is "$("$mirari" stats "$control" -a | awk '$1 == "arp_conflict" {n += $2} END {print n + 0}')" 0 \
    'what one of them sends the other one does not take for news'

# ---- one is killed --------------------------------------------------------------------------------
for i in $(seq 12); do
    inside curl -s -m 60 --limit-rate 3M "http://$APP_IP/bytes/12000000" -o "$WORK/slow.$i" &
    PIDS+=($!)
    slow[i]=$!
done
under_way() { [ "$(find "$WORK" -name 'slow.*' -size +50k | wc -l)" = 12 ]; }
wait_until 20 under_way
victim=$(workers | head -n 1)
kill -9 "$victim"
whole=0
for i in $(seq 12); do
    wait "${slow[i]}" && cmp -s "$WORK/slow.$i" <("$pattern" 12000000) && whole=$((whole + 1))
done
note "$whole of 12 downloads were those of the other worker"
[ $whole -gt 0 ] && [ $whole -lt 12 ]
ok $? 'a worker that is killed takes its own connections along, and no other'
two_again() { [ "$(workers | wc -l)" = 2 ] && [ "$(page "$APP_IP")" = 200 ]; }
wait_until 20 two_again
both_serve "$APP_IP"
ok $? 'and comes back: both serve'

# ---- both are replaced -------------------------------------------------------------------------------
: >"$WORK/wrong"
for i in 1 2 3 4; do
    (while [ ! -e "$WORK/enough" ]; do
        code=$(page "$APP_IP")
        [ "$code" = 200 ] || echo "$code" >>"$WORK/wrong"
        echo >>"$WORK/asked"
    done) &
    PIDS+=($!)
    clients[i]=$!
done
old=$(workers | sort)
is "$(monitor_ask "$monitor" 11)" '0 all workers are new' 'both are replaced'
is "$(comm -12 <(echo "$old") <(workers | sort) | wc -l)" 0 'by other processes'
touch "$WORK/enough"
wait "${clients[@]}"
is "$(cat "$WORK/wrong")" '' "$(wc -l <"$WORK/asked") clients that came meanwhile were all served"
both_serve "$APP_IP" && both_serve "[$APP_IP6]"
ok $? 'both serve'
is_like "$(monitor_ask "$monitor" 10 net0)" '^-' 'an interface that is not ours cannot be detached'

# ---- the interface goes down and comes back -------------------------------------------------------------
ip -n "$NS" link set pk0 down
ip -n "$NS" link set pk0 up
wait_until 20 pinged "$APP_IP"
both_serve "$APP_IP"
ok $? 'down and up again: both serve'
app_stop
is "$APP_STATUS" 0 'they end with status 0'
! grep -E 'assertion|runtime error|makes no sense' "$APP_OUT"
ok $? 'nobody complained'

# ---- DHCP ------------------------------------------------------------------------------------------------
: >"$WORK/dhcp.log"
ip netns exec "$NS" dnsmasq --keep-in-foreground --port=0 --interface=pk1 --bind-dynamic --dhcp-authoritative --no-ping --pid-file= \
    --dhcp-range=10.77.0.50,10.77.0.50,255.255.255.0,120s --dhcp-option=option:T1,3 --dhcp-option=option:T2,10 --log-dhcp \
    --dhcp-leasefile="$WORK/leases" --conf-file=/dev/null --user=root --log-facility="$WORK/dhcp.log" &
PIDS+=($!)
said() { [ "$(grep -c "$1" "$WORK/dhcp.log")" -ge "${2:-1}" ]; }
wait_until 20 said 'DHCP, sockets bound'
site --ip dhcp
wait_until 40 grep -q '^address: 10.77.0.50' "$APP_OUT"
wait_until 20 tcp_answers 10.77.0.50 80
both_serve 10.77.0.50
ok $? 'DHCP: both serve at the leased address'
wait_until 30 said 'DHCPACK(pk1)' 2
is "$(grep -c DHCPDISCOVER "$WORK/dhcp.log")" 1 'one of them has asked, and renews'
app_stop_ok

# ---- connections that begin here -----------------------------------------------------------------------
peer_build asan
app_start peer --workers 2 --net packet:pk0 --ip "$APP_IP/24" --ip "$APP_IP6/64" --ip6 static \
    --relay "7001=$HOST_IP:7000,7002=[$HOST_IP6]:7000" || done_testing
wait_until 60 peer_ready
inside python3 - "$APP_IP" "$APP_IP6" >"$WORK/relay" 2>&1 <<'PY'
import socket, sys
server = socket.create_server(("::", 7000), family=socket.AF_INET6, dualstack_ipv6=True)
server.settimeout(60)
pairs = []
for i in range(32):
    client = socket.create_connection((sys.argv[1 + i % 2], 7001 + i % 2), 60)
    client.sendall(b"%04d" % i)
    held, _ = server.accept()
    held.settimeout(60)
    assert held.recv(4) == b"%04d" % i
    pairs.append((client, held))
for i, (client, held) in enumerate(pairs):
    held.sendall(b"from the server %d" % i)
for i, (client, held) in enumerate(pairs):
    assert client.recv(100) == b"from the server %d" % i, i
for client, held in pairs:
    data = bytes(range(256)) * 400
    held.sendall(data)
    got = b""
    while len(got) < len(data):
        got += client.recv(65536)
    assert got == data
print("good")
PY
is "$(cat "$WORK/relay")" good '32 connections of ours carry data both ways'
app_stop
is "$APP_STATUS" 0 'it ends with status 0'
! grep -E 'ERROR: (Address|Leak)Sanitizer|runtime error|assertion' "$APP_OUT"
ok $? 'no sanitizer complained'
done_testing
