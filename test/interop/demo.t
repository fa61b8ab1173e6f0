#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""`make demo` on a terminal: serves the site, takes another port if its own is taken, and Ctrl-C ends it well.

Well means: status 0 of make too, a line of statistics, no complaint of make, and no process left.
"""
import os
import pty
import re
import select
import signal
import socket
import sys
import time
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "test/harness"))
from tap import done, ok, skip_all  # noqa: E402

BUILD = os.environ.get("MIRARI_BUILD", "build")


class Terminal:
    """make demo as the only program of a terminal, with the signals that a login shell gives."""

    def __init__(self):
        self.text = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
                os.environ.pop(name, None)
            os.chdir(ROOT)
            os.execvp("make", ["make", "demo", f"B={BUILD}"])

    def read_until(self, pattern, seconds):
        """True when the pattern was printed; False at the end of output or of time."""
        end = time.monotonic() + seconds
        while not (pattern and re.search(pattern, self.text)):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                return False
            try:
                data = os.read(self.fd, 4096)
            except OSError:  # the other side is closed
                return False
            if not data:
                return False
            self.text += data.decode(errors="replace").replace("\r\n", "\n")
        return True

    def press_ctrl_c(self):
        os.write(self.fd, b"\x03")

    def wait(self):
        self.read_until(None, 15)
        for _ in range(500):
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        os.kill(self.pid, signal.SIGKILL)
        return "killed"


def fetch(url):
    """Status and text."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""
    except OSError as error:
        return 0, str(error)


def main():
    if not os.access(os.path.join(ROOT, BUILD, "mirari"), os.X_OK):
        skip_all(f"{BUILD}/mirari is not built")
    taker = socket.socket()
    taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taker.bind(("127.0.0.1", 8080))
        taker.listen()
    except OSError:
        pass  # somebody else has the port: as good

    demo = Terminal()
    started = demo.read_until(r"http://127\.0\.0\.1:\d+/", 180)
    if ok(started, "the address to open is printed", demo.text):
        url = re.search(r"http://127\.0\.0\.1:\d+/", demo.text).group(0)
        ok(url != "http://127.0.0.1:8080/", "port 8080 was taken, so it is another one", url)
        ok("8080" in demo.text.replace(url, ""), "and that is said", demo.text)
        status, text = fetch(url)
        ok(status == 200 and "<title>Mirari" in text, "the site is served there", status, text[:200])
        ok(fetch(url + "features.html")[0] == 200, "the feature table is served")
        shown = len(demo.text)
        demo.press_ctrl_c()
        status = demo.wait()
        rest = demo.text[shown:].replace("^C", "").strip()
        ok(status == 0, "Ctrl-C ends it with status 0", f"status {status}", demo.text)
        ok(re.search(r"\d", rest.splitlines()[-1] if rest else ""), "the last line is one of statistics", rest)
        ok("***" not in rest, "make does not complain", rest)
        print(f"# {rest.splitlines()[-1] if rest else ''}")
        ok(fetch(url)[0] == 0, "nothing answers any more")
    done()


if __name__ == "__main__":
    main()
