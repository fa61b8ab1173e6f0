#!/usr/bin/env bash
# Through a router whose second link carries 1,280 bytes: traceroute, tracepath, mtr and TTLs with us as target, transfers
# of both roles and both families with and without the router's ICMP messages.
#
#   appliance --- tap, MTU 1500 --- [ this run's namespace: router ] --- veth, MTU 1280 --- [ far namespace ]
. "$(dirname "$0")/lib.sh"
need python3 traceroute tracepath mtr ping
net_open
peer_build asan
FAR=$NS-far
ip netns add "$FAR"
trap 'ip netns delete "$FAR" 2>/dev/null; cleanup' EXIT
FAR_IP=10.99.0.9 FAR_IP6=fd00:99::9
far() { ip netns exec "$FAR" "$@"; }
far sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0
inside sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0
ip -n "$NS" link add far0 mtu 1280 type veth peer name near0 mtu 1280 netns "$FAR"
ip -n "$NS" addr add 10.99.0.1/24 dev far0
ip -n "$NS" addr add fd00:99::1/64 dev far0 nodad
ip -n "$NS" link set far0 up
ip -n "$FAR" link set lo up
ip -n "$FAR" addr add "$FAR_IP/24" dev near0
ip -n "$FAR" addr add "$FAR_IP6/64" dev near0 nodad
ip -n "$FAR" link set near0 up
# It offers segments for 1,500 bytes, so that only the path can tell.
ip -n "$FAR" route add default via 10.99.0.1 advmss 1460
ip -n "$FAR" route add default via fd00:99::1 advmss 1440
inside sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
inside sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0

cat >"$WORK/echo.py" <<'PY'
"""Sends everything back after the peer's end, sums up nothing: the peer compares."""
import socket, threading
server = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
server.bind(("::", 7000))
server.listen(16)
def serve(end):
    data = bytearray()
    while more := end.recv(65536):
        data += more
    end.sendall(data)
    end.close()
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
PY
ip netns exec "$FAR" python3 "$WORK/echo.py" &
PIDS+=($!)
echo_listens() { [ -n "$(far ss -Hltn 'sport = :7000')" ]; }
wait_until 10 echo_listens

# The server role: a program of the far side sends and receives through the relay, which connects back there.
cat >"$WORK/ask.py" <<'PY'
import os, socket, sys, threading
data = os.urandom(int(sys.argv[3]))
end = socket.create_connection((sys.argv[1], int(sys.argv[2])), 60)
def send():
    end.sendall(data)
    end.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
got = bytearray()
while more := end.recv(65536):
    got += more
print("same" if got == data else f"{len(got)} bytes of {len(data)}")
PY
forget_paths() { # the kernel's, so that each transfer finds out anew
    inside ip route flush cache 2>/dev/null
    far ip route flush cache 2>/dev/null
    far ip -6 route flush cache 2>/dev/null
}
router() { echo --gateway "$HOST_IP" --gateway "$HOST_IP6"; }

transfers() { # NAME BYTES
    local to name=$1 bytes=$2
    for to in "$FAR_IP" "[$FAR_IP6]"; do
        forget_paths
        # shellcheck disable=SC2046 # words
        peer_start $(router) --connect "$to:7000" --send "$bytes"
        wait_until 150 eval '! kill -0 $APP_PID 2>/dev/null'
        read -r _ _ sent crc _ received crc2 _ <<<"$(sed -n 's/^tcp: /tcp: /p' "$APP_OUT")"
        is "$sent $received $crc" "$bytes $bytes $crc2" "$name: as client, $bytes bytes to $to and back" ||
            sed 's/^/# /' "$APP_OUT"
        app_stop
    done
    # shellcheck disable=SC2046
    peer_start $(router) --relay "7001=$FAR_IP:7000,7002=[$FAR_IP6]:7000"
    forget_paths
    is "$(far timeout 150 python3 "$WORK/ask.py" "$APP_IP" 7001 "$bytes")" same "$name: as server, IPv4"
    is "$(far timeout 150 python3 "$WORK/ask.py" "$APP_IP6" 7002 "$bytes")" same "$name: as server, IPv6"
}

# ---- with the router's messages -------------------------------------------------------------------
transfers 'with ICMP' 1000000
[ "$(peer_counter pmtu_lowered)" -ge 2 ]
ok $? "the messages were used: $(peer_counter pmtu_lowered) path MTUs lowered"

for address in "$APP_IP" "$APP_IP6"; do
    [[ $address = *:* ]] && family=-6 hop=fd00:99::1 || family=-4 hop=10.99.0.1
    for how in '' -I -T; do
        far timeout 60 traceroute $family -n -q 1 -w 10 ${how:+$how} ${how:+$([ "$how" = -T ] && echo -p 9)} "$address" >"$WORK/trace" 2>&1
        is "$(awk '/^ *[0-9]+ / { printf "%s ", $2 }' "$WORK/trace")" "$hop $address " \
            "traceroute ${how:-by UDP} to $address: the router, then us" || sed 's/^/# /' "$WORK/trace"
    done
    far timeout 60 tracepath $family -n "$address" >"$WORK/trace" 2>&1
    is_like "$(cat "$WORK/trace")" "$address .*reached.*pmtu 1280" "tracepath to $address" || sed 's/^/# /' "$WORK/trace"
    far timeout 60 mtr $family -n -r -c 3 -i 0.2 -G 4 "$address" >"$WORK/trace" 2>&1
    is_like "$(tail -n 1 "$WORK/trace")" "2\\.\\|-- $address +0\\.0% " "mtr to $address: two hops, none lost" || sed 's/^/# /' "$WORK/trace"
    far ping $family -n -c 1 -W 10 -t 1 "$address" >"$WORK/ping" 2>&1
    is_like "$(cat "$WORK/ping")" "From $hop .*[Tt]ime" "ping with TTL 1 ends at the router"
    far ping $family -n -c 1 -W 10 -t 2 "$address" >"$WORK/ping" 2>&1
    is_like "$(cat "$WORK/ping")" "from $address: .*ttl=63" "with TTL 2 it reaches us, who answer with 64"
    far ping $family -n -q -c 3 -i 0.05 -W 10 -s 5000 "$address" >"$WORK/ping" 2>&1
    is_like "$(cat "$WORK/ping")" ' 3 received, 0% packet loss' "fragments both ways: 5,000 bytes to $address"
done
app_stop_ok

# ---- without them: a black hole (RFC 8899, RFC 4821) -------------------------------------------------
# The router finds no way for messages of its own; neighbour discovery does not ask for one.
silence() {
    inside ip rule add to "$APP_IP" ipproto icmp blackhole && inside ip -6 rule add to "$APP_IP6" ipproto ipv6-icmp blackhole
}
# shellcheck disable=SC2046
peer_start $(router) --relay "7001=$FAR_IP:7000,7002=[$FAR_IP6]:7000"
if silence 2>"$WORK/rule"; then
    forget_paths
    is "$(far timeout 150 python3 "$WORK/ask.py" "$APP_IP" 7001 200000)" same 'no ICMP: as server and client, IPv4'
    is "$(far timeout 150 python3 "$WORK/ask.py" "$APP_IP6" 7002 200000)" same 'no ICMP: as server and client, IPv6'
    is "$(peer_counter pmtu_lowered)" 0 'not one message came'
    [ "$(peer_counter tcp_pmtu_black_holes)" -gt 0 ]
    ok $? "black holes were found: $(peer_counter tcp_pmtu_black_holes)"
else
    note "$(cat "$WORK/rule")"
    skip 'no routing rules by protocol here' 'a path without ICMP'
fi
app_stop_ok
done_testing
