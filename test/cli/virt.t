#!/bin/bash
# SPDX-License-Identifier: ISC
# Virtual machines as the tool runs them: options, the command line of QEMU, signals, console, exit
# statuses, and what is left behind (nothing). The guest is a small one of our own (guest.S), so that
# this tests the tool alone.
. "$(dirname "$0")/lib.sh"
cd "$box" || exit 1
state=$box/runtime/mirari

# Options, checked before anything starts.
mkdir net
cat >net/app.conf <<'END'
name = net
memory = 32
net one { mode = user; forward = "8080:80" }
net two { mode = user; ip = 192.168.7.9/24; gateway = 192.168.7.1 }
vm { machine = q35; cpu = Haswell; accel = tcg; disk = "d.img,ro" }
args count { type = int; default = 1 }
END
echo '#error must not be built' >net/main.c
truncate -s 1M net/d.img 'a,b.img'
dry() { says "$1" "$2" "$mirari" run -q --print -t virt -C net "${@:3}"; }
wrong() { exits 64 "$2" "$mirari" run -t virt -C net "${@:3}"; has "$1" "$2: is explained"; }
dry '^qemu-system-x86_64 -name net .* -machine q35,[^ ]* -accel tcg -cpu Haswell -m 32M -kernel net/_build/virt/net ' 'the manifest'
has ' -drive if=none,id=disk0,format=raw,discard=unmap,readonly=on,file=net/d.img -device virtio-blk-pci,drive=disk0 ' 'its disk'
has ' -netdev user,id=one,hostfwd=tcp:127.0.0.1:[0-9]+-10.0.2.15:80 -device virtio-net-pci,netdev=one,mac=[0-9a-f:]{17},romfile= ' 'its first network'
has ' -netdev user,id=two,net=192.168.7.0/24,host=192.168.7.1,dns=192.168.7.3 ' 'its second one'
has " -append '--ip one=10.0.2.15/24 --gateway one=10.0.2.2 --dns 10.0.2.3' " 'addresses for the guest'
has_not 'chardev=control| -S ' 'nothing that only the tool can give'
says '^vm +machine q35$' 'describe' "$mirari" describe -C net; has '^disk +d.img,ro$' 'its disk too'
"$mirari" describe --json -C net | python3 -c 'import json, sys; d = json.load(sys.stdin); assert d["vm"]["machine"] == "q35" and d["disks"] == ["d.img,ro"], d'
report $? 'describe --json'
dry ' -smp 1,maxcpus=2 -machine q35,[^ ]* -accel tcg ' 'an emulator that keeps the memory barriers of one processor'
dry ' -machine microvm,[^ ]* -accel kvm -cpu host -m 1024M ' 'options instead' --machine=microvm --accel kvm --memory 1G --cpu host
[ -e /dev/kvm ] || { out='no /dev/kvm'; report 0 'SKIP accel kvm'; }
dry '' 'several disks' --machine microvm --disk 'a,b.img' --disk net/d.img,ro
has "format=raw,discard=unmap,file=a,,b.img -device virtio-blk-device,drive=disk0,bus=virtio-mmio-bus.3 " 'commas in a name are doubled'
has 'drive=disk1,bus=virtio-mmio-bus.4 .*virtio-rng-device,rng=random,bus=virtio-mmio-bus.5' 'devices in order'
has_not 'd.img.*d.img.*d.img' 'those of the manifest are replaced'
dry ' --count 5 "two words" "\\""'"' " 'words for the appliance' --count 5 -- 'two words' '"'
dry ' "a \\"b\\"" "\\\\" ""' 'are quoted for the guest' -- 'a "b"' '\' ''
dry ' -device ivshmem-plain -d int' 'words for QEMU come last' --qemu -device --qemu ivshmem-plain --qemu=-d --qemu int
dry ' -netdev tap,id=one,ifname=tap7,script=no,downscript=no ' 'an existing tap' --net tap:tap7
has '--ip one=10.0.0.2/24 --gateway one=10.0.0.1' 'has the addresses of target unix'
dry ' -netdev stream,id=one,.*--ip one=dhcp|--ip one=dhcp.* -netdev stream,id=one' 'passt' --net passt
dry ' -chardev socket,id=one.vhost,path=/run/s -netdev vhost-user,id=one,chardev=one.vhost ' 'vhost-user' --net vhost-user:/run/s
has 'memory-backend-memfd,id=ram,share=on,size=32M' 'has shared memory'
dry ' -netdev socket,id=one,connect=127.0.0.1:99 ' 'another machine' --net socket:connect=127.0.0.1:99
dry ' -netdev stream,id=one,server=off,addr.type=unix,addr.path=/run/s ' 'a stream' --net socket:/run/s
dry ' -object filter-dump,id=two.pcap,netdev=two,file=x.pcap ' 'a capture' --pcap two=x.pcap
dry ',mac=02:00:00:00:00:07,host_mtu=9000,' 'hardware address and MTU' --mac 02:00:00:00:00:07 --mtu 9000
dry ' -machine virt,gic-version=max -accel tcg -cpu max -m 32M .* -semihosting-config enable=on,target=gdb ' 'the other architecture' \
    --arch aarch64
has 'qemu-system-aarch64 .* -device virtio-net-device,netdev=one,[^ ]*,bus=virtio-mmio-bus.0 ' 'its network'
has_not 'isa-debug-exit|pvpanic|romfile' 'nothing of a PC'
check 'and nothing is built' test ! -e net/_build
wrong 'unknown machine "q53"; write microvm, q35, pc or virt; did you mean "q35"' 'a bad machine' --machine q53
wrong 'machine q35 is not one of aarch64; write virt' 'a machine of the other architecture' --arch aarch64 --machine q35
wrong 'machine virt is not one of x86_64' 'and the other way round' --arch x86_64 --machine virt
wrong 'unknown architecture "arm64"; write x86_64 or aarch64' 'a bad architecture' --arch arm64
wrong 'target unix runs on this machine' 'another architecture without a machine' --arch aarch64 -t unix
wrong 'unknown accelerator "hvf"' 'a bad accelerator' --accel hvf
wrong 'is not a processor' 'a bad processor' --cpu 'a b'
wrong 'takes a port' 'a bad port for the debugger' --gdb=x
wrong 'needs a value' 'a disk without name' --disk
wrong 'has no name' 'an empty disk' --disk ,ro= --disk ''
wrong 'target virt has no mode "packet:eth0"' 'mode packet' --net packet:eth0
wrong 'target virt has no mode "socket"' 'mode socket' --net socket
wrong 'is not usable; write vhost-user:/PATH' 'a bad socket' --net socket:frob=1
wrong 'is not usable; write vhost-user:/PATH' 'commas for QEMU' --net vhost-user:/a,server=on
exits 64 'options of a machine for a process' "$mirari" run -C net --gdb; has 'add -t virt' 'are explained'
exits 64 'modes of a machine for a process' "$mirari" run -C net --net passt; has 'or -t virt' 'are explained'
exits 1 'a disk that is not there' "$mirari" run -q --print -t virt -C net --disk no.img; has 'make one: truncate' 'says what to do'
exits 65 'a bad section vm' bash -c "mkdir bad && printf 'vm { machien = q35 }\n' >bad/app.conf && '$mirari' run -t virt -C bad"
has 'unknown key "machien"; did you mean "machine"' 'is explained'
exits 65 'a bad value in it' bash -c "printf 'vm { machine = q53 }\n' >bad/app.conf && '$mirari' describe -C bad"

if ! command -v qemu-system-x86_64 >/dev/null; then
    echo '# SKIP qemu-system-x86 is not installed'
    exits 1 'without QEMU' "$mirari" run --no-build -t virt -C net; done_testing
fi

# Does KVM work? Said, and remembered.
if [ -r /dev/kvm ] && [ -w /dev/kvm ]; then
    begun=$(date +%s%N)
    says 'accelerator (kvm|tcg) \(.*' 'the accelerator is said' "$mirari" run --print -t virt -C net --accel auto
    [ $((($(date +%s%N) - begun) / 1000000)) -lt 10000 ]; report $? 'found out within time'
    check 'kept' test -f "$state/.kvm"
    says 'measured earlier' 'and not measured again' "$mirari" run --print -t virt -C net --accel auto
else
    says 'accelerator tcg' 'without KVM: emulation' "$mirari" run --print -t virt -C net --accel auto
fi

# A guest of our own.
mkdir -p vm/_build/virt
printf 'name = vm\nmemory = 16\nvm { accel = tcg }\n' >vm/app.conf
echo 'int unused;' >vm/main.c
check 'the guest' gcc -nostdlib -static -no-pie -Wl,--build-id=none -Wl,-e,start -g -o vm/_build/virt/vm "$root/test/cli/guest.S"
ready() { [ "$(grep -c ready "$box/$1.out")" = "${2:-1}" ] && [ -n "$("$mirari" ps -q)" ]; }
begin() { # begin NAME ARGUMENTS...
    local name=$1; shift
    setsid "$mirari" run --no-build -t virt -C vm "$@" >"$box/$name.out" 2>"$box/$name.err" </dev/null &
    tool=$!
    wait_for ready "$name"
}
ended() { wait "$tool"; status=$?; out=$(cat "$1.out" "$1.err"); }
is_gone() { [ -z "$(ls "$state")" ]; }
no_qemu() { # none of this test's folder
    local pid
    for pid in $(pgrep -x qemu-system-x86); do
        [ "$(readlink "/proc/$pid/cwd")" != "$box" ] || return 1
    done
}

begin int; report $? 'it runs'
says '^vm +[0-9]+ virt +[0-9]+s ' 'ps shows it' "$mirari" ps
pid=$("$mirari" ps -q)
out=$(tr '\0' ' ' </proc/"$pid"/cmdline); has '^qemu-system-x86_64 ' 'its process is QEMU'
says '^ready$' 'logs' "$mirari" logs vm
kill -INT "$tool"; ended int
[ "$status" = 3 ]; report $? 'SIGINT to the tool: the status of the guest'
has '^last words$' 'it ended in order'
is_gone && no_qemu; report $? 'nothing is left'
begin term; kill -TERM "$tool"; ended term; [ "$status" = 3 ]; report $? 'SIGTERM'
for machine in q35 pc; do
    begin $machine --machine $machine; kill -TERM "$tool"; ended $machine
    [ "$status" = 3 ]; report $? "machine $machine"
done
begin twice; kill -INT "$tool"; kill -INT -- "-$tool"; ended twice; [ "$status" = 3 ]; report $? 'a Ctrl-C that comes twice at once counts once'

# Console.
mkfifo keys
exec 8<>keys
talk() { # talk KEYS PATTERN: type, until the console shows the pattern
    rm -f talk.out
    "$mirari" console vm <keys >talk.out 2>&1 8>&- &
    local talker=$!
    printf '%s' "$1" >&8
    wait_for grep -q "$2" talk.out; status=$?
    kill "$talker" 2>/dev/null; wait "$talker" 2>/dev/null
    out=$(cat talk.out)
    return "$status"
}
begin console -- some words
talk hallo '^hallo'; report $? 'what is typed at the console comes back'
talk c '^some words$'; report $? 'its command line'
mkfifo other
exec 9<>other
"$mirari" console vm >listener.out 2>&1 <other 8>&- 9>&- & listener=$!
printf x >&9; wait_for grep -q x listener.out
talk e 'last words'; report $? 'the last key'
ended console; [ "$status" = 3 ]; report $? 'ends it'
wait $listener; out=$(cat listener.out); has 'last words' 'another one attached hears the last words'
has_not '^mirari: ' 'without a terminal nothing is said'
exits 1 'the console of nothing' "$mirari" console vm; has 'no appliance "vm" is running' 'is said'
exits 64 'a console without name' "$mirari" console
cat >terminal.py <<'END'
import os, pty, sys, time
words = sys.argv[1].encode().decode('unicode_escape').encode('latin-1')
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
seen, asked = b'', False
while True:
    try:
        data = os.read(fd, 4096)
    except OSError:
        break
    if not data:
        break
    seen += data
    if (b'ready' in seen or b'attached' in seen) and not asked:
        asked = True
        time.sleep(0.2)
        os.write(fd, words)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.stdout.write(seen.decode(errors='replace'))
sys.exit(status)
END
on_terminal() { timeout 30 python3 terminal.py "$1" "$mirari" "${@:2}"; }
exits 3 'Ctrl-C on a terminal' on_terminal '\x03' run --no-build -t virt -C vm
has 'last words' 'ends it in order'
exits 3 'what is typed at the terminal' on_terminal 'ze\n' run --no-build -t virt -C vm
has 'last words' 'goes to the serial port'
begin keys
exits 0 'Ctrl-] at the console' on_terminal 'xyz\x1d' console vm
has 'attached to "vm"' 'detaches'
got_keys() { "$mirari" logs vm | grep -q xyz; }
wait_for got_keys; report $? 'after what was typed before it'
check 'and leaves it running' test -n "$("$mirari" ps -q)"
exits 0 'Ctrl-C at the console' on_terminal '\x03' console vm; has 'last words' 'reaches the guest'
ended keys; [ "$status" = 3 ]; report $? 'which ends'

# One that does not listen, and others that end badly.
begin deaf; talk xd x; report $? 'it is deaf'
kill -INT "$tool"; sleep 0.3; kill -INT "$tool"; ended deaf
[ "$status" = 130 ]; report $? 'a second SIGINT ends it'
no_qemu && is_gone; report $? 'nothing is left'
begin deaf2; talk xd x; report $? 'another'
says 'did not end within 1 s and was killed' 'stop kills it' "$mirari" stop -t 1 vm
ended deaf2; [ "$status" = 137 ]; report $? 'which is its status'
begin reset; talk xr x; report $? 'a triple fault'; ended reset
[ "$status" = 70 ]; report $? 'is a crash'; has 'reset itself' 'and said'
begin panic; talk xp x; report $? 'a panic'; ended panic
has '"vm" panicked' 'is said'; [ "$status" != 0 ]; report $? 'and is no success'
begin term9; kill -TERM "$("$mirari" ps -q)"; ended term9; [ "$status" = 143 ]; report $? 'SIGTERM to QEMU itself'
begin kill9; pid=$("$mirari" ps -q); kill -KILL "$tool"; wait "$tool" 2>/dev/null
wait_for bash -c "! kill -0 $pid"; report $? 'kill -9 of the tool ends QEMU'
is_ok 'ps' "$mirari" ps; is_gone; report $? 'removes what is left'
exits 1 'a word that QEMU does not know' "$mirari" run --no-build -t virt -C vm --qemu -frob
has 'did not start: see above what QEMU said' 'is explained'; has 'frob' 'in the words of QEMU'
is_gone; report $? 'nothing is left'

# Detached.
is_ok 'run -d' "$mirari" run -d --no-build -t virt -C vm
has '^ready$' 'shows the beginning'; has 'vm runs as process [0-9]+' 'and its process'
is_ok 'stop' "$mirari" stop vm; has '^stopped vm' 'says so'
no_qemu && is_gone_but_log() { [ -z "$(ls "$state" | grep -v '\.log$')" ]; } && is_gone_but_log; report $? 'nothing is left'
says 'last words' 'the log of status 3 is kept' "$mirari" logs vm

# Debugger.
if command -v gdb >/dev/null; then
    setsid "$mirari" run --no-build -t virt -C vm --gdb >gdb.out 2>gdb.err </dev/null & tool=$!
    wait_for grep -q 'waiting for a debugger' gdb.err; report $? 'it waits for a debugger'
    [ ! -s gdb.out ]; report $? 'and does not run'
    port=$(grep -o '127.0.0.1:[0-9]*' gdb.err | head -n 1)
    says 'Breakpoint 1, ended' 'gdb stops at a function' timeout 60 gdb -batch -nx vm/_build/virt/vm -ex 'set confirm off' -ex "target remote $port" \
        -ex 'hbreak ended' -ex 'hbreak next' -ex 'disable 2' -ex 'set $sent = 0' -ex 'enable 2' -ex 'continue' -ex 'disable 2' -ex 'set $pc = ended' -ex 'stepi' -ex 'bt' -ex 'echo Breakpoint 1, ended' -ex detach
    has 'guest.S' 'and knows its source'
    wait_for bash -c "! kill -0 $tool 2>/dev/null" || kill -INT $tool
    wait $tool; status=$?; [ "$status" = 3 ]; report $? 'and lets it end'
    begin busy; exits 1 'a port that is taken' bash -c "exec 3<>/dev/null; python3 -c '
import socket, subprocess, sys
s = socket.socket(); s.bind((\"127.0.0.1\", 0)); s.listen()
sys.exit(subprocess.run([sys.argv[1], \"run\", \"--no-build\", \"-t\", \"virt\", \"-C\", \"vm\", \"--gdb=%d\" % s.getsockname()[1]]).returncode)' '$mirari'"
    has 'is not free; choose another' 'is said'
    kill -INT "$tool"; ended busy
else
    echo '# SKIP gdb is not installed'
fi
is_gone_but_log && no_qemu; report $? 'nothing is left at all'
done_testing
