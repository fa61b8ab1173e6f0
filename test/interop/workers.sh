# shellcheck shell=bash
# SPDX-License-Identifier: ISC
# What two workers of the website do by any device, after lib.sh; $pattern is the bench program of that name.

workers() { pgrep -P "$APP_PID"; }
page() { inside curl -g -s -m 30 -o /dev/null -w '%{http_code}' "http://$1/"; }

serve_as_one() { # a load, long and short, both families, neighbours that are forgotten, pings whole and in fragments
    local address size i bad=0
    inside wrk --timeout 30s -t 1 -c 64 -d 2s "http://$APP_IP/" >"$WORK/wrk"
    ! grep -qE 'Socket errors|Non-2xx' "$WORK/wrk"
    ok $? 'wrk, 64 connections: no error' || sed 's/^/# /' "$WORK/wrk"
    for address in "$APP_IP" "[$APP_IP6]"; do
        for size in 1 100000 20000000; do
            inside curl -g -s -m 60 "http://$address/bytes/$size" | cmp - <("$pattern" $size)
            ok $? "$address: $size bytes arrive unchanged"
        done
        "$pattern" 5000000 >"$WORK/up"
        is_like "$(inside curl -g -s -m 60 --data-binary "@$WORK/up" "http://$address/upload")" "$("$pattern" sum <"$WORK/up" | cut -d ' ' -f 2)" \
            "$address: 5 MB are received unchanged"
    done
    for i in $(seq 30); do
        [ $((i % 10)) = 0 ] && ip -n "$NS" neigh flush all
        [ "$(page "$APP_IP")$(page "[$APP_IP6]")" = 200200 ] || bad=$((bad + 1))
    done
    is $bad 0 'sixty connections, the neighbours forgotten three times'
    for address in "$APP_IP" "$APP_IP6"; do
        each_answered 20 "$address: each ping is answered" "$address"
        ! inside ping -c 5 -i 0.02 -W 2 "$address" 2>&1 | grep -q DUP
        ok $? "$address: and once"
        each_answered 5 "$address: in fragments, too" -s 20000 "$address"
    done
}
