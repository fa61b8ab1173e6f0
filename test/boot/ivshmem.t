#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Channels of shared memory between machines and processes, by QEMU's ivshmem-doorbell and our server: the example as an
appliance under every machine that has PCI and as a process, streams checked by their sums, the death of either end, servers that
come again, machine to machine.

Needs no root. Machines run by emulation.
"""
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "harness"))
from example import BUILD, ROOT, Appliance, architectures, done, report, why_no_machine

MIRARI = os.path.join(BUILD, "mirari")
APP = os.path.join(ROOT, "examples", "channel")
OUT = os.path.join(BUILD, "examples", "channel")
BYTES = 100 << 20
WAIT_S = 120


def start(region, *options, machine=None):
    """The example, with its channel in REGION: a machine, or a process of this host."""
    words = [MIRARI, "run", "-C", APP, "-o", OUT, "--no-build", "--channel", region]
    if machine:
        words += ["-t", "virt", "--accel", "tcg", "--machine", machine, "--arch", "aarch64" if machine == "virt" else "x86_64"]
    return Appliance(words + list(options))


def connect(region, *options):
    return subprocess.Popen([MIRARI, "vchan", "connect", region, "--wait", str(WAIT_S), *options], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def stream(region, size):
    """SIZE bytes there and back through one connection. Are they the same?"""
    data = os.urandom(1 << 20) * (size >> 20)
    client = connect(region)
    writer = threading.Thread(target=lambda: (client.stdin.write(data), client.stdin.flush()))
    writer.start()
    got = hashlib.sha256()
    left = len(data)
    while left > 0:
        piece = client.stdout.read(min(left, 1 << 20))
        if not piece:
            break
        got.update(piece)
        left -= len(piece)
    writer.join()
    client.stdin.close()
    status = client.wait(WAIT_S)
    return status == 0 and left == 0 and got.digest() == hashlib.sha256(data).digest()


def ask(client, text):
    """One line to an echo and back."""
    client.stdin.write(text)
    client.stdin.flush()
    return client.stdout.read(len(text))


def qemu_of(vm):
    """The machine itself, below `mirari run`."""
    path = f"/proc/{vm.process.pid}/task/{vm.process.pid}/children"
    with open(path, encoding="ascii") as file:
        return [int(pid) for pid in file.read().split()]


def test_streams(region, kind, machine):
    vm = start(region, machine=machine)
    if not report_ready(vm, kind):
        return
    begun = time.monotonic()
    good = stream(region, BYTES)
    report(good, f"{kind}: {BYTES} bytes there and back through the host are the same")
    print(f"# {2 * BYTES / (time.monotonic() - begun) / 1e6:.0f} MB/s, both directions together")
    clients = [connect(region) for _ in range(3)]
    answers = [ask(client, b"client %d" % i) for i, client in enumerate(clients)]
    report(answers == [b"client 0", b"client 1", b"client 2"], f"{kind}: three clients at once", answers)
    os.kill(clients[1].pid, signal.SIGKILL)
    report(vm.wait_for("a client was lost after 8 bytes"), f"{kind}: sees that a client was killed", vm.text)
    report(ask(clients[2], b"still") == b"still", f"{kind}: and serves the others")
    for client in clients[::2]:
        client.stdin.close()
        client.wait(WAIT_S)
    report(vm.wait_for("(?s)a client ended after.*a client ended after.*a client ended after"), f"{kind}: clients that end", vm.text)
    clients = [connect(region)]
    ask(clients[0], b"good-bye")
    status = vm.end(True)
    rest = clients[0].stdout.read()
    clients[0].stdin.close()
    report(status == 0 and rest == b"" and clients[0].wait(WAIT_S) == 0, f"{kind}: closes its channels at its end",
           f"{status} {rest}\n{vm.text}")


def report_ready(vm, kind):
    ready = vm.wait_for("^serving channels")
    report(ready, f"{kind}: starts", vm.text)
    if not ready:
        vm.process.kill()
    return ready


def test_machines(region):
    """A machine to a machine, which dies; another one comes."""
    server = start(region, machine="q35")
    if not report_ready(server, "the server machine"):
        return
    for machine in ("microvm", None):
        caller = start(region, "--role", "call", "--bytes", "20000000", machine=machine)
        status = caller.end(False)
        report(status == 0 and "20000000 bytes came back as they were" in caller.text,
               f"{machine or 'a process'} calls a machine: 20 MB there and back", caller.text)
    bench = subprocess.run([MIRARI, "vchan", "bench", region], capture_output=True, text=True, timeout=WAIT_S, check=False)
    report(bench.returncode == 0 and "kind region" in bench.stdout and "there_and_back" in bench.stdout, "vchan bench asks the echo",
           bench.stdout + bench.stderr)
    print("\n".join("# " + line for line in bench.stdout.splitlines()))
    client = connect(region)
    ask(client, b"x")
    shown = subprocess.run([MIRARI, "vchan", "ls", "--json"], capture_output=True, text=True, timeout=WAIT_S, check=False)
    mine = [entry for entry in json.loads(shown.stdout) if entry["name"] == os.path.basename(region) and
            entry.get("server_pid") in qemu_of(server)]
    report(sorted(entry["state"] for entry in mine) == ["open", "waiting", "waiting", "waiting"] and
           client.pid in [entry["client_pid"] for entry in mine], "vchan ls shows the machine's channels", shown.stdout)
    for pid in qemu_of(server):
        os.kill(pid, signal.SIGKILL)
    rest = client.stdout.read()
    client.stdin.close()
    status = client.wait(WAIT_S)
    text = client.stderr.read().decode()
    report(status == 1 and rest == b"" and "went without closing" in text, "a machine that is killed: its client sees it",
           f"{status} {rest} {text}")
    server.end(False)
    server = start(region, machine="q35")
    if report_ready(server, "the next machine of the same region"):
        report(stream(region, 1 << 20), "clients go on with it")
        server.end(True)


def test_host_serves(region):
    """The machine is the client of a server of the host."""
    listener = subprocess.Popen([MIRARI, "vchan", "listen", "--region", region, "--", "cat"], stderr=subprocess.DEVNULL)
    vm = start(region, "--role", "call", "--bytes", "5000000", machine="q35")
    status = vm.end(False)
    report(status == 0 and "5000000 bytes came back" in vm.text, "a machine calls `mirari vchan listen`", vm.text)
    listener.send_signal(signal.SIGTERM)
    report(listener.wait(WAIT_S) == 0, "which ends when it is asked to")


def main():
    why = why_no_machine()
    if why:
        print(f"1..0 # SKIP {why}")
        return 0
    box = tempfile.mkdtemp(prefix="mirari-ivshmem-")
    os.environ["XDG_RUNTIME_DIR"] = box
    try:
        region = os.path.join(box, "region")
        machines = ["microvm", "q35", None]
        if "aarch64" in architectures():
            built = subprocess.run([MIRARI, "build", "-q", "-t", "virt", "--arch", "aarch64", "-C", APP, "-o", OUT], text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            report(built.returncode == 0, "aarch64: builds", built.stdout)
            machines.append("virt")
        for machine in machines:
            test_streams(region, machine or "a process", machine)
        test_machines(region)
        test_host_serves(os.path.join(box, "other"))
    finally:
        shutil.rmtree(box, ignore_errors=True)
    return done()


if __name__ == "__main__":
    sys.exit(main())
