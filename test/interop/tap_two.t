#!/usr/bin/env bash
# Two appliances of ours talk with each other over a bridge of Linux: TCP and UDP, IPv4 and IPv6, clean wires and bad
# ones, usual and large MTUs; sums of contents compared. No host's stack takes part: the bridge has no address.
. "$(dirname "$0")/lib.sh"
need_root
net_open
echo_app=$B/examples/echo/unix/echo
[ -x "$echo_app" ] || skip_all "$echo_app is not built (make examples)"
peer_build asan
peer=$APP_BINARY
ip -n "$NS" link add br0 type bridge mcast_snooping 0 2>/dev/null || skip_all 'no bridges here'
inside sysctl -qw net.ipv6.conf.default.disable_ipv6=1
for tap in tapa tapb; do
    ip -n "$NS" tuntap add dev $tap mode tap vnet_hdr 2>/dev/null || ip -n "$NS" tuntap add dev $tap mode tap
    ip -n "$NS" link set $tap mtu 9000 master br0 up
done
ip -n "$NS" link set br0 mtu 9000 up

client() { # NAME WANTED-REGEX OPTIONS...
    local name=$1 wanted=$2
    shift 2
    ip netns exec "$NS" timeout 150 "$peer" --net tap:tapb --mac 02:00:00:00:77:0b --ip 10.77.0.3/24 --ip fd00:77::3/64 \
        --ip6 static "$@" >"$WORK/client" 2>&1
    ok $? "$name: ends with status 0"
    is_like "$(cat "$WORK/client")" "$wanted" "$name" || sed 's/^/# /' "$WORK/client"
}

for fault in '' 'loss=1%,reorder=1%,dup=1%' 'loss=5%,reorder=3%,dup=2%'; do
    for mtu in 1500 9000; do
        [ -n "$fault" ] && [ $mtu = 9000 ] && continue
        APP_BINARY=$echo_app
        app_start echo --net tap:tapa --mac 02:00:00:00:77:0a --ip "$APP_IP/24" --ip "$APP_IP6/64" --ip6 static --mtu $mtu \
            ${fault:+--fault "$fault"} || done_testing
        wait_until 10 grep -q 'echo on port' "$APP_OUT"
        bytes=20000000
        case $fault in
        loss=1%*) bytes=1000000 ;;
        loss=5%*) bytes=300000 ;;
        esac
        for to in "$APP_IP" "[$APP_IP6]"; do
            label="${fault:-clean}, MTU $mtu, $to"
            client "$label: $bytes bytes there and back" 'ended in order' --mtu $mtu --connect "$to:7" --send $bytes ${fault:+--fault "$fault"}
            read -r _ _ sent crc _ received crc2 _ <<<"$(grep '^tcp: ' "$WORK/client")"
            is "$sent $received $crc" "$bytes $bytes $crc2" "$label: all of it, unchanged"
            client "$label: 50 datagrams there and back" 'udp: 50 of 50 answered, 0 wrong' --mtu $mtu --udp "$to:7" --send 50 ${fault:+--fault "$fault"}
        done
        app_stop_ok "${fault:-clean}, MTU $mtu: ends with status 0"
    done
done

# Different MTUs on one link: TCP agrees on the smaller one by its MSS.
APP_BINARY=$echo_app
app_start echo --net tap:tapa --mac 02:00:00:00:77:0a --ip "$APP_IP/24" --ip "$APP_IP6/64" --ip6 static --mtu 1280 || done_testing
for to in "$APP_IP" "[$APP_IP6]"; do
    client "1,280 and 9,000 bytes on one link, $to" 'ended in order' --mtu 9000 --connect "$to:7" --send 2000000
done
app_stop_ok
done_testing
