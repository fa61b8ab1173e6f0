#!/usr/bin/env bash
# IPv6 that configures itself, with radvd and dnsmasq on a tap: addresses from a prefix, renumbering, a router that
# goes away, an address that Linux has already, name servers by DHCPv6.
. "$(dirname "$0")/lib.sh"
need radvd dnsmasq ping curl ndisc6 tshark
net_open
MAC=02:00:5e:10:00:07
LL=fe80::5eff:fe10:7
P1=2001:db8:77:1
P2=2001:db8:77:2
FAR=2001:db8:99::1
ip -n "$NS" tuntap add dev tap7 mode tap
inside sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.conf.tap7.accept_dad=0 net.ipv6.conf.lo.forwarding=1
ip -n "$NS" link set tap7 up
ip -n "$NS" address add "$P1::1/64" dev tap7 nodad
ip -n "$NS" address add "$P2::1/64" dev tap7 nodad
ip -n "$NS" address add "$FAR/128" dev lo nodad

said() { [ "$(grep -cE "$1" "$APP_OUT")" -ge "${2:-1}" ]; }
# The newest address with this prefix and origin that the appliance told of.
told() { sed -n "s/.*address in use interface=1 address=\($1[^ ]*\) origin=$2.*/\1/p" "$APP_OUT" | tail -n 1; }
pings() { inside ping -6 -q -c 1 -W 3 "$@" >/dev/null 2>&1; }

advertise() { # advertise PREFIX:PREFERRED...: what radvd says from now on
    {
        echo 'interface tap7 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvLinkMTU 1400;'
        local word
        for word in "$@"; do
            echo "prefix ${word%@*}::/64 { AdvOnLink on; AdvAutonomous on; AdvValidLifetime 7200;" \
                "AdvPreferredLifetime ${word#*@}; };"
        done
        echo "RDNSS $P1::53 { AdvRDNSSLifetime 600; }; DNSSL lab.example { }; };"
    } >"$WORK/radvd.conf"
}

# ---- radvd ----
advertise "$P1@3600"
ip netns exec "$NS" radvd --nodaemon --config "$WORK/radvd.conf" --pidfile "$WORK/radvd.pid" --logmethod stderr \
    --username root 2>"$WORK/radvd.log" &
RADVD=$!
PIDS+=("$RADVD")
app_start website --net tap:tap7 --ip "$APP_IP/24" --mac "$MAC" --ip6 temporary --log info \
    --pcap "$WORK/auto.pcapng" || done_testing
wait_until 30 said "address in use .*$P1:.* origin=temporary"
ok $? 'a stable and a temporary address come from the prefix that radvd advertises' || sed 's/^/# /' "$WORK/radvd.log"
wait_until 20 said "address in use .*$P1:.* origin=stable"
STABLE=$(told "$P1:" stable)
TEMPORARY=$(told "$P1:" temporary)
note "stable $STABLE, temporary $TEMPORARY"
pings -I tap7 "$LL"
ok $? 'the link-local address answers ping'
pings "$STABLE" && pings "$TEMPORARY"
ok $? 'both addresses answer ping'
is_like "$(inside ndisc6 -1 -q -w 3000 "$STABLE" tap7)" '02:00:5E:10:00:07' 'ndisc6 finds the stable address'
is_like "$(inside ndisc6 -1 -q -w 3000 "$LL" tap7)" '02:00:5E:10:00:07' 'ndisc6 finds the link-local address'
inside curl -6 -sf -m 10 "http://[$STABLE]/" -o "$WORK/page"
ok $? 'the site is there by IPv6'
pings -I "$FAR" "$STABLE"
ok $? 'packets from beyond the router are answered over it'
inside curl -6 -sf -m 10 --interface "$FAR" "http://[$STABLE]/" -o "$WORK/page"
ok $? 'the site is there from beyond the router'
pings -M do -s 1352 "$STABLE"
ok $? 'packets of the advertised MTU pass'
STATS_AT="[$STABLE]"
is_like "$(counter nd_router_adverts_in)" '^[1-9]' 'advertisements are counted'

advertise "$P1@0" "$P2@3600"
kill -HUP "$RADVD"
wait_until 30 said "address in use .*$P2:.* origin=stable"
ok $? 'renumbering: an address of the new prefix'
pings "$(told "$P2:" stable)" && pings "$STABLE"
ok $? 'both the new and the deprecated address answer'

kill -TERM "$RADVD"
gone() { ! pings -I "$FAR" "$STABLE"; }
wait_until 20 gone
ok $? 'the router says goodbye (lifetime 0): nothing goes over it any more'
pings "$STABLE"
ok $? 'what is on the link is still reached'
app_stop_ok 'the appliance ends'
tshark -n -r "$WORK/auto.pcapng" -o tcp.check_checksum:FALSE \
    -Y "eth.src == $MAC && (_ws.malformed || _ws.expert.severity >= 0x800000 || icmpv6.checksum_bad.expert)" \
    >"$WORK/expert" 2>"$WORK/tshark.err"
ok $? 'tshark reads the capture' || sed 's/^/# /' "$WORK/tshark.err"
is "$(head -n 5 "$WORK/expert")" '' 'tshark finds no error in what we sent'
kinds=$(tshark -n -r "$WORK/auto.pcapng" -Y "eth.src == $MAC && icmpv6" -T fields -e icmpv6.type 2>/dev/null | sort -u | tr '\n' ' ')
is "$kinds" '129 133 135 136 143 ' 'it sent echo replies, solicitations, advertisements and listener reports, nothing else'

# ---- duplicates: Linux has the address ----
# start_until ADDRESS ARGS...: start until it says that somebody has ADDRESS. Linux throws its own answer away while
# it has not noticed yet that the tap is in use, so once may not be enough on a busy machine.
start_until() {
    local address=$1 try
    shift
    for try in 1 2 3; do
        app_start website --net tap:tap7 --mac "$MAC" --log info "$@" || done_testing
        wait_until 6 said "in use by another host .*address=$address\$" && return 0
        note "try $try: nobody objected"
        [ "$try" = 3 ] || app_stop
    done
    return 1
}
start_until "$P1::1" --ip "$APP_IP/24,$P1::1/64" --ip6 static
ok $? 'an address that Linux has is not taken'
app_stop_ok 'the appliance ends'
ip -n "$NS" address add "$LL/64" dev tap7 nodad
start_until "$LL" --ip "$APP_IP/24" --ip6 link-local
ok $? 'neither is a link-local address that Linux has'
wait_until 20 said 'address in use .*address=fe80:.* origin=link-local'
pings -I tap7 "$(told fe80: link-local)"
ok $? 'another link-local address is taken and answers'
app_stop_ok 'the appliance ends'
ip -n "$NS" address del "$LL/64" dev tap7

# ---- dnsmasq: advertisements and stateless DHCPv6 ----
ip netns exec "$NS" dnsmasq --keep-in-foreground --port=0 --interface=tap7 --bind-dynamic --enable-ra --log-dhcp \
    --dhcp-range="$P1::,ra-stateless" --ra-param=tap7,4,1200 --dhcp-option="option6:dns-server,[$P1::53]" \
    --dhcp-option=option6:domain-search,lab.example --dhcp-leasefile="$WORK/leases" --pid-file= \
    --conf-file=/dev/null --user=root --log-facility="$WORK/dnsmasq.log" &
PIDS+=("$!")
: >"$WORK/dnsmasq.log"
app_start website --net tap:tap7 --ip "$APP_IP/24" --mac "$MAC" --log info || done_testing
wait_until 30 said "name servers by DHCPv6 .*count=1"
ok $? 'a name server comes by stateless DHCPv6' || sed 's/^/# /' "$WORK/dnsmasq.log"
asked=$(grep -c 'DHCPINFORMATION-REQUEST' "$WORK/dnsmasq.log") # one, unless the answer took longer than a second
wait_until 30 said "address in use .*$P1:.* origin=stable"
pings "$(told "$P1:" stable)"
ok $? 'the address from the prefix of dnsmasq answers'
is "$(grep -c 'DHCPINFORMATION-REQUEST' "$WORK/dnsmasq.log")" "$asked" 'once it is answered it does not ask again'
app_stop_ok 'the appliance ends'
done_testing
