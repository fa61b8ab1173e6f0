#!/bin/bash
# SPDX-License-Identifier: ISC
# What the process of an appliance may do after its start: nearly nothing.
#
# An appliance that tries forbidden things (probe/sandbox.c) runs in mode user without privileges
# and, as root in a network namespace of its own, in mode tap.
set -u
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build}
work=$(mktemp -d)
chmod 755 "$work"
probe=$work/sandbox-probe
out=$work/out
pid=
count=0 failed=0

cleanup() {
    [ -n "$pid" ] && kill -9 "$pid" 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT

ok() { # name, then a command that decides
    local name=$1
    shift
    count=$((count + 1))
    if "$@"; then
        echo "ok $count - $name"
    else
        echo "not ok $count - $name"
        sed 's/^/# /' "$out" 2>/dev/null
        failed=1
    fi
}
skip() {
    count=$((count + 1))
    echo "ok $count - $1 # SKIP $2"
}
finish() {
    echo "1..$count"
    exit $failed
}
has() { grep -q -- "$1" "$out"; }
equals() { [ "$1" = "$2" ] || { echo "# \"$1\" is not \"$2\""; false; }; }
at_most() { [ -n "$1" ] && [ "$1" -le "$2" ] || { echo "# \"$1\" is above $2"; false; }; }

[ -f "$B/host/libmirari-unix.a" ] || make -s B="$B" lib >"$out" 2>&1
if ! ${CC:-gcc} -g -O1 -fno-omit-frame-pointer -D_GNU_SOURCE -Iinclude -I. \
    test/interop/probe/sandbox.c -o "$probe" -L"$B/host" -lmirari-unix -lmirari \
    -lslirp -lseccomp -lglib-2.0 >"$out" 2>&1; then
    ok "the probe is built" false
    finish
fi
ok "the probe is built" true

# Root gives up its privileges in mode user only by starting as somebody else.
as_nobody=()
if [ "$(id -u)" = 0 ]; then
    as_nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups)
fi

# In a shell of their own, so that its report of a killed child goes to the file too.
run_user() { ("${as_nobody[@]}" timeout 60 "$probe" "$@"; exit $?) >"$out" 2>&1; }
run_tap() { (unshare -n timeout 60 "$probe" --net tap "$@"; exit $?) >"$out" 2>&1; }
status() { # of the process, by name of the field
    sed -n "s/^$1:[[:space:]]*//p" "/proc/$pid/status"
}
start() { # a probe that goes on running; the rest is its command line
    : >"$out"
    "$@" >"$out" 2>&1 &
    pid=$!
    for _ in $(seq 400); do
        has '^running' && break
        sleep 0.05
    done
    # The appliance itself is the last of the chain of unshare, setpriv, ...
    while child=$(pgrep -P "$pid") && [ -n "$child" ]; do pid=$child; done
}

for try in open create fork unix netlink raw exec-memory terminal setuid; do
    run_user --try $try
    ok "user: $try is refused" has "^$try: refused"
done
run_user --try tcp
ok "user: TCP sockets are libslirp's" has "^tcp: allowed"
for try in execve ptrace; do
    run_user --try $try
    r=$?
    ok "user: $try kills" equals $r $((128 + 31))
done
run_user --try open --no-sandbox
ok "user: --no-sandbox lets open through" has "^open: allowed"

run_user --try crash
r=$?
ok "a crash ends with 70" equals $r 70
ok "a crash names signal, task and frames" has 'SIGSEGV) at address 0x10 in task main'
ok "a frame is in the program" has '#0 .*sandbox-probe+0x'
run_user --try overflow
r=$?
ok "a stack overflow ends with 70" equals $r 70
ok "a stack overflow is recognised" has 'stack overflow in task main'
run_user --try assert
r=$?
ok "an assertion ends with 70" equals $r 70
ok "an assertion prints both values" has 'assertion failed: 1 == 2 (1, 2)'

start "${as_nobody[@]}" "$probe"
ok "user: no new privileges" equals "$(status NoNewPrivs)" 1
ok "user: seccomp filters" equals "$(status Seccomp)" 2
kill -INT "$pid"
wait 2>/dev/null
pid=
ok "SIGINT ends it with a line of statistics" has '^ended: '

if [ "$(id -u)" != 0 ]; then
    skip "mode tap" "needs root"
    finish
fi
if ! unshare -n true 2>/dev/null || [ ! -e /dev/net/tun ]; then
    skip "mode tap" "this host gives no network namespace or no tap"
    finish
fi

run_tap --log target=debug --try open
ok "tap: open is refused" has "^open: refused"
calls=$(sed -n 's/.*sandbox:.* \([0-9]*\) system calls.*/\1/p' "$out")
ok "tap: at most 12 system calls after start" at_most "$calls" 12
for try in create fork tcp unix netlink raw exec-memory terminal setuid; do
    run_tap --try $try
    ok "tap: $try is refused" has "^$try: refused"
done
for try in execve ptrace; do
    run_tap --try $try
    r=$?
    ok "tap: $try kills" equals $r $((128 + 31))
done

# ip netns exec would need a named namespace: a sleeping process holds ours.
unshare -n sleep 600 &
holder=$!
soon() { # repeat a command until it succeeds, 20 s at most
    for _ in $(seq 400); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.05
    done
    return 1
}
is_apart() { [ "$(readlink "/proc/$holder/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }
is_traced() { [ "$(status TracerPid)" != 0 ]; }
is_gone() { ! inside ip link show probe0; }
soon is_apart
inside() { nsenter -t "$holder" -n "$@"; }
start inside "$probe" --net tap:probe0
ok "tap: root is given up" equals "$(status Uid | cut -f1)" "${SUDO_UID:-65534}"
ok "tap: no capability is left" equals "$(status CapEff)$(status CapPrm)" \
    00000000000000000000000000000000
ok "tap: no group is left" equals "$(status Groups | tr -d ' ')" ""
inside ip addr show probe0 >"$out" 2>&1
ok "tap: the host's side has its address" has 'inet 10.0.0.1/24'
if command -v ping >/dev/null; then
    inside ping -c 3 -i 0.2 -W 2 -q 10.0.0.2 >"$out" 2>&1
    ok "tap: it answers from inside the sandbox" has '3 received'
fi
if command -v strace >/dev/null; then
    strace -f -qq -o "$work/trace" -p "$pid" 2>/dev/null &
    tracer=$!
    soon is_traced
    inside ping -c 20 -i 0.01 -q 10.0.0.2 >/dev/null 2>&1
    kill -INT $tracer
    wait $tracer
    sed -n 's/^[0-9]* *\([a-z0-9_]*\)(.*/\1/p' "$work/trace" | sort -u >"$out"
    ok "tap: in steady state it reads, writes and waits" \
        equals "$(grep -cvE '^(read|write|writev|epoll_pwait2)$' "$out")" 0
fi
kill -9 "$pid"
wait "$pid" 2>/dev/null
pid=
ok "tap: it vanishes with the process, even killed" soon is_gone
kill "$holder" 2>/dev/null
wait 2>/dev/null
finish
