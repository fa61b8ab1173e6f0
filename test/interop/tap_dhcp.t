#!/usr/bin/env bash
# DHCP from dnsmasq on a tap that somebody else made: lease, renewal, refusal and a new lease.
. "$(dirname "$0")/lib.sh"
need dnsmasq ping curl
net_open
ip -n "$NS" tuntap add dev tap7 mode tap
ip -n "$NS" address add "$HOST_IP/24" dev tap7
ip -n "$NS" link set tap7 up

serve_dhcp() { # serve_dhcp FIRST LAST: T1 is 3 s, so that a renewal is seen soon; if it meets no server, T2 follows
    ip netns exec "$NS" dnsmasq --keep-in-foreground --port=0 --interface=tap7 --bind-dynamic --dhcp-authoritative \
        --dhcp-range="$1,$2,255.255.255.0,120s" --dhcp-option=option:T1,3 --dhcp-option=option:T2,10 \
        --dhcp-option="option:router,$HOST_IP" --dhcp-leasefile="$WORK/leases" --log-dhcp --no-ping \
        --pid-file= --conf-file=/dev/null --user=root --log-facility="$WORK/dnsmasq.log" &
    DNSMASQ=$!
    PIDS=("$DNSMASQ")
}
said() { [ "$(grep -c "$1" "$WORK/dnsmasq.log")" -ge "${2:-1}" ]; }

: >"$WORK/dnsmasq.log"
serve_dhcp 10.77.0.50 10.77.0.50
app_start website --net tap:tap7 --ip dhcp || done_testing
wait_until 40 grep -q '^address:' "$APP_OUT"
is "$(grep '^address:' "$APP_OUT")" 'address: 10.77.0.50' 'a lease is taken and printed'
APP_IP=10.77.0.50
inside ping -q -c 3 -i 0.05 -W 2 "$APP_IP" >/dev/null
ok $? 'the leased address answers'
inside curl -sf -m 10 "http://$APP_IP/" >/dev/null
ok $? 'the site is there'
is_like "$(grep -E 'DHCPREQUEST|client provides name' "$WORK/dnsmasq.log")" 'DHCPREQUEST' 'discover, offer, request, ack'

discovers=$(grep -c DHCPDISCOVER "$WORK/dnsmasq.log") # one, unless the server came late
wait_until 30 said 'DHCPACK' 3
ok $? 'the lease is renewed at T1, twice'
is "$(grep -c DHCPDISCOVER "$WORK/dnsmasq.log")" "$discovers" 'renewals need no discover'

kill "$DNSMASQ"
wait "$DNSMASQ" 2>/dev/null
rm -f "$WORK/leases"
: >"$WORK/dnsmasq.log"
serve_dhcp 10.77.0.60 10.77.0.60
wait_until 30 said 'DHCPNAK'
ok $? 'a server that does not know the address refuses it'
wait_until 60 said 'DHCPACK(tap7) 10.77.0.60'
ok $? 'a new lease is taken'
answers() { inside ping -q -c 1 -W 1 "$1" >/dev/null; }
wait_until 10 answers 10.77.0.60
ok $? 'the new address answers'
! answers 10.77.0.50
ok $? 'the old address does not'
grep -hE 'NAK|ACK' "$WORK/dnsmasq.log" | sed 's/^/# /' | head -n 4
app_stop_ok
wait_until 10 said DHCPRELEASE
ok $? 'it is given back at the end'

: >"$WORK/dnsmasq.log"
again() { # again NAME: one exchange, the same address; renewals may follow at once
    : >"$WORK/dnsmasq.log"
    app_start website --net tap:tap7 --ip dhcp --lease-file "$WORK/lease" || done_testing
    wait_until 40 grep -q '^address:' "$APP_OUT"
    is "$(grep '^address:' "$APP_OUT")" 'address: 10.77.0.60' "$1: the same address"
    is "$(grep -oE 'DHCP(DISCOVER|OFFER|REQUEST|ACK|NAK)' "$WORK/dnsmasq.log" | head -n 2 | tr '\n' ' ')" 'DHCPREQUEST DHCPACK ' "$1: by one request"
}
app_start website --net tap:tap7 --ip dhcp --lease-file "$WORK/lease" || done_testing
wait_until 40 grep -q '^mirari-lease 1 10.77.0.60 ' "$WORK/lease"
ok $? 'the lease is written to a file'
first=$(cat "$WORK/lease")
changed() { [ "$(cat "$WORK/lease")" != "$first" ]; }
wait_until 30 changed
ok $? 'and again when it was renewed'
app_stop_ok
is "$(grep -c DHCPRELEASE "$WORK/dnsmasq.log")" 0 'it is not given back at the end'
again 'started again'
kill -9 "$APP_PID"
wait "$APP_PID" 2>/dev/null
again 'after kill -9'
app_stop_ok
echo 'mirari-lease 1 10.77.0.99 what is this' >"$WORK/lease"
app_start website --net tap:tap7 --ip dhcp --lease-file "$WORK/lease" || done_testing
wait_until 40 grep -q '^address: 10.77.0.60' "$APP_OUT"
ok $? 'a file with nonsense is ignored'
app_stop_ok
ip -n "$NS" link show tap7 >/dev/null
ok $? 'the tap that was not ours is still there'
done_testing
