# SPDX-License-Identifier: ISC
"""Clients of the socket server that do what they must not: nobody else notices, and nothing is left of them."""
import array
import os
import random
import resource
import select
import socket
import struct
import sys
import tempfile

from socketd import ADOPTION, MAGIC, OP, REQUEST, Client, Sock, addr, done, equal, ok, option

PATH, HOST, OURS, SERVER = sys.argv[1:5]
SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
print(f"# SEED={SEED}")
draw = random.Random(SEED)
good = Client(PATH)
server = socket.create_server((HOST, 0))
server.settimeout(20)
port = server.getsockname()[1]


def descriptors():
    return len(os.listdir(f"/proc/{SERVER}/fd"))


def until(condition):
    for _ in range(1500):
        if condition():
            return True
        select.select([], [], [], 0.01)
    return False


def is_served():
    """Somebody who behaves gets what he asks for."""
    s = Sock(good)
    s.connect(HOST, port)
    peer = server.accept()[0]
    s.a.send(b"x")
    got = peer.recv(10)
    peer.close()
    s.close()
    return got == b"x"


def is_ended(client):
    """The server answers with an error and ends the connection, and does not hang."""
    try:
        while client.s.recv(80000):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True


def raw(data, fds=(), hello=True):
    client = Client(PATH, hello)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    try:
        client.s.sendmsg([data], rights)
    except BrokenPipeError:
        pass
    ended = is_ended(client)
    client.s.close()
    return ended


def head(op, body=b"", flags=0, handle=0, magic=MAGIC, length=None):
    return REQUEST.pack(magic, OP.get(op, op), flags, 7, len(body) if length is None else length, handle) + body


def malformed():
    ok(raw(head("STATS", bytes(16)), hello=False), "no HELLO first")
    ok(raw(b"x"), "one byte")
    ok(raw(head("STATS", bytes(16), magic=MAGIC + 1)), "another version")
    ok(raw(head("STATS", bytes(16), length=17)), "a length that is not the message's")
    ok(raw(head("STATS", bytes(16), length=0xFFFFFFFF)), "a huge length")
    ok(raw(head(0)) and raw(head(20)) and raw(head(65535)), "operations that are none")
    ok(raw(head("NAME", flags=0x8000)), "flags that are none")
    ok(raw(head("STATS", bytes(15))) and raw(head("STATS", bytes(17))), "bodies too short and too long")
    ok(raw(head("STATS", bytes(16)) + bytes(71680)), "a message too long to be one")
    ok(raw(head("IDENTIFY")), "no descriptor where one must be")
    pipe = os.pipe()
    ok(raw(head("STATS", bytes(16)), pipe[:1]), "a descriptor where none may be")
    ok(raw(head("IDENTIFY"), pipe), "two where one must be")
    ok(raw(head("IDENTIFY"), [pipe[0]] * 50), "fifty")
    for _ in range(500):
        client = Client(PATH)
        client.s.send(draw.randbytes(draw.choice((24, 25, 40, 200, 5000))))
        client.s.close()
    for _ in range(500):
        op = draw.randrange(1, 20)
        if op != OP["STOP"]:
            raw_fds = pipe[:draw.randrange(2)]
            client = Client(PATH)
            client.s.sendmsg([head(op, draw.randbytes(draw.choice((0, 4, 8, 16, 24, 32, 64, 300))), draw.randrange(8))],
                             [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", raw_fds))] if raw_fds else [])
            client.s.close()
    for fd in pipe:
        os.close(fd)
    ok(is_served(), "a thousand random messages: others are served")


def adopt(fd, kind=TCP, domain=2, options=b"", skip=1, ino=None, options_len=None, body=None):
    length = len(options) if options_len is None else options_len
    body = addr("0.0.0.0", 0) if body is None else body
    return ADOPTION.pack(ino or draw.randrange(1 << 60, 1 << 61), domain, kind, 0, 0, 0, length, skip, 0) + options + body


def wrong_descriptors():
    left = []
    with tempfile.TemporaryFile() as file:
        inet = socket.socket()
        listening = socket.socket(socket.AF_UNIX)
        listening.bind("")
        listening.listen()
        datagram = socket.socketpair(socket.AF_UNIX, UDP)
        control = Client(PATH)
        for name, fd in (("a file", file.fileno()), ("a TCP socket", inet.fileno()), ("one that listens", listening.fileno()),
                         ("one of datagrams", datagram[0].fileno()), ("a control connection", control.s.fileno()),
                         ("a terminal", os.open("/dev/null", os.O_RDWR)), ("an epoll", select.epoll().fileno())):
            ok(raw(head("BIND", adopt(0), 1), [fd]), f"B is {name}")
        left += [inet, listening, *datagram, control.s]
    for s in left:
        s.close()
    a, b = socket.socketpair()
    for name, message in (("options longer than the message", adopt(0, options_len=1 << 31)),
                          ("options of no whole words", adopt(0, options=b"1234567")),
                          ("an option longer than the options", adopt(0, options=struct.pack("=iiII", 1, 2, 100, 0))),
                          ("an option of 4 GiB", adopt(0, options=struct.pack("=iiII", 1, 2, 0xFFFFFFFF, 0))),
                          ("no body behind it", adopt(0, body=b""))):
        ok(raw(head("BIND", message, 1), [b.fileno()]), name)
    client = Client(PATH)
    for error, message in ((-97, adopt(0, domain=1)), (-94, adopt(0, kind=3))):
        client.send("BIND", message, 0, 1, (b.fileno(),))
        equal(client.recv()[1], error, f"a socket that is none: errno {-error}")
    client.s.close()
    a.close()
    b.close()
    s = Sock(good)
    s.bind("0.0.0.0", 0)
    thief = Client(PATH)
    a, b = socket.socketpair()
    thief.send("BIND", adopt(0, ino=s.ino), 0, 1, (b.fileno(),))
    equal(thief.recv()[1], -17, "an inode that another has")
    thief.s.close()
    for x in (a, b, s):
        x.close()


def odd_ends():
    """What a client may do to B, and to A, behind the server's back."""
    s = Sock(good)
    keep = s.b.dup()
    s.connect(HOST, port)
    peer = server.accept()[0]
    s.a.send(b"stolen" * 1000)
    keep.setblocking(False)
    for _ in range(3):
        try:
            keep.recv(100000)
        except BlockingIOError:
            pass
    keep.setsockopt(socket.SOL_SOCKET, 42, 100000)  # SO_PEEK_OFF
    s.a.send(b"more" * 1000)
    keep.shutdown(socket.SHUT_RDWR)
    keep.close()
    s.close()
    peer.close()
    pairs = [Sock(good) for _ in range(2)]
    a, b = socket.socketpair()
    for s, end in zip(pairs, (a, b)):  # both ends of one pair as two sockets
        s.b.close()
        s.b = end
        s.connect(HOST, port)
    peers = [server.accept()[0] for _ in pairs]
    for peer in peers:
        peer.send(b"round and round")
    for x in (*pairs, *peers):
        x.close()
    before = descriptors()
    s = Sock(good)
    s.connect(HOST, port)
    peer = server.accept()[0]
    for _ in range(200):  # descriptors among the data are nobody's
        s.a.sendmsg([b"d"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
    equal(len(peer.recv(200, socket.MSG_WAITALL)), 200, "descriptors among the data: the data arrives")
    ok(descriptors() <= before + 1, "and the server keeps none")
    s.close()
    peer.close()
    s = Sock(good, options=option(1, 2, 1) + bytes(4))
    s.skip = 0xFFFFFFFF
    s.connect(HOST, port)
    server.accept()[0].close()
    s.close()
    ok(is_served(), "others are served")


def floods():
    client = Client(PATH)
    client.s.setblocking(False)
    sent = 0
    try:
        while sent < 200000:  # never reads an answer
            client.send("STATS", bytes(16))
            sent += 1
    except (BlockingIOError, BrokenPipeError, ConnectionResetError):
        pass
    ok(sent < 200000, f"who reads no answers is not read from, or ended ({sent} requests)")
    ok(is_served(), "others are served")
    client.s.close()
    client = Client(PATH)
    for _ in range(1200):  # more that wait than one may have
        s = Sock(client)
        silence = addr(HOST.rsplit(".", 1)[0] + ".98", 9) + struct.pack("=II", 0, 0)
        client.send("CONNECT", ADOPTION.pack(os.fstat(s.a.fileno()).st_ino, 2, 1, 0, 0, 0, 0, 1, 0) + silence, 0, 3,
                    (s.b.fileno(),))
        s.b.close()
        s.b = None
        if not hasattr(client, "kept"):
            client.kept = []
        client.kept.append(s)
    ok(is_served(), "1,200 connects that wait: others are served")
    client.s.close()
    for s in client.kept:
        s.close()
    crowd = []
    try:
        for _ in range(1500):
            crowd.append(Client(PATH))
    except OSError as failure:
        print(f"# connection {len(crowd)}: {failure}")
    except EOFError:
        pass
    ok(900 < len(crowd) < 1100, f"control connections are bounded: {len(crowd)}")
    for client in crowd:
        client.s.close()
    ok(until(lambda: good.stats()["control_live"] == 1), "and gone when they close")



resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
before = descriptors()
for part in (malformed, wrong_descriptors, odd_ends, floods):
    print(f"# {part.__name__}", flush=True)
    part()
ok(is_served(), "at the end all is well")
ok(until(lambda: good.stats()["socket_live"] == 0), "no socket is left")
ok(until(lambda: descriptors() <= before), f"no descriptor either: {descriptors()} of {before}")
done()
