# SPDX-License-Identifier: ISC
"""Clients that are killed with -9 at random points: nothing of theirs is left in the server."""
import os
import random
import resource
import select
import signal
import socket
import sys
import time

from socketd import Client, Sock, done, ok

PATH, HOST, OURS, SERVER = sys.argv[1:5]
KILLS = int(sys.argv[5])
SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
print(f"# SEED={SEED}")
draw = random.Random(SEED)
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
server = socket.create_server((HOST, 0), backlog=1000)
port = server.getsockname()[1]


def descriptors():
    return len(os.listdir(f"/proc/{SERVER}/fd"))


def until(condition, tries=2000):
    for _ in range(tries):
        if condition():
            return True
        select.select([], [], [], 0.01)
    return False


def talk_back():
    """The kernel's side: sends what it gets, connects to whoever listens, and never gives up."""
    poll, open_sockets = select.poll(), {}
    server.setblocking(False)
    poll.register(server, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == server.fileno():
                s = server.accept()[0]
                s.setblocking(False)
                open_sockets[s.fileno()] = s
                poll.register(s, select.POLLIN)
                continue
            s = open_sockets[fd]
            try:
                data = s.recv(65536)
                if data:
                    s.send(data)
                    continue
            except BlockingIOError:
                continue
            except OSError:
                pass
            poll.unregister(fd)
            del open_sockets[fd]
            s.close()


def victim():
    client = Client(PATH)
    listener = Sock(client)
    name = listener.bind("0.0.0.0", 0)
    listener.listen(3)
    kept = []
    while True:
        s = Sock(client)
        s.connect(HOST, port)
        s.a.send(os.urandom(30000))
        s.a.recv(10000)
        kept.append(s)
        u = Sock(client, socket.SOCK_DGRAM)
        u.send_to(HOST, 9, b"x")
        kept.append(u)
        peer = socket.socket()
        peer.setblocking(False)
        peer.connect_ex((OURS, name[1]))
        kept.append(peer)
        if len(kept) % 3 == 0:
            kept.append(listener.accept()[0])
        if len(kept) > 60:
            kept.clear()


watch = Client(PATH)
before_fds, before = descriptors(), watch.stats()
peer = os.fork()
if peer == 0:
    talk_back()
began = time.monotonic()
for _ in range(KILLS):
    pid = os.fork()
    if pid == 0:
        try:
            victim()
        finally:
            os._exit(1)
    time.sleep(draw.random() ** 2 * 0.025)  # the random point
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
after = watch.stats()
count = {key: after[key] - before[key] for key in ("socket_adopted", "socket_accepted", "socket_connects")}
print(f"# {KILLS} clients in {time.monotonic() - began:.1f} s: {count}")
ok(count["socket_adopted"] > KILLS, "they had sockets when they were killed")
ok(until(lambda: watch.stats()["socket_live"] == 0), f"no socket is left: {watch.stats()['socket_live']}")
ok(until(lambda: watch.stats()["control_live"] == 1), "no control connection")
ok(until(lambda: descriptors() <= before_fds), f"no descriptor: {descriptors()} of {before_fds}")
os.kill(peer, signal.SIGKILL)
os.waitpid(peer, 0)
ok(until(lambda: watch.stats()["tcp_connections"] == 0), f"no connection in the stack: {watch.stats()['tcp_connections']}")
ok(until(lambda: watch.stats()["udp_sockets"] == 0), "no UDP socket")
ok(until(lambda: watch.stats()["buffers_used"] <= before["buffers_used"]), f"no packet buffer: {watch.stats()['buffers_used']}")
done()
