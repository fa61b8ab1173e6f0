#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# Mode user: slirp's name server passes queries on although the sandbox lets no file be opened.
#
# In namespaces of its own: /etc/resolv.conf names 127.0.0.1, where a stub returns what it gets.
if [ -z "${INSIDE:-}" ]; then
    [ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root for its own network and mounts"; exit 0; }
    INSIDE=1 exec unshare --net --mount --propagation private "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"
need python3 "${CC:-gcc}"
ip link set lo up
echo 'nameserver 127.0.0.1' >"$WORK/resolv.conf"
chmod 755 "$WORK"
mount --bind "$WORK/resolv.conf" /etc/resolv.conf || skip_all 'no bind mount'
python3 -u - >"$WORK/stub.out" <<'STUB' &
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 53))
print("ready")
while True:
    data, sender = s.recvfrom(2000)
    if data:
        s.sendto(data, sender)
STUB
PIDS+=($!)
wait_until 10 grep -q ready "$WORK/stub.out"
ok $? 'a name server on 127.0.0.1'
${CC:-gcc} -g -O1 -fno-omit-frame-pointer -D_GNU_SOURCE -Iinclude -I. test/interop/probe/dns.c \
    -o "$WORK/dns" -L"$B/host" -lmirari-unix -lmirari -lslirp -lseccomp -lglib-2.0
ok $? 'the probe is built'
timeout 20 "$WORK/dns" >"$WORK/dns.out" 2>&1
is $? 0 'three queries in six seconds are answered in the sandbox'
grep -q '^answer 3: 21 bytes' "$WORK/dns.out" || sed 's/^/# /' "$WORK/dns.out"

# The look at resolv.conf must not be seen outside: the name server is now beyond a veth.
ip link add v0 type veth peer name v1
sysctl -q net.ipv6.conf.v0.disable_ipv6=1 net.ipv6.conf.v1.disable_ipv6=1
ip addr add 10.99.0.2/24 dev v0
ip link set v0 up
ip link set v1 up
ip neigh add 10.99.0.1 lladdr 02:00:00:00:00:01 dev v0
echo 'nameserver 10.99.0.1' >"$WORK/resolv.conf"
sent() { awk '$1 == "v0:" {print $11}' /proc/net/dev; }
start=$(sent)
ping -c 1 -W 1 10.99.0.1 >/dev/null
is "$(sent)" "$((start + 1))" 'the counter counts'
before=$(sent)
"$B/examples/echo/unix/echo" --net user --log info >"$WORK/echo.out" 2>&1 &
echo_pid=$!
PIDS+=("$echo_pid")
wait_until 30 grep -q '^echo on port' "$WORK/echo.out"
ok $? 'an appliance starts'
kill -INT "$echo_pid"
wait "$echo_pid"
ok $? 'and ends'
is "$(sent)" "$before" 'and nothing has left the host'
done_testing
