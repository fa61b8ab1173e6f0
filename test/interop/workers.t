#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# A monitor and its workers (--workers): the worker has no privileges, a killed one comes back with its devices, networks
# come and go while it runs, the program is replaced without a client that is refused, and nobody else may ask for any of it.
. "$(dirname "$0")/lib.sh"
need curl ping python3
net_open
export XDG_RUNTIME_DIR=$WORK/runtime
mkdir -m 700 "$XDG_RUNTIME_DIR"
mirari=$PWD/$B/mirari
[ "${B#/}" != "$B" ] && mirari=$B/mirari
[ -x "$mirari" ] || skip_all "$mirari is not built (make)"
website=$(app_binary website)
[ -x "$website" ] || skip_all "$website is not built (make examples)"
monitor=$WORK/monitor

workers() { pgrep -P "$APP_PID"; } # their processes
worker_is_new() { [ -n "$(workers)" ] && [ "$(workers)" != "$1" ]; }
page() { inside curl -s -m "${1:-20}" -o /dev/null -w '%{http_code}' "http://$APP_IP/"; }
said() { [ "$(grep -c -- "$1" "$APP_OUT")" -ge "${2:-1}" ]; }
ask() { monitor_ask "$monitor" "$@"; } # KIND NAME IFNAME TEXT

# ---- one worker -----------------------------------------------------------------------------------
tap_start website --workers 1 --monitor "$monitor" --log info || done_testing
first=$(workers)
is "$(wc -w <<<"$first")" 1 'a monitor and one worker'
is "$(awk '/^Uid:/ {print $2}' "/proc/$APP_PID/status")" 0 'the monitor has its privileges'
is "$(awk '/^CapEff:/ {print $2} /^Seccomp:/ {print $2}' "/proc/$first/status" | tr '\n' ' ')" '0000000000000000 2 ' \
    'the worker has no capability, and a filter'
[ "$(awk '/^Uid:/ {print $2}' "/proc/$first/status")" != 0 ]
ok $? 'nor is it root'
wait_until 10 tcp_answers "$APP_IP" 80
is "$(page)" 200 'the site is served'
served() { [ "$(page 5)" = 200 ]; }
bad=0
for turn in 1 2 3 4; do # the pauses double: 100, 200, 400, 800 ms
    pause "0.$((RANDOM % 10))"
    kill -9 "$(workers)"
    [ "$(page 30)" = 200 ] || bad=$((bad + 1))
done
is $bad 0 'killed again and again: every client that comes meanwhile is served'
said 'was ended by signal 9: start 2 in 100 ms'
ok $? 'the log says so, with the pause'
ip -n "$NS" link show mir0 >/dev/null
ok $? 'its tap has stayed'
kill -0 "$APP_PID"
ok $? 'so has the monitor'

# ---- networks that come and go ---------------------------------------------------------------------
wait_until 30 served
is "$(ask 9 more tap7 'ip=10.78.0.2/24 host-ip=10.78.0.1/24')" '0 more is tap7' 'a network is attached'
pings() { inside ping -q -c 1 -W 1 "$1" >/dev/null 2>&1; }
wait_until 10 pings 10.78.0.2
ok $? 'it answers there'
is "$(inside curl -s -m 20 -o /dev/null -w '%{http_code}' http://10.78.0.2/)" 200 'and serves'
is_like "$(ask 9 more tap8 'ip=10.79.0.2/24')" '^-[0-9]+ network "more" is there already' 'twice is refused'
is_like "$(ask 9 other tap8 'ip=10.79.0.2/24 colour=red')" '^-[0-9]+ "colour=red" is none of' 'a word that makes no sense, too'
is_like "$(ask 12)" 'net net0 mir0.*' 'they can be listed'
kill -9 $(workers)
wait_until 30 pings 10.78.0.2
ok $? 'after a crash it is there as well'
is "$(ask 10 more)" '0 more is detached' 'it is detached'
gone() { ! ip -n "$NS" link show tap7 >/dev/null 2>&1; }
wait_until 5 gone
ok $? 'its tap goes'
is "$(page)" 200 'the first network goes on'
is "$(ask 9 more tap7 'ip=10.78.0.2/24 host-ip=10.78.0.1/24')" '0 more is tap7' 'attached again'
wait_until 10 pings 10.78.0.2
ok $? 'it answers again'
is_like "$(ask 10 nothing)" '^-' 'what is not there cannot be detached'

# ---- a new program --------------------------------------------------------------------------------
old=$(workers)
: >"$WORK/refused"
(while [ -e "$WORK/refused" ]; do
    code=$(page 20)
    [ "$code" = 200 ] || echo "$code" >>"$WORK/refused"
    echo >>"$WORK/asked"
done) &
client=$!
PIDS+=("$client")
wait_until 10 test -s "$WORK/asked"
is "$(ask 11)" '0 all workers are new' 'the program is replaced'
wait_until 10 worker_is_new "$old"
ok $? 'by another process'
count=$(wc -l <"$WORK/asked")
more() { [ "$(wc -l <"$WORK/asked")" -gt $((count + 3)) ]; }
wait_until 30 more
is "$(cat "$WORK/refused")" '' 'clients that came meanwhile were all served'
rm -f "$WORK/refused"
wait "$client"

# ---- who may ask, and nonsense ----------------------------------------------------------------------
is "$(stat -c %a "$monitor")" 600 'the socket is closed to others'
chmod 755 "$WORK"
chmod 666 "$monitor"
is_like "$(setpriv --reuid 12345 --regid 12345 --clear-groups /usr/bin/python3 - "$monitor" <<'PY' 2>&1
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(10)
s.connect(sys.argv[1])
try:
    s.send(b"x" * 920)
    print("answer", s.recv(1000))
except OSError as error:
    print("no answer", error)
PY
)" "no answer|answer b''" 'another user is not heard'
descriptors=$(ls "/proc/$APP_PID/fd" | wc -l)
python3 - "$monitor" <<'PY'
import os, random, socket, struct, sys
rng = random.Random(1)
good = struct.pack("=IHH", 0x4D495248, 2, 12).ljust(920, b"\0")
for i in range(300):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(10)
    s.connect(sys.argv[1])
    data = bytearray(good if i % 2 else os.urandom(rng.randrange(1, 1000)))
    for _ in range(rng.randrange(4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    if data[:8] == good[:6] + struct.pack("=H", 11):
        continue
    fds = [0] * rng.randrange(3)
    try:
        s.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))] if fds else [])
        s.recv(1000)
    except OSError:
        pass
    s.close()
PY
is "$(page)" 200 'three hundred requests that make no sense change nothing'
is "$(ls "/proc/$APP_PID/fd" | wc -l)" "$descriptors" 'and leave no descriptor open'
app_stop
is "$APP_STATUS" 0 'SIGTERM ends all of it'
! grep -E 'ERROR: (Address|Leak)Sanitizer|runtime error|assertion' "$APP_OUT"
ok $? 'nobody complained'
is "$(pgrep -f "$monitor" | wc -l)" 0 'no process is left'
[ ! -e "$monitor" ]
ok $? 'nor the socket'

# ---- killed at any moment of its start ---------------------------------------------------------------
tap_start website --workers 1 --monitor "$monitor" || done_testing
for turn in 1 2 3 4; do
    old=$(workers)
    kill -9 "$old"
    wait_until 30 worker_is_new "$old"
    pause "0.00$((RANDOM % 10))"
done
wait_until 30 served
ok $? 'killed while it starts, four times: the next one serves'
old=$(workers)
kill -9 "$old" # the pause is a second and more by now
none() { [ -z "$(workers)" ]; }
wait_until 5 none
is "$(ask 11)" '0 all workers are new' 'replaced while there is none: the one that comes is new'
is "$(workers | wc -l)" 1 'and the only one'
wait_until 30 served
for turn in 1 2 3 4 5 6; do
    ask 11 >"$WORK/answer.$turn" 2>&1 &
    answer=$!
    pause "0.0$((RANDOM % 10))"
    # shellcheck disable=SC2046 # one or two of them
    kill -9 $(workers | shuf -n $((1 + turn % 2)))
    wait "$answer"
    wait_until 30 served || note "turn $turn: $(cat "$WORK/answer.$turn")"
done
served
ok $? 'killed while it is replaced, the old one, the new one or both, six times: somebody serves'
alone() { [ "$(workers | wc -l)" = 1 ]; }
wait_until 20 alone
ok $? 'and one is left'
is "$(ask 11)" '0 all workers are new' 'which can be replaced'
kill -0 "$APP_PID"
ok $? 'the monitor goes on'
app_stop
is "$APP_STATUS" 0 'and ends with status 0'

# ---- the ends ---------------------------------------------------------------------------------------
tap_start website --workers 1 --monitor "$monitor" || done_testing
old=$(workers)
kill -9 "$APP_PID"
wait "$APP_PID" 2>/dev/null
wait_until 10 eval "! kill -0 $old 2>/dev/null"
ok $? 'the end of the monitor is the end of its workers'
wait_until 5 eval '! ip -n "$NS" link show mir0 >/dev/null 2>&1'
ok $? 'and of the tap'
APP_PID=
is_like "$(inside "$website" --workers 1 --net tap --ip 10.77.0.2/24 --no-such 2>&1; echo " $?")" 'no-such.* 64$' 'a wrong option: status 64'
is_like "$(inside "$website" --workers 99 2>&1; echo " $?")" 'number of processes.* 64$' 'too many workers'
is_like "$(MIRARI_WORKER=0/1 "$website" 2>&1 </dev/null; echo " $?")" 'no worker of a monitor.* 64$' 'somebody who says to be a worker'
done_testing
