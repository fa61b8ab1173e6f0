# SPDX-License-Identifier: ISC
"""The server is killed: its clients see errors at once, and do not hang."""
import errno
import os
import select
import signal
import socket
import struct
import sys

from socketd import ADOPTION, Client, Sock, addr, done, fails, ok

PATH, HOST, OURS, SERVER = sys.argv[1:5]
client = Client(PATH)
server = socket.create_server((HOST, 0))
port = server.getsockname()[1]
connected, listening, datagram, waiting = Sock(client), Sock(client), Sock(client, socket.SOCK_DGRAM), Sock(client)
connected.connect(HOST, port)
listening.bind("0.0.0.0", 0)
listening.listen()
datagram.bind("0.0.0.0", 0)
body = ADOPTION.pack(os.fstat(waiting.a.fileno()).st_ino, 2, 1, 0, 0, 0, 0, 1, 0)
client.send("CONNECT", body + addr(HOST.rsplit(".", 1)[0] + ".99", 9) + struct.pack("=II", 0, 0), 0, 3,
            (waiting.b.fileno(),))
waiting.b.close()
os.kill(int(SERVER), signal.SIGKILL)
fails(errno.ECONNRESET, "a connection: reset", connected.a.recv, 10)
poll = select.poll()
poll.register(listening.a, select.POLLIN)
ok(poll.poll(5000), "a listener wakes up")
fails(errno.ECONNRESET, "accept fails", listening.a.recv, 64)
ok(datagram.a.recv(10) == b"", "a UDP socket: the end")
try:
    ok(not client.s.recv(100), "the control connection has ended")
except ConnectionResetError:
    ok(True, "the control connection has ended")
done()
