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
wait_until 10 grep -q udp "$WORK/echo.out"
ok $? 'a server on ::1'
port() { sed -n "s/^$1 //p" "$WORK/echo.out"; }
client() {
    timeout 30 setpriv --reuid 65534 --regid 65534 --clear-groups "$APP_BINARY" --net user --ip6 auto "$@" \
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
done_testing
