#!/usr/bin/env bash
# 100,000 idle connections and 1,000 busy ones in one process: nothing fails, memory is bounded.
. "$(dirname "$0")/lib.sh"
tcpgen=$B/host/test/bench/tcpgen httpgen=$B/host/test/bench/httpgen
[ -x "$tcpgen" ] && [ -x "$httpgen" ] || skip_all "$tcpgen and httpgen are not built (make bench-bins)"
# Each process may have so many descriptors; an address of its own lets the host find free ports soon.
holders=10 each=10000
[ "$(ulimit -Hn)" -gt $((each + 100)) ] || skip_all "a process may not have 10,000 descriptors here"
net_open
"$B/mirari" build -q -C test/bench/appliance -t unix -o "$WORK/bench" || skip_all "the bench appliance does not build"
APP_BINARY=$WORK/bench/unix/bench
tap_start bench || done_testing
tap=$(ip -n "$NS" -br link show type tun | awk '{print $1; exit}')
inside sysctl -qw net.ipv4.ip_local_port_range='1024 65000'

# They hold their connections until the end of their standard input.
mkfifo "$WORK/end"
for ((i = 0; i < holders; i++)); do
    from=10.77.0.$((100 + i))
    ip -n "$NS" address add "$from/24" dev "$tap"
    inside "$tcpgen" hold "$APP_IP" 5003 --count $each --from "$from" <"$WORK/end" >"$WORK/held.$i" 2>&1 &
    PIDS+=($!)
done
exec 9>"$WORK/end"
all_held() { [ "$(cat "$WORK"/held.* | grep -c "^held $each")" = $holders ]; }
wait_until 120 all_held
ok $? "$((holders * each)) connections are open" || cat "$WORK"/held.* | sed 's/^/# /'
inside "$httpgen" "$APP_IP" 80 /600.html --seconds 3 --parallel 1000 >"$WORK/http" 2>&1
ok $? '1,000 busy ones get all their answers meanwhile'
sed 's/^/# /' "$WORK/http"
inside "$tcpgen" rr "$APP_IP" 5003 --seconds 1 >"$WORK/rr" 2>&1
ok $? 'a new connection is served'
sed 's/^/# /' "$WORK/rr"
all_held
ok $? 'none of the idle ones was dropped'
exec 9>&-
app_stop_ok
peak=$(sed -n 's/.*memory peak \([0-9]*\) KiB.*/\1/p' "$APP_OUT")
# 512 bytes each, and as much again for those that were opened in the last two seconds; 16 KiB for each busy one.
[ "$peak" -lt $((holders * each + 16 * 1000)) ]
ok $? "memory at the peak: $peak KiB"
done_testing
