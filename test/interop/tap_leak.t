#!/usr/bin/env bash
# 100,000 short connections over a tap: none fails, and everything is back at the idle figure.
. "$(dirname "$0")/lib.sh"
gen=$B/host/test/bench/tcpgen
[ -x "$gen" ] || skip_all "$gen is not built (make bench-bins)"
net_open
tap_start website || done_testing
wait_until 10 tcp_answers "$APP_IP" 80
# No TIME_WAIT of the host may block a port that is used again.
inside sysctl -qw net.ipv4.ip_local_port_range='1024 65000' net.ipv4.tcp_tw_reuse=1 2>/dev/null
in_use() { stats | tr ',{}' '\n' | grep -E '_used|_open|connections_in_use|time_wait|timers' | grep -v peak | sort; }

inside "$gen" short "$APP_IP" 80 --count 1000 --path /style.css >/dev/null # warm: pools have their chunks
in_use >"$WORK/idle"
inside "$gen" short "$APP_IP" 80 --count "${COUNT:-100000}" --parallel 64 --path /style.css >"$WORK/gen"
ok $? "${COUNT:-100000} connections, none failed"
sed 's/^/# /' "$WORK/gen"
quiet() {
    in_use >"$WORK/after"
    diff "$WORK/idle" "$WORK/after" >"$WORK/diff"
}
wait_until 70 quiet # our TIME_WAIT lasts a minute
ok $? 'pages, buffers, connections and timers in use are as before' || sed 's/^/# /' "$WORK/diff"
app_stop_ok
done_testing
