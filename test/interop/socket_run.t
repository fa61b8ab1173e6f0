#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# `mirari socket run`: what it takes, how it ends, signals, rules, who may use it, and the calls that take time.
#
# Whole programs over our stack are in socket_programs.t, every single call is in socket_conform.t.
# shellcheck disable=SC2016 # texts for other shells
. "$(dirname "$0")/lib.sh"
. test/socket/net.sh
need python3 curl
sut_has || skip_all "$B/mirari-socketd is not built"
mirari=$PWD/$B/mirari
[ "${B#/}" = "$B" ] || mirari=$B/mirari
export XDG_RUNTIME_DIR=$WORK/runtime
mkdir -m 700 "$XDG_RUNTIME_DIR"

# ---- wrong usage ---------------------------------------------------------------------------------
refuses() { # refuses STATUS PATTERN ARGUMENTS...
    local status=$1 pattern=$2 said
    shift 2
    said=$("$mirari" socket run "$@" 2>&1 </dev/null)
    is $? "$status" "refused: $*"
    is_like "$said" "$pattern" 'and says why'
}
refuses 64 'no program; write it behind the options'
refuses 64 'take notify or preload' --via magic -- true
refuses 64 '"tpc" is not known; write tcp, udp' --rule 'tpc ours' -- true
refuses 64 '"1.2.3.4/40|no length of a prefix; write 0 to 32' --rule 'dst 1.2.3.4/40 ours' -- true
refuses 64 '--net is an option of the server' --on other --net user -- true
refuses 64 'unknown option "-x"' -x -- true
refuses 64 'needs a value' --net
refuses 1 'no server "nosuch".*mirari socket serve --name nosuch' --on nosuch -- true
refuses 1 'what it said stands above' --net user --ip 1.2.3.4.5 -- true

# ---- statuses and signals, without a privilege ---------------------------------------------------
as=()
if [ "$(id -u)" = 0 ]; then
    chmod 755 "$WORK"
    chown -R nobody "$XDG_RUNTIME_DIR"
    as=(setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all)
fi
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/go/bin
run() { "${as[@]}" "$mirari" socket run --net user "$@"; }
starts() { # in the background; $! is `mirari socket run` itself
    "${as[@]}" "$mirari" socket run --net user "$@" &
    PIDS+=($!)
}
is "$(run -- echo hello)" hello 'a program without sockets'
is_like "$(run -- python3 -c "import socket, subprocess; s = socket.create_server(('0.0.0.0', 80))
subprocess.run(['$mirari', 'socket', 'netstat'])" 2>&1)" 'tcp .*[*]:80 .*LISTEN' 'netstat without a name finds its server'
run -- sh -c 'exit 7'
is $? 7 'its status is ours'
(run -- sh -c 'kill -9 $$') 2>/dev/null
is $? 137 'its signal is ours'
run -- nosuchprogram 2>"$WORK/said"
is $? 127 'a program that is not there'
is_like "$(cat "$WORK/said")" 'cannot execute "nosuchprogram": No such file' 'and which'
run -- "$WORK" 2>/dev/null
is $? 126 'one that is none'
is_like "$(run -- "$mirari" socket run --net user -- true 2>&1)" 'already runs under a supervisor, take --via preload' \
    'one in another is refused'
is "$(run -- sed -n 's/^NoNewPrivs:\t//p' /proc/self/status)" 1 'it can gain no privileges'
is "$(run -- sh -c 'ls /proc/self/fd | wc -l')" "$(sh -c 'ls /proc/self/fd | wc -l')" 'it inherits no descriptor of ours'

cat >"$WORK/waits.py" <<'END'
import signal, socket, sys, time
def end(number, frame):
    print("got", number, flush=True)
    sys.exit(40 + number)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, end)
signal.signal(signal.SIGUSR1, lambda n, f: print("usr1", flush=True))
listener = socket.socket()
listener.bind(("", 8000))
listener.listen(5)
print("ready", flush=True)
listener.accept()
END
chmod 644 "$WORK/waits.py"
ends_so() { # ends_so SIGNAL STATUS TEXT: a program that waits in accept()
    : >"$WORK/out"
    starts -- python3 "$WORK/waits.py" >"$WORK/out" 2>&1
    local pid=$!
    wait_until 10 grep -q ready "$WORK/out"
    kill "-USR1" $pid
    wait_until 5 grep -q usr1 "$WORK/out"
    ok $? 'a signal reaches a program that waits in a call of ours'
    kill "-$1" $pid
    wait $pid
    is $? "$2" "$3"
}
ends_so TERM 55 'SIGTERM is the program'\''s'
ends_so INT 42 'SIGINT too'
cat >"$WORK/terminal.py" <<'END'
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
said = b""
while b"ready" not in said:
    said += os.read(fd, 1000)
os.write(fd, b"\x03")
try:
    while (more := os.read(fd, 1000)):
        said += more
except OSError:
    pass
print(said.count(b"got 2"), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END
is "$("${as[@]}" timeout 20 python3 "$WORK/terminal.py" "$mirari" socket run --net user -- python3 "$WORK/waits.py")" '1 42' \
    'Ctrl-C reaches it once'
starts -- sh -c 'sleep 50 & echo $!' >"$WORK/out"
pid=$!
wait_until 5 test -s "$WORK/out"
kill -0 $pid
ok $? 'what a program leaves in the background is waited for'
kill $pid
wait $pid
is $? 0 'and ended by a signal; the status is the program'\''s'
! kill -0 "$(cat "$WORK/out")" 2>/dev/null
ok $? 'it has gone'

# ---- the server's life ---------------------------------------------------------------------------
serves() { # a server of this name; $server is its process
    : >"$WORK/serve" # or it would seem to be ready by what the one before has said
    "${as[@]}" "$mirari" socket serve --name "$1" --net user >"$WORK/serve" 2>&1 &
    server=$!
    PIDS+=($server)
    wait_until 10 grep -q ready "$WORK/serve"
}
server_of() { pgrep -P "$1" -x mirari-socketd; }
starts -- python3 "$WORK/waits.py" >"$WORK/out" 2>&1
pid=$!
wait_until 10 grep -q ready "$WORK/out"
server=$(server_of $pid)
program=$(pgrep -P "$pid" -x python3)
kill -9 "$server"
wait $pid
is $? 1 'the server dies: a program that waits sees an error, and ends'
is_like "$(cat "$WORK/out")" 'the server has ended.*OSError|OSError.*the server has ended|OSError' 'and why'
starts -- python3 "$WORK/waits.py" >"$WORK/out" 2>&1
pid=$!
wait_until 10 grep -q ready "$WORK/out"
server=$(server_of $pid)
program=$(pgrep -P "$pid" -x python3)
kill -9 $pid
wait $pid 2>/dev/null
wait_until 5 eval "! kill -0 $server 2>/dev/null"
ok $? 'the supervisor dies: so does its server'
wait_until 5 eval "! kill -0 $program 2>/dev/null"
ok $? 'and the program'\''s call fails'

serves twice
cat >"$WORK/again.py" <<'END'
import socket, sys
def use(text):
    try:
        s = socket.socket()
        s.bind(("", 81))
        s.listen()
        print(text, s.getsockname()[1], flush=True)
        return s
    except OSError as error:
        print(text, error.strerror, flush=True)
for text in ("first", "without", "again"):
    use(text)
    sys.stdin.readline()
END
mkfifo "$WORK/steps"
chmod 644 "$WORK/again.py"
"${as[@]}" "$mirari" socket run --on twice -- python3 "$WORK/again.py" <"$WORK/steps" >"$WORK/out" 2>&1 &
pid=$!
PIDS+=($pid)
exec 7>"$WORK/steps"
wait_until 10 grep -q first "$WORK/out"
"${as[@]}" "$mirari" socket stop twice
wait $server
echo >&7
wait_until 10 grep -q without "$WORK/out"
serves twice
echo >&7
wait_until 10 grep -q again "$WORK/out"
echo >&7
exec 7>&-
wait $pid
is "$(cat "$WORK/out")" 'first 81
without Network is down
again 81' 'a server that is started anew serves a program that runs'
kill $server
wait $server

# ---- two stacks in one program -------------------------------------------------------------------
port=$(free_port)
echo page >"$WORK/page"
python3 -m http.server -d "$WORK" --bind 127.0.0.1 "$port" >/dev/null 2>&1 &
PIDS+=($!)
wait_until 5 curl -s -o /dev/null "http://127.0.0.1:$port/page"
is "$(run -- curl -s -m 10 "http://10.0.2.2:$port/page")" page 'our stack without a privilege'
is "$(run -- curl -s -m 10 "http://127.0.0.1:$port/page")" page 'loopback is the host'\''s'
run --rule "dst 127.0.0.0/8 ours" -- curl -s -m 10 -o /dev/null "http://127.0.0.1:$port/page"
is $? 7 'but where a rule says otherwise'
cat >"$WORK/two.py" <<'END'
import os, socket, sys
port = int(sys.argv[1])
def kind(s):
    ino = os.readlink("/proc/self/fd/%d" % s.fileno())[8:-1]
    return "host" if any(line.split()[9] == ino for line in open("/proc/net/tcp").readlines()[1:]) else "ours"
for place in ("10.0.2.2", "127.0.0.1"):
    s = socket.socket()
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.settimeout(5)
    s.connect((place, port))
    print(place, kind(s), s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0, s.getpeername()[0], s.gettimeout())
    s.sendall(b"GET /page HTTP/1.0\r\n\r\n")
    print(s.makefile("rb").read().split(b"\r\n\r\n")[1])
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen()
print("bound", kind(s))
END
want='10.0.2.2 ours True 10.0.2.2 5.0
b'\''page\n'\''
127.0.0.1 host True 127.0.0.1 5.0
b'\''page\n'\''
bound host'
is "$(run -- python3 "$WORK/two.py" "$port")" "$want" 'a socket changes its stack with its options: ours by default'
is "$(run --rule 'tcp dst 10.0.2.0/24 ours; default host' -- python3 "$WORK/two.py" "$port")" "$want" 'and the host'\''s by default'

# ---- many sockets --------------------------------------------------------------------------------
cat >"$WORK/many.py" <<'END'
import os, socket, sys
for i in range(3000):
    socket.socket().close()
for i in range(1500):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("", 0))
    s.close()
run = os.getppid()
fds = len(os.listdir("/proc/%d/fd" % run))
print("few" if fds < 1200 else "%d descriptors" % fds)
END
is "$("$mirari" socket run --net user -- python3 "$WORK/many.py")" few 'closed sockets are forgotten'
cat >"$WORK/sweep.py" <<'END'
import resource, socket
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
def forgotten(sockets):  # what the kernel says of a pair is no pair of address and port
    return sum(type(s.getsockname()) is not tuple for s in sockets)
bad = 0
for _ in range(3):  # while the table is swept sockets become known to the server, and others are closed
    sockets = [socket.socket() for _ in range(1500)]
    for i, s in enumerate(sockets):
        s.bind(("", 0))
        if i % 3 == 0:
            socket.socket().close()
    bad += forgotten(sockets)
    for s in sockets[:700]:
        s.close()
        socket.socket().close()
    bad += forgotten(sockets[700:])
    for s in sockets:
        s.close()
print(bad)
END
if [ "$(ulimit -Hn)" = unlimited ] || [ "$(ulimit -Hn)" -ge 4096 ]; then
    is "$("$mirari" socket run --net user -- python3 "$WORK/sweep.py")" 0 'and no others'
else
    skip 'not enough descriptors' 'and no others'
fi

# ---- what no program should do -------------------------------------------------------------------
${CC:-gcc} -g -O1 -D_GNU_SOURCE -static test/interop/probe/socket_random.c -o "$WORK/random" -lpthread >"$WORK/cc" 2>&1
ok $? 'a program of random calls is built' || sed 's/^/# /' "$WORK/cc"
serves random
seed=${SEED:-$RANDOM}
note "seed $seed"
is "$("${as[@]}" timeout 60 "$mirari" socket run --on random -- sh -c '"$0" "$1" 4; python3 -c "
import socket; s = socket.socket(); s.bind((\"\", 80)); s.listen(); print(s.getsockname()[1])"' "$WORK/random" "$seed" 2>&1)" 'done
80' 'random calls, changing memory, signals, kills: the next program is served'
idle() { [ "$("${as[@]}" "$mirari" socket netstat random | wc -l)" = 1 ]; }
wait_until 10 idle
ok $? 'and nothing is left of it in the server' || "${as[@]}" "$mirari" socket netstat random | sed 's/^/# /'
"${as[@]}" "$mirari" socket stop random
wait $server
is $? 0 'which ends in order'

# ---- calls that take time, on both stacks --------------------------------------------------------
if [ "$(id -u)" != 0 ]; then
    skip 'needs root' 'namespaces and taps'
    done_testing
fi
${CC:-gcc} -g -O1 -D_GNU_SOURCE -static test/interop/probe/socket_calls.c -o "$WORK/calls" -lpthread >"$WORK/cc" 2>&1
ok $? 'a static program is built' || sed 's/^/# /' "$WORK/cc"
calls() { sut timeout 40 "$WORK/calls" $SELF4 $PEER4 1 10.201.0.1 </dev/null; }
sut_host
calls >"$WORK/host"
sut_close
is "$(wc -l <"$WORK/host")" 33 'it runs on the host'\''s stack'
sut_private notify
calls >"$WORK/ours"
is "$(diff "$WORK/host" "$WORK/ours")" '' 'and the same on ours: signals, time-outs, threads, processes'
sut_net() { "${SUT_RUN[@]}" "$@"; }
is_like "$(sut_net ip -br address)" "net0 +UP +$SELF4/24" 'ip shows our interface'
is "$(sut_net python3 -c 'import socket; print([socket.if_nametoindex(n) == i for i, n in socket.if_nameindex()])')" '[True]' \
    'interfaces have names and numbers'
is_like "$(sut_net ip route)" "default via $PEER4" 'and our routes'
sut_close

# ---- a program in Go -----------------------------------------------------------------------------
if ! command -v go >/dev/null; then
    skip 'go is not installed' 'a static program in Go'
    done_testing
fi
mkdir "$WORK/go"
cat >"$WORK/go/main.go" <<'END'
package main

import (
	"fmt"
	"net"
	"os"
	"sync"
)

func main() {
	l, err := net.Listen("tcp", ":7000")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { fmt.Fprintf(c, "hello"); c.Close() }()
		}
	}()
	var wait sync.WaitGroup
	var mutex sync.Mutex
	good := 0
	for i := 0; i < 50; i++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			c, err := net.Dial("tcp", os.Args[1]+":7000")
			if err != nil {
				fmt.Println(err)
				return
			}
			b := make([]byte, 10)
			n, _ := c.Read(b)
			c.Close()
			mutex.Lock()
			defer mutex.Unlock()
			if string(b[:n]) == "hello" {
				good++
			}
		}()
	}
	wait.Wait()
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		a, _ := i.Addrs()
		fmt.Println(i.Name, a[0])
	}
	fmt.Println(good)
}
END
if (cd "$WORK/go" && go mod init probe && CGO_ENABLED=0 go build -o ../goprobe .) >"$WORK/cc" 2>&1; then
    sut_private notify
    is "$(sut timeout 30 "$WORK/goprobe" $SELF4)" "net0 $SELF4/24
50" 'a static program in Go'
    sut_close
else
    skip "go builds nothing here: $(tail -n 1 "$WORK/cc")" 'a static program in Go'
fi
done_testing
