#!/usr/bin/env bash
# Without any privilege: the website through libslirp inside the process, run by the user nobody.
. "$(dirname "$0")/lib.sh"
need curl setpriv python3
[ "$(id -u)" = 0 ] && APP_USER=nobody # else we are nobody special already
pattern=$B/host/test/bench/pattern
[ -x "$pattern" ] || skip_all "$pattern is not built (make bench-bins)"
port=$(free_port)
app_start website --net user -p "127.0.0.1:$port:80" || done_testing
url=http://127.0.0.1:$port
STATS_AT=127.0.0.1:$port

is_like "$(cat "$APP_OUT")" "forward: 127\.0\.0\.1:$port -> [0-9.]+:80/tcp" 'the forward is printed'
is_like "$(cat "$APP_OUT")" "http://127\.0\.0\.1:$port/" 'the address to open is printed'
wait_until 10 curl -sf -m 5 -o "$WORK/index" "$url/"
is_like "$(cat "$WORK/index")" '<title>Mirari' 'the first page of the site is served'
is "$(curl -s -m 5 -o /dev/null -w '%{http_code}' "$url/no-such-page")" 404 'a page that is not there is 404'

uid=$(awk '/^Uid:/ {print $2}' "/proc/$APP_PID/status")
[ "$uid" != 0 ]
ok $? 'the process is not root'
is "$(awk '/^CapEff:/ {print $2}' "/proc/$APP_PID/status")" 0000000000000000 'it has no capability'
is "$(awk '/^Seccomp:/ {print $2}' "/proc/$APP_PID/status")" 2 'it runs under a seccomp filter'

for size in 1 1000 65536 10000000 100000000; do
    "$pattern" "$size" >"$WORK/up"
    curl -s -m 60 "$url/bytes/$size" | cmp - "$WORK/up"
    ok $? "$size bytes arrive unchanged"
    is_like "$(curl -s -m 60 --data-binary "@$WORK/up" "$url/upload")" \
        "$("$pattern" sum <"$WORK/up" | cut -d ' ' -f 2)" "$size bytes are received unchanged"
done

seq 100 | sed "s|.*|url = $url/\noutput = $WORK/p.&|" >"$WORK/list"
curl -s -m 60 --no-progress-meter --fail-early -Z --parallel-max 50 -K "$WORK/list"
ok $? '100 requests, 50 at a time'
is "$(for f in "$WORK"/p.*; do cmp -s "$WORK/index" "$f" || echo differs; done)" '' 'each got the whole page'

"$(app_binary website)" --net user -p "127.0.0.1:$port:80" >"$WORK/second" 2>&1 &
second=$!
PIDS+=("$second")
said() { grep -qsE 'forward|bind|in use|error' "$WORK/second"; }
wait_until 10 said
is_like "$(cat "$WORK/second")" "$port" 'a port that is taken is named in the message'
kill "$second" 2>/dev/null
app_stop_ok
is_like "$(tail -n 3 "$APP_OUT")" '[0-9]' 'a line of statistics closes the output'
done_testing
