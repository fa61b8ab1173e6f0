#!/usr/bin/env bash
# Datagrams that Linux hands over many at a time (UDP_SEGMENT), and answers that it gets so, over a tap and over a packet
# socket, IPv4 and IPv6: each comes back once and unchanged.
. "$(dirname "$0")/lib.sh"
need python3 ethtool
net_open
port=${ECHO_PORT:-7}

# echoes ADDRESS SIZE COUNT [gro]: "good" when all come back; with gro our socket takes them many at a time too
echoes() {
    inside python3 - "$port" "$@" <<'PY'
import os, socket, struct, sys
port, address, size, count, gro = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), len(sys.argv) > 5
UDP_SEGMENT, UDP_GRO = 103, 104
s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
try:
    s.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
    s.setsockopt(socket.IPPROTO_UDP, UDP_GRO, int(gro))
except OSError:
    sys.exit("SKIP")
s.connect((address, port))
data = [struct.pack(">I", n) + os.urandom(size - 4) for n in range(count)]
data[-1] = data[-1][:size // 2 + 2]
s.send(b"".join(data))
got, largest = [], 0
while len(got) < count:
    answer = s.recv(70000)
    largest = max(largest, len(answer))
    got += [answer[at:at + size] for at in range(0, len(answer), size)] if gro else [answer]
s.settimeout(0.05)
try:
    got.append(s.recv(70000))
except TimeoutError:
    pass
if got != data:
    sys.exit(f"{len(got)} of {count} came, the first wrong one is {[a == b for a, b in zip(got, data)].index(False)}")
print("good", "many at a time" if largest > size else "one by one")
PY
}
both() { # both WHAT ADDRESS
    local size
    for size in 16 100 1452; do
        is_like "$(echoes "$2" $size 40 2>&1)" '^good|SKIP' "$1, 40 datagrams of $size bytes at a time"
        is_like "$(echoes "$2" $size 40 gro 2>&1)" '^good|SKIP' "$1, 40 of $size bytes, taken so too"
    done
    is_like "$(echoes "$2" 1452 2 2>&1)" '^good|SKIP' "$1, two of them"
}

pinged() { inside ping -q -c 1 -W 1 "$1" >/dev/null; }
tap_start echo --ip "$APP_IP6/64" --host-ip "$HOST_IP6/64" --ip6 static || done_testing
both 'tap' "$APP_IP"
# Until duplicate address detection of both ends is over Linux sends from ::1.
wait_until 10 pinged "$APP_IP6"
both 'tap, IPv6' "$APP_IP6"
note "over a tap answers arrive: $(echoes "$APP_IP" 100 40 gro 2>&1)"
app_stop_ok

ip -n "$NS" link add pk0 type veth peer name pk1 || { note 'SKIP packet sockets: this host gives no veth pair'; done_testing; }
ip -n "$NS" link set pk0 up && ip -n "$NS" link set pk1 up && ip -n "$NS" address add "$HOST_IP/24" dev pk1
ip -n "$NS" address add "$HOST_IP6/64" dev pk1 nodad
app_start echo --net packet:pk0 --ip "$APP_IP/24" --ip "$APP_IP6/64" --ip6 static || done_testing
wait_until 10 pinged "$APP_IP"
wait_until 10 pinged "$APP_IP6"
both 'packet' "$APP_IP"
both 'packet, IPv6' "$APP_IP6"
note "over a packet socket answers arrive: $(echoes "$APP_IP" 100 40 gro 2>&1)"
for end in pk0 pk1; do inside ethtool -K "$end" tx off gso off tso off tx-udp-segmentation off gro off >/dev/null 2>&1; done
both 'packet, no offloads' "$APP_IP"
app_stop_ok
done_testing
