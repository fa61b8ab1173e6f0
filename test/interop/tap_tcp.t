#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# Features of TCP that need two: ECN, path MTU black holes and Fast Open, with Linux at the other end.
. "$(dirname "$0")/lib.sh"
need curl ethtool python3 "${CC:-gcc}"
net_open
pattern=$B/host/test/bench/pattern
[ -x "$pattern" ] || skip_all "$pattern is not built (make bench-bins)"
bytes=400000
"$pattern" $bytes >"$WORK/up"
netstat_of() { # netstat_of inside|far NAME: a TcpExt counter
    "$1" python3 -c '
import sys
rows = [line.split() for line in open("/proc/net/netstat") if line.startswith("TcpExt:")]
print(dict(zip(rows[0], rows[1])).get(sys.argv[1], 0))' "$2"
}
# The client is a network further: appliance - tap - $NS, which routes - v0, m0 - marker - m1, v1 - $FAR.
FAR=$NS-far
trap 'ip netns delete "$FAR" 2>/dev/null; cleanup' EXIT
ip netns add "$FAR"
inside ip link add v0 type veth peer name m0
inside ip link add m1 type veth peer name v1 netns "$FAR"
inside ip addr add 10.78.0.1/24 dev v0
for name in v0 m0 m1; do
    inside sysctl -qw net.ipv6.conf.$name.disable_ipv6=1
    inside ip link set $name up
done
ip -n "$FAR" addr add 10.78.0.2/24 dev v1
ip -n "$FAR" link set v1 up
ip -n "$FAR" route add default via 10.78.0.1
inside sysctl -qw net.ipv4.ip_forward=1
far() { ip netns exec "$FAR" "$@"; }
inside ethtool -K v0 tx off tso off gso off gro off >/dev/null 2>&1
far ethtool -K v1 tx off tso off gso off gro off >/dev/null 2>&1
ip netns exec "$NS" python3 -u test/interop/probe/marker.py m0 m1 25 >"$WORK/marker" &
MARKER=$!
PIDS+=($MARKER)
wait_until 10 grep -q ready "$WORK/marker"
stats() { far curl -s -m 10 "http://$APP_IP/api/stats"; }
download() { far curl -sf -m 20 "http://$APP_IP/bytes/$bytes" | cmp - "$WORK/up"; }

# ---- ECN: Linux asks; each 25th segment to it is marked --------------------------------

far sysctl -qw net.ipv4.tcp_ecn=1
tap_start website || done_testing
wait_until 10 tcp_answers "$APP_IP" 80
download
ok $? 'ECN: a download from us over a wire that marks'
is_like "$(counter tcp_ecn_agreed)" '^[1-9]' 'ECN: agreed'
is_like "$(counter tcp_ecn_reductions)" '^[1-9]' 'ECN: windows were reduced'
is_like "$(counter tcp_retransmits)" '^[0-3]$' 'ECN: nothing lost, so next to nothing sent again'
note "echoes $(counter tcp_ecn_echoes_in), reductions $(counter tcp_ecn_reductions)"
far sysctl -qw net.ipv4.tcp_ecn=0

# ---- a router that drops what is above 1300 bytes, and whose ICMP does not arrive ------------------

inside ip link set v0 mtu 1300
inside ip rule add iif lo to "$APP_IP" lookup 200
inside ip route add blackhole "$APP_IP" table 200
far ip link set v1 mtu 1500
download
ok $? 'black hole: the download is whole'
is_like "$(counter tcp_pmtu_black_holes)" '^[1-9]' 'black hole: found'
far curl -sf -m 20 -o /dev/null "http://$APP_IP/bytes/20000000"
ok $? 'black hole: goes on with smaller segments'
note "timeouts $(counter tcp_timeouts), black holes $(counter tcp_pmtu_black_holes), probes $(counter tcp_pmtu_probes)"
before=$(counter tcp_pmtu_black_holes)
download
is "$(counter tcp_pmtu_black_holes)" "$before" 'black hole: the next connection knows'
inside ip rule del iif lo to "$APP_IP" lookup 200

# ---- the same router with its ICMP -------------------------------------------------------------------

app_stop_ok
tap_start website || done_testing
wait_until 10 tcp_answers "$APP_IP" 80
download
ok $? 'path MTU by ICMP: the download is whole'
is_like "$(counter tcp_pmtu_reductions)" '^[1-9]' 'path MTU by ICMP: believed'
is "$(counter tcp_pmtu_black_holes)" 0 'path MTU by ICMP: no black hole'
app_stop_ok
inside ip link set v0 mtu 1500

# ---- Fast Open -------------------------------------------------------------------------------------

${CC:-gcc} -g -O1 -fno-omit-frame-pointer -D_GNU_SOURCE -Iinclude -I. test/interop/probe/fastopen.c \
    -o "$WORK/fastopen" -L"$B/host" -lmirari-unix -lmirari -lslirp -lseccomp -lglib-2.0
ok $? 'the probe is built'
inside sysctl -qw net.ipv4.tcp_fastopen=3
APP_BINARY=$WORK/fastopen tap_start fastopen || done_testing
inside python3 -u - "$APP_IP" >"$WORK/client" <<'CLIENT'
import socket, struct, sys
for i in range(3):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 5, 0))
        s.sendto(b"question\n", socket.MSG_FASTOPEN, (sys.argv[1], 80))
        print(s.recv(100).decode().strip())
CLIENT
is "$(grep -c answer "$WORK/client")" 3 'Fast Open: Linux asks three times and is answered'
is "$(grep -c 'in a SYN' "$APP_OUT")" 2 'Fast Open: twice its question was in the SYN'
is "$(netstat_of inside TCPFastOpenActive)" 2 'Fast Open: Linux says so too'
inside python3 -u - "$APP_IP" >"$WORK/server" <<'SERVER'
import socket, sys
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.setsockopt(socket.IPPROTO_TCP, 23, 16)  # TCP_FASTOPEN
server.bind(("", 8081))
server.listen(5)
server.settimeout(5)
for i in range(3):
    with socket.create_connection((sys.argv[1], 81), 5):
        peer, _ = server.accept()
        peer.settimeout(5)
        print(peer.recv(100).decode().strip())
        peer.sendall(b"welcome\n")
        peer.close()
SERVER
is "$(grep -c 'hello from a SYN' "$WORK/server")" 3 'Fast Open: we connect to Linux three times'
is "$(netstat_of inside TCPFastOpenPassive)" 2 'Fast Open: twice our data was in the SYN'
wait_until 5 eval '[ "$(grep -c "reply of 8 bytes" "$APP_OUT")" = 3 ]'
ok $? 'Fast Open: three replies'
app_stop_ok
done_testing
