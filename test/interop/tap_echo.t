#!/usr/bin/env bash
# nc against the echo appliance: TCP and UDP, small and large, half-close, and what is not there.
. "$(dirname "$0")/lib.sh"
need nc
net_open
tap_start echo || done_testing
port=${ECHO_PORT:-7}

is "$(printf 'hello\n' | inside nc -N -w 5 "$APP_IP" "$port")" hello 'a line comes back by TCP'
head -c 20000000 /dev/urandom >"$WORK/in"
inside nc -N -w 60 "$APP_IP" "$port" <"$WORK/in" >"$WORK/out"
cmp "$WORK/in" "$WORK/out"
ok $? '20 MB come back unchanged; our end of stream is answered with theirs'

echo_udp() { # echo_udp BYTES: a datagram comes back unchanged
    inside python3 - "$APP_IP" "$port" "$1" <<'PY'
import os, socket, sys
data = os.urandom(int(sys.argv[3]))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.sendto(data, (sys.argv[1], int(sys.argv[2])))
answer, peer = s.recvfrom(70000)
sys.exit(0 if answer == data and peer == (sys.argv[1], int(sys.argv[2])) else 1)
PY
}
is "$(printf 'hello' | inside nc -u -W 1 -w 10 "$APP_IP" "$port")" hello 'a datagram comes back by UDP'
for size in 0 1 1472 1473 9000 65507; do
    echo_udp $size
    ok $? "a datagram of $size bytes comes back unchanged"
done

inside nc -z -w 2 "$APP_IP" 81 2>/dev/null
is $? 1 'a port where nobody listens refuses'
inside python3 - "$APP_IP" <<'PY'
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.connect((sys.argv[1], 9999))
s.send(b"x")
try:
    s.recv(10)
except ConnectionRefusedError:
    sys.exit(0)
sys.exit(1)
PY
ok $? 'a UDP port where nobody listens answers port unreachable'

# 50 at a time, each with its own bytes.
fifty() {
    rm -f "$WORK/differs"
    for i in $(seq 50); do
        (
            head -c 200000 /dev/urandom >"$WORK/in.$i"
            inside nc -N -w 60 "$APP_IP" "$port" <"$WORK/in.$i" | cmp - "$WORK/in.$i" || touch "$WORK/differs"
        ) &
        PIDS+=($!)
    done
    wait "${PIDS[@]}"
    PIDS=()
    [ ! -e "$WORK/differs" ]
}
fifty
ok $? '50 connections at a time each get their own bytes'
app_stop_ok

# 10 MB in flight do not fit into 4 MiB: frames are dropped, and still everything arrives.
tap_start echo --memory 4 || done_testing
wait_until 10 tcp_answers "$APP_IP" "$port"
fifty
ok $? 'with 4 MiB of memory, too'
app_stop_ok
done_testing
