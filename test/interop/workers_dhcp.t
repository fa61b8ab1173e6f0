#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# DHCP with two workers (--workers 2 --ip dhcp), against dnsmasq and udhcpd: one of them asks and both have the address; renewals, a
# new address, one that somebody else claims and one whose lease ends reach both; either may be killed and both replaced.
. "$(dirname "$0")/lib.sh"
need dnsmasq udhcpd ping curl python3
mirari=$B/mirari
[ -x "$mirari" ] || skip_all "$mirari is not built (make)"
net_open
ip -n "$NS" tuntap add dev tap7 mode tap multi_queue
ip -n "$NS" address add "$HOST_IP/24" dev tap7
ip -n "$NS" link set tap7 up
control=$WORK/control
monitor=$WORK/monitor

serve_dhcp() { # serve_dhcp FIRST LAST: T1 is 3 s, and it is there at the return
    : >"$WORK/dhcp.log"
    ip netns exec "$NS" dnsmasq --keep-in-foreground --port=0 --interface=tap7 --bind-dynamic --dhcp-authoritative \
        --dhcp-range="$1,$2,255.255.255.0,120s" --dhcp-option=option:T1,3 --dhcp-option=option:T2,10 \
        --dhcp-option="option:router,$HOST_IP" --dhcp-option="option:dns-server,10.77.0.9" --dhcp-option="121,192.0.2.0/24,10.77.0.8" \
        --dhcp-leasefile="$WORK/leases" --log-dhcp --no-ping --pid-file= --conf-file=/dev/null --user=root --log-facility="$WORK/dhcp.log" &
    SERVER=$!
    PIDS+=("$SERVER")
    wait_until 20 said 'DHCP, sockets bound'
}
stop_server() {
    kill "$SERVER"
    wait "$SERVER" 2>/dev/null
    rm -f "$WORK/leases"
}
# A question that is asked again, because the server was slow, has the same number.
count() { grep -c "$1" "$WORK/dhcp.log"; }
said() { [ "$(count "$1")" -ge "${2:-1}" ]; }
workers() { pgrep -P "$APP_PID"; }
address() { "$mirari" addr "$control" --worker "$1" 2>/dev/null | grep -o '10\.77\.0\.[0-9]*/24'; } # of worker K
both_have() { [ "$(address 0) $(address 1)" = "$1 $1" ]; }
none_has_one() { "$mirari" addr "$control" --worker 0 >/dev/null && "$mirari" addr "$control" --worker 1 >/dev/null && [ -z "$(address 0)$(address 1)" ]; }
answers() { inside ping -q -c 1 -W 1 "$1" >/dev/null; }
opens() { "$mirari" stats "$control" --worker "$1" -a | awk '$1 == "tcp_passive_opens" {print $2}'; }
# Connections until each worker has had one.
both_serve() {
    local before=("$(opens 0)" "$(opens 1)") i
    for i in $(seq 200); do
        [ "$(inside curl -s -m 20 -o /dev/null -w '%{http_code}' "http://$1/")" = 200 ] || return 1
        [ "$(opens 0)" -gt "${before[0]}" ] && [ "$(opens 1)" -gt "${before[1]}" ] && return 0
    done
    return 1
}
start() {
    app_start website --workers 2 --net tap:tap7 --ip dhcp --monitor "$monitor" --control "$control" --log info || done_testing
    wait_until 40 grep -q '^address:' "$APP_OUT"
}

# ---- a lease ---------------------------------------------------------------------------------------
serve_dhcp 10.77.0.50 10.77.0.50
start
is "$(grep '^address:' "$APP_OUT")" 'address: 10.77.0.50' 'a lease is taken, and printed once'
wait_until 20 both_have 10.77.0.50/24
ok $? 'both workers have the address'
both_serve 10.77.0.50
ok $? 'and serve there'
is "$("$mirari" route "$control" --worker 0 | sort)" "$("$mirari" route "$control" --worker 1 | sort)" 'with the same routes'
is_like "$("$mirari" route "$control" --worker 1)" '192\.0\.2\.0/24.*10\.77\.0\.8' 'that of the server among them'
discovers=$(count DHCPDISCOVER)
wait_until 30 said 'DHCPACK(tap7)' 2
ok $? 'the lease is renewed'
is "$(grep -o '[0-9]* DHCPDISCOVER' "$WORK/dhcp.log" | sort -u | wc -l) $(count DHCPDISCOVER)" "1 $discovers" 'and one alone has asked, once'

# ---- either is killed, both are replaced ---------------------------------------------------------------
pid_of() { monitor_ask "$monitor" 12 | sed -n "s/.*worker $1 process \([0-9]*\) .*/\1/p"; }
is_new() { [ -n "$(pid_of "$1")" ] && [ "$(pid_of "$1")" != 0 ] && [ "$(pid_of "$1")" != "$2" ]; }
killed() { # killed K ADDRESS: it is there again, and has the address
    local old
    old=$(pid_of "$1")
    kill -9 "$old"
    wait_until 20 is_new "$1" "$old" && wait_until 20 both_have "$2/24"
}
killed 1 10.77.0.50
ok $? 'a worker that follows is killed: the next one has the address'
is "$(count DHCPDISCOVER)" "$discovers" 'without a question'
acks=$(count 'DHCPACK(tap7)')
killed 0 10.77.0.50
ok $? 'the one that leads is killed: so has the next one'
wait_until 20 said 'DHCPACK(tap7)' $((acks + 1))
is "$(count DHCPDISCOVER)" "$discovers" 'and asks whether it still holds, no more'
both_serve 10.77.0.50
ok $? 'both serve again'
is "$(monitor_ask "$monitor" 11)" '0 all workers are new' 'both are replaced'
wait_until 20 both_have 10.77.0.50/24
ok $? 'the new ones have the address'
acks=$(count 'DHCPACK(tap7)')
wait_until 30 said 'DHCPACK(tap7)' $((acks + 2))
ok $? 'and renew it'
is "$(count DHCPDISCOVER)$(count DHCPRELEASE)$(count DHCPNAK)" "${discovers}00" 'nothing was given back, nothing asked anew'
both_serve 10.77.0.50
ok $? 'both serve'

# ---- another address -------------------------------------------------------------------------------------
stop_server
serve_dhcp 10.77.0.60 10.77.0.61
wait_until 60 said 'DHCPACK(tap7) 10.77.0.6'
got=$(sed -n 's/.*DHCPACK(tap7) \(10\.77\.0\.6.\).*/\1/p' "$WORK/dhcp.log" | head -n 1)
wait_until 20 both_have "$got/24"
ok $? 'a server that refuses the address: both have the new one'
both_serve "$got"
ok $? 'and serve there'
! answers 10.77.0.50
ok $? 'the old one is silent'

# Another host says to have the address, again and again: it is given back, by one DECLINE, and both have another one.
inside python3 - "$got" "$WORK/enough" <<'PY' &
import os, socket, struct, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("tap7", 0))
mac, ip = bytes.fromhex("020000000099"), socket.inet_aton(sys.argv[1])
turn = 0
while not os.path.exists(sys.argv[2]):  # asks for many, so that many queues see it
    turn += 1
    target = socket.inet_aton("10.77.0.%d" % (100 + turn % 50))
    s.send(b"\xff" * 6 + mac + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1) + mac + ip + bytes(6) + target)
    time.sleep(0.1)
PY
claimer=$!
PIDS+=("$claimer")
wait_until 40 said "DHCPDECLINE(tap7) $got"
ok $? 'somebody else claims it: it is declined'
other=10.77.0.60
[ "$got" = "$other" ] && other=10.77.0.61
wait_until 60 both_have "$other/24"
ok $? 'and both have another one'
touch "$WORK/enough"
wait "$claimer"
is "$(count DHCPDECLINE)" 1 'once'
both_serve "$other"
ok $? 'both serve there'
app_stop
is "$APP_STATUS" 0 'the appliance ends with status 0'
! grep -E 'assertion|runtime error|makes no sense|ERROR dhcp' "$APP_OUT"
ok $? 'it did not complain'
is "$(count DHCPRELEASE)" 0 'the lease is not given back at the end: others may have used it still'
stop_server

# ---- a lease that ends ------------------------------------------------------------------------------------
# One of ten seconds, renewed after five; then there is no server.
cat >"$WORK/udhcpd.conf" <<END
start 10.77.0.70
end 10.77.0.70
interface tap7
min_lease 5
lease_file $WORK/udhcpd.leases
pidfile $WORK/udhcpd.pid
option subnet 255.255.255.0
option lease 10
END
serve_short() {
    : >"$WORK/udhcpd.leases"
    ip netns exec "$NS" udhcpd -f "$WORK/udhcpd.conf" >"$WORK/dhcp.log" 2>&1 &
    SERVER=$!
    PIDS+=("$SERVER")
    wait_until 20 said 'started'
}
serve_short
start
wait_until 20 both_have 10.77.0.70/24
ok $? 'a lease of ten seconds'
wait_until 40 said 'sending ACK' 2
both_have 10.77.0.70/24
ok $? 'both have it after it was renewed'
stop_server
kill -STOP "$(pid_of 0)" # it cannot tell
follower_has_none() { "$mirari" addr "$control" --worker 1 >/dev/null && [ -z "$(address 1)" ]; }
wait_until 30 follower_has_none
ok $? 'no server, and the one that leads stands still: the other one gives the address up by itself'
kill -CONT "$(pid_of 0)"
wait_until 20 none_has_one
ok $? 'then it does, too'
serve_short
wait_until 90 both_have 10.77.0.70/24
ok $? 'a server is there again: so is the address, at both'
app_stop_ok
done_testing
