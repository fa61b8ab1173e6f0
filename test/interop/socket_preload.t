#!/usr/bin/env bash
# The preload library where it is alone: by hand, through exec and changes of user, with programs that close everything, when its
# server dies. What programs do over it otherwise is in socket_programs.t and socket_conform.t.
. "$(dirname "$0")/lib.sh"
. test/socket/net.sh
need_root
need python3 perl setpriv nc
[ -e "$B/libmirari-socket.so" ] || skip_all "$B/libmirari-socket.so is not built (make all)"
sut_has || skip_all 'there is no socket server in this build'
sut_ours preload
chmod 755 "$WORK"
control=$(sut sh -c 'echo $MIRARI_SOCKET')
library=$(sut sh -c 'echo $LD_PRELOAD')
by_hand() { # by_hand COMMAND...: nothing but the environment
    ip netns exec "$NS" env LD_PRELOAD="$library" MIRARI_SOCKET="$control" "$@"
}
python=$(command -v /usr/bin/python3 || command -v python3)

# ---- by hand, with rules -------------------------------------------------------------------------
cat >"$WORK/echo.py" <<'END'
import socketserver, sys
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(("%s " % self.client_address[0]).encode())
        for line in self.rfile:
            self.wfile.write(line)
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer.request_queue_size = 64
socketserver.ThreadingTCPServer(("", int(sys.argv[1])), Echo).serve_forever()
END
peer_start echo "$python" "$WORK/echo.py" 6001
peer_listens() { [ -n "$(peer ss -Hltn sport = :6001)" ]; }
wait_until 10 peer_listens
cat >"$WORK/ask.py" <<'END'
import socket, sys
s = socket.create_connection((sys.argv[1], 6001), 10)
s.sendall(b"hello\n")
s.shutdown(socket.SHUT_WR)
print(s.makefile().read().strip(), s.getsockname()[0])
END
is "$(by_hand "$python" "$WORK/ask.py" $PEER4)" "$SELF4 hello $SELF4" 'by hand: the peer sees our address'
is "$(MIRARI_SOCKET_RULES='tcp dst 10.0.0.0/8 host' by_hand "$python" "$WORK/ask.py" $PEER4)" "$PEER4 hello $PEER4" \
    "by hand: a rule leaves it to the host's stack"
said=$(MIRARI_SOCKET_RULES='tcp dst nowhere ours' by_hand true 2>&1)
is $? 64 'by hand: a rule that is wrong ends the program'
is_like "$said" 'libmirari-socket: MIRARI_SOCKET_RULES: .*nowhere' '... and says what is wrong'
is "$(MIRARI_SOCKET= LD_PRELOAD="$library" "$python" -c 'import socket; print(socket.socket().getsockname())')" "('0.0.0.0', 0)" \
    'without a server the library does nothing'

# ---- route sockets -------------------------------------------------------------------------------
is_like "$(sut ip -br address)" "net0 +UP +$SELF4/24" 'ip shows our interface'
is_like "$(sut ip route)" "default via $PEER4" 'and our routes'
cat >"$WORK/link.py" <<'END'
import os, select, socket, struct
def ask(s):
    s.sendto(struct.pack("=IHHIIB3x", 20, 18, 0x301, 7, 0, 0), (0, 0))  # a list of links
    kinds, poll = [], select.poll()
    poll.register(s, select.POLLIN)
    while 3 not in kinds:
        poll.poll()
        data, source = s.recvfrom(4096)
        while data:
            size, kind, _, seq, port = struct.unpack("=IHHII", data[:16])
            kinds.append(kind)
            if (seq, port, source) != (7, s.getsockname()[0], (0, 0)):
                return seq, port, source
            data = data[(size + 3) & ~3:]
    return kinds
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
s.bind((0, 0))
print(ask(s), s.family.name)
child = os.fork()
if child == 0:
    print(ask(s), "child", flush=True)
    os._exit(0)
os.waitpid(child, 0)
for fd in range(900, 1100):  # also where the library keeps its own
    os.dup2(s.fileno(), fd)
print(ask(socket.socket(fileno=1000)))
END
is "$(sut "$python" "$WORK/link.py" 2>&1 | xargs)" '[16, 3] AF_NETLINK [16, 3] child [16, 3]' \
    'a route socket through fork and dup, from the address of the kernel'

# ---- exec, passing, closing everything -----------------------------------------------------------
is "$(sut bash -c "exec 3<>/dev/tcp/$PEER4/6001; echo through a shell >&3; head -n 1 <&3")" "$SELF4 through a shell" \
    'bash opens a connection, another program reads it'
cat >"$WORK/inherit.py" <<'END'
import socket, subprocess, sys
s = socket.create_connection((sys.argv[1], 6001), 10)
child = "import socket; s = socket.socket(fileno=0); print(s.family.name, s.type.name, s.getpeername()[1]); s.sendall(b'child\\n')"
out = subprocess.run([sys.executable, "-c", child], stdin=s, stdout=subprocess.PIPE, text=True, close_fds=True)
print(out.stdout.strip(), s.makefile().readline().strip())
END
is "$(sut "$python" "$WORK/inherit.py" $PEER4)" "AF_INET SOCK_STREAM 6001 $SELF4 child" 'a socket as the standard input of a child is known there'
cat >"$WORK/vfork.py" <<'END'
import socket, struct, subprocess, sys
fresh, datagrams, listener = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.create_server(("", 0))
datagrams.bind(("", 0))
subprocess.run(["true"], close_fds=True)  # by vfork: the child closes all in the parent's memory
datagrams.settimeout(20)
datagrams.sendto(b"myself", (sys.argv[2], datagrams.getsockname()[1]))
print(datagrams.recvfrom(100)[0].decode())
fresh.connect((sys.argv[1], 6001))
fresh.sendall(b"alive\n")
print(fresh.makefile().readline().strip())
fresh.close()
client = socket.socket()
subprocess.run(["true"])  # its exec tells the server of what it does not know
client.connect((sys.argv[2], listener.getsockname()[1]))
server, name = listener.accept()
print(name[0])
server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
server.close()
client.settimeout(20)
try:
    client.recv(1)
except OSError as error:
    print(type(error).__name__)  # which a copy of the server's end would keep from it
END
is "$(sut "$python" "$WORK/vfork.py" $PEER4 $SELF4 2>&1 | xargs)" "myself $SELF4 alive $SELF4 ConnectionResetError" \
    'a child of vfork closes nothing of its parent, and leaves it no end of the server'
cat >"$WORK/closing.py" <<'END'
import os, socket, sys
socket.create_connection((sys.argv[1], 6001), 10).close()
os.closerange(3, 4096)
if os.fork() == 0:
    os.closerange(3, 4096)
    s = socket.create_connection((sys.argv[1], 6001), 10)
    s.sendall(b"alive\n")
    os.write(1, s.recv(100).split()[0] + b" child\n")
    os._exit(0)
os.wait()
print(socket.create_connection((sys.argv[1], 6001), 10).getpeername()[1])
END
is "$(sut "$python" "$WORK/closing.py" $PEER4 | xargs)" "$SELF4 child 6001" 'programs that close all descriptors go on'

# ---- another user --------------------------------------------------------------------------------
cat >"$WORK/user.pl" <<'END'
use Socket;
$| = 1;
sub serve {
    my ($port) = @_;
    socket(my $s, PF_INET, SOCK_STREAM, 0) or return "$!";
    bind($s, sockaddr_in($port, INADDR_ANY)) && listen($s, 3) or return "$!";
    return (sockaddr_in(getsockname($s)))[0];
}
print "$< ", serve(6101);
if (!fork()) { print " ", serve(6102), "\n"; exit 0 }
wait();
END
is "$(sut setpriv --reuid 65534 --regid 65534 --clear-groups perl "$WORK/user.pl")" '65534 6101 6102' \
    'a program started as another user, and its child, reach the server'

# ---- asynchronous ---------------------------------------------------------------------------------
cat >"$WORK/many.py" <<'END'
import asyncio, sys
async def one(i):
    r, w = await asyncio.open_connection(sys.argv[1], 6001)
    w.write(b"%d\n" % i)
    w.write_eof()
    text = await r.read()
    w.close()
    return text.split()[1] == b"%d" % i
async def main():
    print(sum(await asyncio.gather(*(one(i) for i in range(60)))))
    try:
        await asyncio.open_connection(sys.argv[1], 6002)
    except ConnectionRefusedError:
        print("refused")
asyncio.run(main())
END
is "$(sut "$python" "$WORK/many.py" $PEER4 | xargs)" '60 refused' 'asyncio: sixty at once, one refused'

# ---- the server dies ------------------------------------------------------------------------------
cat >"$WORK/orphan.py" <<'END'
import errno, os, signal, socket, sys
s = socket.create_connection((sys.argv[1], 6001), 10)
s.recv(100)
print("ready", flush=True)
try:
    s.settimeout(20)
    print(repr(s.recv(100)))
except ConnectionResetError:
    print("reset")
try:
    socket.create_connection((sys.argv[1], 6001), 10)
except OSError as e:
    print(errno.errorcode[e.errno])
END
sut_start orphan "$python" "$WORK/orphan.py" $PEER4
wait_until 10 grep -q ready "$WORK/orphan.out"
"$B/mirari" socket stop "$SUT_SERVER" >/dev/null 2>&1
wait_until 20 grep -q ENET "$WORK/orphan.out"
is_like "$(xargs <"$WORK/orphan.out")" "ready (reset|b'') ENETDOWN" 'when the server ends clients have errors, and do not hang'
sut_close
done_testing
