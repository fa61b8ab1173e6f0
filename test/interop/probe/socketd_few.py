# SPDX-License-Identifier: ISC
"""A socket server that has as many descriptors as it may: who asks for one more is told so, and all others go on."""
import errno
import socket
import sys

from socketd import Client, Sock, done, equal, fails, ok

PATH, HOST = sys.argv[1:3]
client = Client(PATH)
host = socket.create_server((HOST, 0))
host.settimeout(20)
kept, error = [], 0
while not error and len(kept) < 200:
    s = Sock(client)
    try:
        s.bind("0.0.0.0", 0)
        kept.append(s)
    except OSError as failure:
        error = failure.errno
        s.close()
ok(10 < len(kept) < 200, f"there is an end to its descriptors: {len(kept)}")
equal(error, errno.ENFILE, "who comes then is told ENFILE")
fails(errno.ENFILE, "each time", Sock(client, socket.SOCK_DGRAM).bind, "0.0.0.0", 0)
kept[0].connect(HOST, host.getsockname()[1])
peer = host.accept()[0]
kept[0].a.send(b"x")
equal(peer.recv(10), b"x", "who is there goes on, by the same control connection")
kept.pop().close()
room = None
for _ in range(1000):  # the server hears of it by an event
    s = Sock(client)
    try:
        s.bind("0.0.0.0", 0)
        room = s
        break
    except OSError:
        s.close()
ok(room is not None and room.names()[0][1] != 0, "one that closes makes room for another")
equal(client.stats()["control_malformed"], 0, "nothing was malformed")
done()
