#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# DHCP beyond the lease: an address that Linux holds is declined, classless routes are used instead of the router,
# a second server (udhcpd) gives a lease and renews it, and without a server the search goes on.
. "$(dirname "$0")/lib.sh"
need dnsmasq ping
net_open
ip -n "$NS" tuntap add dev tap7 mode tap
ip -n "$NS" address add "$HOST_IP/24" dev tap7
ip -n "$NS" address add 10.77.0.50/32 dev tap7 # what the server will offer first
ip -n "$NS" address add 10.77.0.9/32 dev tap7  # another router
ip -n "$NS" address add 192.168.77.1/32 dev lo # behind it
ip -n "$NS" address add 198.51.100.1/32 dev lo # behind the default route
ip -n "$NS" link set tap7 up
: >"$WORK/dnsmasq.log"
ip netns exec "$NS" dnsmasq --keep-in-foreground --port=0 --interface=tap7 --bind-dynamic --dhcp-authoritative \
    --dhcp-range=10.77.0.50,10.77.0.51,255.255.255.0,120s --dhcp-sequential-ip --no-ping \
    --dhcp-option=option:router,10.77.0.200 --dhcp-option=option:domain-search,a.example,b.example \
    "--dhcp-option=option:classless-static-route,192.168.77.0/24,10.77.0.9,0.0.0.0/0,$HOST_IP" \
    --dhcp-leasefile="$WORK/leases" --log-dhcp --pid-file= --conf-file=/dev/null --user=root \
    --log-facility="$WORK/dnsmasq.log" &
PIDS=($!)
DNSMASQ=$!
said() { grep -q "$1" "$WORK/dnsmasq.log"; }
app_start website --net tap:tap7 --ip dhcp --ip6 off || done_testing
wait_until 40 said 'DHCPDECLINE(tap7) 10.77.0.50'
ok $? 'an address that somebody holds is declined'
wait_until 60 grep -q '^address:' "$APP_OUT"
is "$(grep '^address:' "$APP_OUT")" 'address: 10.77.0.51' 'the next one is taken, after a pause'
APP_IP=10.77.0.51
is_like "$(cat "$WORK/dnsmasq.log")" 'requested options:.*121' 'it asks for classless routes'
inside ping -q -c 2 -i 0.05 -W 2 -I 192.168.77.1 "$APP_IP" >/dev/null
ok $? 'a network behind the router that the lease names answers'
inside ping -q -c 2 -i 0.05 -W 2 -I 198.51.100.1 "$APP_IP" >/dev/null
ok $? 'the default route is that of the list, not the router option'
app_stop_ok
wait_until 20 said 'DHCPRELEASE(tap7) 10.77.0.51'
ok $? 'the lease is released'
kill "$DNSMASQ"
wait "$DNSMASQ" 2>/dev/null

command -v udhcpd >/dev/null || {
    skip 'udhcpd is not installed' 'a lease of udhcpd'
    done_testing
}
cat >"$WORK/udhcpd.conf" <<CONF
start 10.77.0.70
end 10.77.0.70
interface tap7
lease_file $WORK/udhcpd.leases
pidfile $WORK/udhcpd.pid
min_lease 10
option subnet 255.255.255.0
option router $HOST_IP
option lease 10
CONF
: >"$WORK/udhcpd.leases"
ip netns exec "$NS" udhcpd -f -S "$WORK/udhcpd.conf" >"$WORK/udhcpd.log" 2>&1 &
PIDS=($!)
app_start website --net tap:tap7 --ip dhcp --ip6 off || done_testing
wait_until 40 grep -q '^address:' "$APP_OUT"
is "$(grep '^address:' "$APP_OUT")" 'address: 10.77.0.70' 'a lease of udhcpd'
APP_IP=10.77.0.70
acks() { [ "$(counter dhcp_in)" -ge "$1" ]; }
wait_until 40 acks 3
ok $? 'renewed at half of its 10 seconds: offer, ACK, ACK'
is "$(counter dhcp_malformed)" 0 'nothing it said is malformed'
app_stop_ok
done_testing
