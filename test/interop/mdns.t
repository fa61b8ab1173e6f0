#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# Multicast DNS seen from Linux: the website announces itself on a tap, a program of ours in Python listens and asks
# (group membership, TTL 255, source port), and defends a name.
. "$(dirname "$0")/lib.sh"
need python3
net_open
probe() { inside timeout 60 python3 test/interop/probe/mdns.py "$HOST_IP" "$@" >"$WORK/probe.out" 2>&1; }
tap_start website --announce mirari
wait_until 20 grep -q '^announced' "$APP_OUT"
ok $? 'it announces itself'
is_like "$(grep '^announced' "$APP_OUT")" 'http://mirari.local as "mirari"' 'under the name that was asked for'
probe mirari.local A
is_like "$(cat "$WORK/probe.out")" "answer mirari.local 1 $APP_IP ttl=255 port=5353" 'the address of mirari.local'
probe _http._tcp.local PTR
is_like "$(cat "$WORK/probe.out")" 'answer _http._tcp.local 12 mirari._http._tcp.local' 'the service is found'
is_like "$(cat "$WORK/probe.out")" 'extra mirari._http._tcp.local 33 mirari.local:80' 'with its port'
probe --legacy mirari.local A
is_like "$(cat "$WORK/probe.out")" "answer mirari.local 1 $APP_IP" 'a plain resolver is answered'
: >"$WORK/probe.out" # what it says next is of the next one
probe --goodbye mirari.local A &
listener=$!
wait_until 20 grep -q '^listening' "$WORK/probe.out"
app_stop_ok 'it ends'
wait $listener
is_like "$(cat "$WORK/probe.out")" "goodbye mirari.local" 'and says goodbye'
tap_start website --announce taken --log error
ip netns exec "$NS" timeout 60 python3 test/interop/probe/mdns.py "$HOST_IP" --defend taken.local A >"$WORK/probe.out" 2>&1 &
PIDS+=($!)
wait_until 40 grep -q '^announced: http://taken-2.local' "$APP_OUT"
status=$?
# The defender may have come after the probes: then the name is contested, probed for again, and given up.
ok $status 'a name that somebody defends is left to them' || sed 's/^/# /' "$APP_OUT" "$WORK/probe.out"
app_stop_ok 'it ends'
done_testing
