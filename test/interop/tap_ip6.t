#!/usr/bin/env bash
# IPv6 over a tap against Linux: ping of every size, HTTP of both directions, UDP, path MTU behind a
# router with a smaller link, link-local and several addresses; tshark sees nothing to complain about.
. "$(dirname "$0")/lib.sh"
need ping curl tshark python3
net_open
APP6=fd00:77::2
inside sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0
tap_start website --ip "$APP6/64" --ip fd00:78::2/64 --ip 10.78.0.2/24 --host-ip fd00:77::1/64 --gateway fd00:77::1 \
    --pcap "$WORK/all.pcapng" || done_testing
wait_until 30 inside ping -q -c 1 -W 1 "$APP6" >/dev/null
ok $? 'the appliance answers to IPv6'
url="http://[$APP6]"
get() { inside curl -g -s -m 30 "$@"; }

# ---- ping --------------------------------------------------------------------------------------
for size in 0 1 56 1231 1232 1233 1451 1452 1453 2900 8000 32768 65000; do
    inside ping -q -c 3 -i 0.02 -W 10 -s "$size" "$APP6" >"$WORK/ping" 2>&1
    is_like "$(cat "$WORK/ping")" ' 3 received, 0% packet loss' "ping with $size bytes is answered"
done
inside ping -c 3 -i 0.02 -W 10 -s 20000 -p a55a "$APP6" >"$WORK/ping" 2>&1
! grep -qi 'wrong data' "$WORK/ping"
ok $? 'the pattern comes back unchanged'
inside ping -q -f -c 500 -W 10 "$APP6" >"$WORK/ping" 2>&1
is_like "$(cat "$WORK/ping")" ' 500 received, 0% packet loss' 'a flood of 500 loses none'
dev=$(ip -n "$NS" -o link show type tun | sed -E 's/^[0-9]+: ([^:@]+).*/\1/')
inside ping -q -c 2 -i 0.02 -W 10 "ff02::1%$dev" >"$WORK/ping" 2>&1
is_like "$(cat "$WORK/ping")" ' 2 received' 'all nodes of the link are asked'
ll=$(inside ip -6 neigh show dev "$dev" | grep -o '^fe80::[0-9a-f:]*' | head -n 1)
inside ping -q -c 2 -i 0.02 -W 10 "$ll%$dev" >"$WORK/ping" 2>&1
is_like "$(cat "$WORK/ping")" ' 2 received' 'the link-local address answers'
inside ip -6 addr add fd00:78::1/64 dev "$dev" nodad
inside ping -q -c 2 -i 0.02 -W 10 fd00:78::2 >"$WORK/ping" 2>&1
is_like "$(cat "$WORK/ping")" ' 2 received' 'the second address answers'

inside ip addr add 10.78.0.1/24 dev "$dev"
inside ping -q -c 2 -i 0.02 -W 10 10.78.0.2 >"$WORK/ping" 2>&1
is_like "$(cat "$WORK/ping")" ' 2 received' 'a second IPv4 address answers too'

# ---- TCP ---------------------------------------------------------------------------------------
is_like "$(get "$url/")" '<html' 'the website over IPv6'
pattern=$B/host/test/bench/pattern
if [ -x "$pattern" ]; then
    for size in 1 1428 65537 10000000; do
        get "$url/bytes/$size" | cmp - <("$pattern" "$size")
        ok $? "out: $size bytes arrive unchanged"
        wanted=$("$pattern" "$size" | "$pattern" sum)
        "$pattern" "$size" >"$WORK/up"
        got=$(get --data-binary "@$WORK/up" "$url/upload")
        is "$(sed -E 's/.*length": ([0-9]+), "crc32": "([0-9a-f]+)".*/\1 \2/' <<<"$got")" "$wanted" \
            "in: $size bytes arrive unchanged"
    done
else
    skip 'bench-bins are not built' 'transfers compared byte by byte'
fi
is_like "$(get "http://10.77.0.2/" | head -c 200)" '<' 'IPv4 at the same time, by the same listener'
inside curl -g -s -m 5 "http://[$APP6]:81/" >/dev/null
is $? 7 'a closed port refuses'

# ---- UDP and errors ----------------------------------------------------------------------------
inside python3 - "$APP6" >"$WORK/udp" 2>&1 <<'PY'
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 9))
s.settimeout(3)
s.send(b"nobody")
try:
    s.recv(10)
    print("an answer")
except ConnectionRefusedError:
    print("refused")
PY
is "$(cat "$WORK/udp")" refused 'port unreachable for a datagram'

# ---- a path with a smaller MTU -----------------------------------------------------------------
far=$NS-far
ip netns add "$far"
trap 'ip netns delete "$far" 2>/dev/null; cleanup' EXIT
ip -n "$NS" link add far0 mtu 1400 type veth peer name near0 mtu 1400 netns "$far"
ip -n "$NS" addr add fd00:99::1/64 dev far0 nodad && ip -n "$NS" link set far0 up
ip -n "$far" link set lo up && ip -n "$far" addr add fd00:99::9/64 dev near0 nodad
ip -n "$far" link set near0 up && ip -n "$far" route add default via fd00:99::1
inside sysctl -qw net.ipv6.conf.all.forwarding=1
# The client offers a large MSS, so that only the router's message can tell.
ip -n "$far" route change default via fd00:99::1 advmss 1440
from_far() { ip netns exec "$far" "$@"; }
wait_until 20 from_far ping -q -c 1 -W 1 "$APP6" >/dev/null
ok $? 'over the router'
before=$(counter pmtu_lowered)
is "$(from_far curl -g -s -m 20 "$url/bytes/3000000" | wc -c)" 3000000 \
    'a transfer over a path of 1,400 bytes'
[ "$(counter pmtu_lowered)" -gt "$before" ]
ok $? 'the packet too big message was used'
is "$(from_far curl -g -s -m 20 "$url/bytes/3000000" | wc -c)" 3000000 'and another one'
is "$(counter pmtu_lowered)" $((before + 1)) 'which knew it from the start'
from_far ping -q -c 2 -i 0.02 -W 10 -s 8000 "$APP6" >"$WORK/ping" 2>&1
is_like "$(cat "$WORK/ping")" ' 2 received' 'fragments fit the path too'

# ---- the end -----------------------------------------------------------------------------------
app_stop_ok
tshark -n -r "$WORK/all.pcapng" -o tcp.check_checksum:FALSE -o udp.check_checksum:FALSE \
    -Y 'ipv6 && (_ws.expert.severity >= 0x00800000 || (!tcp && _ws.expert.severity >= 0x00600000))' -T fields -e frame.number -e _ws.expert.message \
    >"$WORK/expert" 2>/dev/null
is "$(head -n 5 "$WORK/expert")" '' 'tshark finds no error in what we sent'
done_testing
