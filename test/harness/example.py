# SPDX-License-Identifier: ISC
"""What the tests of the examples share: the steps of an expected.txt, the appliance as a child whose output is read, and
clients that ask it at a port of this machine. Every wait has an end."""
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

from tap import done, ok as report  # done: for who imports this

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("MIRARI_BUILD") or os.environ.get("B", "build"))
WAIT_S = 60
# The port that an example answers on.
SERVICE_PORT = {"website": 80, "dns": 53, "echo": 7}
ASKING = ("get", "put", "tcp", "udp", "dns")

def read_plan(name):
    steps = []
    with open(os.path.join(ROOT, "examples", name, "expected.txt"), encoding="utf-8") as text:
        for line in text:
            line = line.strip()
            if line and not line.startswith("#"):
                verb, _, rest = line.partition(":")
                steps.append((verb, rest.strip()))
    return steps


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Appliance:
    """A running appliance whose output is read line by line, each wait with an end."""

    def __init__(self, args):
        self.process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        stdin=subprocess.DEVNULL)
        self.text = ""

    def wait_for(self, pattern):
        end = time.monotonic() + WAIT_S
        while not re.search(pattern, self.text, re.M):
            left = end - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(left, 0))
            data = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not data:
                return False
            self.text += data.decode(errors="replace")
        return True

    def end(self, ask):
        if ask:
            self.process.send_signal(signal.SIGTERM)  # not SIGINT: who runs us in the background has it ignored
        try:
            self.text += self.process.communicate(timeout=WAIT_S)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.text += "\nkilled: it did not end"
        return self.process.returncode


def first_line(steps):
    """What the appliance says first, as a pattern: it has begun when it is there, and can be stopped."""
    return "^" + re.escape(next((rest for verb, rest in steps if verb == "out"), ""))


def http(method, url, body=None):
    request = urllib.request.Request(url, data=body, method=method)
    request.add_header("Connection", "close")
    try:
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def ask_tcp(port, text):
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as conn:
        conn.sendall(text.encode())
        conn.shutdown(socket.SHUT_WR)
        got = b""
        while piece := conn.recv(65536):
            got += piece
    return got.decode()


def ask_udp(port, text):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(WAIT_S)
        sock.sendto(text.encode(), ("127.0.0.1", port))
        return sock.recv(65536).decode()


def read_name(msg, at):
    labels = []
    while msg[at] != 0:
        if msg[at] >= 0xC0:
            labels += read_name(msg, (msg[at] & 0x3F) << 8 | msg[at + 1])[0]
            return labels, at + 2
        labels.append(msg[at + 1:at + 1 + msg[at]].decode())
        at += 1 + msg[at]
    return labels, at + 1


def addresses(msg):
    """Those of the answer section, sorted."""
    at, found = read_name(msg, 12)[1] + 4, []
    for _ in range(int.from_bytes(msg[6:8], "big")):
        at = read_name(msg, at)[1]
        length = int.from_bytes(msg[at + 8:at + 10], "big")
        if msg[at:at + 2] in (b"\0\x01", b"\0\x1c"):
            found.append(socket.inet_ntop(socket.AF_INET if length == 4 else socket.AF_INET6, msg[at + 10:at + 10 + length]))
        at += 10 + length
    return sorted(found)


def ask_dns(port, rest, where):
    """NAME TYPE ADDRESS..., over UDP and over TCP."""
    name, kind, *wanted = rest.split()
    question = (b"\x12\x34\0\0\0\1\0\0\0\0\0\0" + b"".join(bytes([len(x)]) + x.encode() for x in name.split(".")) +
                b"\0\0" + bytes([{"A": 1, "AAAA": 28}[kind]]) + b"\0\1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(WAIT_S)
        sock.sendto(question, ("127.0.0.1", port))
        report(addresses(sock.recv(65536)) == wanted, f"{where}: {name} {kind} over UDP")
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as conn:
        conn.sendall(len(question).to_bytes(2, "big") + question)
        answer = b""
        while len(answer) < 2 or len(answer) < 2 + int.from_bytes(answer[:2], "big"):
            piece = conn.recv(65536)
            if not piece:
                break
            answer += piece
        report(addresses(answer[2:]) == wanted, f"{where}: {name} {kind} over TCP")


def do_request(port, verb, rest, where):
    try:
        if verb == "dns":
            ask_dns(port, rest, where)
            return
        if verb == "get":
            path, status, size = rest.split()
            got, body = http("GET", f"http://127.0.0.1:{port}{path}")
            report(got == int(status) and size in ("-", str(len(body))), f"{where}: GET {path}",
                   f"status {got}, {len(body)} bytes")
        elif verb == "put":
            path, body, want = rest.split(" ", 2)
            _, answer = http("PUT", f"http://127.0.0.1:{port}{path}", body.encode())
            report(answer.decode().strip() == want, f"{where}: PUT {path}", answer)
        else:
            got = (ask_tcp if verb == "tcp" else ask_udp)(port, rest)
            report(got == rest, f"{where}: {verb} echo", got)
    except OSError as error:
        report(False, f"{where}: {verb} {rest}", error)


def in_order(text, wanted):
    at = 0
    for line in wanted:
        at = text.find(line, at)
        if at < 0:
            return False
        at += len(line)
    return True


def names():
    """Of all examples that say what a run does; the others have a test of their own."""
    folder = os.path.join(ROOT, "examples")
    return sorted(entry for entry in os.listdir(folder) if os.path.exists(os.path.join(folder, entry, "expected.txt")))


def why_no_machine():
    """Why no virtual machine can be run here; empty: they can."""
    if not shutil.which("qemu-system-x86_64"):
        return "qemu-system-x86 is not installed"
    if os.uname().machine != "x86_64":
        return f"images of {os.uname().machine} are tested elsewhere"
    return ""


def cross_libraries():
    """Libraries for the other architecture, if its tools are here."""
    for program in ("aarch64-linux-gnu-gcc", "qemu-system-aarch64"):
        if not shutil.which(program):
            report(True, f"# SKIP aarch64: {program} is not installed")
            return False
    from boot import make  # which needs what is above
    made = make("virt-aarch64")
    report(made.returncode == 0, "libraries for aarch64", made.stdout)
    return made.returncode == 0


def architectures():
    """Those whose machines can be run here."""
    return ["x86_64"] + (["aarch64"] if cross_libraries() else [])
