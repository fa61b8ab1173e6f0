#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# The resolver against dnsmasq, and against servers that fail, lie and stay silent (probe/dnsserver.py): over a
# tap with the servers that DHCP told, and over the host's stack with those of /etc/resolv.conf.
if [ -z "${INSIDE:-}" ] && [ "$(id -u)" = 0 ]; then
    INSIDE=1 exec unshare --mount --propagation private "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"
need python3 dnsmasq
net_open
inside ip link add v0 type veth peer name v1
inside ip addr add 10.99.0.1/24 dev v0
inside ip link set v0 up
inside ip link set v1 up
inside ip link add w0 type veth peer name w1 # not for dnsmasq
inside ip addr add 10.99.1.2/24 dev w0
inside ip link set w0 up
inside ip link set w1 up
echo 'nameserver 10.99.0.1' >"$WORK/resolv.conf"
echo 'search corp.example' >>"$WORK/resolv.conf"
chmod 755 "$WORK"
chmod 644 "$WORK/resolv.conf"
mount --bind "$WORK/resolv.conf" /etc/resolv.conf || skip_all 'no bind mount'

big=()
for i in $(seq 1 150); do big+=("--host-record=big.example,10.1.0.$i"); done
: >"$WORK/dnsmasq.out" >"$WORK/bad.out"
ip netns exec "$NS" dnsmasq --no-daemon --conf-file=/dev/null --no-resolv --no-hosts --no-dhcp-interface=v0 --except-interface=w0 --bind-dynamic \
    --dhcp-range=10.77.0.50,10.77.0.60,1h --dhcp-option=option:dns-server,10.99.0.1 --dhcp-authoritative \
    --dhcp-leasefile="$WORK/leases" --pid-file= --log-queries --log-facility=- --edns-packet-max=1232 \
    --host-record=www.example,10.1.2.3,2001:db8::3 --host-record=only4.example,10.1.2.4 \
    --host-record=short.corp.example,10.1.2.5 \
    --cname=alias.example,middle.example --cname=middle.example,www.example \
    --srv-host=_web._tcp.example,www.example,8080,1,2 --txt-record=text.example,'one two','three' \
    --mx-host=example,mail.example,10 --ptr-record=3.2.1.10.in-addr.arpa,www.example \
    --caa-record=example,0,issue,ca.example --dns-rr=odd.example,65280,0102ff \
    --local=/example/ "${big[@]}" >"$WORK/dnsmasq.out" 2>&1 &
PIDS+=($!)
wait_until 10 grep -q 'started' "$WORK/dnsmasq.out"
ok $? 'dnsmasq runs' || sed 's/^/# /' "$WORK/dnsmasq.out"

# lookup ARGS...: run the appliance to its end; output in $APP_OUT, status in $APP_STATUS
LOOKUP=$B/examples/lookup/unix/lookup
[ -x "$LOOKUP" ] || skip_all "$LOOKUP is not built (make examples)"
lookup() {
    inside timeout 30 "$LOOKUP" "$@" >"$APP_OUT" 2>&1
    APP_STATUS=$?
}
answers() { # NAME, wanted lines
    grep -v -e '^net: ' -e '^address: ' -e '^ended: ' -e ' WARN ' "$APP_OUT" | diff - <(printf '%s\n' "${@:2}") >"$WORK/diff"
    ok $? "$1" || sed 's/^/# /' "$WORK/diff"
}
try_all() { # label, options
    local what=$1
    shift
    lookup "$@" --names www.example,only4.example
    sort -o "$APP_OUT" "$APP_OUT" # the order depends on what can be reached
    answers "$what: addresses of both families" 'only4.example A 10.1.2.4' 'www.example A 10.1.2.3' 'www.example AAAA 2001:db8::3'
    lookup "$@" --names alias.example --type A
    answers "$what: aliases" 'www.example A 10.1.2.3'
    lookup "$@" --names _web._tcp.example --type SRV
    answers "$what: SRV" '_web._tcp.example SRV 1 2 8080 www.example'
    lookup "$@" --names text.example --type TXT
    answers "$what: TXT" 'text.example TXT "one two" "three"'
    lookup "$@" --names 10.1.2.3 --type PTR
    answers "$what: PTR" '3.2.1.10.in-addr.arpa PTR www.example'
    lookup "$@" --names example --type MX
    answers "$what: MX" 'example MX 10 mail.example'
    lookup "$@" --names odd.example --type TYPE65280
    answers "$what: a type nobody knows" 'odd.example TYPE65280 \# 3 0102ff'
    lookup "$@" --names nothing.example --type A
    answers "$what: no such name" 'nothing.example: no such name'
    is "$APP_STATUS" 1 "$what: status 1"
    lookup "$@" --names only4.example --type AAAA
    answers "$what: none of that type" 'only4.example: no AAAA'
    lookup "$@" --names big.example --type A
    is "$(grep -c '^big.example A 10.1.0.' "$APP_OUT")" 150 "$what: 150 addresses, by TCP after truncation"
}
try_all 'tap, server by DHCP' --net tap --ip dhcp --host-ip "$HOST_IP/24"
try_all 'socket, resolv.conf' --net socket
lookup --net user --names www.example,nothing.example --type A
answers "user: through slirp's server" 'www.example A 10.1.2.3' 'nothing.example: no such name'
lookup --net socket --names short --type A
answers 'socket: the search domain of resolv.conf' 'short.corp.example A 10.1.2.5'

# ---- servers that misbehave -----------------------------------------------------------------------
ip netns exec "$NS" python3 -u test/interop/probe/dnsserver.py 10.99.1.2 >"$WORK/bad.out" 2>&1 &
PIDS+=($!)
wait_until 10 grep -q ready "$WORK/bad.out"
ok $? 'bad servers run' || sed 's/^/# /' "$WORK/bad.out"
names=good.bad,wrong-id.bad,wrong-source.bad,wrong-name.bad,garbage.bad,truncated.bad,noedns.bad,flip-case.bad,storm.bad
names=$names,chain.bad,poison.bad,victim.bad,servfail.bad
wanted=()
for name in ${names//,/ }; do
    case $name in
    chain.bad) wanted+=('good.bad A 10.1.1.1') ;;
    servfail.bad) wanted+=('servfail.bad: input/output error') ;;
    *) wanted+=("$name A 10.1.1.1") ;;
    esac
done
tap="--net tap --ip $APP_IP/24 --host-ip $HOST_IP/24 --gateway $HOST_IP"
for net in "--net socket" "$tap"; do
    what=${net#--net }
    what=${what%% *}
    # shellcheck disable=SC2086 # words
    lookup $net --dns 10.99.1.2 --names "$names" --type A
    answers "$what: no lie is believed, every honest answer is" "${wanted[@]}"
    # shellcheck disable=SC2086
    lookup $net --dns 10.99.0.99,10.99.1.3,10.99.0.1 --names www.example,only4.example --type A
    answers "$what: two servers that are not there, then one that is" 'www.example A 10.1.2.3' 'only4.example A 10.1.2.4'
    # shellcheck disable=SC2086
    lookup $net --dns 10.99.1.2 --names never.bad --type A --timeout 1
    answers "$what: silence until the deadline" 'never.bad: timed out'
done

# ---- connecting by name ----------------------------------------------------------------------------
inside ip addr add 10.1.2.3/32 dev v0
ip netns exec "$NS" python3 -m http.server --bind 10.1.2.3 8080 >/dev/null 2>&1 &
PIDS+=($!)
wait_until 10 inside nc -z 10.1.2.3 8080
for net in "--net socket" "$tap"; do
    what=${net#--net }
    what=${what%% *}
    # shellcheck disable=SC2086
    lookup $net --dns 10.99.0.1 --names www.example --connect 8080
    is_like "$(grep connected "$APP_OUT")" 'www.example: connected to 10.1.2.3:8080 in [0-9]{1,4} ms' \
        "$what: the family that answers"
    # shellcheck disable=SC2086
    lookup $net --dns 10.99.0.1 --names www.example --connect 8081
    answers "$what: refused says more than unreachable" 'www.example: connection refused'
done
done_testing
