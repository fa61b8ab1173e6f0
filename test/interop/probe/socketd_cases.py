# SPDX-License-Identifier: ISC
"""What the socket server does for a well-behaved client, the kernel's stack at the other end."""
import atexit
import errno
import fcntl
import os
import resource
import select
import signal
import socket
import struct
import sys
import threading

from socketd import (ADOPT, DGRAM, NO_ADDR, SILENT, Client, Sock, addr, done, equal, fails, ok, option)

PATH, HOST, OURS, HOST6, OURS6 = sys.argv[1:6]
SERVER = int(sys.argv[6])
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
client = Client(PATH)


def listener(ip=HOST):
    s = socket.create_server((ip, 0), family=socket.AF_INET6 if ":" in ip else socket.AF_INET)
    s.settimeout(20)
    return s, s.getsockname()[1]


def pair(port, server, **kind):
    s = Sock(client, **kind)
    s.connect(HOST6 if kind.get("domain") == socket.AF_INET6 else HOST, port)
    peer = server.accept()[0]
    peer.settimeout(20)
    return s, peer


def events(s, mask=select.POLLIN | select.POLLOUT, wait_ms=20000):
    poll = select.poll()
    poll.register(s, mask)
    got = poll.poll(wait_ms)
    return got[0][1] if got else 0


def until(condition):
    for _ in range(2000):
        if condition():
            return True
        select.select([], [], [], 0.01)
    return False


def streams():
    server, port = listener()
    s, peer = pair(port, server)
    local, remote = s.names()
    equal((local[0], remote), (OURS, (HOST, port)), "connect: both names")
    equal(peer.getpeername(), local, "the peer sees the same name")
    s.a.send(b"hello")
    equal(peer.recv(100), b"hello", "bytes go out, and no junk with them")
    peer.send(b"world")
    equal(s.a.recv(100), b"world", "bytes come in")
    for i in range(100):
        s.a.send(b"%04d" % i)
        if peer.recv(4, socket.MSG_WAITALL) != b"%04d" % i:
            ok(False, "a hundred small messages")
    peer.shutdown(socket.SHUT_WR)
    equal(s.a.recv(10), b"", "the peer's FIN is an end of file")
    s.a.send(b"bye")
    equal(peer.recv(10), b"bye", "the other direction goes on")
    s.close()
    equal(peer.recv(10), b"", "close sends FIN")

    s, peer = pair(port, server)
    s.a.send(b"last words")
    s.a.shutdown(socket.SHUT_WR)
    equal(peer.recv(100, socket.MSG_WAITALL), b"last words", "shutdown: FIN behind the data")
    peer.send(b"answer")
    peer.close()
    equal(s.a.recv(100, socket.MSG_WAITALL), b"answer", "what comes after our FIN arrives")
    equal(s.a.recv(10), b"", "both directions ended: no error")
    fails(errno.EPIPE, "writing then is a broken pipe", s.a.send, b"x")
    s.close()

    s, peer = pair(port, server)
    peer.send(b"unread")
    ok(events(s.a, select.POLLIN) & select.POLLIN, "data is there")
    s.close()
    fails(errno.ECONNRESET, "close with unread data resets the peer", peer.recv, 10)


def resets():
    server, port = listener()
    s, peer = pair(port, server)
    peer.send(b"before")
    equal(s.a.recv(100), b"before", "data before a reset")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    ok(events(s.a, select.POLLIN) & select.POLLERR, "RST: poll says error")
    equal(s.getopt(socket.SOL_SOCKET, socket.SO_ERROR), errno.ECONNRESET, "SO_ERROR says which, by the handle")
    equal(s.getopt(socket.SOL_SOCKET, socket.SO_ERROR), 0, "once")
    fails(errno.ECONNRESET, "read: connection reset", s.a.recv, 10)
    s.close()

    s, peer = pair(port, server)
    s.setopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
    fails(errno.ECONNRESET, "SO_LINGER of 0: close is RST", peer.recv, 10)


def connecting():
    server, port = listener()
    closed = socket.create_server((HOST, 0))
    nobody = closed.getsockname()[1]
    closed.close()
    s = Sock(client)
    fails(errno.ECONNREFUSED, "a waiting connect is refused", s.connect, HOST, nobody)
    s.connect(HOST, port)
    peer = server.accept()[0]
    s.a.send(b"again")
    equal(peer.recv(10), b"again", "the same socket connects after that")
    fails(errno.EISCONN, "connect again: is connected", s.connect, HOST, port)
    s.close()

    s = Sock(client)
    fails(errno.EINPROGRESS, "non-blocking: in progress", s.connect, HOST, port, False)
    equal(events(s.a), select.POLLOUT, "writable when it is there")
    equal(s.getopt(socket.SOL_SOCKET, socket.SO_ERROR), 0, "SO_ERROR is 0")
    peer = server.accept()[0]
    s.a.send(b"nb")
    equal(peer.recv(10), b"nb", "data, and no junk")
    s.close()
    s = Sock(client)
    fails(errno.EINPROGRESS, "non-blocking to nobody", s.connect, HOST, nobody, False)
    ok(events(s.a) & select.POLLERR, "poll says error")
    equal(s.getopt(socket.SOL_SOCKET, socket.SO_ERROR), errno.ECONNREFUSED, "SO_ERROR: refused")
    s.close()

    s = Sock(client)  # nobody answers: the wait can be taken back
    waiting = s.client.send("CONNECT", s_adopt(s) + address_of_silence() + struct.pack("=II", 0, 0), 0, ADOPT | 2,
                            (s.b.fileno(),))
    s.b.close()
    cancel = client.send("CANCEL", struct.pack("=II", waiting, 0))
    answers = dict((number, error) for number, error, _, _ in (client.recv(), client.recv()))
    equal(answers, {waiting: -errno.EINTR, cancel: 0}, "CANCEL: the waiting connect is interrupted")
    s.a.close()


def s_adopt(s):
    from socketd import ADOPTION
    return ADOPTION.pack(os.fstat(s.a.fileno()).st_ino, s.domain, s.kind, 0, 0, 0, 0, s.skip, 0)


def address_of_silence():
    return addr(HOST.rsplit(".", 1)[0] + ".99", 9)


class Freezer(Client):
    """The server stands still from freeze() until it has a BIND of this client."""

    def freeze(self):
        atexit.register(os.kill, SERVER, signal.SIGCONT)
        os.kill(SERVER, signal.SIGSTOP)
        until(lambda: open(f"/proc/{SERVER}/stat").read().rsplit(")", 1)[1].split()[0] == "T")
        self.send("STATS", bytes(16))

    def send(self, op, *args):
        number = super().send(op, *args)
        if op == "BIND":
            os.kill(SERVER, signal.SIGCONT)
        return number


def closed_and_bound():
    """close() is an event and bind() a message: the server comes by the message first, because it stands at another one."""
    for kind, name in ((TCP, "TCP"), (UDP, "UDP")):
        freezer = Freezer(PATH)
        before, after = Sock(freezer, kind), Sock(freezer, kind)
        port = before.bind("0.0.0.0", 0)[1]
        if kind == TCP:
            before.listen()
        freezer.freeze()
        before.close()
        equal(after.bind("0.0.0.0", port)[1], port, f"{name}: a port whose socket was closed can be bound at once")
        if kind == TCP:
            equal(after.listen()[1], port, "and be listened on")
        after.close()
        freezer.s.close()


def last_words():
    """What a program sends before it closes goes out, however late the server looks."""
    host = socket.socket(socket.AF_INET, UDP)
    host.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    host.bind((HOST, 0))
    host.settimeout(20)
    port = host.getsockname()[1]
    freezer = Freezer(PATH)
    freezer.call("HELLO", struct.pack("=II", 1, os.getpid()))  # a supervisor
    words = [b"one", b"", b"two", b"", b"three", b"end"]
    for framed, name in ((False, "plain"), (True, "framed")):
        s, last = Sock(freezer, UDP, framed=framed), Sock(freezer)
        s.connect(HOST, port)
        s.send_to(HOST, port, b"hello")
        host.sendto(b"never read", host.recvfrom(100)[1])
        events(s.a, select.POLLIN)
        freezer.freeze()
        for word in words:
            head = DGRAM.pack(0, 0, 0, 0, len(word), 0, NO_ADDR, bytes(16), 0)
            s.a.send(head + word if framed else word)
        s.close()
        last.bind("0.0.0.0", 0)
        got = [host.recvfrom(100)[0] for _ in words]
        equal(got, words, f"{name}: closed with an unread datagram, empty ones sent before: all go out, in order")
        last.close()
    s, last = Sock(freezer, UDP, framed=False), Sock(freezer)
    s.bind("0.0.0.0", 0)
    freezer.freeze()
    for i in range(40):
        freezer.send("SENDTO", DGRAM.pack(0, 0, 0, 0, 4, 0, addr(HOST, port), bytes(16), 0) + b"%04d" % i, s.handle, SILENT)
    s.close()
    last.bind("0.0.0.0", 0)
    host.settimeout(5)
    got = []
    try:
        while len(got) < 40:
            got.append(host.recvfrom(100)[0])
    except TimeoutError:
        pass
    equal(len(got), 40, "forty to an address by the control connection, and closed: all go out")
    host.setblocking(False)
    fails(errno.EAGAIN, "and no more", host.recvfrom, 100)
    last.close()
    host.close()
    freezer.s.close()


def listening():
    l = Sock(client)
    local = l.bind("0.0.0.0", 0)
    equal(l.listen(5), local, "bind to any port, listen")
    other = Sock(client)
    fails(errno.EADDRINUSE, "the port is taken", other.bind, "0.0.0.0", local[1])
    other.close()
    peers = [socket.create_connection((OURS, local[1]), timeout=20) for _ in range(3)]
    for peer in peers:
        peer.send(b"abc")
    names = []
    for _ in peers:
        child, name = l.accept()
        names.append(name)
        equal(child.a.recv(10), b"abc", "accepted: its data")
        equal(child.names()[1], name, "accepted: its handle works")
        child.a.send(b"yes")
        child.close()
    equal(sorted(names), sorted(peer.getsockname() for peer in peers), "accept tells the peers' names")
    for peer in peers:
        equal(peer.recv(10, socket.MSG_WAITALL), b"yes", "answers arrive")
        peer.close()

    # more than the backlog: the rest waits, nobody is refused or reset
    many = [socket.socket() for _ in range(40)]
    for peer in many:
        peer.setblocking(False)
        peer.connect_ex((OURS, local[1]))
    taken = []
    while len(taken) < len(many) and events(l.a, select.POLLIN, 10000):
        taken.append(l.accept()[0])
    equal(len(taken), 40, "a backlog of 5 and 40 peers: all are served in the end")
    for child in taken:
        child.close()
    for peer in many:
        peer.close()

    waiting = socket.create_connection((OURS, local[1]), timeout=20)
    l.op("SHUTDOWN", struct.pack("=iI", socket.SHUT_RDWR, 0))
    l.close()
    fails(errno.ECONNREFUSED, "shutdown of a listener: refused", socket.create_connection, (OURS, local[1]), 5)
    waiting.close()

    def share(kind):
        a, b = Sock(client, options=kind), Sock(client, options=kind)
        port = a.bind("0.0.0.0", 0)[1]
        a.listen()
        b.bind("0.0.0.0", port)
        b.listen()
        return a, b, port

    a, b, port = share(option(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1) + bytes(4))
    peers = [socket.create_connection((OURS, port), timeout=20) for _ in range(40)]
    counts = [0, 0]
    for _ in peers:
        ready = select.select([a.a, b.a], [], [], 20)[0]
        counts[ready[0] is b.a] += 1
        (b if ready[0] is b.a else a).accept()[0].close()
    ok(min(counts) > 0 and sum(counts) == 40, f"SO_REUSEPORT: both get some: {counts}")
    for peer in peers:
        peer.close()
    a.close()
    b.close()
    four, six = Sock(client), Sock(client, domain=socket.AF_INET6,
                                   options=option(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1) + bytes(4))
    port = four.bind("0.0.0.0", 0)[1]
    four.listen()
    equal(six.bind("::", port)[1], port, "any-addresses of both families on one port")
    six.listen()
    p4, p6 = socket.create_connection((OURS, port), 20), socket.create_connection((OURS6, port), 20)
    equal((four.accept()[1][0], six.accept()[1][0]), (HOST, HOST6), "each gets its family")
    for s in (four, six, p4, p6):
        s.close()


def forked():
    """Workers race for accept() with nothing between them and the kernel."""
    l = Sock(client)
    port = l.bind("0.0.0.0", 0)[1]
    l.listen()
    workers = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            while True:
                child, _ = l.accept()
                child.a.send(b"%d" % os.getpid())
                child.close()
        workers.append(pid)
    served = set()
    for _ in range(200):
        peer = socket.create_connection((OURS, port), timeout=20)
        served.add(int(peer.recv(20, socket.MSG_WAITALL)))
        peer.close()
    ok(served <= set(workers), f"200 connections, 4 workers: {len(served)} of them served")
    for pid in workers:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    l.close()


def datagrams():
    server = socket.socket(socket.AF_INET, UDP)
    server.bind((HOST, 0))
    server.settimeout(20)
    port = server.getsockname()[1]
    head = DGRAM.pack(0, 0, 0, 0, 0, 0, NO_ADDR, bytes(16), 0)
    s = Sock(client, UDP)
    s.connect(HOST, port)
    s.a.send(head[:8] + struct.pack("=I", 3) + head[12:] + b"one")
    data, name = server.recvfrom(100)
    equal((data, name[0]), (b"one", OURS), "a datagram of a connected socket")
    server.sendto(b"two", name)
    data, source, more = s.recv_from()
    equal((data, source), (b"two", (HOST, port)), "its answer, with the source")
    ok(more[0] & 1 and more[7][:4] == socket.inet_aton(OURS) and more[8] > 0, "with our address and the time")
    s.close()
    s = Sock(client, UDP, framed=False)
    s.send_to(HOST, port, b"three")
    data, name = server.recvfrom(100)
    server.sendto(b"four", name)
    server.sendto(b"", name)
    message, rights, flags, _ = s.a.recvmsg(100, socket.CMSG_SPACE(4))
    fd = struct.unpack("=i", rights[0][2])[0]
    equal((message, DGRAM.unpack(os.pread(fd, 64, 0))[6][:8]), (b"four", struct.pack("=HHI", 2, port, 0)),
          "plain: the payload as it is, the source in a descriptor")
    fails(errno.EPERM, "that nobody can change", os.pwrite, fd, b"x", 0)
    equal(s.a.recv(100), b"", "an empty datagram")
    s.a.send(b"unconnected")
    big = os.urandom(60000)
    s.send_to(HOST, port, big)
    equal(server.recv(70000), big, "a datagram of 60,000 bytes")
    server.sendto(big, name)
    equal(s.a.recv(70000), big, "and one back")
    fails(errno.EMSGSIZE, "65,508 bytes are too many", s.send_to, HOST, port, bytes(65508))
    s.close()
    server.close()
    s = Sock(client, UDP)
    s.connect(HOST, port)
    s.a.send(head)
    _, _, more = s.recv_from()
    equal((more[0] & 8, more[5]), (8, errno.ECONNREFUSED), "nobody there: the error comes as a message")
    equal(s.getopt(socket.SOL_SOCKET, socket.SO_ERROR), errno.ECONNREFUSED, "and by SO_ERROR")
    s.close()
    s = Sock(client, UDP, framed=False)
    s.connect(HOST, port)
    s.a.send(b"x")
    message, rights, _, _ = s.a.recvmsg(100, socket.CMSG_SPACE(4))
    fd = struct.unpack("=i", rights[0][2])[0]
    more = DGRAM.unpack(os.pread(fd, 64, 0))
    equal((message, more[0] & 8, more[5]), (b"", 8, errno.ECONNREFUSED), "plain: in the descriptor")
    os.close(fd)
    s.close()


def options():
    server, port = listener()
    s = Sock(client, options=option(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) + bytes(4))
    equal(s.getopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), 1, "an option from before the adoption")
    fails(errno.ENOPROTOOPT, "an unknown option", s.setopt, socket.SOL_SOCKET, 9999, 1)
    fails(errno.EINVAL, "a value out of range", s.setopt, socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 0)
    s.setopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100000)
    equal(s.getopt(socket.SOL_SOCKET, socket.SO_RCVBUF), 200000, "SO_RCVBUF: twice, as on Linux")
    s.connect(HOST, port)
    peer = server.accept()[0]
    info = s.getopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
    equal(info[0], 1, "TCP_INFO: established")
    ok(struct.unpack_from("=I", info, 16)[0] in range(500, 65536), "TCP_INFO: a segment size")
    equal(s.getopt(socket.IPPROTO_TCP, 13, 16).rstrip(b"\0"), b"cubic", "TCP_CONGESTION")
    equal([s.getopt(socket.SOL_SOCKET, o) for o in (socket.SO_TYPE, socket.SO_DOMAIN, socket.SO_PROTOCOL,
                                                    socket.SO_ACCEPTCONN)], [1, 2, 6, 0], "what it is")
    s.close()
    peer.close()
    u = Sock(client, UDP)
    fails(errno.ENOPROTOOPT, "an option of TCP on UDP", u.setopt, socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    fails(errno.EINVAL, "not a group", u.setopt, socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
          socket.inet_aton(HOST) + bytes(4))
    group = socket.inet_aton("239.1.2.3") + socket.inet_aton(OURS)
    u.setopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    fails(errno.EADDRINUSE, "a member already", u.setopt, socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    port = u.names()[0][1]
    sender = socket.socket(socket.AF_INET, UDP)
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(HOST))
    sender.sendto(b"group", ("239.1.2.3", port))
    equal(u.recv_from()[0], b"group", "a group's datagram")
    u.close()


def identities():
    server, port = listener()
    s, peer = pair(port, server)
    handle, body = Client(PATH).call("IDENTIFY", fds=(s.a.fileno(),))
    equal((handle, struct.unpack_from("=Q", body)[0]), (s.handle, s.ino), "IDENTIFY: who has A gets the handle")
    fails(errno.ENOENT, "not one of ours", client.call, "IDENTIFY", b"", 0, 0, (peer.fileno(),))
    fails(errno.EBADF, "a made-up handle", client.call, "NAME", b"", s.handle ^ 1 << 40)
    s.close()
    peer.close()
    server, port = listener(HOST6)
    s, peer = pair(port, server, domain=socket.AF_INET6)
    equal(s.names()[0][0], OURS6, "IPv6")
    s.close()
    peer.close()


def lists():
    ifaces = client.pages("IFACES", 40 + 8 * 32)
    equal(len(ifaces), 1, "one interface")
    equal(ifaces[0][24:].split(b"\0", 1)[0], b"net0", "its name")
    ok(socket.inet_aton(OURS) in ifaces[0], "its address")
    ok(len(client.pages("ROUTES", 64)) >= 2, "routes")
    equal(client.resolve("192.0.2.7"), (0, ["192.0.2.7"]), "RESOLVE of an address")
    equal(client.resolve("name.test", 0, 4), (-2, []), "AI_NUMERICHOST of a name")
    held = [Sock(client, UDP) for _ in range(900)]
    for s in held:
        s.bind("0.0.0.0", 0)
    sockets = client.pages("NETSTAT", 128)
    equal(len(sockets), 900, "netstat: 900 sockets, in pages")
    for s in held:
        s.close()


def bulk():
    server, port = listener()
    size = 200 << 20
    block = os.urandom(1 << 16)

    def drain(s, result):
        got = 0
        while data := s.recv(1 << 20):
            got += len(data)
        result.append(got)

    for name in ("out", "in"):
        s, peer = pair(port, server)
        source, sink = (s.a, peer) if name == "out" else (peer, s.a)
        result = []
        reader = threading.Thread(target=drain, args=(sink, result))
        reader.start()
        for _ in range(size // len(block)):
            source.sendall(block)
        source.shutdown(socket.SHUT_WR)
        reader.join()
        equal(result, [size], f"200 MiB {name}")
        s.close()
        peer.close()
    # nobody reads: the writer is held, and all of it arrives when somebody does
    for name in ("out", "in"):
        s, peer = pair(port, server)
        source, sink = (s.a, peer) if name == "out" else (peer, s.a)
        source.settimeout(2)
        sent = 0
        try:
            while sent < 64 << 20:
                sent += source.send(block)
        except TimeoutError:
            pass
        ok(sent < 64 << 20, f"nobody reads ({name}): the writer is held after {sent >> 10} KiB")
        source.shutdown(socket.SHUT_WR)
        result = []
        drain(sink, result)
        equal(result, [sent], "nothing is lost")
        s.close()
        peer.close()


resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
for part in (streams, resets, connecting, listening, closed_and_bound, last_words, forked, datagrams, options, identities, lists, bulk):
    print(f"# {part.__name__}", flush=True)
    part()
ok(until(lambda: client.stats()["socket_live"] == 0), "no socket is left")
equal(client.stats()["control_malformed"], 0, "nothing was malformed")
done()
