#!/usr/bin/env bash
# The website on one end of a veth pair by packet sockets: ping, transfers both ways with every offload of the host
# and with none, load, two appliances on one interface, an interface that goes down, comes back and is removed.
. "$(dirname "$0")/lib.sh"
need curl wrk ping ethtool
pattern=$B/host/test/bench/pattern
[ -x "$pattern" ] || skip_all "$pattern is not built (make bench-bins)"
net_open
inside sh -c 'echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6' 2>/dev/null
ip -n "$NS" link add pk0 type veth peer name pk1 || skip_all "this host gives no veth pair"
ip -n "$NS" link set pk0 up && ip -n "$NS" link set pk1 up && ip -n "$NS" address add "$HOST_IP/24" dev pk1
url=http://$APP_IP
get() { inside curl -s -m 60 "$@"; }
pings() { inside ping -q -n -W 2 "$@" "$APP_IP" | sed -n 's/.* \([0-9]*\) received.*/\1/p'; }

# ---- refusals ------------------------------------------------------------------------------------

website=$(app_binary website)
[ -x "$website" ] || skip_all "$website is not built (make examples)"
is_like "$(inside "$website" --net packet --ip "$APP_IP/24" 2>&1; echo " $?")" 'packet:IFNAME.* 64$' 'the interface must be named'
is_like "$(inside "$website" --net packet:pk0 2>&1; echo " $?")" '--ip .* 64$' 'and the address'
is_like "$(inside "$website" --net packet:none --ip "$APP_IP/24" 2>&1; echo " $?")" 'no such interface.* 64$' \
    'an interface that is not there'
cp "$website" "$WORK/website"
chmod 755 "$WORK" "$WORK/website"
is_like "$(inside setpriv --reuid 65534 --regid 65534 --clear-groups "$WORK/website" --net packet:pk0 --ip "$APP_IP/24" 2>&1
    echo " $?")" 'CAP_NET_RAW.* 69$' 'without CAP_NET_RAW it says what is needed'

# ---- traffic -------------------------------------------------------------------------------------

app_start website --net packet:pk0 --ip "$APP_IP/24" || done_testing
is_like "$(cat "$APP_OUT")" "net: packet $APP_IP/24 \(pk0\)" 'it says where it is'
wait_until 10 tcp_answers "$APP_IP" 80
is "$(pings -c 50 -i 0.01)" 50 '50 pings'
is "$(pings -c 20 -i 0.01 -s 1472)" 20 'of the largest size'
is "$(pings -c 5 -i 0.01 -s 20000)" 5 'in fragments'

transfers() {
    local size wanted got
    for size in 1 1448 2000 65536 1000000 30000000; do
        get "$url/bytes/$size" | cmp - <("$pattern" "$size")
        ok $? "$1, out: $size bytes arrive unchanged"
        wanted=$("$pattern" "$size" | "$pattern" sum)
        got=$("$pattern" "$size" | get -X PUT -T - "$url/upload")
        is "$(sed -E 's/.*length": ([0-9]+), "crc32": "([0-9a-f]+)".*/\1 \2/' <<<"$got")" "$wanted" \
            "$1, in: $size bytes arrive unchanged"
    done
}
sent() { inside cat /sys/class/net/pk0/statistics/tx_packets; }
transfers 'all offloads'
before=$(sent)
get -o /dev/null "$url/bytes/10000000"
n=$(($(sent) - before))
[ "$n" -lt 3000 ]
ok $? 'segments leave uncut' || note "$n frames for 10 MB"
for end in pk0 pk1; do
    inside ethtool -K "$end" tso off gso off gro off tx off sg off >/dev/null 2>&1
done
transfers 'no offloads'
for end in pk0 pk1; do
    inside ethtool -K "$end" tx on sg on tso on gso on gro on >/dev/null 2>&1
done

inside wrk --timeout 30s -t 1 -c 64 -d "${WRK_SECONDS:-3}s" --latency "$url/" >"$WORK/wrk"
! grep -qE 'Socket errors|Non-2xx' "$WORK/wrk"
ok $? 'wrk, 64 connections: no error' || sed 's/^/# /' "$WORK/wrk"
note "$(grep -E 'Requests/sec|99%' "$WORK/wrk" | tr -s ' ')"
is "$(counter responses_5xx)" 0 'no answer was a 5xx'

# ---- IPv6 ---------------------------------------------------------------------------------------

inside sh -c 'echo 0 >/proc/sys/net/ipv6/conf/pk1/disable_ipv6; echo 0 >/proc/sys/net/ipv6/conf/pk1/accept_dad'
ip -n "$NS" address add "$HOST_IP6/64" dev pk1 nodad
first=$APP_PID
PIDS+=("$first")
app_start website --net packet:pk0 --ip 10.77.0.4/24 --ip "$APP_IP6/64" --ip6 static --mac 02:00:00:00:00:44
ping6() { inside ping -q -n -W 2 "$@" "$APP_IP6" | sed -n 's/.* \([0-9]*\) received.*/\1/p'; }
pinged6() { [ "$(ping6 -c 1)" = 1 ]; }
wait_until 10 pinged6
is "$(ping6 -c 20 -i 0.01)" 20 'IPv6: 20 pings'
is "$(ping6 -c 3 -i 0.01 -s 20000)" 3 'IPv6: in fragments'
for setting in off on; do
    for end in pk0 pk1; do
        inside ethtool -K "$end" tso $setting gso $setting gro $setting tx $setting sg $setting >/dev/null 2>&1
    done
    get -g "http://[$APP_IP6]/bytes/10000000" | cmp - <("$pattern" 10000000)
    ok $? "IPv6, offloads $setting, out: 10 MB arrive unchanged"
    got=$("$pattern" 10000000 | get -g -X PUT -T - "http://[$APP_IP6]/upload")
    is "$(sed -E 's/.*length": ([0-9]+), "crc32": "([0-9a-f]+)".*/\1 \2/' <<<"$got")" \
        "$("$pattern" 10000000 | "$pattern" sum)" "IPv6, offloads $setting, in: 10 MB arrive unchanged"
done
app_stop_ok
APP_PID=$first

# ---- company -------------------------------------------------------------------------------------

first=$APP_PID
PIDS+=("$first")
app_start website --net packet:pk0 --ip 10.77.0.3/24 --mac 02:00:00:00:00:33 --pcap "$WORK/second.pcapng"
is "$(get -o /dev/null -w '%{http_code}' "http://10.77.0.3/")" 200 'a second appliance on the interface'
is "$(get -o /dev/null -w '%{http_code}' "$url/")" 200 'beside the first'
app_stop_ok 'the second ends'
APP_PID=$first

# ---- the interface goes ---------------------------------------------------------------------------

ticks() { awk '{print $14 + $15}' "/proc/$APP_PID/stat"; }
app_stop_ok 'the first ends'
app_start website --net packet:pk0 --ip "$APP_IP/24" || done_testing
says() { grep -q "$1" "$APP_OUT"; }
ip -n "$NS" link set pk0 down
wait_until 20 says 'pk0 is down'
ok $? 'it notices that the interface went down'
before=$(ticks)
is "$(pings -c 1)" 0 'and does not answer'
[ $(($(ticks) - before)) -lt 20 ]
ok $? 'nor spin'
ip -n "$NS" link set pk0 up
wait_until 20 says 'pk0 is up again'
ok $? 'it notices that it is back'
# The kernel may take a second to notice a carrier.
answers() { [ "$(pings -c 1)" = 1 ]; }
wait_until 20 answers
is "$(pings -c 3 -i 0.2)" 3 'and answers again'
is "$(get -o /dev/null -w '%{http_code}' "$url/")" 200 'with pages too'
ip -n "$NS" link delete pk0
wait_until 20 says 'pk0 was removed'
ok $? 'it notices that the interface was removed'
before=$(ticks)
pause 1
[ $(($(ticks) - before)) -lt 20 ]
ok $? 'and rests'
app_stop
is "$APP_STATUS" 0 'it still ends with status 0'
done_testing
