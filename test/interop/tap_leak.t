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
# What is in use now. The connection that asks is one of them, each time.
in_use() {
    stats | tr ',{}' '\n' |
        grep -E '"(connections_open|arp_entries|udp_sockets|buffers_used|tcp_connections|tcp_half_open|tcp_time_wait|tcp_memory_used_bytes)"'
}
# Pages: pools keep what they have carved, so what counts is the growth after a first load of the same kind. The peak of
# 64 connections differs by some pages from run to run; the smallest thing that can leak has more than two bytes.
pages() { counter page_bytes_used; }

in_use >"$WORK/idle"
is "$(wc -l <"$WORK/idle")" 8 'the appliance tells eight figures of what is in use'
inside "$gen" short "$APP_IP" 80 --count 20000 --path /style.css >/dev/null
warm=$(pages)
inside "$gen" short "$APP_IP" 80 --count "${COUNT:-100000}" --parallel 64 --path /style.css >"$WORK/gen"
ok $? "${COUNT:-100000} connections, none failed"
sed 's/^/# /' "$WORK/gen"
quiet() {
    in_use >"$WORK/after"
    cmp -s "$WORK/idle" "$WORK/after"
}
wait_until 75 quiet # our TIME_WAIT lasts a minute
ok $? 'connections, buffers and queued bytes in use are as before' || diff "$WORK/idle" "$WORK/after" | sed 's/^/# /'
grown=$(($(pages) - warm))
[ "$grown" -lt $((2 * ${COUNT:-100000})) ]
ok $? "pages have grown by less than two bytes a connection: $grown bytes, from $warm after the first 20,000"
app_stop_ok
done_testing
