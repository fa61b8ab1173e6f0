#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The process of an appliance in bad company: closed descriptors, full pipes, impatient users.

Each check is named after the symptom it keeps away. No privileges are needed.
"""
import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "harness"))
from tap import done, ok as check, skip_all  # noqa: E402

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
BUILD = os.environ.get("MIRARI_BUILD", "build")
WEBSITE = os.path.join(BUILD, "examples/website/unix/website")
F_SETPIPE_SZ = 1031
DEADLINE_S = 60


def until(condition):
    end = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def start(*args, **kwargs):
    kwargs.setdefault("stdin", subprocess.DEVNULL)
    kwargs.setdefault("stderr", subprocess.DEVNULL)
    return subprocess.Popen([WEBSITE, *args], **kwargs)


def end(process):
    if process.poll() is None:
        process.kill()
    process.wait()


def port_of(process):
    for line in process.stdout:
        if line.startswith(b"http://"):
            return int(line.split(b":")[2].rstrip(b"/\n"))
    return 0


def status(process):
    try:
        return process.wait(DEADLINE_S)
    except subprocess.TimeoutExpired:
        return None


def cpu_ticks(process):
    with open(f"/proc/{process.pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def is_up(process):
    """The handler of SIGTERM is there."""
    with open(f"/proc/{process.pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def test_nohup():
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    process = start(stdout=subprocess.PIPE, preexec_fn=ignore)
    port = port_of(process)
    process.send_signal(signal.SIGHUP)
    # An answer that comes after the signal shows that it changed nothing.
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = connection.recv(100)
    check(answer.startswith(b"HTTP/1.1 200"), "under nohup the end of the terminal changes nothing")
    process.send_signal(signal.SIGTERM)
    check(status(process) == 0, "and SIGTERM ends it")
    end(process)
    process = start(stdout=subprocess.PIPE)
    port_of(process)
    process.send_signal(signal.SIGHUP)
    check(status(process) == 0, "without nohup SIGHUP ends it")
    end(process)


def idle_ticks(spin_us):
    """Ticks of the processor, 100 a second, that a second after an answered request costs."""
    process = start("--spin", str(spin_us), stdout=subprocess.PIPE)
    with socket.create_connection(("127.0.0.1", port_of(process)), DEADLINE_S) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.recv(100)
        before = cpu_ticks(process)
        time.sleep(1)  # what is measured is what happens meanwhile
        ticks = cpu_ticks(process) - before
    end(process)
    return ticks


def test_spin():
    check(idle_ticks(2000) <= 10, "an idle appliance with --spin gives the processor back")


def test_stuck_output():
    reader, writer = os.pipe()
    fcntl.fcntl(writer, F_SETPIPE_SZ, 4096)
    # Full but for less than a line: what the appliance prints at its start blocks.
    os.write(writer, b"x" * 4090)
    process = start(stdout=writer)
    until(lambda: is_up(process))
    process.send_signal(signal.SIGINT)
    time.sleep(1.2)  # the patience between two signals that count
    process.send_signal(signal.SIGINT)
    check(status(process) == 128 + signal.SIGINT,
          "the second Ctrl-C ends a process whose output nobody reads")
    end(process)
    os.close(reader)
    os.close(writer)


def test_capture_into_pipe():
    with tempfile.TemporaryDirectory() as folder:
        pipe = os.path.join(folder, "capture")
        os.mkfifo(pipe)
        process = start("--pcap", pipe, stdout=subprocess.DEVNULL)
        # It sleeps: nothing else at its start does, and not every kernel tells where.
        stat = lambda: open(f"/proc/{process.pid}/stat", encoding="ascii").read().rsplit(")", 1)[1].split()[0]
        until(lambda: os.path.realpath(f"/proc/{process.pid}/exe") == os.path.realpath(WEBSITE) and stat() == "S")
        process.send_signal(signal.SIGINT)
        check(status(process) == -signal.SIGINT,
              "Ctrl-C ends a start that waits for the reader of a capture")
        end(process)


def test_closed_descriptors():
    def close_all():
        for fd in range(3):
            os.close(fd)
    reader, writer = os.pipe()
    os.close(writer)
    process = subprocess.Popen([WEBSITE], preexec_fn=close_all)
    until(lambda: is_up(process))
    names = [os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in range(3)]
    check(names == ["/dev/null"] * 3, "closed standard descriptors do not become its network")
    process.send_signal(signal.SIGTERM)
    check(status(process) == 0, "and it ends as always")
    end(process)
    os.close(reader)


def test_no_descriptors():
    import resource
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    process = start(stdout=subprocess.PIPE, preexec_fn=limit)
    port = port_of(process)
    clients = [socket.create_connection(("127.0.0.1", port), DEADLINE_S) for _ in range(60)]
    time.sleep(0.3)  # the accepts that succeed
    before = cpu_ticks(process)
    time.sleep(1)  # the time that is measured
    ticks = cpu_ticks(process) - before
    print(f"# {ticks} ticks of 10 ms in a second")
    check(ticks < 10, "more clients than descriptors do not keep the process busy")
    clients[0].sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    check(clients[0].recv(100).startswith(b"HTTP/1.1 200"), "and those connected are served")
    for client in clients[:20]:
        client.close()
    clients[50].sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    clients[50].settimeout(40)  # slirp keeps a closed one for ten seconds
    check(clients[50].recv(100).startswith(b"HTTP/1.1 200"), "the others when there is room again")
    for client in clients:
        client.close()
    process.send_signal(signal.SIGTERM)
    check(status(process) == 0, "and it ends as always")
    end(process)


def test_user_namespace():
    # The root of this namespace is an ordinary user outside, and alone.
    name = "root of a user namespace with one user: starts and has no capability"
    as_user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    command = (as_user if os.geteuid() == 0 else []) + ["unshare", "--user", "--map-root-user"]
    try:
        probe = subprocess.run([*command, WEBSITE, "--version"], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, check=False)
    except FileNotFoundError:
        probe = None
    if probe is None or probe.returncode != 0:
        check(True, name + " # SKIP no user namespace for an ordinary user, or it cannot run this")
        return
    process = subprocess.Popen([*command, os.path.abspath(WEBSITE)], stdout=subprocess.PIPE,
                               stdin=subprocess.DEVNULL)
    is_there = port_of(process) != 0
    if is_there:
        with open(f"/proc/{process.pid}/status", encoding="ascii") as f:
            capabilities = [line.split()[1] for line in f if line.startswith(("CapPrm", "CapEff"))]
        is_there = capabilities == ["0" * 16] * 2
        process.send_signal(signal.SIGTERM)
    check(status(process) == 0 and is_there, name)
    end(process)


# Whoever runs the tests may ignore them, under nohup or in the background; children inherit that.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
if not os.access(WEBSITE, os.X_OK):
    skip_all("the website appliance is not built")
test_nohup()
test_spin()
test_stuck_output()
test_capture_into_pipe()
test_closed_descriptors()
test_no_descriptors()
test_user_namespace()
done()
