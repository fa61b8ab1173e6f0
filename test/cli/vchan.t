#!/bin/bash
# SPDX-License-Identifier: ISC
# mirari vchan: channels between processes from the command line.
. "$(dirname "$0")/lib.sh"
cd "$box" || exit 1
pids=()
trap 'for p in "${pids[@]}"; do kill "$p"; done 2>/dev/null; clean_up' EXIT
background() { "$@" & pids+=($!); }
listens() { "$mirari" vchan ls | grep -q "^$1 .*listening"; }
head -c 3000000 /dev/urandom >data

# cat: one end each
background "$mirari" vchan cat -l one </dev/null >got
server=${pids[-1]}
out=$("$mirari" vchan cat one --wait 20 <data 2>&1)
status=$?
report "$status" 'a client to a server'
wait "$server"
report $? 'that ends well'
check 'every byte arrived' cmp data got

# a command for each client
background "$mirari" vchan listen echo -- cat
wait_for listens echo
says '^hello$' 'an answer of a command' bash -c "echo hello | '$mirari' vchan connect echo -q 1"
mkfifo quiet fed # inputs that do not end while we hold them open
exec 8<>quiet 9<>fed
cat data >fed &
"$mirari" vchan connect echo -k <fed >a & one=$!
"$mirari" vchan connect echo -q 2 <data >b & two=$!
wait "$two"
check 'two clients at a time: the one' cmp data b
wait_for cmp data a
report $? 'and the other'
is_ok 'ls' "$mirari" vchan ls
has "^echo +open +[0-9]+ +$one " 'shows both ends of a channel'
has ' 0/262144 +0/262144$' 'and that it is empty'
says '^client: [0-9]+ \(here\)$' 'stat' "$mirari" vchan stat echo
has '^to client: order 18 \(262144 bytes\), written 3000000, read 3000000, waiting 0' 'shows what was written'
run "$mirari" vchan ls --json
python3 -c 'import json,sys; l=json.load(sys.stdin); assert l[0]["name"]=="echo" and l[0]["to_client"]["written"]==3000000, l' <<<"$out"
report $? '--json can be read'
kill -9 "$one"
wait "$one" 2>/dev/null
gone() { ! "$mirari" vchan ls | grep -q "^echo .* $one "; }
wait_for gone
report $? 'a client that is killed is gone'
is_ok 'and the server serves on' bash -c "echo again | '$mirari' vchan connect echo -q 1 | grep -q again"

# the peer is killed
background "$mirari" vchan connect echo -k <quiet
client=${pids[-1]}
serving() { pgrep -P "$1" >/dev/null; }
wait_for serving "${pids[1]}"
child=$(pgrep -P "${pids[1]}" | head -n 1)
kill -9 "$child"
wait "$client" 2>/dev/null
report "$([ $? = 1 ]; echo $?)" 'a client whose server is killed ends with status 1'

# proxies: TCP -> channel -> Unix socket -> channel -> a command
background "$mirari" vchan proxy "unix:$box/sock" vchan:echo
background "$mirari" vchan proxy vchan:behind "unix:$box/sock"
wait_for listens behind
wait_for test -S "$box/sock"
port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
background "$mirari" vchan proxy "tcp:$port" vchan:behind
cat >client.py <<'END'
import socket, sys, threading, time
for _ in range(500):
    try:
        s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        break
    except OSError:
        time.sleep(0.02)
data = open("data", "rb").read()
threading.Thread(target=lambda: s.sendall(data), daemon=True).start()
got = b""
while len(got) < len(data):
    part = s.recv(1 << 16)
    assert part, len(got)
    got += part
assert got == data
END
is_ok 'TCP through two channels and a Unix socket, and back' python3 client.py "$port"

# mistakes
exits 1 'nobody listens' "$mirari" vchan connect nobody
has 'nobody listens at ".*/vchan/nobody"; --wait SECONDS' 'says how to wait'
exits 1 'a name in use' "$mirari" vchan listen echo
has 'listens at .* already' 'says so'
exits 64 'a bad name' "$mirari" vchan connect 'a b'
exits 64 'no name' "$mirari" vchan connect
exits 64 'two channels' "$mirari" vchan proxy vchan:a vchan:b
exits 64 'an unknown subcommand' "$mirari" vchan lisen
has 'did you mean "listen"' 'and the nearest'
exits 1 'stat of none' "$mirari" vchan stat nothing
exits 64 'a number that is none' "$mirari" vchan connect echo -w soon

# the figures
is_ok 'bench' "$mirari" vchan bench -n 1
for name in unix_65536 vchan_1460 vchan_round_trip pipe_to_vchan_round_trip vchan_idle; do
    has "^$name [0-9.]+ [A-Za-z/]+$" "bench prints $name"
done
done_testing
