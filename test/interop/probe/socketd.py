# SPDX-License-Identifier: ISC
"""A client of the socket server's control protocol (cmd/socket/proto.h), as plain as it can be.

Client is a control connection, Sock a socket as a client library keeps it: its end A, its handle, and end B until
the server has it.
"""
import array
import os
import select
import socket
import struct
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../harness"))
from tap import done, ok  # noqa: E402,F401 (for who imports this)

MAGIC = 0x536D0001
OPS = ("", "HELLO", "BIND", "LISTEN", "CONNECT", "NAME", "SETOPT", "GETOPT", "SHUTDOWN", "SENDTO", "IDENTIFY", "CANCEL",
       "RESOLVE", "NAMEINFO", "IFACES", "ROUTES", "NETSTAT", "STATS", "STOP", "CLOSE")
OP = {name: number for number, name in enumerate(OPS)}
ADOPT, WAIT, SILENT = 1, 2, 4
REQUEST = struct.Struct("=IHHIIQ")
RESPONSE = struct.Struct("=IHHIiQII")
ADOPTION = struct.Struct("=QHHHHIIII")
DGRAM = struct.Struct("=HBBIIi24s16sQ")
NO_ADDR = bytes(24)


def addr(ip, port):
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    return struct.pack("=HHI16s", family, port, 0, socket.inet_pton(family, ip))


def unaddr(data):
    family, port, _, ip = struct.unpack("=HHI16s", data)
    return family and (socket.inet_ntop(family, ip[:4] if family == socket.AF_INET else ip), port)


class Client:
    def __init__(self, path, hello=True):
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.s.settimeout(20)
        self.s.connect(path)
        self.id = 0
        if hello:
            self.call("HELLO", struct.pack("=II", 0, os.getpid()))

    def send(self, op, body=b"", handle=0, flags=0, fds=()):
        self.id += 1
        message = REQUEST.pack(MAGIC, OP[op], flags, self.id, len(body), handle) + body
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.s.sendmsg([message], rights)
        return self.id

    def recv(self):
        message = self.s.recv(80000)
        if not message:
            raise EOFError("the server has ended the connection")
        magic, _, _, number, error, handle, length, _ = RESPONSE.unpack_from(message)
        assert magic == MAGIC and length == len(message) - RESPONSE.size
        return number, error, handle, message[RESPONSE.size:]

    def call(self, op, body=b"", handle=0, flags=0, fds=()):
        number = self.send(op, body, handle, flags, fds)
        answered = 0
        while answered != number:  # others are answers that nobody waits for
            answered, error, handle, body = self.recv()
            assert answered <= number
        if error:
            failure = OSError(-error, f"{os.strerror(-error)} ({op})")
            failure.handle = handle
            raise failure
        return handle, body

    def pages(self, op, size):
        entries, start = [], 0
        while True:
            body = self.call(op, struct.pack("=IIII", start, 0, 0, 0))[1]
            _, start, count, _ = struct.unpack_from("=IIII", body)
            entries += [body[16 + i * size:16 + (i + 1) * size] for i in range(count)]
            if start == 0:
                return entries

    def stats(self):
        return {e[:48].rstrip(b"\0").decode(): int.from_bytes(e[48:], sys.byteorder) for e in self.pages("STATS", 56)}

    def resolve(self, name, family=0, flags=0):
        body = self.call("RESOLVE", struct.pack("=iiII", flags, family, len(name), 0) + name.encode())[1]
        eai, count, _, _ = struct.unpack_from("=iIII", body)
        return eai, [unaddr(body[16 + 24 * i:40 + 24 * i])[0] for i in range(count)]


def option(level, name, value):
    data = struct.pack("=i", value) if isinstance(value, int) else value
    return struct.pack("=iiII", level, name, len(data), 0) + data


class Sock:
    def __init__(self, client, kind=socket.SOCK_STREAM, domain=socket.AF_INET, framed=True, options=b""):
        self.client, self.kind, self.domain, self.framed, self.options = client, kind, domain, framed, options
        self.handle, self.skip, self.ino = 0, 0, 0
        is_tcp = kind == socket.SOCK_STREAM
        self.a, self.b = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM if is_tcp else socket.SOCK_SEQPACKET)
        self.a.settimeout(20)
        if is_tcp:
            self.skip = self.a.send(b"\0")

    def op(self, op, body=b"", flags=0):
        fds = ()
        if self.b:
            fds = (self.b.fileno(),)
            framed = self.framed and self.kind == socket.SOCK_DGRAM
            self.ino = os.fstat(self.a.fileno()).st_ino
            body = ADOPTION.pack(self.ino, self.domain, self.kind, 0, framed, 0, len(self.options), self.skip,
                                 0) + self.options + body
            flags |= ADOPT
        try:
            handle, body = self.client.call(op, body, self.handle, flags, fds)
            self.handle = handle or self.handle
            return body
        except OSError as failure:
            self.handle = getattr(failure, "handle", 0) or self.handle
            raise
        finally:
            if fds:
                self.b.close()
                self.b = None

    def bind(self, ip, port):
        return unaddr(self.op("BIND", addr(ip, port))[:24])

    def listen(self, backlog=128):
        return unaddr(self.op("LISTEN", struct.pack("=iI", backlog, 0))[:24])

    def fill(self):
        poll, skip = select.poll(), 0
        poll.register(self.a, select.POLLOUT)
        self.a.settimeout(None)
        while poll.poll(0):
            skip += self.a.send(bytes(32768))
        skip += self.a.send(b"\0")
        self.a.settimeout(20)
        return skip

    def connect(self, ip, port, wait=True):
        skip = 0 if wait or self.kind == socket.SOCK_DGRAM else self.fill()
        body = self.op("CONNECT", addr(ip, port) + struct.pack("=II", skip, 0), WAIT if wait else 0)
        return unaddr(body[:24])

    def names(self):
        body = self.op("NAME")
        return unaddr(body[:24]), unaddr(body[24:])

    def setopt(self, level, name, value):
        self.op("SETOPT", option(level, name, value))

    def getopt(self, level, name, size=4):
        value = self.op("GETOPT", struct.pack("=iiII", level, name, size, 0))[16:]
        return struct.unpack("=i", value)[0] if size == 4 else value

    def accept(self):
        message, rights, _, _ = self.a.recvmsg(64, socket.CMSG_SPACE(4))
        if len(message) != 64:
            raise OSError(22, "the listener has ended")
        fd = array.array("i")
        fd.frombytes(rights[0][2][:4])
        child = object.__new__(Sock)
        child.client, child.kind, child.domain, child.b, child.framed = self.client, self.kind, self.domain, None, True
        child.handle, child.ino = struct.unpack_from("=QQ", message)
        child.a = socket.socket(fileno=fd[0])
        child.a.settimeout(20)
        child.a.recv(1)  # the seal
        return child, unaddr(message[16:40])

    def send_to(self, ip, port, data):
        self.op("SENDTO", DGRAM.pack(0, 0, 0, 0, len(data), 0, addr(ip, port), bytes(16), 0) + data)

    def recv_from(self):
        """A datagram of a framed socket."""
        message = self.a.recv(70000)
        head = DGRAM.unpack_from(message)
        return message[DGRAM.size:], unaddr(head[6]), head

    def close(self):
        self.a.close()
        if self.b:
            self.b.close()


def equal(got, wanted, name):
    ok(got == wanted, name, f"got {got!r}, wanted {wanted!r}")


def fails(wanted, name, call, *args):
    try:
        got = f"no error: {call(*args)!r}"
    except OSError as failure:
        got = failure.errno
    equal(got, wanted, name)
