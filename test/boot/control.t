#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The control channel of virtual machines: the commands, the protocol as others speak it and clients that mean no good, on every
machine; roles and places; an image without; and the port itself, driven by a host that is not `mirari run` and not honest.

Needs no root. Machines run by emulation.
"""
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "harness"))
from boot import Qemu
from example import BUILD, ROOT, architectures, done, report, why_no_machine

MIRARI = os.path.join(BUILD, "mirari")
CLIENT = os.path.join(ROOT, "test", "cli", "control_client.py")
MAIN = os.path.join(ROOT, "test", "cli", "control_app.c")
MACHINES = {"x86_64": ("microvm", "q35"), "aarch64": ("virt",)}
CONF = """name = app
memory = 24
net net0 { mode = user; ip = 10.0.2.15/24; gateway = 10.0.2.2 }
args busy { type = bool; default = false }
args hang { type = bool; default = false }
"""


def mirari(*words, **more):
    return subprocess.run([MIRARI, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False, timeout=120, **more)


def make_app(box, name, more):
    folder = os.path.join(box, name)
    os.makedirs(folder)
    shutil.copy(MAIN, os.path.join(folder, "main.c"))
    with open(os.path.join(folder, "app.conf"), "w", encoding="utf-8") as conf:
        conf.write(CONF + more)
    return folder


def start(app, *options):
    """The appliance, in the background; it has printed that it is ready."""
    said = mirari("run", "-d", "-q", "-t", "virt", "-C", app, "--no-build", "--accel", "tcg", *options)
    end = time.monotonic() + 60
    while "ready" not in mirari("logs", "app").stdout and time.monotonic() < end:
        time.sleep(0.05)
    return said


def path_of(box):
    found = [os.path.join(box, "mirari", name, "control") for name in os.listdir(os.path.join(box, "mirari")) if
             name.startswith("app-")]
    return found[0] if found else ""


def says(pattern, what, *words):
    said = mirari(*words)
    report(re.search(pattern, said.stdout, re.M) is not None, what, f"status {said.returncode}", said.stdout)


# ---- the commands ----------------------------------------------------------------------------------------------------

def test_machine(box, app, arch, machine):
    where = f"{arch} {machine}"
    start(app, "--arch", arch, "--machine", machine)
    path = path_of(box)
    report(os.path.exists(path) and os.stat(path).st_mode & 0o777 == 0o600, f"{where}: a channel that only its user can open")
    says('"name":"app",.*"target":"virt","stack":"direct"', f"{where}: describe", "ctl", "app", "describe")
    says("^42$", f"{where}: a method of the application", "ctl", "app", "twice", "n=21")
    says(r"^tcp +0 +256 +\[::\]:80 +\* +LISTEN", f"{where}: netstat", "netstat", "app")
    says(r"^net0 +10.0.2.15/24 +preferred +manual", f"{where}: addr", "addr", "app")
    says(r"^default +10.0.2.2 +net0", f"{where}: route", "route", "app")
    says(r"^cpu_us +[0-9]+", f"{where}: stats", "stats", "app")
    says(r"^mirari_memory_used_bytes [0-9]+$", f"{where}: for Prometheus", "stats", "app", "--prometheus")
    says(r"^tcp listeners +4096 +1 +1 ", f"{where}: pages", "pages", "app")
    says(r"^tcp +debug$", f"{where}: log levels", "log", "app", "tcp=debug")
    says(r"^app +virt +0:0", f"{where}: top", "top", "-n", "1")
    talk = subprocess.run([sys.executable, CLIENT, path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, timeout=300)
    for line in talk.stdout.splitlines():
        if re.match("(not )?ok ", line):
            report(line.startswith("ok"), f"{where}: client: " + line.split("ok ", 1)[1])
    report(talk.returncode == 0, f"{where}: client: to its end", talk.stdout)
    said = mirari("shutdown", "app")
    report(said.returncode == 0 and "has ended" in said.stdout, f"{where}: shutdown waits until it has ended", said.stdout)


def test_capture(box, app):
    """Commands that go on, several at a time, and one of them killed in the middle of what it gets."""
    start(app)
    file = os.path.join(box, "x.pcapng")
    dump = subprocess.Popen([MIRARI, "tcpdump", "app", "-w", file], stderr=subprocess.DEVNULL)
    trace = subprocess.Popen([MIRARI, "trace", "app", "net=trace"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    sessions = 0
    end = time.monotonic() + 60
    while sessions < 3 and time.monotonic() < end:
        found = re.search(r"control_sessions_now +(\d+)", mirari("stats", "app", "-a").stdout)
        sessions = int(found.group(1)) if found else 0
    report(sessions == 3, "tcpdump, trace and stats at the same time", sessions)
    for _ in range(20):
        call = subprocess.Popen([MIRARI, "pages", "app"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        call.kill()
        call.wait()
    says("^free|, free ", "twenty clients that were killed: the next is served", "pages", "app")
    for child in (dump, trace):
        child.send_signal(signal.SIGINT)
    status = [child.wait(60) for child in (dump, trace)]
    with open(file, "rb") as capture:
        magic = capture.read(4)
    report(status == [0, 0] and magic == b"\x0a\x0d\x0d\x0a", "both end when asked", status, magic)
    said = mirari("shutdown", "app")
    report(said.returncode == 0, "shutdown", said.stdout)


# ---- places and roles ------------------------------------------------------------------------------------------------

def test_places(box, app, plain):
    own, other = os.path.join(box, "own"), os.path.join(box, "ro")
    start(app, "--control", own, "--control-ro", other)
    says('"target":"virt"', "--control PATH", "ctl", own, "describe")
    says('"target":"virt"', "--control-ro PATH", "ctl", other, "describe")
    report([os.stat(p).st_mode & 0o777 for p in (own, other)] == [0o600, 0o666], "modes of both")
    said = mirari("shutdown", other)
    report(said.returncode == 1 and "read-only" in said.stdout, "who may look ends nothing", said.stdout)
    says("has ended", "shutdown", "shutdown", own)
    end = time.monotonic() + 60
    while (os.path.exists(own) or os.path.exists(other)) and time.monotonic() < end:
        time.sleep(0.02)
    report(not os.path.exists(own) and not os.path.exists(other), "the sockets go with the machine")
    start(app, "--control", "off")
    says("no control channel", "--control off", "ctl", "app")
    mirari("stop", "app")
    start(plain)
    says(r"vm \{ control = true \}", "an image without: what to do", "ctl", "app")
    says("ready, control 0", "it has no server", "logs", "app")
    mirari("stop", "app")
    said = mirari("run", "--print", "-t", "virt", "-C", plain, "--no-build", "--control", own)
    report(said.returncode == 64 and "vm { control = true }" in said.stdout, "nor is there a place for it", said.stdout)


# ---- the port itself -------------------------------------------------------------------------------------------------

FLAG, ESCAPE = 0x7e, 0x7d
HELLO, OPEN, DATA, CREDIT, CLOSE = range(1, 6)


def frame(kind, session, payload=b""):
    body = struct.pack(">BBH", kind, session, len(payload)) + payload
    return b"\x7e" + b"".join(bytes((ESCAPE, b ^ 0x20)) if b in (FLAG, ESCAPE) else bytes((b,)) for b in body) + b"\x7e"


class Line:
    """The host's end of the port, from its description alone."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.settimeout(60)
        self.pending = b""

    def send(self, *parts):
        self.socket.sendall(b"".join(parts))

    def receive(self):
        while True:
            while b"\x7e" not in self.pending:
                data = self.socket.recv(65536)
                if not data:
                    raise EOFError
                self.pending += data
            body, _, self.pending = self.pending.partition(b"\x7e")
            body = re.sub(rb"\x7d(.)", lambda m: bytes((m.group(1)[0] ^ 0x20,)), body, flags=re.S)
            if len(body) >= 4 and struct.unpack(">H", body[2:4])[0] == len(body) - 4:
                return body[0], body[1], body[4:]

    def until(self, kind):
        while True:
            got = self.receive()
            if got[0] == kind:
                return got

    def hello(self):
        """What the machine sends before it has answered is of an earlier time."""
        nonce = random.randbytes(8)
        self.send(b"\x7e", frame(HELLO, 0, b"\1" + nonce))
        while self.until(HELLO)[2] != b"\1" + nonce:
            continue

    def call(self, method, session=0):
        self.send(frame(OPEN, session, struct.pack(">BI", 1, 32768) + b"test"))
        body = b'{"jsonrpc":"2.0","id":1,"method":"%s"}' % method
        data = struct.pack(">I", len(body)) + body
        self.until(CREDIT)
        self.send(frame(DATA, session, data))
        got = b""
        while len(got) < 4 or len(got) < 4 + struct.unpack(">I", got[:4])[0]:
            got += self.until(DATA)[2]
        return got[4:]


def means_no_good(line, turn):
    """Something of everything, in the middle of which the next host comes. It has the same connection: QEMU (7.2) that finds
    its client gone while it writes loses the machine's buffer and may wait for ever after, which no machine can help."""
    kind = turn % 6
    if kind == 0:
        line.send(random.randbytes(20000))
    elif kind == 1:
        line.send(frame(HELLO, 0, b"\1" + bytes(8)), frame(OPEN, 1, struct.pack(">BI", 1, 1 << 31)),
                  *[frame(DATA, 1, b"\xff" * 4096)] * 20)
    elif kind == 2:
        line.hello()
        line.call(b"describe")
        line.send(frame(DATA, 0, struct.pack(">I", 16000) + b"{" * 3000)[:2000])
    elif kind == 3:
        line.send(b"\x7e\3\0\xff\xff" + b"x" * 70000)
    elif kind == 4:
        line.hello()
        line.send(*[frame(random.randrange(256), random.randrange(256), random.randbytes(random.randrange(60))) for _ in
                    range(300)])
    else:
        line.hello()
        for session in range(8):
            line.send(frame(OPEN, session, struct.pack(">BI", 1, 32768)))
        line.send(*[frame(DATA, s, b"\0\0\0\x28" + b'{"jsonrpc":"2.0","id":1,"method":"stats"}'[:40]) for s in range(8)])


def test_port(box, image):
    path = os.path.join(box, "port")
    seed = 20261122
    print(f"# seed {seed}")
    random.seed(seed)
    machine = Qemu(["qemu-system-x86_64", "-M", "microvm,rtc=on", "-global", "virtio-mmio.force-legacy=false", "-cpu", "max", "-m",
                    "24", "-device", "isa-debug-exit,iobase=0x501,iosize=2", "-kernel", image, "-append", "--log target=debug",
                    "-netdev", "user,id=n", "-device", "virtio-net-device,netdev=n", "-object", "rng-builtin,id=r", "-device",
                    "virtio-rng-device,rng=r", "-chardev", f"socket,id=p,path={path},server=on,wait=off", "-chardev",
                    "null,id=other", "-device", "virtio-serial-device", "-device", "virtserialport,chardev=other,name=org.other",
                    "-device", "virtserialport,chardev=p,name=mirari.control"])
    if not report(machine.until("ready, control 1"), "the port is found beside another", machine.text):
        machine.stop()
        return
    line = Line(path)
    for turn in range(36):
        means_no_good(line, turn)
    line.hello()
    answer = line.call(b"describe")
    report(b'"target":"virt"' in answer, "36 hosts that mean no good, one in the middle of another: the next is served", answer)
    line.send(frame(CLOSE, 0))
    line.until(CLOSE)
    report(b'"control_sessions_now":1,' in line.call(b"stats"), "nothing of the others is left")
    for turn in range(6):
        line.send(frame(CLOSE, 0))
        line.until(CLOSE)
        line.socket.close()
        line = Line(path)
        line.hello()
        answer = line.call(b"stats")
    report(b'"control_sessions_now":1,' in answer, "six that go and come, the last one is served", answer)
    line.send(frame(CLOSE, 0))
    line.until(CLOSE)
    line.call(b"shutdown")
    status = machine.finish()
    report(status is not None and status >> 1 == 5, "and the end", status, machine.text)


def main():
    if why_no_machine():
        print(f"1..0 # SKIP {why_no_machine()}")
        return 0
    with tempfile.TemporaryDirectory() as box:
        os.environ["XDG_RUNTIME_DIR"] = box
        try:
            app, plain = make_app(box, "with", "vm { control = true }\n"), make_app(box, "without", "")
            for arch in architectures():
                built = mirari("build", "-q", "-t", "virt", "--arch", arch, "-C", app)
                if report(built.returncode == 0, f"{arch}: builds", built.stdout):
                    for machine in MACHINES[arch]:
                        test_machine(box, app, arch, machine)
            mirari("build", "-q", "-t", "virt", "-C", plain)
            test_capture(box, app)
            test_places(box, app, plain)
            test_port(box, os.path.join(app, "_build", "virt", "app"))
        finally:
            mirari("stop", "--all", "-t", "1")
    return done()


sys.exit(main())
