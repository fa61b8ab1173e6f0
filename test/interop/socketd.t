#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# The socket server by its control protocol, with a client that is nothing else: what it does for one that behaves, what it
# does to one that does not, and what is left of one that is killed.
. "$(dirname "$0")/lib.sh"
need python3
net_open
inside sysctl -qw net.ipv4.icmp_ratelimit=0 # each closed port is told
export XDG_RUNTIME_DIR=$WORK/run
mkdir -m 700 "$XDG_RUNTIME_DIR"
SOCK=$XDG_RUNTIME_DIR/mirari/socket/lab.sock

serve() { # serve [COMMAND...]: by it, if one is given
    : >"$APP_OUT" # what the one before said is not its
    inside "$@" "$B/mirari" socket serve --name lab --net tap:tap7 --ip "$APP_IP/24,$APP_IP6/64" --host-ip "$HOST_IP/24" \
        >"$APP_OUT" 2>&1 &
    APP_PID=$!
    wait_until 20 grep -q 'socket server: ready' "$APP_OUT" || done_testing
    inside ip address replace "$HOST_IP6/64" dev tap7 nodad
    SERVER=$(inside "$B/mirari" ps | awk '$1 == "lab" { print $2 }')
}
probe() { # probe NAME SCRIPT ARGS...: its TAP is summed up in one line
    local name=$1
    shift
    inside timeout 120 python3 "test/interop/probe/$1" "$SOCK" "${@:2}" >"$WORK/probe" 2>&1
    local status=$?
    [ $status = 0 ] && grep -q '^1\.\.' "$WORK/probe"
    ok $? "$name ($(grep -c '^ok' "$WORK/probe") checks)" || sed 's/^/# /' <(grep -v '^ok' "$WORK/probe") | tail -n 40
}
serve
probe 'a client that behaves' socketd_cases.py "$HOST_IP" "$APP_IP" "$HOST_IP6" "$APP_IP6" "$SERVER"
probe 'clients that do not' socketd_hostile.py "$HOST_IP" "$APP_IP" "$SERVER"
probe 'clients that are killed' socketd_kill.py "$HOST_IP" "$APP_IP" "$SERVER" "${KILLS:-1000}"
is_like "$(inside "$B/mirari" socket netstat lab)" 'RECV-Q' 'netstat'
is_like "$(inside "$B/mirari" socket stats)" 'socket_live +0' 'stats of the only server'
is_like "$(inside timeout 20 "$B/mirari" socket serve --name lab 2>&1)" 'listens at .* already' 'a name is taken'
probe 'a server that is killed' socketd_restart.py "$HOST_IP" "$APP_IP" "$SERVER"
wait $APP_PID
is_like "$(inside "$B/mirari" socket stats lab 2>&1)" 'no socket server' 'what it left refuses'
serve
probe 'another takes its place' socketd_cases.py "$HOST_IP" "$APP_IP" "$HOST_IP6" "$APP_IP6" "$SERVER"
inside "$B/mirari" socket stop lab
ok $? 'stop'
wait $APP_PID
is $? 0 'the server ended in order'
[ ! -e "$SOCK" ]
ok $? 'its control socket is gone'
serve prlimit --nofile=60
probe 'a server short of descriptors' socketd_few.py "$HOST_IP"
inside "$B/mirari" socket stop lab
wait $APP_PID
APP_PID=
done_testing
