# SPDX-License-Identifier: ISC
"""For tests that make their own packets: the peer appliance on a tap, and a host of ours on the same wire.

That host (US, US6, US_MAC) is nobody's kernel: it answers to ARP and neighbour solicitations, and else says only what
a test sends. What a packet causes is collected without waiting for time to pass: two pings follow it, and when the
second is answered, everything that the packet caused has arrived (the stack sends at the end of a batch).
"""
import ctypes
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "test/harness"))
from tap import done, ok, skip_all  # noqa: E402,F401 (for who imports this)

BUILD = os.path.join(ROOT, os.environ.get("MIRARI_BUILD", "build"))
HOST, APP, US = "10.77.0.1", "10.77.0.2", "10.77.0.99"
HOST6, APP6, US6 = "fd00:77::1", "fd00:77::2", "fd00:77::99"
APP_MAC, US_MAC = "02:00:00:00:77:02", "02:00:00:00:77:99"
SO_RCVBUFFORCE = 33

if os.geteuid() != 0:
    skip_all("needs root, to make a network namespace")
if not os.path.exists("/dev/net/tun"):
    skip_all("needs /dev/net/tun")
try:
    import logging
    logging.getLogger("scapy").setLevel(logging.ERROR)
    from scapy.all import (ARP, ICMP, IP, Ether, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS,
                           ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6, raw)
except ImportError:
    skip_all("python3-scapy is not installed")

ETHER = Ether(src=US_MAC, dst=APP_MAC)


def base(family, **fields):
    """Ethernet and IP from our host to the appliance."""
    return ETHER / (IP(src=US, dst=APP, **fields) if family == 4 else IPv6(src=US6, dst=APP6, **fields))


class Lab:
    def __init__(self, *arguments):
        self.work = tempfile.mkdtemp(prefix="mirari-raw.")
        self.space = f"mirari-raw-{os.getpid()}"
        self.out = os.path.join(self.work, "out")
        self.process = None
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.pings = random.randrange(1, 60000)
        if subprocess.run(["ip", "netns", "add", self.space], stderr=subprocess.DEVNULL, check=False).returncode:
            skip_all("cannot make network namespaces here")
        subprocess.run(["ip", "-n", self.space, "link", "set", "lo", "up"], check=True)
        self.inside("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0")
        self.own = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.other = os.open(f"/run/netns/{self.space}", os.O_RDONLY)
        self.start(arguments)

    def inside(self, *command):
        return subprocess.run(["ip", "netns", "exec", self.space, *command], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)

    def start(self, arguments):
        if not os.path.exists(os.path.join(BUILD, "mirari")):
            skip_all("the tool is not built (make)")
        built = subprocess.run([os.path.join(BUILD, "mirari"), "build", "-q", "--asan", "-C",
                                os.path.join(ROOT, "test/interop/peer"), "-o", os.path.join(self.work, "peer")],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if not ok(built.returncode == 0, "the peer appliance is built with ASan", *built.stdout.splitlines()):
            done()
        with open(self.out, "w", encoding="utf-8") as out:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.space, os.path.join(self.work, "peer/unix-asan/peer"), "--net", "tap:tap0",
                 "--ip", f"{APP}/24", "--ip", f"{APP6}/64", "--ip6", "static", "--host-ip", f"{HOST}/24", "--host-ip",
                 f"{HOST6}/64", "--mac", APP_MAC, *arguments], stdout=out, stderr=subprocess.STDOUT)
        end = time.monotonic() + 20
        while time.monotonic() < end and "\nnet: " not in "\n" + self.text() and self.process.poll() is None:
            time.sleep(0.02)
        self.wire = self.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.wire.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        self.wire.bind(("tap0", 0))
        self.wire.setblocking(False)
        self.send(ETHER / ARP(op=1, hwsrc=US_MAC, psrc=US, pdst=APP))
        end = time.monotonic() + 20
        while time.monotonic() < end and not (self.ping(4, 0.3) and self.ping(6, 0.3)):
            pass

    def socket(self, *kind):
        """A socket of the host's kernel: it belongs to the namespace that it is made in."""
        self.libc.setns(self.other, 0)
        made = socket.socket(*kind)
        self.libc.setns(self.own, 0)
        return made

    def text(self):
        with open(self.out, encoding="utf-8", errors="replace") as out:
            return out.read()

    def counters(self):
        asked = self.socket(socket.AF_INET, socket.SOCK_STREAM)
        asked.settimeout(10)
        asked.connect((APP, 9))
        text = b""
        while more := asked.recv(65536):
            text += more
        asked.close()
        return {name: int(value) for name, value in (line.split() for line in text.decode().splitlines())}

    # ---- our host ----------------------------------------------------------------------------------

    def send(self, frame):
        self.wire.send(raw(frame))

    def answer_neighbour(self, frame):
        if ARP in frame and frame[ARP].op == 1 and frame[ARP].pdst == US:
            self.send(ETHER / ARP(op=2, hwsrc=US_MAC, psrc=US, hwdst=APP_MAC, pdst=APP))
        elif ICMPv6ND_NS in frame and frame[ICMPv6ND_NS].tgt == US6:
            self.send(ETHER / IPv6(src=US6, dst=frame[IPv6].src, hlim=255) / ICMPv6ND_NA(tgt=US6, R=0, S=1, O=1) /
                      ICMPv6NDOptDstLLAddr(lladdr=US_MAC))
        else:
            return False
        return True

    def next_frame(self, end):
        """The next frame to our host that is not about neighbours, or None at @end."""
        while True:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.wire], [], [], left)[0]:
                return None
            data, address = self.wire.recvfrom(70000)
            if address[2] == socket.PACKET_OUTGOING:
                continue
            # Frames to the host's kernel are none of our business: they are not even taken apart.
            if data[:6] != bytes.fromhex(US_MAC.replace(":", "")) and data[0] & 1 == 0:
                continue
            frame = Ether(data)
            if not self.answer_neighbour(frame) and frame.dst == US_MAC:
                return frame

    def ping(self, family, seconds=10.0):
        """Frames that came before the answer, or None without one (an empty list is an answer)."""
        self.pings = (self.pings + 1) % 65536
        echo = ICMP(id=77, seq=self.pings) if family == 4 else ICMPv6EchoRequest(id=77, seq=self.pings)
        self.send(base(family) / echo)
        found, end = Frames(), time.monotonic() + seconds
        while (frame := self.next_frame(end)) is not None:
            reply = ICMP if family == 4 else ICMPv6EchoReply
            if reply in frame and frame[reply].id == 77 and frame[reply].type in (0, 129):
                if frame[reply].seq == self.pings:
                    return found
                continue
            found.append(frame)
        return None

    def settle(self, family):
        """All frames that everything sent until now has caused."""
        found = self.ping(family)
        return (found or []) + (self.ping(family) or [])

    def wait(self, match, seconds=10.0):
        """The next frame for which @match is true, or None."""
        end = time.monotonic() + seconds
        while (frame := self.next_frame(end)) is not None:
            if match(frame):
                return frame
        return None

    def close(self):
        status = "not started"
        if self.process:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
            try:
                status = self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                status = "killed"
        text = self.text() if self.process else ""
        subprocess.run(["ip", "netns", "delete", self.space], check=False)
        shutil.rmtree(self.work, ignore_errors=True)
        ok(status == 0, "it ends with status 0", f"status {status}", *text.splitlines()[-30:])
        bad = [line for line in text.splitlines() if "Sanitizer" in line or "runtime error" in line or "assert" in line]
        ok(not bad, "neither sanitizer nor assertion complained", *bad)


class Frames(list):
    """A list that is true even when it is empty: an answer came."""

    def __bool__(self):
        return True
