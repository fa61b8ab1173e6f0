#!/usr/bin/env bash
# net = socket: the same appliances on the host's own stack, behind the same API.
. "$(dirname "$0")/lib.sh"
need curl nc
pattern=$B/host/test/bench/pattern
[ -x "$pattern" ] || skip_all "$pattern is not built (make bench-bins)"
net_open
STATS_AT=127.0.0.1
app_start website --net socket || done_testing
wait_until 10 tcp_answers 127.0.0.1 80
ok $? 'port 80 of the host answers'
is_like "$(inside curl -sf -m 5 http://127.0.0.1/)" '<title>Mirari' 'the first page is served'
for size in 1 100000 100000000; do
    "$pattern" "$size" >"$WORK/up"
    inside curl -s -m 60 "http://127.0.0.1/bytes/$size" | cmp - "$WORK/up"
    ok $? "$size bytes arrive unchanged"
    is_like "$(inside curl -s -m 60 --data-binary "@$WORK/up" http://127.0.0.1/upload)" \
        "$("$pattern" sum <"$WORK/up" | cut -d ' ' -f 2)" "$size bytes are received unchanged"
done
inside curl -sf -m 60 --no-progress-meter -Z --parallel-max 50 -o '/dev/null' 'http://127.0.0.1/?[1-100]'
ok $? '100 requests, 50 at a time'
app_stop_ok

app_start echo --net socket || done_testing
wait_until 10 tcp_answers 127.0.0.1 7
head -c 3000000 /dev/urandom >"$WORK/in"
inside nc -N -w 10 127.0.0.1 7 <"$WORK/in" | cmp - "$WORK/in"
ok $? 'echo: 3 MB come back'
is "$(printf 'hello' | inside nc -u -W 1 -w 10 127.0.0.1 7)" hello 'echo: a datagram comes back'
app_stop_ok
done_testing
