#!/usr/bin/env bash
# The control channel on a real network: connections under load, and a live capture beside the one of the appliance itself.
. "$(dirname "$0")/lib.sh"
need tshark curl tcpdump python3
ldconfig -p | grep -q 'libpcap\.so' || skip_all 'libpcap is not installed'
net_open
channel=$WORK/control
tap_start website --pcap "$WORK/all.pcapng" --control "$channel" || done_testing
ask() { "$B/mirari" "$@"; }
is_like "$(ask addr "$channel")" "$APP_IP/24 +preferred +manual" 'addr tells its address'

# A capture of everything from beginning to end is the appliance's own.
"$B/mirari" tcpdump "$channel" -w "$WORK/live.pcapng" 2>"$WORK/live.err" &
live=$!
PIDS+=("$live")
"$B/mirari" tcpdump "$channel" -w "$WORK/http.pcapng" -s 100 tcp src port 80 2>"$WORK/http.err" &
http=$!
PIDS+=("$http")
wait_until 5 test -s "$WORK/live.pcapng" -a -s "$WORK/http.pcapng"
inside ping -q -c 3 -i 0.05 -s 3000 "$APP_IP" >/dev/null
inside curl -sf -m 10 "http://$APP_IP/" >"$WORK/index"
inside curl -sf -m 20 "http://$APP_IP/bytes/3000000" >"$WORK/bytes"
is "$(stat -c %s "$WORK/bytes")" 3000000 '3 MB come whole while two captures run'
is_like "$(ask arp "$channel")" "$HOST_IP +[0-9a-f:]{17} +net0 +(reachable|stale|delay|probe)" 'arp knows the host'
frames() { tshark -r "$1" -Y "${2:-frame}" 2>/dev/null | wc -l; }
settled() { [ "$(frames "$WORK/live.pcapng" 'tcp.srcport == 80')" -ge "$(frames "$WORK/all.pcapng" 'tcp.srcport == 80')" ]; }
wait_until 2 settled # unless frames were dropped
kill -INT "$live" "$http"
wait "$live"; ok $? 'the capture ends with Ctrl-C'
wait "$http"; ok $? 'so does the filtered one'
is_like "$(cat "$WORK/live.err")" '^[0-9]+ frames captured, [0-9]+ dropped$' 'and says how many'
dropped=$(sed 's/.*captured, \([0-9]*\) dropped/\1/' "$WORK/live.err")
count=$(frames "$WORK/live.pcapng" tcp)
[ $((count + dropped)) -ge "$(frames "$WORK/all.pcapng" tcp)" ]
ok $? "every frame is in the capture or counted as dropped ($count, $dropped)"
is "$(tshark -r "$WORK/live.pcapng" -Y _ws.malformed 2>/dev/null | wc -l)" 0 'none is malformed'
is "$(frames "$WORK/http.pcapng" '!(tcp.srcport == 80)')" 0 'the filter lets through what it says'
[ "$(frames "$WORK/http.pcapng")" -gt 0 ]; ok $? 'and that it does'
is "$(tshark -r "$WORK/http.pcapng" -T fields -e frame.cap_len 2>/dev/null | awk '$1 > 100' | wc -l)" 0 'frames are cut at the snap length'

# A capture that nobody reads drops frames and does not slow the appliance down.
python3 - "$channel" <<'END' &
import json, signal, socket, struct, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
b = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tcpdump"}).encode()
s.sendall(struct.pack(">I", len(b)) + b)
signal.pause()
END
deaf=$!
PIDS+=("$deaf")
sessions() { ask stats "$channel" -a | sed -n 's/^control_sessions_now *//p'; }
deaf_there() { [ "$(sessions)" = 2 ]; }
wait_until 5 deaf_there
inside curl -sf -m 20 "http://$APP_IP/bytes/30000000" >"$WORK/bytes"
is "$(stat -c %s "$WORK/bytes")" 30000000 '30 MB come whole while a capture is not read'
used=$(ask stats "$channel" | sed -n 's/^memory_used_bytes *//p')
[ "$used" -lt 8000000 ]; ok $? "and memory stays bounded ($used bytes)"
kill "$deaf"
deaf_gone() { [ "$(sessions)" = 1 ]; }
wait_until 5 deaf_gone; ok $? 'it is forgotten when it has gone'

# Hundreds of connections are all told, while they come and go.
inside python3 - "$APP_IP" <<'END' >"$WORK/many" &
import socket, sys, time
many = [socket.create_connection((sys.argv[1], 80)) for _ in range(500)]
print("there", flush=True)
time.sleep(60)
END
many=$!
PIDS+=("$many")
wait_until 20 grep -q there "$WORK/many"
listed=$(ask netstat "$channel" -t)
is "$(grep -c ' ESTABLISHED' <<<"$listed")" 500 'netstat lists 500 connections'
is "$(grep ESTABLISHED <<<"$listed" | sort -u | wc -l)" 500 'each once'
is_like "$(ask netstat "$channel" -i | grep -m1 ESTABLISHED)" 'cubic rtt:[0-9.]+/[0-9.]+ ms cwnd:[0-9]+' 'with what TCP knows'
kill "$many"
ask shutdown "$channel" >/dev/null
ok $? 'shutdown waits for the end'
wait_until 5 eval "! kill -0 $APP_PID 2>/dev/null"
ok $? 'and it has ended'
done_testing
