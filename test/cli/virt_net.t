#!/bin/bash
# SPDX-License-Identifier: ISC
# The networks of virtual machines: ports through QEMU's own, taps of ours and of others, passt, a stream socket.
. "$(dirname "$0")/lib.sh"
cd "$box" || exit 1
[ -e "$b/virt/libmirari-virt.a" ] || { echo '1..0 # SKIP no libraries of target virt: make virt'; exit 0; }
command -v qemu-system-x86_64 >/dev/null || { echo '1..0 # SKIP qemu-system-x86 is not installed'; exit 0; }

# A site of one page.
mkdir -p site/pages
echo 'it works' >site/pages/index.html
cp "$root"/tools/templates/website/main.c site/
cat >site/app.conf <<'END'
name = site
memory = 32
net { mode = user; forward = "8080:80" }
kv site { dir = "pages" }
vm { accel = tcg }
args port { type = int; default = 80 }
END
sed -i 's/@NAME@/site/g' site/main.c
is_ok 'build' "$mirari" build -q -C site -t virt
begin() { # begin NAME PATTERN ARGUMENTS...: until its console says the pattern
    local name=$1 pattern=$2; shift 2
    rm -f "$name.out"
    "${wrap[@]}" "$mirari" run --no-build -t virt -C site "$@" >"$name.out" 2>"$name.err" </dev/null &
    tool=$!
    wait_for grep -q "$pattern" "$name.out"
}
ended() { kill -INT "$tool"; wait "$tool"; status=$?; out=$(cat "$1.out" "$1.err"); }
url() { sed -n 's/^\(http:.*\)\r*$/\1/p' "$1.out"; }
wrap=(setsid)
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Ports.
port=$(free_port)
for machine in microvm q35; do
    begin user '^net: ' --machine $machine -p "$port:80"; report $? "mode user on $machine"
    says '^it works$' 'its page, through a port' curl -s -m 20 "http://127.0.0.1:$port/"
    says "^site .* http://127.0.0.1:$port/ .*virtio 10.0.2.15/24" 'ps knows where' "$mirari" ps
    ended user; [ "$status" = 0 ]; report $? 'it ends in order'
    has "^forward: 127.0.0.1:$port -> 10.0.2.15:80/tcp" 'and said where it was'
done
python3 -c 'import socket, sys, time
s = socket.socket(); s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen(); print("taken", flush=True); time.sleep(120)' "$port" >taken.out & taker=$!
wait_for grep -q taken taken.out
begin taken '^net: ' -p "$port:80"; report $? 'a port that is taken'
says "port $port of the host is not free, taking" 'is said' cat taken.err
says '^it works$' 'and another one leads there' curl -s -m 20 "$(url taken)"
ended taken; kill $taker; wait $taker 2>/dev/null
begin other '^net: virtio 192.168.77.9/24' --ip 192.168.77.9/24 --gateway 192.168.77.1 -p 127.0.0.2:$port:80; report $? 'other addresses, another address of ours'
says '^it works$' 'are reached' curl -s -m 20 "http://127.0.0.2:$port/"
ended other
exits 1 'an address that is not ours' timeout 20 "$mirari" run -q --no-build -t virt -C site -p 192.0.2.77:$port:80
has 'cannot forward 192.0.2.77:.*name an address of this machine' 'is said'
begin dhcp '^address: 10.0.2.15' --ip dhcp -p "$port:80"; report $? 'DHCP of QEMU'
says '^it works$' 'leads there too' curl -s -m 20 "http://127.0.0.1:$port/"; ended dhcp

# Asked to end before it listens: it is asked when it does.
begin early '^http' -p "$port:80"; ended early
[ "$status" = 0 ]; report $? 'a signal in the first moments is not lost'

# A stream socket: frames behind their lengths. Who has 10.9.0.2?
cat >peer.py <<'END'
import socket, struct, sys
s = socket.socket(socket.AF_UNIX); s.bind('wire'); s.listen(); print('listening', flush=True)
c, _ = s.accept(); c.settimeout(20)
def exact(n):
    data = b''
    while len(data) < n:
        got = c.recv(n - len(data))
        if not got: sys.exit('closed')
        data += got
    return data
mac = bytes.fromhex('020000000001')
arp = b'\xff' * 6 + mac + b'\x08\x06\0\x01\x08\0\x06\x04\0\x01' + mac + bytes([10, 9, 0, 1]) + b'\0' * 6 + bytes([10, 9, 0, 2])
while True:
    c.sendall(struct.pack('>I', len(arp)) + arp)
    frame = exact(struct.unpack('>I', exact(4))[0])
    if frame[12:14] == b'\x08\x06' and frame[20:22] == b'\0\x02':
        print('is-at', frame[22:28].hex(':'), flush=True); break
END
python3 peer.py >peer.out & peer=$!
wait_for grep -q listening peer.out
begin wire '^net: ' --net "socket:$PWD/wire" --ip 10.9.0.2/24 --mac 02:00:00:00:00:42; report $? 'a stream socket'
wait_for grep -q 'is-at 02:00:00:00:00:42' peer.out; report $? 'has its neighbour'
ended wire; wait $peer 2>/dev/null

# Taps and passt, in a network of our own.
if [ "$(id -u)" != 0 ] || ! unshare -n true 2>/dev/null; then
    echo '# SKIP taps: needs root'; report 0 'SKIP taps: needs root'; done_testing
fi
cat >netns.sh <<'END'
ip link set lo up
ip link add mir-tool type veth peer name mir-far && ip link set mir-far up && ip link set mir-tool up
ip addr add 198.51.100.9/24 dev mir-tool; ip route add default via 198.51.100.1
ip tuntap add tool-tap mode tap && ip addr add 10.77.0.1/24 dev tool-tap && ip link set tool-tap up
echo $$ >netns.pid
exec sleep 1000
END
unshare -n bash netns.sh & space=$!
wait_for test -s netns.pid
at=(nsenter -t "$space" -n)
wait_for "${at[@]}" ip addr show dev tool-tap up
wrap=(setsid "${at[@]}")
begin tap '^net: ' --net tap; report $? 'a tap of ours'
says '^tap: net0 is mir[0-9]+ of this machine' 'says its name' cat tap.out
says ' 0% packet loss' 'ping' "${at[@]}" ping -c 20 -i 0.02 -W 20 10.0.0.2
rtt=$(sed -n 's/.* time=\([0-9]*\).*/\1/p' <<<"$out" | sort -n | sed -n 10p) # the median: a busy machine delays some
[ "${rtt:-999}" -lt 100 ]; report $? "answers come when they are asked for, not when a timer goes off (${rtt:-?} ms)"
says '^it works$' 'its page' "${at[@]}" curl -s -m 20 http://10.0.0.2/
ended tap; [ "$status" = 0 ]; report $? 'it ends in order'
out=$("${at[@]}" ip -br link); has_not '^mir[0-9]' 'the tap is gone'
begin theirs '^net: ' --net tap:tool-tap --ip 10.77.0.2/24 --gateway 10.77.0.1 --machine q35; report $? 'a tap that is there'
says '^it works$' 'its page' "${at[@]}" curl -s -m 20 http://10.77.0.2/; ended theirs
out=$("${at[@]}" ip -br link); has '^tool-tap' 'it stays'
begin host '^net: ' --net tap --ip 10.78.0.5/24 --host-ip 10.78.0.200/24; report $? 'our side with an address of its own'
says 'inet 10.78.0.200/24' 'has it' "${at[@]}" ip addr; ended host
if command -v passt >/dev/null; then
    begin passt '^address: 198.51.100.9' --net passt -p "$port:80"; report $? 'passt: the address of this machine'
    says '^it works$' 'its page, through a port' "${at[@]}" curl -s -m 20 "http://127.0.0.1:$port/"
    ended passt; [ "$status" = 0 ]; report $? 'it ends in order'
    no_passt() { ! pgrep -f "passt.*127.0.0.1/$port" >/dev/null; }
    wait_for no_passt; report $? 'and passt with it'
else
    echo '# SKIP passt is not installed'
fi
kill "$space"; wait "$space" 2>/dev/null
done_testing
