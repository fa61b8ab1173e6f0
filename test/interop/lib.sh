# shellcheck shell=bash
# SPDX-License-Identifier: ISC
# Helper of the interop tests: namespaces, appliances, TAP. Source it first: . "$(dirname "$0")/lib.sh"
#
#   need curl wrk               SKIP the whole test unless these programs are here
#   need_root                   SKIP unless root may make network namespaces and taps
#   net_open                    a namespace of this run's own, $NS; run in it with `inside COMMAND...`
#   app_start NAME ARGS...      start an appliance (in the namespace if there is one) and wait until it has
#                               said its network; its output is in $APP_OUT, its process is $APP_PID
#   app_stop                    SIGTERM; the exit status is in $APP_STATUS; fails if it had to be killed
#   tap_start NAME ARGS...      app_start with --net tap --ip $APP_IP/24 --host-ip $HOST_IP/24
#   peer_build [asan]           the appliance of test/interop/peer, as $APP_BINARY of later starts
#   peer_start ARGS...          start it on a tap, IPv4 and IPv6: $APP_IP, $APP_IP6; the host is $HOST_IP, $HOST_IP6
#   peer_counter NAME           a counter of its stack
#   monitor_ask SOCKET KIND...  ask the monitor of --workers
#   each_answered COUNT NAME ARGS...  ping, and none is lost
#   free_port                   a TCP port of the host that is free now
#   wait_until SECONDS CMD...   poll a condition; nothing here sleeps to let something happen. SECONDS are those of a machine that
#                               is not in a hurry; before a test fails, PATIENCE times as many go by
#   pause SECONDS               where a time is what is tested
#   counter NAME                a statistic of the website appliance, by /api/stats
#   ok STATUS NAME, is GOT WANTED NAME, is_like GOT REGEX NAME, note TEXT, skip REASON NAME, done_testing
#
# Everything made is removed by a trap: processes by their id, then the namespace, then the folder $WORK.
# MIRARI_BUILD names the build folder (default: build).
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
B=${MIRARI_BUILD:-build}
WORK=$(mktemp -d "${TMPDIR:-/tmp}/mirari-interop.XXXXXX")
NS=
HOST_IP=10.77.0.1
APP_IP=10.77.0.2
HOST_IP6=fd00:77::1
APP_IP6=fd00:77::2
APP_PID=
APP_OUT=$WORK/app.out
APP_STATUS=
APP_USER= # run the appliance as this user, without any capability
TAP_N=0
TAP_FAILED=0
PATIENCE=${PATIENCE:-4}
PIDS=() # background processes of the test, ended at exit

cleanup() {
    local status=$? pid
    for pid in $APP_PID "${PIDS[@]}"; do
        kill "$pid" 2>/dev/null
    done
    for pid in $APP_PID "${PIDS[@]}"; do
        wait_until 3 eval "! kill -0 $pid 2>/dev/null" || kill -9 "$pid" 2>/dev/null
    done
    [ -n "$NS" ] && ip netns delete "$NS" 2>/dev/null
    if [ $status != 0 ] && [ -s "$APP_OUT" ]; then
        sed 's/^/# appliance: /' "$APP_OUT" | tail -n 40
    fi
    rm -rf "$WORK"
    exit $status
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# ---- TAP ---------------------------------------------------------------------------------------

skip_all() {
    echo "1..0 # SKIP $*"
    exit 0
}
note() { printf '# %s\n' "$@"; }
ok() {
    TAP_N=$((TAP_N + 1))
    if [ "$1" = 0 ]; then
        echo "ok $TAP_N - $2"
    else
        TAP_FAILED=$((TAP_FAILED + 1))
        echo "not ok $TAP_N - $2"
        return 1
    fi
}
skip() {
    TAP_N=$((TAP_N + 1))
    echo "ok $TAP_N - $2 # SKIP $1"
}
is() {
    if [ "$1" = "$2" ]; then
        ok 0 "$3"
    else
        ok 1 "$3"
        note "got:    $1" "wanted: $2"
        return 1
    fi
}
is_like() {
    if [[ $1 =~ $2 ]]; then
        ok 0 "$3"
    else
        ok 1 "$3"
        note "got:        ${1:0:400}" "wanted like: $2"
        return 1
    fi
}
done_testing() {
    echo "1..$TAP_N"
    [ "$TAP_FAILED" = 0 ]
    exit
}

# ---- what a test needs --------------------------------------------------------------------------

need() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || skip_all "$program is not installed"
    done
}
need_root() {
    [ "$(id -u)" = 0 ] || skip_all "needs root, to make network namespaces"
    [ -c /dev/net/tun ] || skip_all "needs /dev/net/tun"
    need ip
    local probe=mirari-probe-$$
    ip netns add "$probe" 2>/dev/null || skip_all "cannot make network namespaces here"
    ip netns delete "$probe"
}

pause() { read -rt "$1" <> <(:) || :; } # without a process
wait_until() {
    local limit=$1
    shift
    local end=$((${EPOCHREALTIME/./} + limit * PATIENCE * 1000000))
    until "$@"; do
        [ "${EPOCHREALTIME/./}" -lt "$end" ] || return 1
        pause 0.02
    done
    return 0
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# ---- namespaces and appliances ------------------------------------------------------------------

net_open() {
    need_root
    NS=mirari-$$-$RANDOM
    ip netns add "$NS" && ip -n "$NS" link set lo up
}
inside() {
    if [ -n "$NS" ]; then
        ip netns exec "$NS" "$@"
    else
        "$@"
    fi
}

app_binary() { echo "${APP_BINARY:-$B/examples/$1/unix/$1}"; }
app_ready() { grep -q '^net: ' "$APP_OUT" || ! kill -0 "$APP_PID" 2>/dev/null; }

app_start() {
    local binary prefix=()
    binary=$(app_binary "$1")
    shift
    [ -x "$binary" ] || skip_all "$binary is not built (make examples)"
    [ -n "$APP_USER" ] && prefix=(setpriv --reuid "$APP_USER" --regid "$(id -g "$APP_USER")" --clear-groups --inh-caps=-all)
    : >"$APP_OUT"
    [ -n "$APP_USER" ] && chmod 755 "$WORK"
    if [ -n "$NS" ]; then
        ip netns exec "$NS" "${prefix[@]}" "$binary" "$@" >"$APP_OUT" 2>&1 &
    else
        "${prefix[@]}" "$binary" "$@" >"$APP_OUT" 2>&1 &
    fi
    APP_PID=$!
    wait_until 60 app_ready
    # One that has little to do may be done already.
    if ! grep -q '^net: ' "$APP_OUT"; then
        ok 1 "$(basename "$binary") starts with: $*"
        sed 's/^/# /' "$APP_OUT"
        return 1
    fi
}
tap_start() {
    local name=$1
    shift
    [ -n "$NS" ] || net_open
    app_start "$name" --net tap --ip "$APP_IP/24" --host-ip "$HOST_IP/24" "$@"
}
peer_build() {
    local asan=${1:-}
    [ -x "$B/mirari" ] || skip_all "$B/mirari is not built (make)"
    [ -f "$B/${asan:-host}/libmirari-unix.a" ] || skip_all "$B/${asan:-host} is not built (make check-build)"
    if ! "$B/mirari" build -q ${asan:+--asan} -C test/interop/peer -o "$WORK/peer" >"$WORK/peer.log" 2>&1; then
        ok 1 'the peer appliance is built'
        sed 's/^/# /' "$WORK/peer.log"
        done_testing
    fi
    APP_BINARY=$WORK/peer/unix${asan:+-asan}/peer
}
peer_start() {
    [ -n "$NS" ] || net_open
    inside sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0
    tap_start peer --ip "$APP_IP6/64" --host-ip "$HOST_IP6/64" --ip6 static "$@" || done_testing
    wait_until 60 peer_ready
}
peer_ready() { ! kill -0 "$APP_PID" 2>/dev/null || inside ping -q -c 1 -W 1 "$APP_IP6" >/dev/null 2>&1; }
peer_counters() { inside nc -w 10 "$APP_IP" 9 </dev/null; }
peer_counter() { peer_counters | sed -n "s/^$1 //p"; }
tcp_answers() { inside nc -z -w 1 "$1" "$2" 2>/dev/null; }

app_stop() {
    kill -TERM "$APP_PID" 2>/dev/null
    if ! wait_until 30 eval "! kill -0 $APP_PID 2>/dev/null"; then
        note 'it did not end on SIGTERM'
        kill -9 "$APP_PID"
    fi
    wait "$APP_PID"
    APP_STATUS=$?
    APP_PID=
}
# The appliance ended cleanly, and neither it nor a sanitizer complained.
app_stop_ok() {
    app_stop
    is "$APP_STATUS" 0 "${1:-the appliance ends with status 0}"
    ! grep -nE 'AddressSanitizer|runtime error|LeakSanitizer|assertion|ERROR' "$APP_OUT" >"$WORK/complaints"
    ok $? 'it did not complain' || sed 's/^/# /' "$WORK/complaints"
}

# A message to a monitor as the tool sends it, made by hand: monitor_ask SOCKET KIND NAME IFNAME TEXT; prints status and text.
monitor_ask() {
    python3 - "$@" <<'PY'
import socket, struct, sys
path, kind, name, ifname, text = (sys.argv[1:] + [""] * 4)[:5]
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(90)
s.connect(path)
s.send(struct.pack("=IHHHHHHIi6sH32s16s256s584s", 0x4D495248, 2, int(kind), 0, 0, 0, 0, 0, 0, b"", 0, name.encode(), ifname.encode(),
                   text.encode(), b""))
answer = s.recv(1000)
print(struct.unpack("=i", answer[20:24])[0], answer[80:336].split(b"\0")[0].decode())
PY
}

# each_answered COUNT NAME ARGS...: that many pings, none lost. The queues of this machine are those of all its namespaces; where
# others have filled them meanwhile, which the kernel counts, it is asked again.
host_drops() { awk '{print $2}' /proc/net/softnet_stat | tr -d '\n'; }
each_answered() {
    local count=$1 name=$2 before said try
    shift 2
    for try in 1 2 3 4 5; do
        before=$(host_drops)
        said=$(inside ping -q -c "$count" -i 0.02 -W 10 "$@" 2>&1)
        [[ $said == *" $count received, 0% packet loss"* ]] && break
        [ "$(host_drops)" != "$before" ] || break
    done
    is_like "$said" " $count received, 0% packet loss" "$name"
}

stats() { inside curl -s -m 10 "http://${STATS_AT:-$APP_IP}/api/stats"; }
counter() { stats | tr ',{}' '\n' | sed -n "s/^ *\"$1\" *: *\"\{0,1\}\([0-9]*\).*/\1/p" | head -n 1; }
