#!/usr/bin/env bash
# Floods and scans by programs made for them: honest peers are served meanwhile, everything is bounded and comes back.
. "$(dirname "$0")/lib.sh"
need curl hping3 nmap
net_open
# The flood's sources are random: answers go to the host, which forwards nothing.
tap_start website --gateway "$HOST_IP" || done_testing
wait_until 10 tcp_answers "$APP_IP" 80
tap=$(ip -n "$NS" -br link show type tun | awk '{print $1; exit}')
inside sysctl -qw net.ipv4.ip_forward=0
inside curl -sf -m 10 "http://$APP_IP/style.css" -o "$WORK/page" || ok 1 'the page comes before all floods'

flood_begin() { # flood_begin HPING3-OPTIONS...
    ip netns exec "$NS" hping3 --flood -q -n -I "$tap" "$@" "$APP_IP" >/dev/null 2>&1 &
    FLOOD=$!
    PIDS+=("$FLOOD")
}
flood_end() {
    kill -TERM "$FLOOD"
    wait "$FLOOD" 2>/dev/null
}
# 20 connections one after the other, each with a whole page; prints how many failed, and gives up early.
honest() {
    local failed=0 i
    for ((i = 0; i < 20 && failed < 3; i++)); do
        inside curl -sf -m 20 "http://$APP_IP/style.css" | cmp -s - "$WORK/page" || failed=$((failed + 1))
    done
    echo $failed
}
flood() { # flood NAME HPING3-OPTIONS...
    local name=$1 before failed start=${EPOCHREALTIME/./}
    shift
    before=$(counter eth_in)
    flood_begin "$@"
    arrived() { [ $(($(counter eth_in) - before)) -gt 20000 ]; }
    wait_until 20 arrived
    ok $? "$name: the flood arrives"
    failed=$(honest)
    is "$failed" 0 "$name: 20 of 20 honest connections are served during the flood"
    flood_end
    local frames=$(($(counter eth_in) - before)) us=$((${EPOCHREALTIME/./} - start))
    note "$name: $frames frames came in $((us / 1000)) ms, $((frames * 1000 / (us / 1000))) a second"
}

# An established download of fixed rate, with its rate during the flood.
inside curl -sf -m 60 --limit-rate 4M "http://$APP_IP/bytes/24000000" -o "$WORK/long" -w '%{speed_download}' >"$WORK/speed" &
LONG=$!
PIDS+=("$LONG")
flood 'SYN flood from everywhere' -S -p 80 --rand-source
wait "$LONG"
ok $? 'a download that was under way ends well'
note "its rate: $(cat "$WORK/speed") of 4194304 bytes a second"
[ "$(cut -d. -f1 <"$WORK/speed")" -gt $((4194304 * 8 / 10)) ]
ok $? 'at no less than 80 % of its rate'
[ "$(counter tcp_cookies_sent)" -gt 0 ]
ok $? "SYN cookies answered the flood: $(counter tcp_cookies_sent)"
[ "$(counter tcp_half_open)" -le 4096 ]
ok $? "half-open connections are bounded: $(counter tcp_half_open)"
flood 'ACK storm' -A -p 80 --rand-source
flood 'RST storm' -R -p 80
flood 'SYN+FIN+RST+PSH' -S -F -R -P -p 80
flood 'segments that claim to be of us' -S -p 80 -a "$APP_IP"
flood 'UDP to closed ports' -2 -p ++1 -d 64
flood 'echo requests' -1 -d 1000
flood 'first fragments, never completed' -1 -x -d 800 --rand-source
[ "$(counter reassembly_bytes)" -le 1048576 ]
ok $? "reassembly is bounded: $(counter reassembly_bytes) bytes"
[ "$(counter arp_entries)" -le 1024 ]
ok $? "neighbours are bounded: $(counter arp_entries)"

inside nmap -n -Pn -sS -p 1-1000 --max-retries 2 --host-timeout 60s "$APP_IP" >"$WORK/nmap" 2>&1
is "$(grep -c '^[0-9]*/tcp *open' "$WORK/nmap")" 1 'nmap -sS finds the one open port of 1000'
is_like "$(cat "$WORK/nmap")" '80/tcp *open' 'and it is 80'
inside nmap -n -Pn -O -p 80,81 --max-os-tries 1 --host-timeout 60s "$APP_IP" >"$WORK/nmap" 2>&1
ok $? 'nmap -O asks its odd questions'
is "$(honest)" 0 'and it is served as before'

idle() { [ "$(counter tcp_connections)" -le 1 ] && [ "$(counter tcp_half_open)" -eq 0 ] && [ "$(counter reassembly_datagrams)" = 0 ]; }
wait_until 75 idle
ok $? 'no connection, half-open one or fragment is left' || stats
app_stop_ok
done_testing
