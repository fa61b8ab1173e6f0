#!/usr/bin/env bash
# Names over IPv6: a name server that has no other address, and races of both families for a connection (RFC 8305)
# where one is silent, refuses, or is slow.
. "$(dirname "$0")/lib.sh"
need dnsmasq python3
# Global ones: unique local addresses come after IPv4 (RFC 6724 section 2.1).
HOST_IP6=2001:db8:77::1 APP_IP6=2001:db8:77::2
net_open
inside sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0
# A host behind the tap, with addresses of both families; silent ones are routed to it and dropped there.
inside ip link add v0 type veth peer name v1
inside ip link set v0 up
inside ip link set v1 up
for address in 10.99.0.1/24 10.99.0.2/24; do
    inside ip addr add $address dev v0
done
for address in 2001:db8:99::1/64 2001:db8:99::2/64; do
    inside ip -6 addr add $address dev v0 nodad
done
inside ip route add blackhole 10.98.0.0/16
inside ip -6 route add blackhole 2001:db8:98::/48
inside sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
# Blackholes say "unreachable" to who sends; here nobody says anything.
inside ip rule add ipproto icmp to 10.77.0.2 blackhole 2>/dev/null && inside ip -6 rule add ipproto ipv6-icmp to $APP_IP6 blackhole 2>/dev/null ||
    skip_all 'no routing rules by protocol here'

: >"$WORK/dnsmasq.out" >"$WORK/serve.out"
ip netns exec "$NS" dnsmasq --no-daemon --conf-file=/dev/null --no-resolv --no-hosts --listen-address=2001:db8:99::1 --bind-interfaces \
    --pid-file= --log-facility=- --local=/example/ --cache-size=0 \
    --host-record=both.example,10.99.0.2,2001:db8:99::2 --host-record=only4.example,10.99.0.2 --host-record=only6.example,2001:db8:99::2 \
    --host-record=silent6.example,10.99.0.2,2001:db8:98::9 --host-record=silent4.example,10.98.0.9,2001:db8:99::2 \
    --host-record=silent.example,10.98.0.9,2001:db8:98::9 --txt-record=long.example,"$(printf 'x%.0s' $(seq 200))" \
    >"$WORK/dnsmasq.out" 2>&1 &
PIDS+=($!)
cat >"$WORK/serve.py" <<'PY'
import socket, sys
ends = []
for family, address, port in ((socket.AF_INET, "10.99.0.2", 8080), (socket.AF_INET6, "2001:db8:99::2", 8080),
                              (socket.AF_INET, "10.99.0.2", 8084), (socket.AF_INET6, "2001:db8:99::2", 8086)):
    end = socket.socket(family, socket.SOCK_STREAM)
    end.bind((address, port))
    end.listen(16)
    ends.append(end)
print("ready", flush=True)
while True:
    ends[0].accept()
PY
ip netns exec "$NS" python3 "$WORK/serve.py" >"$WORK/serve.out" &
PIDS+=($!)
wait_until 10 grep -q ready "$WORK/serve.out"
wait_until 10 grep -q started "$WORK/dnsmasq.out"
ok $? 'dnsmasq runs' || sed 's/^/# /' "$WORK/dnsmasq.out"

LOOKUP=$B/examples/lookup/unix/lookup
[ -x "$LOOKUP" ] || skip_all "$LOOKUP is not built (make examples)"
lookup() {
    ip netns exec "$NS" timeout 30 "$LOOKUP" --net tap --ip "$APP_IP/24" --ip "$APP_IP6/64" --host-ip "$HOST_IP/24" --host-ip "$HOST_IP6/64" \
        --gateway "$HOST_IP" --gateway "$HOST_IP6" --ip6 static --dns 2001:db8:99::1 "$@" >"$APP_OUT" 2>&1
    APP_STATUS=$?
}
said() { grep -v -e '^net: ' -e '^address: ' -e '^ended: ' -e ' WARN ' "$APP_OUT"; }

lookup --names both.example
is "$APP_STATUS" 0 'a name server over IPv6'
is "$(said)" 'both.example AAAA 2001:db8:99::2
both.example A 10.99.0.2' 'addresses of both families, IPv6 first'
lookup --names only4.example,only6.example
is "$(said)" 'only4.example A 10.99.0.2
only6.example AAAA 2001:db8:99::2' 'names with one family'
lookup --names 2001:db8:99::2 --type PTR
is_like "$(said)" '^2\.0\.0\.0\..*\.8\.b\.d\.0\.1\.0\.0\.2\.ip6\.arpa PTR both\.example$' 'the name of an IPv6 address'
lookup --names long.example --type TXT
is "$(said)" "long.example TXT \"$(printf 'x%.0s' $(seq 200))\"" 'a long answer over IPv6'

race() { # NAME PORT WANTED-ADDRESS TEXT: prints which family won and after how long
    lookup --names "$1" --connect "$2" --timeout 15
    # On a busy machine a quarter of a second may pass before the first SYN is answered.
    [[ $(said) =~ connected\ to\ $3 ]] || lookup --names "$1" --connect "$2" --timeout 15
    is_like "$(said)" "^$1: connected to $3:$2 in " "$4"
    TOOK=$(said | sed -nE 's/.* in ([0-9]+) ms.*/\1/p')
    note "$1: ${TOOK:-?} ms"
}
race both.example 8080 '\[2001:db8:99::2\]' 'both answer: IPv6'
race both.example 8086 '\[2001:db8:99::2\]' 'only IPv6 listens'
race both.example 8084 '10\.99\.0\.2' 'IPv6 refuses: IPv4'
race silent6.example 8080 '10\.99\.0\.2' 'IPv6 is silent: IPv4'
[ "${TOOK:-0}" -ge 250 ]
ok $? 'a quarter of a second later, not before (RFC 8305 section 5)'
[ "${TOOK:-99999}" -lt 5000 ]
ok $? 'and long before IPv6 is given up'
race silent4.example 8080 '\[2001:db8:99::2\]' 'IPv4 is silent: IPv6'
race only4.example 8080 '10\.99\.0\.2' 'no IPv6 address'
race only6.example 8080 '\[2001:db8:99::2\]' 'no IPv4 address'
lookup --names both.example --connect 8099
is "$(said)" 'both.example: connection refused' 'both refuse: it says so'
lookup --names silent.example --connect 8080 --timeout 2
is "$(said)" 'silent.example: timed out' 'both are silent until the deadline'
done_testing
