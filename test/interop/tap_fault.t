#!/usr/bin/env bash
# A bad wire in both directions, by the fault middleware: what curl gets and sends is still whole.
. "$(dirname "$0")/lib.sh"
need curl
net_open

pattern=$B/host/test/bench/pattern
[ -x "$pattern" ] || skip_all "$pattern is not built (make bench-bins)"
bytes=${BYTES:-3000000}
"$pattern" "$bytes" >"$WORK/up"
crc=$("$pattern" sum <"$WORK/up" | cut -d ' ' -f 2)
for fault in '' 'loss=1%' 'loss=5%' 'reorder=5%' 'dup=5%' 'corrupt=2%' \
    'loss=2%,reorder=2%,dup=2%,corrupt=1%'; do
    tap_start website ${fault:+--fault "$fault"} || done_testing
    wait_until 10 tcp_answers "$APP_IP" 80
    inside curl -sf -m 90 "http://$APP_IP/bytes/$bytes" | cmp - "$WORK/up"
    ok $? "${fault:-clean}: $bytes bytes arrive unchanged"
    is_like "$(inside curl -sf -m 90 -T "$WORK/up" "http://$APP_IP/upload")" "$bytes, \"crc32\": \"$crc\"" \
        "${fault:-clean}: $bytes bytes are received unchanged"
    app_stop_ok "${fault:-clean}: ends with status 0"
done
done_testing
