#!/bin/bash
# SPDX-License-Identifier: ISC
# Running: options, signals, exit statuses, ps, stop, logs, and what is left behind (nothing).
. "$(dirname "$0")/lib.sh"
cd "$box" || exit 1
state=$box/runtime/mirari

# Options are checked before anything starts.
mkdir net
cat >net/app.conf <<'END'
name = net
net one { mode = user; ip = 10.0.2.15/24; gateway = 10.0.2.2; forward = "8080:80" }
net two { mode = user }
args count { type = int; default = 1 }
args loud { type = bool }
END
echo '#error must not be built' >net/main.c
dry() { says "$1" "$2" "$mirari" run --dry-run -C net "${@:3}"; }
wrong() { exits 64 "$2" "$mirari" run -C net "${@:3}"; has "$1" "$2: is explained"; }
dry '^net/_build/unix/net --ip 10.0.0.2/24 --gateway 10.0.0.1$' 'dry run' --ip 10.0.0.2/24 --gateway 10.0.0.1
dry '^net/_build/unix/net --forward 9000:80 --forward two=53:53/udp --count 5$' '-p and parameters' -p 9000:80 -ptwo=53:53/udp --count=5
dry '^net/_build/unix/net --memory 1024 --trace --no-sandbox$' 'options without values, sizes with units' --memory=1G --trace --no-sandbox
dry '^net/_build/unix/net --trace two$' '--trace with a name' --trace two
dry '^net/_build/unix/net --help$' 'after -- nothing is checked' -- --help
dry '^net/_build/unix/net --ip dhcp$' 'dhcp in place of an address and its gateway' --ip dhcp
dry '^net/_build/unix/net --pcap a=b.pcap$' '= in a file name' --pcap a=b.pcap
check 'and nothing is built' test ! -e net/_build
wrong 'gateway 10.0.2.2 is outside the subnet of 192.168.1.2/24' 'an address without its gateway' --ip 192.168.1.2/24
wrong '"300.1.1.1" is not an IPv4 address' 'a bad address' --ip 300.1.1.1/24
wrong 'mtu "10" is not usable' 'a bad mtu' --mtu two=10
wrong 'is a multicast MAC' 'a bad mac' --mac 01:00:00:00:00:00
wrong 'unknown network mode "tpa"; did you mean "tap"' 'a bad mode' --net tpa
wrong 'mode packet needs an interface' 'mode packet without interface' --net packet
wrong '"0" is not a port' 'a bad port' -p 0:80
wrong 'port 8080/tcp of this machine is forwarded twice' 'a port of the manifest again' -p two=8080:80
wrong '"many" is not a whole number' 'a bad int' --count many
wrong 'is neither true nor false' 'a bad bool' --loud maybe
wrong 'unknown option "--cuont"; did you mean "--count"' 'an unknown parameter' --cuont 1
wrong 'no network "three"; there is: one two' 'an unknown network' --ip three=10.0.0.2/24
wrong 'unknown log level' 'a bad log level' --log loud
wrong 'needs a value' 'an option without value' --ip
wrong 'unknown option "-x"' 'an unknown letter' -x
wrong 'lacks its prefix length' 'a bad host address' --host-ip 10.0.0.1
wrong 'write microseconds' 'a bad spin' --spin -1
exits 1 '--no-build without a build' "$mirari" run --no-build -C net
has 'build it: mirari build' 'says what to do'
exits 65 'a broken manifest' bash -c "mkdir bad && echo nmae=x >bad/app.conf && '$mirari' run -C bad"

# An appliance that waits.
make_waiter waiter
is_ok 'build the waiter' "$mirari" build -q -C waiter
is_ready() { grep -q ready "$box/$1.out" && [ -n "$("$mirari" ps -q)" ]; }
begin() { # begin NAME ARGUMENTS...: in the background, in its own session, as from a terminal
    local name=$1; shift
    # Standard error is apart, and only there: prove reads ours.
    setsid "$mirari" run -C waiter "$@" >"$box/$name.out" 2>"$box/$name.err" </dev/null &
    tool=$!
    wait_for is_ready "$name"
}
ended() { wait "$tool"; status=$?; }
is_gone() { [ -z "$(ls -A "$state" | grep -v '\.crash$')" ]; } # what is known of a crash stays

begin int; report $? 'it runs'
says '^waiter +[0-9]+ unix +[0-9]+s +- +/.*/mirari/waiter-[0-9]+/log$' 'ps shows it' "$mirari" ps
pid=$("$mirari" ps -q)
check 'by its process id' test -d "$state/waiter-$pid"
out=$(stat -c %a "$state" "$state/waiter-$pid" | tr '\n' ' '); [ "$out" = '700 700 ' ]; report $? 'its folder is closed to others'
says '^ready$' 'logs' "$mirari" logs waiter
says '^ready$' 'logs by process id' "$mirari" logs "$pid"
kill -INT "$tool"; ended
[ "$status" = 3 ]; report $? 'SIGINT to the tool: the status of the appliance'
out=$(cat int.out); has '^last words$' 'it ended by itself'
check 'the process is gone' bash -c "! kill -0 $pid"
is_gone; report $? 'nothing is left'

begin term; kill -TERM "$tool"; ended
[ "$status" = 3 ]; report $? 'SIGTERM'
is_gone; report $? 'nothing is left'
begin hup; kill -HUP "$tool"; ended
[ "$status" = 3 ]; report $? 'SIGHUP'

begin twice; kill -INT "$tool"; kill -INT -- "-$tool" 2>/dev/null; ended
[ "$status" = 3 ]; report $? 'one Ctrl-C that comes twice at once counts once'

# A terminal: Ctrl-C reaches the appliance once, through us.
cat >terminal.py <<'END'
import os, pty, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
seen = b''
asked = False
while True:
    try:
        data = os.read(fd, 4096)
    except OSError:
        break
    if not data:
        break
    seen += data
    if b'ready' in seen and not asked:
        asked = True
        os.write(fd, b'\x03')
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.stdout.write(seen.decode(errors='replace'))
sys.exit(status)
END
exits 3 'Ctrl-C on a terminal' timeout 20 python3 terminal.py "$mirari" run -C waiter
has 'last words' 'ends it in order'
is_gone; report $? 'nothing is left'
exits 3 'closed standard files' bash -c "'$mirari' run -C waiter <&- >&- 2>&- & tool=\$!; end=\$((SECONDS + 10))
    until '$mirari' logs waiter 2>/dev/null | grep -q ready; do [ \$SECONDS -lt \$end ] || exit 99; sleep 0.02; done; kill -TERM \$tool; wait \$tool"

# The appliance dies.
begin crash; pid=$("$mirari" ps -q); kill -SEGV "$pid"; ended
[ "$status" = 139 ] || [ "$status" = 70 ]; report $? "a crash of the appliance is the tool's status ($status)"
is_gone; report $? 'nothing is left'
begin killed; pid=$("$mirari" ps -q); kill -KILL "$pid"; ended
[ "$status" = 137 ]; report $? 'kill -9 of the appliance'
out=$(cat killed.err); has '"waiter" was ended by signal 9' 'is said'
is_gone; report $? 'nothing is left'

# The tool dies.
begin tool9; pid=$("$mirari" ps -q); kill -KILL "$tool"; wait "$tool" 2>/dev/null
wait_for bash -c "! kill -0 $pid"; report $? 'kill -9 of the tool: the appliance ends'
check 'its folder is still there' test -d "$state/waiter-$pid"
is_ok 'ps' "$mirari" ps
is_gone; report $? 'removes it'

# A process id that now belongs to somebody else.
sleep 1000 & sleeper=$!
mkdir "$state/waiter-$sleeper"
printf 'pid %d\nstart 1\nsupervisor %d\nsupervisor-start 1\nname waiter\ntarget unix\nbegan 1\n' $sleeper $sleeper >"$state/waiter-$sleeper/info"
exits 1 'stop of a recycled process id' "$mirari" stop waiter
check 'harms nobody' kill -0 $sleeper
is_gone; report $? 'and the folder is removed'
kill $sleeper; wait $sleeper 2>/dev/null

# Detached.
is_ok 'run -d' "$mirari" run -d -C waiter
has '^ready$' 'shows the beginning'
has 'waiter runs as process [0-9]+; end it with: mirari stop [0-9]+' 'and how to end it'
is_ok 'a second one' "$mirari" run -q -d -C waiter
exits 1 'stop by a name that two have' "$mirari" stop waiter
has 'choose one by its process id: [0-9]+ [0-9]+' 'lists them'
is_ok 'stop by process id' "$mirari" stop "$("$mirari" ps -q | head -n 1)"
setsid "$mirari" logs -f waiter >follow.out 2>&1 & follower=$!
wait_for grep -q ready follow.out
is_ok 'stop by name' "$mirari" stop waiter
has '^stopped waiter \([0-9]+\)$' 'says so'
wait $follower
out=$(cat follow.out); has '^last words$' 'logs -f shows the last words and ends'
[ -z "$("$mirari" ps -q)" ]; report $? 'nothing runs'
says '^last words' 'the log of one that failed (status 3) is kept' "$mirari" logs waiter
exits 1 'stop of nothing' "$mirari" stop waiter
has 'no appliance "waiter" is running' 'is said'
exits 64 'stop without a name' "$mirari" stop
exits 64 'stop with bad seconds' "$mirari" stop -t soon waiter

# One that does not listen.
mkdir deaf
echo 'name = deaf' >deaf/app.conf
cat >deaf/main.c <<'END'
#include <mirari/mirari.h>
int mir_app_main(struct mir_app *app)
{
    mir_app_print(app, "ready\n");
    for (;;)
        __asm__ volatile("pause");
}
END
is_ok 'one that never ends' "$mirari" run -q -d -C deaf
says 'did not end within 0 s and was killed' 'is killed by stop -t 0' "$mirari" stop -t 0 deaf
[ -z "$("$mirari" ps -q)" ]; report $? 'nothing runs'

# Much output: every line arrives, and the log stays bounded.
mkdir loud
printf 'name = loud\nargs lines { type = int; default = 1000 }\nargs stay { type = bool }\n' >loud/app.conf
cat >loud/main.c <<'END'
#include <mirari/mirari.h>
int mir_app_main(struct mir_app *app)
{
    for (int64_t i = 0; i < mir_app_int(app, "lines"); i++)
        mir_app_print(app, "%08lld 90 bytes of text that fill the line up to its end, so that few lines are many bytes.\n", (long long)i);
    mir_app_print(app, "all printed\n");
    if (mir_app_bool(app, "stay"))
        mir_app_wait_stop(app);
    return 0;
}
END
is_ok 'build' "$mirari" build -q -C loud
"$mirari" run -q -C loud --lines 200000 2>/dev/null | grep -c '^0' >count
out=$(cat count); [ "$out" = 200000 ]; report $? 'two hundred thousand lines through a pipe'
"$mirari" run -q -C loud --lines 200000 2>/dev/null | (sleep 0.3; head -n 1 >/dev/null)
is_gone_but_log() { [ -z "$(ls -A "$state" | grep -v '\.\(log\|crash\)$')" ]; }
wait_for is_gone_but_log; report $? 'a reader that leaves'
is_ok 'to a full device' bash -c "'$mirari' run -q -C loud >/dev/full 2>/dev/null; [ \$? -le 1 ]"

is_ok 'forty megabytes' "$mirari" run -q -d -C loud --lines 400000 --stay true
is_printed() { "$mirari" logs -n 1 loud | grep -q '^all printed$'; }
wait_for is_printed; report $? 'the last line is in the log'
out=$(cat "$state"/loud-*/log* | wc -c)
[ "$out" -gt 16777216 ] && [ "$out" -le 33554432 ]; report $? 'the log is bounded'
out=$("$mirari" logs loud | grep -c '^0.* many bytes\.$\|^all'); want=$("$mirari" logs loud | wc -l)
[ $((want - out)) -le 1 ]; report $? 'and holds whole lines, but perhaps its first'
is_ok 'it stops' "$mirari" stop loud

# Detaching does not wait for a pause of one that always talks.
mkdir talker; echo 'name = talker' >talker/app.conf
cat >talker/main.c <<'END'
#include <mirari/mirari.h>
int mir_app_main(struct mir_app *app)
{
    int r = 0;
    while (!app->is_stopping && r != -MIR_ECANCELED) {
        mir_app_print(app, "talk\n");
        r = mir_wait_on(app->loop, &app->stop_asked, mir_loop_now(app->loop) + 20000);
    }
    return 0;
}
END
is_ok 'run -d of an appliance that prints all the time comes back' timeout 30 "$mirari" run -q -d -C talker
is_ok 'it stops' "$mirari" stop talker

# A monitor and a worker.
exits 64 'workers that are none' "$mirari" run -C waiter --workers 0; has 'is not a number of processes; write 1 to 16' 'are explained'
is_ok 'run with a monitor' "$mirari" run -q -d -C waiter --workers 1
check 'it listens in its folder' bash -c "[ -S '$state'/waiter-*/monitor ]"
says '^worker 0 process [0-9]+ starts 1$' 'its worker is listed' "$mirari" attach waiter
worker=$("$mirari" attach waiter | sed -n 's/.*process \([0-9]*\) .*/\1/p')
[ "${worker:-0}" -gt 0 ] && kill -KILL "$worker"
is_again() { "$mirari" attach waiter | grep -q 'process [1-9][0-9]* starts 2$'; }
wait_for is_again; report $? 'a worker that is killed is started again'
says 'was ended by signal 9: start 2 in 100 ms' 'the log says so' "$mirari" logs waiter
is_ok 'its program is replaced' "$mirari" upgrade waiter; has '^all workers are new$' 'says so'
exits 1 'a network that is not there' "$mirari" detach waiter net nothing; has 'no network "nothing"' 'is said'
exits 64 'attach what' "$mirari" attach waiter disk x; has 'NAME net TAP is expected' 'is said'
exits 64 'a bad name of a tap' "$mirari" attach waiter net a/b; has 'TAP or NET=TAP' 'is said'
is_ok 'it stops' "$mirari" stop waiter
has 'stopped waiter' 'in order'
is_ok 'one without a monitor' "$mirari" run -q -d -C waiter
exits 1 'has none' "$mirari" attach waiter; has 'has no monitor .*--workers 1' 'says what to do'
is_ok 'it stops' "$mirari" stop waiter

# Hostile state folders.
mkdir "$box/other"; chmod 700 "$box/other"
ln -s "$box/other" "$box/link"
mkdir "$box/x"; ln -s "$box/other" "$box/x/mirari"
exits 1 'a state folder that is a symbolic link' env XDG_RUNTIME_DIR="$box/x" "$mirari" ps
has 'is not a folder or is a link' 'is refused'
mkdir -p "$box/open/mirari"; chmod 777 "$box/open/mirari"
exits 1 'one that others can write to' env XDG_RUNTIME_DIR="$box/open" "$mirari" ps
has 'is open to other users' 'is refused'
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$box/theirs/mirari"; chmod 700 "$box/theirs/mirari"; chown 12345 "$box/theirs/mirari"
    exits 1 "another user's" env XDG_RUNTIME_DIR="$box/theirs" "$mirari" run -q -C waiter
    has 'belongs to another user' 'is refused'
    mkdir "$box/sudo"; chown 12345 "$box/sudo"
    says '^state folder' 'XDG_RUNTIME_DIR of another user, as sudo may leave it' bash -c "XDG_RUNTIME_DIR='$box/sudo' '$mirari' doctor | sed -n 's/^ok *//p'"
    has "/tmp/mirari-$(id -u)/mirari" 'is not used'
    out=$(ls -A "$box/sudo" | grep -v '^ccache-'); [ -z "$out" ]; report $? 'and stays empty'
fi
done_testing
