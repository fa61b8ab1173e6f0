# shellcheck shell=bash
# SPDX-License-Identifier: ISC
# Two stacks to run the same program over. Source it after test/interop/lib.sh.
#
#   sut_host                 the host's stack: a namespace $SUT with a veth to $NS
#   sut_ours VIA             ours: a socket server on a tap of $NS, programs by `mirari socket run --via VIA`
#   sut_private VIA          the same, and every `sut` starts a server of its own
#   sut COMMAND...           runs a program on the stack that is tested (10.200.0.2, fd00:200::2)
#   sut_start NAME COMMAND.. the same in the background; its output is in $WORK/NAME.out; ended by sut_stop NAME
#   peer COMMAND...          runs a program on the other end, on the host's stack (10.200.0.1, fd00:200::1)
#   sut_close                everything made is removed
#
# Beyond the peer: packets to 10.201/16 and fd00:201::/32 disappear; those to 10.202/16 and fd00:202::/32 are answered with
# "no such host".
PEER4=10.200.0.1 SELF4=10.200.0.2 PEER6=fd00:200::1 SELF6=fd00:200::2
SUT= SUT_SERVER= SUT_RUN=()
declare -A SUT_PIDS=()

sut_cleanup() {
    local status=$?
    sut_close
    (exit $status)
    cleanup
}
trap sut_cleanup EXIT

sut_space() { # sut_space NAME
    ip netns add "$1" && ip -n "$1" link set lo up
    ip netns exec "$1" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
}
sut_beyond() {
    inside sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.icmp_ratelimit=0 \
        net.ipv6.icmp.ratelimit=0
    # Linux 6.12 and newer; before, the limit of the whole host stays: 50 errors at once.
    inside sysctl -qw net.ipv4.icmp_msgs_per_sec=1000000 net.ipv4.icmp_msgs_burst=1000000 2>/dev/null || :
    ip -n "$NS" route add blackhole 10.201.0.0/16
    ip -n "$NS" -6 route add blackhole fd00:201::/32
    ip -n "$NS" route add unreachable 10.202.0.0/16
    ip -n "$NS" -6 route add unreachable fd00:202::/32
}
sut_open() {
    need_root
    NS=mirari-sock-$$-$RANDOM
    sut_space "$NS"
    sut_beyond
}
sut_host() {
    sut_open
    SUT=$NS-s
    sut_space "$SUT"
    ip -n "$SUT" link add net0 type veth peer name net0 netns "$NS"
    ip -n "$SUT" addr add $SELF4/24 dev net0
    ip -n "$SUT" addr add $SELF6/64 dev net0 nodad
    ip -n "$SUT" link set net0 up
    ip -n "$NS" addr add $PEER4/24 dev net0
    ip -n "$NS" addr add $PEER6/64 dev net0 nodad
    ip -n "$NS" link set net0 up
    ip -n "$NS" route add 224.0.0.0/4 dev net0
    ip -n "$SUT" route add default via $PEER4
    ip -n "$SUT" route add fd00::/16 via $PEER6
    SUT_RUN=(ip netns exec "$SUT")
}
SUT_NET=(--net tap --ip $SELF4/24 --host-ip $PEER4/24 --ip $SELF6/64 --host-ip $PEER6/64 --ip6 static --acd off
    --gateway $PEER4 --route fd00::/16=$PEER6)
sut_has() { # is there a socket server in this build?
    [ -x "$B/mirari-socketd" ] && "$B/mirari" socket run --help >/dev/null 2>&1
}
sut_private() {
    sut_open
    SUT_RUN=(ip netns exec "$NS" "$B/mirari" socket run --via "$1" "${SUT_NET[@]}" --)
}
sut_answers() { peer ping -q -c 1 -W 1 $SELF4 >/dev/null 2>&1 && peer ping -q -c 1 -W 1 $SELF6 >/dev/null 2>&1; }
sut_ours() {
    sut_open
    SUT_SERVER=t$$-$RANDOM
    : >"$WORK/server.out"
    ip netns exec "$NS" "$B/mirari" socket serve --name "$SUT_SERVER" "${SUT_NET[@]}" "${@:2}" >"$WORK/server.out" 2>&1 &
    SUT_PIDS[server]=$!
    wait_until 10 sut_answers || {
        note 'the socket server does not answer'
        sed 's/^/# /' "$WORK/server.out"
    }
    ip -n "$NS" route add 224.0.0.0/4 dev "$(ip -n "$NS" -o -4 addr show | sed -n "s/^[0-9]*: \([^ ]*\) .*$PEER4.*/\1/p")"
    SUT_RUN=(ip netns exec "$NS" "$B/mirari" socket run --via "$1" --on "$SUT_SERVER" --)
}
sut() { "${SUT_RUN[@]}" "$@"; }
peer() { ip netns exec "$NS" "$@"; }
sut_start() {
    local name=$1
    shift
    : >"$WORK/$name.out" # not what one of this name said before
    "${SUT_RUN[@]}" "$@" >"$WORK/$name.out" 2>&1 </dev/null &
    SUT_PIDS[$name]=$!
}
peer_start() {
    local name=$1
    shift
    : >"$WORK/$name.out"
    ip netns exec "$NS" "$@" >"$WORK/$name.out" 2>&1 </dev/null &
    SUT_PIDS[$name]=$!
}
sut_stop() { # sut_stop NAME
    local pid=${SUT_PIDS[$1]:-}
    [ -n "$pid" ] || return 0
    unset "SUT_PIDS[$1]"
    kill "$pid" 2>/dev/null
    wait_until 5 eval "! kill -0 $pid 2>/dev/null" || kill -9 "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
}
sut_close() {
    local name pid
    for name in "${!SUT_PIDS[@]}"; do
        [ "$name" = server ] || sut_stop "$name"
    done
    sut_stop server
    for name in $SUT $NS; do
        for pid in $(ip netns pids "$name" 2>/dev/null); do # what a program left behind
            kill -9 "$pid" 2>/dev/null
        done
        ip netns delete "$name" 2>/dev/null
    done
    SUT= NS= SUT_SERVER=
}
