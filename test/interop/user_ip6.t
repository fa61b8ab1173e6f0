#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# Mode user over IPv6: the appliance gets its address from libslirp's advertisements and talks to a server on the
# host's ::1, which it reaches as fd00::2. In a network namespace of its own.
if [ -z "${INSIDE:-}" ]; then
    [ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root for a network of its own"; exit 0; }
    INSIDE=1 exec unshare --net "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"
need python3 setpriv
ip link set lo up
ip -6 address show dev lo | grep -q '::1' || skip_all 'this host has no ::1'
peer_build
chmod 755 "$WORK" "$WORK/peer" "$WORK/peer/unix" "$APP_BINARY"

# Returns what it gets, of each connection and each datagram; says its ports. It is the one that ends: when we end our
# direction first, libslirp 4.7 ends the other before all of it has come, over IPv4 as well (seen from its frames).
python3 -u - >"$WORK/echo.out" <<'ECHO' &
import select, socket, threading
tcp = socket.create_server(("::1", 0), family=socket.AF_INET6)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.bind(("::1", 0))
def serve(c):
    left = 3000000
    while left and (data := c.recv(65536)):
        c.sendall(data)
        left -= len(data)
    c.close()
print("tcp", tcp.getsockname()[1])
print("udp", udp.getsockname()[1])
while True:
    for s in select.select([tcp, udp], [], [])[0]:
        if s is tcp:
            threading.Thread(target=serve, args=(tcp.accept()[0],), daemon=True).start()
        else:
            data, sender = udp.recvfrom(65536)
            udp.sendto(data, sender)
ECHO
PIDS+=($!)
wait_until 10 grep -qs udp "$WORK/echo.out"
ok $? 'a server on ::1'
port() { sed -n "s/^$1 //p" "$WORK/echo.out"; }
client() {
    timeout 90 setpriv --reuid 65534 --regid 65534 --clear-groups "$APP_BINARY" --net user --ip6 auto "$@" \
        >"$WORK/client.out" 2>&1
    local status=$?
    [ $status = 0 ] || sed 's/^/# /' "$WORK/client.out"
    return $status
}
client --connect "[fd00::2]:$(port tcp)" --send 3000000 --first=false
ok $? 'a connection to the host by its IPv6 address in the network'
is "$(sed -nE 's/^tcp: sent ([0-9]+ [0-9a-f]+) received .*/\1/p' "$WORK/client.out")" \
    "$(sed -nE 's/^tcp: .* received ([0-9]+ [0-9a-f]+) .*/\1/p' "$WORK/client.out")" 'it returns what was sent'
is_like "$(cat "$WORK/client.out")" 'sent 3000000 .*ended in order' 'all of it, ended in order'
client --udp "[fd00::2]:$(port udp)" --send 50
ok $? 'datagrams come back'

# The other way round: a port of ::1 and one of ::, TCP and UDP, to an appliance that makes its address by itself.
tcp_port=$(free_port) udp_port=$(free_port)
timeout 180 setpriv --reuid 65534 --regid 65534 --clear-groups "$APP_BINARY" --net user -p "[::1]:$tcp_port:7" \
    -p "[::1]:$udp_port:8/udp" -p "127.0.0.1:$tcp_port:7" --relay "7=[fd00::2]:$(port tcp),8=[fd00::2]:$(port udp)" >"$WORK/served.out" 2>&1 &
served=$!
PIDS+=("$served")
wait_until 10 grep -qs "^forward:" "$WORK/served.out"
is_like "$(cat "$WORK/served.out")" "forward: \[::1\]:$tcp_port -> .*:7/tcp" 'the forward is printed'
cat >"$WORK/ask.py" <<'ASK'
import socket, sys, threading
kind, port = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
s.settimeout(15)
s.connect(("::1", port))
size = 3000000 if kind == "tcp" else 1000
data = bytes(i % 251 for i in range(size))
threading.Thread(target=s.sendall, args=(data,), daemon=True).start()
got = b""
while len(got) < size:
    more = s.recv(65536)
    if not more: break
    got += more
sys.exit(got != data)
ASK
# Until it has an address (a second or two) clients are refused.
wait_until 60 python3 "$WORK/ask.py" tcp "$tcp_port" 2>/dev/null
ok $? 'a client of ::1 is served, 3 MB both ways unchanged'
timeout 40 python3 "$WORK/ask.py" udp "$udp_port"
ok $? 'a datagram of ::1 comes back'
kill -0 "$served"
ok $? 'the appliance goes on'
kill "$served"
done_testing
