#!/usr/bin/env bash
# Real programs meet real servers through our stack, which accepts and connects (test/interop/peer): iperf3 of both
# directions and several streams, TCP and UDP; nc; over IPv4 and IPv6, on a clean wire and on bad ones.
. "$(dirname "$0")/lib.sh"
need iperf3 nc python3
net_open
peer_build asan
head -c 1000000 /dev/urandom >"$WORK/data"

SERVER=
serve_iperf() { # an iperf3 server is good for one test at a time, and ends with the first
    # One that still listens would take the next client along when it ends, and its reset may be lost on a bad wire.
    [ -z "$SERVER" ] || wait_until 10 gone "$SERVER" || kill "$SERVER"
    [ -z "$SERVER" ] || wait "$SERVER" 2>/dev/null
    ip netns exec "$NS" iperf3 -s -1 -p "$1" >"$WORK/iperf-server" 2>&1 &
    SERVER=$!
    PIDS+=("$SERVER")
    wait_until 10 listening "$1"
}
gone() { ! kill -0 "$1" 2>/dev/null; }
listening() { [ -n "$(inside ss -Hltn "sport = :$1")" ]; }
# Sums of the report, by the receiver: bytes, or lost datagrams and all.
sums() {
    python3 - "$WORK/iperf" <<'PY'
import json, sys
end = json.load(open(sys.argv[1]))["end"]
print(int(end["sum_sent"]["bytes"]), int(end["sum_received"]["bytes"]))
PY
}
iperf() { # NAME WANTED-BYTES OPTIONS...
    local name=$1 wanted=$2 sent received
    shift 2
    serve_iperf 5300
    inside timeout 150 iperf3 -J -p 5201 -c "$address" "$@" >"$WORK/iperf" 2>&1
    ok $? "$name: iperf3 ends well" || sed 's/^/# /' "$WORK/iperf" | tail -n 5
    read -r sent received < <(sums 2>/dev/null)
    # It counts what had been received when the last byte was handed over for sending, not what was on its way: a good part
    # on a clean path; with losses perhaps nothing, and then its report has no sums at all. That everything arrives unchanged
    # with losses, too, is what nc and the file show.
    if [ -z "$fault" ]; then
        [ "${sent:-0}" -ge "$wanted" ] && [ "${received:-0}" -gt $((wanted / 20)) ]
        ok $? "$name: sent ${sent:-?} bytes, received ${received:-?}"
    else
        note "$name: sent ${sent:-?} bytes, received ${received:-?}"
    fi
}

for fault in '' 'loss=0.1%' 'loss=1%,reorder=1%,dup=1%' 'loss=5%,reorder=3%,dup=2%'; do
    peer_start --relay "5201=$HOST_IP:5300,7001=$HOST_IP:7000,7002=[$HOST_IP6]:7000" ${fault:+--fault "$fault"}
    bytes=2000000
    [ "$fault" = '' ] && bytes=30000000
    for address in "$APP_IP" "$APP_IP6"; do
        label="${fault:-clean}, $address"
        iperf "$label, in and out, 3 streams" $bytes -n $bytes -P 3
        iperf "$label, reverse" $bytes -n $bytes -R
        # Both targets: IPv4 becomes IPv6 on the way, and the other way round.
        for port in 7001 7002; do
            ip netns exec "$NS" nc -6 -l -k 7000 >"$WORK/got" </dev/null 2>/dev/null &
            listener=$!
            PIDS+=("$listener")
            wait_until 10 listening 7000
            inside timeout 150 nc -N "$address" $port <"$WORK/data" >/dev/null
            same() { cmp -s "$WORK/data" "$WORK/got"; }
            wait_until 10 same
            ok $? "$label: nc to port $port brings the file unchanged"
            kill "$listener"
            wait "$listener" 2>/dev/null
        done
    done
    # The datagram that begins an iperf3 test is sent only once.
    [ "$fault" = '' ] && iperf 'clean: UDP' 500000 -u -b 20M -n 500000 -l 1200
    app_stop_ok "${fault:-clean}: it ends with status 0"
done
done_testing
