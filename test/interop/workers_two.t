#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# Several workers on one tap (--workers 2): a connection stays with its worker, also one that was begun here and was silent
# for longer than the host remembers it; neighbours, pings and large packets; a worker that is killed takes only its own
# connections along; both are replaced while clients come.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/workers.sh"
need curl wrk ping python3
pattern=$B/host/test/bench/pattern
[ -x "$pattern" ] || skip_all "$pattern is not built (make bench-bins)"
net_open
inside sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0
monitor=$WORK/monitor
mirari=$B/mirari

# ---- what several workers cannot have ---------------------------------------------------------------
website=$(app_binary website)
[ -x "$website" ] || skip_all "$website is not built (make examples)"
refused() { is_like "$(inside "$website" --workers 2 "${@:2}" 2>&1; echo " $?")" "--workers 2: .*$1.* 64\$" "refused: ${*:2}"; }
refused 'needs mode tap' --net user
refused 'cannot have --pcap' --net tap --pcap "$WORK/x.pcapng"
refused 'temporary' --net tap --ip6 temporary

# ---- a site --------------------------------------------------------------------------------------
control=$WORK/control
tap_start website --workers 2 --monitor "$monitor" --control "$control" --control-ro "$WORK/look" --ip "$APP_IP6/64" --host-ip "$HOST_IP6/64" --ip6 static --log info || done_testing
wait_until 20 tcp_answers "$APP_IP" 80
is "$(workers | wc -l)" 2 'a monitor and two workers'
pinged() { inside ping -q -c 1 -W 1 "$1" >/dev/null; }
wait_until 20 pinged "$APP_IP6"
# Which worker answers is chosen by the connection; each tells how many it has had.
for i in $(seq 40); do stats | tr ',' '\n' | grep -m 1 '"tcp_passive_opens"'; done >"$WORK/seen"
is "$(sort "$WORK/seen" | uniq -d | wc -l | awk '{print ($1 > 0)}')" 1 'both serve: their counters grow apart'
serve_as_one

# ---- one is killed --------------------------------------------------------------------------------
# Slow downloads, spread over both: those of the worker that goes end, the others do not notice.
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
ok $? 'and comes back'

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

# ---- they are looked into ------------------------------------------------------------------------------
# One channel for each, at PATH and PATH.1; what can be added up is.
if [ -x "$mirari" ]; then
    is_like "$("$mirari" ctl "$control" --worker 1 describe)" '"worker":1,"workers":2' 'control: one of two'
    is_like "$("$mirari" ctl "$control" describe 2>&1)" 'has 2 workers; this is number 0.*"worker":0,' 'control: without a number the first, and a note'
    is "$("$mirari" ctl "$control" --worker 2 describe 2>&1)" "mirari: ctl: \"$control\" has no worker 2; the last one is number 1" \
        'control: there is no third'
    is "$("$mirari" netstat "$control" -l -t | awk '$2 == "tcp" {print $1, $5}' | sort)" $'0 [::]:80\n1 [::]:80' 'netstat: both, with a column'
    is "$("$mirari" netstat "$control" -l -t --worker 1 | awk '$1 == "tcp" {print $4}')" '[::]:80' 'netstat: one of them'
    for i in $(seq 20); do page "$APP_IP" >"$WORK/code"; done
    opens() { "$mirari" stats "$control" "$@" -a | awk '$1 == "tcp_passive_opens" {print $2}'; }
    is "$(opens)" "$(($(opens --worker 0) + $(opens --worker 1)))" 'stats: counters are added up'
    "$mirari" stats "$control" --prometheus >"$WORK/metrics"
    is "$(grep -cE '^mirari_tcp_passive_opens_total\{worker="[01]"\} [0-9]+$' "$WORK/metrics")" 2 'stats: for Prometheus each, with a label'
    is "$(grep -cE '^mirari_dev_rx_frames_total\{worker="[01]",net="net0"\} [0-9]+$' "$WORK/metrics")" 2 'stats: beside other labels'
    is "$(grep '^#' "$WORK/metrics" | sort | uniq -d)" '' 'stats: and each name once'
    is_like "$("$mirari" top "$control" -n 1)" 'website|control' 'top: all in a row'
    "$mirari" log "$control" tcp=info >"$WORK/levels"
    is "$(for k in 0 1; do "$mirari" log "$control" --worker $k | awk '$1 == "tcp" {print $2}'; done | sort -u)" info 'log: levels of both'
    is_like "$("$mirari" shutdown "$WORK/look" 2>&1)" 'this channel is read-only' 'control: one that may look only'
    victim=$(workers | head -n 1)
    kill -9 "$victim"
    is "$("$mirari" netstat "$control" -l -t | awk '$2 == "tcp"' | wc -l)" 2 'control: one that is started again is waited for'
    is "$("$mirari" shutdown "$control")" "$control has ended" 'shutdown: of one is of all'
    gone() { ! kill -0 "$APP_PID" 2>/dev/null; }
    wait_until 20 gone # a signal would be the second one that asks it
    ok $? 'and the monitor ends with them'
fi
app_stop
is "$APP_STATUS" 0 'they end with status 0'

# ---- connections that begin here -----------------------------------------------------------------------
# The relay accepts and connects. Nothing is said on the connections for longer than the host's memory of flows.
peer_build asan
peer_start --workers 2 --relay "7001=$HOST_IP:7000,7002=[$HOST_IP6]:7000" || done_testing
inside python3 - "$APP_IP" "$APP_IP6" >"$WORK/relay" 2>&1 <<'PY'
import socket, sys, time
server = socket.create_server(("::", 7000), family=socket.AF_INET6, dualstack_ipv6=True)
server.settimeout(20)
pairs = []
for i in range(32):
    client = socket.create_connection((sys.argv[1 + i % 2], 7001 + i % 2), 20)
    client.sendall(b"%04d" % i)
    held, _ = server.accept()
    held.settimeout(20)
    assert held.recv(4) == b"%04d" % i
    pairs.append((client, held))
time.sleep(4)  # the time that is tested: the host forgets a flow after three seconds
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
is "$(cat "$WORK/relay")" good '32 connections of ours that were silent for four seconds go on'
udp() {
    inside python3 - "$APP_IP" <<'PY'
import socket, sys
server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
server.bind(("::", 7000))
server.settimeout(10)
good = 0
for i in range(20):
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(10)
    client.sendto(b"%d" % i, (sys.argv[1], 7001))
    data, sender = server.recvfrom(100)
    server.sendto(b"back " + data, sender)
    good += client.recv(100) == b"back %d" % i
print(good)
PY
}
is "$(udp)" 20 'datagrams there and back, each by a port of its own'
app_stop
is "$APP_STATUS" 0 'it ends with status 0'
! grep -E 'ERROR: (Address|Leak)Sanitizer|runtime error|assertion' "$APP_OUT"
ok $? 'no sanitizer complained'
done_testing
