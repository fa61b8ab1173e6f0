#!/bin/bash
# SPDX-License-Identifier: ISC
# The session of docs/howto/debug-image.md: its commands are typed, its answers looked for.
. "$(dirname "$0")/lib.sh"
page=$root/docs/howto/debug-image.md
cd "$box" || exit 1
unless() { command -v "$1" >/dev/null || { echo "1..0 # SKIP $2 is not installed"; exit 0; }; }
unless gdb gdb
unless qemu-system-x86_64 qemu-system-x86
unless nc netcat-openbsd
[ -e "$b/virt/libmirari-virt.a" ] || { echo '1..0 # SKIP no libraries of target virt: make virt'; exit 0; }

cp -r "$root/examples/echo" echo
rm -rf echo/_build
is_ok 'build' "$mirari" build -q -C echo -t virt
setsid "$mirari" run -C echo -t virt --accel tcg --no-build --gdb -p "$((20000 + $$ % 10000)):7" >run.out 2>run.err </dev/null &
tool=$!
wait_for grep -q 'waiting for a debugger' run.err; report $? 'it waits'
out=$(cat run.err)
has '^mirari: waiting for a debugger on 127.0.0.1:[0-9]+; in another terminal: gdb -x echo/_build/virt/echo.gdb$' 'and says how to begin'
sed -n 's/^(gdb) //p' "$page" >commands
check 'the page has commands' test "$(wc -l <commands)" -ge 7
# Somebody connects as soon as there is an address to connect to.
port() { sed -n 's/^forward: 127.0.0.1:\([0-9]*\) .*/\1/p' run.out; }
(
    for _ in $(seq 300); do
        [ -n "$(port)" ] && [ "$(echo hello | nc -N -w 20 127.0.0.1 "$(port)")" = hello ] && break
        sleep 0.1
    done
) &
visitor=$!
is_ok 'gdb' timeout 240 gdb -nx -batch -x echo/_build/virt/echo.gdb -x commands
for answer in 'Temporary breakpoint 1, mir__boot_prepare' 'Temporary breakpoint 2, mir_app_main \(app=.*\) at \./main\.c:[0-9]+' \
    'Breakpoint 3, on_accept \(' '#0 +on_accept .* at \./main\.c:[0-9]+' 'mir__tcp_input .* at lib/net/tcp/input\.c' \
    'mir__ip4_input .* at lib/net/ip4\.c' 'net_poll .* at dev/net/virtio/net\.c' 'mir_loop_run .* at lib/run/loop\.c' \
    'mir__start \(\) at target/virt/start\.c' '= \{connections = 1, bytes = 0, datagrams = 0, lost = 0, open = 1\}' \
    'New value = 6' 'on_tcp \(.* at \./main\.c:[0-9]+'; do
    has "$answer" "gdb: $answer"
done
wait $visitor; report $? 'after detach the visitor gets an answer'
kill -INT $tool; wait $tool; status=$?
[ "$status" = 0 ]; report $? 'and it ends in order'
out=$(cat run.out); has '^echo: 1 connections, . open, 6 bytes' 'with one visitor'

# A crash report names functions; a name and an offset lead to a line.
cp -r "$root/test/boot/faults" faults
rm -rf faults/_build
exits 70 'a crash' timeout 120 "$mirari" run -q -C faults -t virt --accel tcg --mode write
has 'page fault, write to address 0x10, in task main' 'is reported'
at=$(sed -n 's/.*#0 \(mir_app_main+0x[0-9a-f]*\)$/\1/p' <<<"$out" | tr -d '\r')
says '^Line [0-9]+ of "./main.c"' 'the line of it' gdb -nx -batch -ex "info line *$at" faults/_build/virt/faults
line=$(sed -n 's/^Line \([0-9]*\) .*/\1/p' <<<"$out")
[ "$(sed -n "${line}p" faults/main.c | tr -d ' ')" = '*(volatileint*)(zero+0x10)=1;' ]; report $? 'is the one that wrote'
done_testing
