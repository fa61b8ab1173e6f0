#!/bin/bash
# SPDX-License-Identifier: ISC
# The control channel of a process: the commands, the protocol as others speak it, clients that mean
# no good, roles, hooks and leases.
. "$(dirname "$0")/lib.sh"
cd "$box" || exit 1
here=$root/test/cli

mkdir app
cat >app/app.conf <<'END'
name = app
memory = 16
net net0 { mode = user; ip = 10.0.2.15/24; gateway = 10.0.2.2 }
args busy { type = bool; default = false }
args hang { type = bool; default = false }
END
cp "$here/control_app.c" app/main.c
is_ok 'builds' "$mirari" build -q -C app
start() { run "$mirari" run -d -q -C app --no-build "$@"; wait_for "$mirari" ctl app describe; }
socket() { echo "$box"/runtime/mirari/app-*/control; }

start
check 'an appliance has a channel' test -S "$(socket)"
check 'that only its user can open' test "$(stat -c %a "$(socket)")" = 600
says '^shutdown +full +ask the appliance' 'ctl lists methods' "$mirari" ctl app
has '^twice +read-only +\[n\] +twice as much' 'those of the application, too'
says '^42$' 'ctl calls one' "$mirari" ctl app twice n=21
says '"name":"app",.*"target":"unix","stack":"direct"' 'describe' "$mirari" ctl app describe
exits 64 'a parameter that does not exist' "$mirari" ctl app twice m=1
has 'no parameter "m"; this method has: n' 'is refused with what there is'
exits 64 'a parameter of the wrong type' "$mirari" ctl app twice n=x
exits 1 'a method that does not exist' "$mirari" ctl app describ
has 'did you mean "describe"' 'and the nearest'
exits 1 'an appliance that does not run' "$mirari" netstat ap
says '^tcp +0 +256 +\[::\]:80 +\* +LISTEN' 'netstat' "$mirari" netstat app
says '^net0 +10.0.2.15/24 +preferred +manual' 'addr' "$mirari" addr app
says '^default +10.0.2.2 +net0 +0 +manual' 'route' "$mirari" route app
is_ok 'arp' "$mirari" arp app
says '^memory_free_bytes +[0-9]+' 'stats' "$mirari" stats app
says '^tcp listeners +4096 +1 +1 ' 'pages' "$mirari" pages app
is_ok 'log with levels' "$mirari" log app tcp=debug,net=info
says '^tcp +debug$' 'that hold' "$mirari" log app
exits 1 'log with one that is none' "$mirari" log app tcp=loud
has '"loud" is neither a level' 'says why'
says '^app +unix +0:0' 'top' "$mirari" top -n 1
run "$mirari" stats app --prometheus
has '^mirari_memory_used_bytes [0-9]+$' 'Prometheus: a gauge'
has '^mirari_dev_rx_frames_total\{net="net0"\} [0-9]+$' 'Prometheus: a counter of a network'
printf '%s\n' "$out" | python3 "$here/control_client.py" metrics - >metrics.log 2>&1
report $? 'Prometheus: the text is well-formed'
run python3 "$here/control_client.py" "$(socket)"
while read -r line; do
    case $line in
    'ok '*) report 0 "client: ${line#ok }" ;;
    'not ok '*) report 1 "client: ${line#not ok }" ;;
    esac
done <<<"$out"
report "$status" 'client: to its end'

if command -v tcpdump >/dev/null && ldconfig -p | grep -q libpcap; then
    is_ok 'tcpdump with a filter' timeout --preserve-status -s INT 1 "$mirari" tcpdump app -w none.pcapng tcp port 9
    says 'link-type EN10MB' 'is a capture, of nothing' tcpdump -n -r none.pcapng
    # Interrupts in a row are one, also where the appliance takes its time.
    "$mirari" tcpdump app -w twice.pcapng 2>twice.log &
    wait_for test -s twice.pcapng
    kill -STOP "$("$mirari" ps -q)"
    for _ in 1 2 3; do kill -INT $!; sleep 0.1; done
    kill -CONT "$("$mirari" ps -q)"
    wait $!; report $? 'three interrupts end a capture in order'
    run cat twice.log
    has '^[0-9]+ frames captured, 0 dropped$' 'with its figures'
    exits 1 'a filter that is none' "$mirari" tcpdump app -w x.pcapng tcp prot 80
    has 'filter "tcp prot 80": ' 'libpcap says why'
else
    echo '# SKIP tcpdump and libpcap are not installed'
fi
exits 1 'a network that does not exist' "$mirari" tcpdump app -w x.pcapng -i net7

# Completion for bash.
complete_words() { # WORDS...: what completes the last of them
    bash -c '. "$1/tools/completion/mirari"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _mirari; echo "${COMPREPLY[@]}"' \
        - "$root" "$mirari" "$@"
}
says '^netstat$' 'completes commands' complete_words nets
says '^app$' 'and running appliances' complete_words netstat a
says '^twice$' 'and methods of one' complete_words ctl app tw

# What an idle channel costs: nothing runs for it.
pid=$("$mirari" ps -q)
# On a busy machine it may still have to close the session of the last client; if something ran all the time, no second
# would be without it.
is_idle=1
for _ in 1 2 3 4 5; do
    before=$(cut -d ' ' -f 14,15 "/proc/$pid/stat")
    sleep 1
    [ "$before" = "$(cut -d ' ' -f 14,15 "/proc/$pid/stat")" ] && is_idle=0 && break
done
report "$is_idle" 'an idle appliance takes no time'

is_ok 'shutdown' "$mirari" shutdown app
has '^app has ended$' 'waits for the end'
check 'and nothing is left' test -z "$(ls "$box/runtime/mirari" | grep app-)"

# The end: order, status, hooks that hang, leases.
run "$mirari" run -q -C app --no-build --lease 1 </dev/null
[ "$status" = 5 ]; report $? 'a lease ends the appliance, with its own status'
[ "$(grep -E '^(hook|asked)' <<<"$out" | tr '\n' ' ')" = 'hook first asked: lease hook last ' ]
report $? 'in order'
begin=$SECONDS
run "$mirari" run -q -C app --no-build --lease 1 --grace 2 --hang true
[ "$status" = 5 ] || [ "$status" = 75 ]; report $? 'a hook that waits for ever does not stop the end'
has 'hook last' 'though it was run'
run "$mirari" run -q -C app --no-build --lease 1 --grace 1 --hang true --busy true
[ "$status" = 75 ]; report $? 'nor does one that never waits'
has 'the loop is stuck' 'and it is said'
[ $((SECONDS - begin)) -lt 20 ]; report $? 'within its time'
exits 64 'a lease that is no time' "$mirari" run -C app --lease soon
has '"soon" is not a time; write 90' 'says what is one'

# Without a channel; a channel elsewhere, and one to look only.
run "$mirari" run -d -q -C app --no-build --control off
exits 1 'without a channel' "$mirari" netstat app
has 'has no control channel: it was started with --control off' 'ctl says why'
run "$mirari" stop app
run "$mirari" run -d -q -C app --no-build --control "$box/full" --control-ro "$box/look"
wait_for "$mirari" ctl "$box/full" describe
says '"target":"unix"' 'a channel elsewhere' "$mirari" ctl "$box/full" describe
check 'one for everybody' test "$(stat -c %a "$box/look")" = 666
says '^tcp ' 'looks' "$mirari" netstat "$box/look"
exits 1 'and does not touch' "$mirari" shutdown "$box/look"
has 'this channel is read-only' 'and says so'
if [ "$(id -u)" = 0 ]; then
    run setpriv --reuid 65534 --regid 65534 --clear-groups python3 "$here/control_client.py" role "$box/look"
    [ "$status" = 0 ] || chmod 711 "$box" # a folder closed to others is none to look into
fi
run "$mirari" stop app
is_ok 'a socket left over is replaced' bash -c "'$mirari' run -d -q -C app --no-build --control '$box/full'"
run "$mirari" stop app

# Sockets of others, and those that dead ones left.
program=$(find app -type f -name app -perm -u+x | head -n 1)
check 'there is a program' test -x "$program"
python3 - "$box/full-queue" <<'END' &
import signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen(0)
clients = []
try:
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        client.connect(sys.argv[1])
        clients.append(client)
except BlockingIOError:
    open(sys.argv[1] + ".is-full", "w").close()
signal.pause()
END
holder=$!
wait_for test -e "$box/full-queue.is-full"
run timeout 30 "$program" --control "$box/full-queue"
[ "$status" != 0 ] && [ "$status" != 124 ]; report $? 'a socket whose queue is full is not waited for'
has 'somebody listens' 'it is said that it is taken'
kill "$holder"
{ wait "$holder"; } 2>/dev/null
rm -f "$box"/full-queue*
exits 64 'workers that cannot be' "$program" --workers 2 --monitor "$box/monitor"
check 'leave no socket of a monitor' test ! -e "$box/monitor"
"$program" --workers 1 --monitor "$box/monitor" --control "$box/worker" >/dev/null 2>&1 &
holder=$!
wait_for "$mirari" ctl "$box/worker" describe
kill -9 "$holder"
{ wait "$holder"; } 2>/dev/null
check 'a monitor that is killed leaves one' test -S "$box/monitor"
is_gone() { ! "$mirari" ctl "$box/worker"; } # the worker is killed by the host, a moment later
wait_for is_gone
"$program" --workers 1 --monitor "$box/monitor" --control "$box/worker" >again.log 2>&1 &
holder=$!
wait_for "$mirari" ctl "$box/worker" describe
run cat again.log
says '"worker":0' 'the next monitor takes its place' "$mirari" ctl "$box/worker" describe
python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$box/worker.1"
run "$mirari" stats "$box/worker"
[ "$status" = 0 ]; report $? 'sockets that an appliance with more workers left are no workers'
has '^uptime_us' 'and the others answer'
kill "$holder"
{ wait "$holder"; } 2>/dev/null
check 'and leaves none' test ! -e "$box/monitor"

# A folder whose path is longer than an address of a socket can be.
long=$box/$(printf 'long%.0s' {1..40})
mkdir -m 700 "$long"
far() { env XDG_RUNTIME_DIR="$long" "$mirari" "$@"; }
run far run -d -q -C app --no-build --workers 1
wait_for far ctl app describe
says '"worker":0' 'below a long path: the control channel' far ctl app describe
says '^worker +0 ' 'and the monitor' far attach app
run far stop app

# A monitor and a worker: the monitor keeps the name, the worker answers. (Two of them: test/interop/workers_two.t.)
worker() { "$mirari" attach app | awk '$1 == "worker" {print $4}'; }
start --workers 1
says '"worker":0,"workers":1' 'a worker has the channel' "$mirari" ctl app describe
says '^tcp ' 'and shows its sockets' "$mirari" netstat app
says '^tcp ' 'by its number, too' "$mirari" netstat app --worker 0
exits 1 'there is no other' "$mirari" netstat app --worker 1
has 'has no worker 1; the last one is number 0' 'it says so'
exits 64 'a number that is none' "$mirari" netstat app --worker x
has 'takes the number of a worker' 'and what it wants'
before=$(worker)
kill -9 "$before"
says '"worker":0' 'killed: who asks meanwhile is answered by the next one' "$mirari" ctl app describe
check 'which is another process' test "$(worker)" != "$before"
before=$(worker)
is_ok 'another program' "$mirari" upgrade app
check 'is another process' test "$(worker)" != "$before"
says '"worker":0' 'which has the channel' "$mirari" ctl app describe
is_ok 'shutdown of a worker' "$mirari" shutdown app
wait_for test -z "$("$mirari" ps -q)"
check 'ends its monitor' test -z "$("$mirari" ps -q)"
done_testing
