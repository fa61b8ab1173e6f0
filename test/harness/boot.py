# SPDX-License-Identifier: ISC
"""What the tests that boot images share: commands, the build folder, and a machine of QEMU whose console is read as it comes.
Every wait has an end."""
import fcntl
import json
import os
import re
import select
import socket
import subprocess
import time

from example import BUILD, ROOT
from tap import skip_all  # for who imports this

WAIT_S = 180


def run(*words, **more):
    return subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)


def make(*goals):
    """Make GOALS in the build folder, without what a make that runs this test has in its environment. One at a time: tests
    that run at the same time would compile the same files over one another."""
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")}
    os.makedirs(BUILD, exist_ok=True)
    with open(os.path.join(BUILD, ".tests.lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return run("make", "-s", "-j2", "B=" + BUILD, *goals, env=env)


class Qemu:
    """A running machine. WORDS is the command without what all have; its serial port is the console."""

    def __init__(self, words, enter=(), control=None):
        self.control_path = control
        if control is not None:
            if os.path.exists(control):
                os.unlink(control)
            words = [*words, "-qmp", f"unix:{control},server=on,wait=off"]
        self.process = subprocess.Popen(
            [*enter, *words, "-accel", "tcg", "-smp", "1,maxcpus=2", "-nodefaults", "-no-user-config", "-no-reboot", "-display",
             "none", "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.text = ""
        self.end_s = time.monotonic() + WAIT_S
        self.control = self.lines = None

    def until(self, pattern):
        """Read until PATTERN comes; False if the machine ends or takes too long."""
        fd = self.process.stdout.fileno()
        while not re.search(pattern, self.text):
            left = self.end_s - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                return False
            data = os.read(fd, 65536)
            if not data:
                return False
            self.text += data.decode(errors="replace")
        return True

    def type(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def finish(self):
        """All of the output; the status of QEMU, or None if it did not end in time."""
        if not self.until(r"\Z(?!)") and self.process.poll() is None and time.monotonic() > self.end_s:
            self.process.kill()
            self.process.wait()
            self.text += "(does not end)\n"
            return None
        return self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def qmp(self, command, **arguments):
        """What QEMU answers; {} if it has ended so fast that nothing was left to answer."""
        if self.control is None:
            self.control = socket.socket(socket.AF_UNIX)
            self.control.settimeout(60)
            self.control.connect(self.control_path)
            self.lines = self.control.makefile("r")
            self.lines.readline()
            self.qmp("qmp_capabilities")
        try:
            self.control.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
            while True:
                answer = json.loads(self.lines.readline() or '{"return": {}}')
                if "return" in answer or "error" in answer:
                    return answer.get("return", answer)
        except ConnectionError:
            return {}

    def events(self):
        """Names of the events until QEMU ends."""
        names = []
        try:
            for line in self.lines:
                names.append(json.loads(line).get("event"))
        except ConnectionError:
            pass
        return names
