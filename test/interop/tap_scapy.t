#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Odd packets over a tap: each malformed header is answered or dropped and counted; none crashes.

The appliance is the website, built with ASan and UBSan, in a network namespace of this run. The packets come from an
address of our own on the same wire (not the host's, so that its kernel does not answer for us), made by scapy and
sent by a packet socket. Each is sent COPIES times: then either that many answers of the expected kind came back, or
the counters of drops grew by exactly that many. At the end thousands of mutations of good packets follow, and the
site must still be served.
"""
import json
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

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rawlab import APP, APP_MAC, BUILD, HOST, ROOT, SO_RCVBUFFORCE, US, US_MAC, done, ok, skip_all  # noqa: E402
from scapy.all import ARP, ICMP, IP, TCP, UDP, Ether, Raw, fragment, raw  # noqa: E402

COPIES = 10
# A counter of this kind means: this packet was refused, for this reason.
DROPS = ("drop_", "malformed", "bad_checksum", "short", "unknown", "not_for_us", "martian", "no_port", "limit",
         "overlap", "conflict", "too_big", "no_listener", "refused", "dropped", "ignored", "invalid", "bad_option",
         "bad", "rst_sent", "out_of_window", "challenge", "not_joined", "not_kept")


class Lab:
    """The namespace, the appliance in it, and a packet socket on its tap."""

    options = []  # further ones of the appliance

    def __init__(self):
        self.work = tempfile.mkdtemp(prefix="mirari-scapy.")
        self.space = f"mirari-scapy-{os.getpid()}"
        self.process = None
        self.out = os.path.join(self.work, "out")
        if subprocess.run(["ip", "netns", "add", self.space], stderr=subprocess.DEVNULL, check=False).returncode:
            skip_all("cannot make network namespaces here")
        subprocess.run(["ip", "-n", self.space, "link", "set", "lo", "up"], check=True)
        # The host's own IPv6 chatter would be counted, too.
        subprocess.run(["ip", "netns", "exec", self.space, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
                        "net.ipv6.conf.default.disable_ipv6=1"], stderr=subprocess.DEVNULL, check=False)

    def build(self):
        appliance = os.path.join(self.work, "build")
        built = subprocess.run([os.path.join(BUILD, "mirari"), "build", "-q", "--asan", "-C",
                                os.path.join(ROOT, "examples/website"), "-o", appliance], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, check=False)
        return os.path.join(appliance, "unix-asan/website") if built.returncode == 0 else built.stdout

    def start(self, binary):
        with open(self.out, "w", encoding="utf-8") as out:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.space, binary, "--net", "tap:tap0", "--ip", f"{APP}/24", "--host-ip",
                 f"{HOST}/24", "--mac", APP_MAC, *self.options], stdout=out, stderr=subprocess.STDOUT)
        end = time.monotonic() + 20
        while time.monotonic() < end and self.process.poll() is None:
            if self.stats():
                break
            time.sleep(0.05)
        # A socket belongs to the namespace it was made in.
        own, other = os.open("/proc/self/ns/net", os.O_RDONLY), os.open(f"/run/netns/{self.space}", os.O_RDONLY)
        libc = __import__("ctypes").CDLL(None, use_errno=True)
        libc.setns(other, 0)
        self.wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.wire.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        self.wire.bind(("tap0", 0))
        self.wire.setblocking(False)
        libc.setns(own, 0)

    def stats(self):
        """Counters of the appliance by name, or None."""
        done = subprocess.run(["ip", "netns", "exec", self.space, "curl", "-s", "-m", "30", f"http://{APP}/api/stats"],
                              stdout=subprocess.PIPE, text=True, check=False)
        try:
            return flatten(json.loads(done.stdout))
        except json.JSONDecodeError:
            return None

    def send(self, frame):
        data = raw(frame)
        self.wire.send(data)
        # Taps hold a thousand frames: the appliance is given time to keep up by asking it from time to time.

    def receive(self, match, wanted, seconds=10.0):
        """Frames to our address for which @match is true, until @wanted of them came."""
        found, end = [], time.monotonic() + seconds
        while len(found) < wanted:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.wire], [], [], left)[0]:
                break
            try:
                data, address = self.wire.recvfrom(70000)
            except BlockingIOError:
                continue
            if address[2] == socket.PACKET_OUTGOING:
                continue
            frame = Ether(data)
            if frame.dst == US_MAC and match(frame):
                found.append(frame)
        return found

    def drain(self):
        while True:
            try:
                self.wire.recv(70000)
            except BlockingIOError:
                return

    def close(self):
        status = None
        if self.process:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
            try:
                status = self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                status = "killed"
        subprocess.run(["ip", "netns", "delete", self.space], check=False)
        with open(self.out, encoding="utf-8", errors="replace") as out:
            text = out.read()
        shutil.rmtree(self.work, ignore_errors=True)
        return status, text


def flatten(value):
    flat = {}
    for key, item in value.items() if isinstance(value, dict) else ():
        if isinstance(item, dict):
            flat.update(flatten(item))
        elif isinstance(item, int):
            flat[key] = item
    return flat


def drops(stats):
    return {name: value for name, value in stats.items() if any(word in name for word in DROPS)}


E = Ether(src=US_MAC, dst=APP_MAC)


def ip(**fields):
    return E / IP(src=US, dst=APP, **fields)


def tcp(port=80, **fields):
    return ip() / TCP(sport=random.randrange(1024, 65000), dport=port, seq=1000, **fields)


def with_checksum_off_by_one(frame, layer):
    good = Ether(raw(frame))
    good[layer].chksum = (good[layer].chksum + 1) & 0xffff
    return good


def options(data, flags="S"):
    """A segment with these raw option bytes, padded with zeros to a multiple of four."""
    data = data + b"\0" * (-len(data) % 4)
    frame = tcp(flags=flags, dataofs=5 + len(data) // 4) / Raw(data)
    return frame


def is_tcp(flags):
    return lambda frame: TCP in frame and frame[TCP].flags == flags


def is_icmp(kind, code=None):
    return lambda frame: ICMP in frame and frame[ICMP].type == kind and code in (None, frame[ICMP].code)


SYN_ACK, RST, RST_ACK = is_tcp("SA"), is_tcp("R"), is_tcp("RA")
# (what, frame, the answer wanted or None: dropped and counted)
CASES = [
    ("Ethernet: nothing after the header", Raw(raw(E)[:12] + b"\x08\x00"), None),
    ("Ethernet: unknown type", Ether(src=US_MAC, dst=APP_MAC, type=0x1234) / Raw(b"x" * 60), None),
    ("Ethernet: to another station", Ether(src=US_MAC, dst="02:00:00:00:00:01") / IP(src=US, dst=APP) / ICMP(), None),
    ("Ethernet: 802.3 length instead of a type", Raw(raw(E)[:12] + b"\x00\x40" + b"\xaa" * 64), None),
    ("ARP: cut", Raw(raw(E / ARP(psrc=US, pdst=APP))[:30]), None),
    ("ARP: hardware address of 7 bytes", E / ARP(psrc=US, pdst=APP, hwlen=7), None),
    ("ARP: protocol address of 16 bytes", E / ARP(psrc=US, pdst=APP, plen=16), None),
    ("ARP: not Ethernet", E / ARP(psrc=US, pdst=APP, hwtype=6), None),
    ("ARP: operation 77", E / ARP(psrc=US, pdst=APP, op=77), None),
    ("ARP: sender with a broadcast hardware address", E / ARP(psrc=US, pdst=APP, hwsrc="ff:ff:ff:ff:ff:ff", op=2), None),
    ("IPv4: version 5", ip(version=5) / ICMP(), None),
    ("IPv4: header of 16 bytes", ip(ihl=4) / ICMP(), None),
    ("IPv4: header longer than the packet", E / IP(src=US, dst=APP, ihl=15), None),
    ("IPv4: total length beyond the frame", ip(len=1000) / ICMP(), None),
    ("IPv4: total length less than the header", ip(len=10) / ICMP(), None),
    ("IPv4: cut after 12 bytes", Raw(raw(ip() / ICMP())[:26]), None),
    ("IPv4: wrong checksum", with_checksum_off_by_one(ip() / ICMP(), IP), None),
    ("IPv4: from loopback", E / IP(src="127.0.0.1", dst=APP) / ICMP(), None),
    ("IPv4: from a multicast address", E / IP(src="224.0.0.5", dst=APP) / ICMP(), None),
    ("IPv4: from the broadcast address", E / IP(src="255.255.255.255", dst=APP) / ICMP(), None),
    ("IPv4: from our own address", E / IP(src=APP, dst=APP) / ICMP(), None),
    ("IPv4: to another address", E / IP(src=US, dst="10.77.0.3") / ICMP(), None),
    ("IPv4: to loopback", E / IP(src=US, dst="127.0.0.1") / ICMP(), None),
    ("IPv4: protocol 253", ip(proto=253) / Raw(b"x" * 20), is_icmp(3, 2)),
    ("IPv4: option with length 0", E / IP(src=US, dst=APP, options=[Raw(b"\x07\x00\x04\x00")]) / ICMP(), None),
    ("IPv4: option longer than the header", E / IP(src=US, dst=APP, options=[Raw(b"\x07\x27\x04\x00")]) / ICMP(), None),
    ("IPv4: source route", E / IP(src=US, dst=APP, options=[Raw(b"\x83\x07\x04\x0a\x4d\x00\x09\x00")]) / ICMP(), None),
    ("fragment: beyond 65,535 bytes", ip(frag=8189, flags=0) / Raw(b"x" * 100), None),
    ("fragment: not a multiple of 8 and not the last", ip(flags="MF") / Raw(b"x" * 13), None),
    ("fragment: empty", ip(flags="MF", frag=3), None),
    ("ICMP: wrong checksum", with_checksum_off_by_one(ip() / ICMP() / Raw(b"x" * 9), ICMP), None),
    ("ICMP: 4 bytes", ip(proto=1) / Raw(b"\x08\x00\xf7\xff"), None),
    ("ICMP: type 99", ip() / ICMP(type=99), None),
    ("ICMP: unreachable without the packet it is about", ip() / ICMP(type=3, code=4), None),
    ("ICMP: unreachable about a packet that is not ours",
     ip() / ICMP(type=3, code=1) / IP(src="1.2.3.4", dst="5.6.7.8") / TCP(), None),
    ("ICMP: good echo", ip() / ICMP(id=7, seq=1) / Raw(b"x" * 56), is_icmp(0)),
    ("UDP: length 7", ip() / UDP(sport=9, dport=80, len=7) / Raw(b"x"), None),
    ("UDP: length beyond the packet", ip() / UDP(sport=9, dport=80, len=99) / Raw(b"x"), None),
    ("UDP: cut header", ip(proto=17) / Raw(b"\x00\x09\x00\x50"), None),
    ("UDP: wrong checksum", with_checksum_off_by_one(ip() / UDP(sport=9, dport=80) / Raw(b"xyz"), UDP), None),
    ("UDP: port 0", ip() / UDP(sport=9, dport=0), None),
    ("UDP: a port where nobody listens", ip() / UDP(sport=9, dport=4444) / Raw(b"x"), is_icmp(3, 3)),
    ("TCP: cut header", ip(proto=6) / Raw(b"\x12\x34\x00\x50\x00\x00"), None),
    ("TCP: header of 16 bytes", tcp(flags="S", dataofs=4), None),
    ("TCP: header longer than the segment", tcp(flags="S", dataofs=15), None),
    ("TCP: wrong checksum", with_checksum_off_by_one(tcp(flags="S"), TCP), None),
    ("TCP: no flag", tcp(flags=0), None),
    ("TCP: every flag", tcp(flags="FSRPAUEC"), None),
    ("TCP: SYN and FIN", tcp(flags="SF"), None),
    ("TCP: SYN and RST", tcp(flags="SR"), None),
    ("TCP: FIN alone", tcp(flags="F"), None),
    ("TCP: port 0", tcp(port=0, flags="S"), None),
    ("TCP: RST to a closed port", tcp(port=81, flags="R"), None),
    ("TCP: SYN to a closed port", tcp(port=81, flags="S"), RST_ACK),
    ("TCP: ACK to a closed port", tcp(port=81, flags="A", ack=5), RST),
    ("TCP: ACK that belongs to no connection", tcp(flags="A", ack=99), RST),
    ("TCP: SYN and ACK to a listening port", tcp(flags="SA", ack=99), RST),
    ("TCP: SYN with data", tcp(flags="S") / Raw(b"GET / HTTP/1.0\r\n\r\n"), SYN_ACK),
    ("TCP: option of length 0", options(b"\x02\x00\x05\xb4"), "either"),
    ("TCP: option of length 1", options(b"\x02\x01\x05\xb4"), "either"),
    ("TCP: option beyond the header", options(b"\x02\xff\x05\xb4"), "either"),
    ("TCP: unknown option", options(b"\xc8\x04\x01\x02"), SYN_ACK),
    ("TCP: segment size 0", options(b"\x02\x04\x00\x00"), SYN_ACK),
    ("TCP: window scale 255", options(b"\x02\x04\x05\xb4\x03\x03\xff\x01"), SYN_ACK),
    ("TCP: half a timestamp", options(b"\x08\x0a\x00\x00"), "either"),
    ("TCP: good SYN", options(b"\x02\x04\x05\xb4\x04\x02\x08\x0a\x00\x00\x00\x01\x00\x00\x00\x00\x01\x03\x03\x07"), SYN_ACK),
]


def fresh(frame):
    """A copy with another source port, so that each begins a connection of its own."""
    copy = frame.copy()
    if TCP in copy and copy[TCP].chksum is None:
        copy[TCP].sport = random.randrange(1024, 65000)
    return copy


def forget(lab, answer):
    """Reset what an answered SYN has opened."""
    segment = answer[TCP]
    lab.send(ip() / TCP(sport=segment.dport, dport=segment.sport, flags="R", seq=segment.ack))


def test_case(lab, what, frame, answer):
    """The curl that asks for the counters is of the host's kernel, which sends again what it has waited for too long: then
    that is counted too. So what does not come out even is asked once more."""
    for patience in (1, 4, 16):
        good, text, note = try_case(lab, frame, answer, patience)
        if good or lab.process.poll() is not None:
            break
        print(f"# {what}: again, {note}")
    ok(good, f"{what}: {text}", note)


def try_case(lab, frame, answer, patience):
    lab.drain()
    before = drops(lab.stats() or {})
    for _ in range(COPIES):
        lab.send(fresh(frame))
    if callable(answer):
        found = lab.receive(answer, COPIES)
        for reply in found:
            if TCP in reply and reply[TCP].flags == "SA":
                forget(lab, reply)
        return len(found) == COPIES, "answered", f"{len(found)} of {COPIES} answers"
    answers = []
    if answer == "either":
        answers = lab.receive(lambda frame: TCP in frame, COPIES, 0.5 * patience)
        for reply in answers:
            if reply[TCP].flags == "SA":
                forget(lab, reply)
    after = drops(lab.stats() or {})
    grown = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}
    if answer == "either" and len(answers) == COPIES:
        return True, "answered", ""
    return sum(grown.values()) == COPIES, "dropped and counted", f"{COPIES} sent; counters: {grown}"


def test_reassembly(lab):
    """Overlaps, a flood of first fragments, and a good packet in reverse order."""
    before = lab.stats()
    for number in range(COPIES):
        lab.send(ip(id=1000 + number, flags="MF", proto=1) / Raw(b"a" * 64))
        lab.send(ip(id=1000 + number, frag=4, proto=1) / Raw(b"b" * 64))
    after = lab.stats()
    ok(after["ip_reassembly_overlap"] - before["ip_reassembly_overlap"] >= COPIES, "fragment: overlap is counted")
    for number in range(3000):
        lab.send(ip(id=number, flags="MF", frag=number % 4 * 2, proto=17) / Raw(b"a" * 1400))
        if number % 200 == 0:
            lab.stats()
    stats = lab.stats()
    ok(stats and stats["ip_reassembly_limit"] > 0, "fragment: a flood meets a limit")
    lab.drain()
    pieces = fragment(E / IP(src=US, dst=APP, id=77) / ICMP(id=9) / Raw(bytes(range(200)) * 20), fragsize=576)
    for piece in reversed(pieces):
        lab.send(piece)
    answers = lab.receive(lambda frame: IP in frame and frame[IP].proto == 1, 1)
    ok(answers, "fragment: a good packet in reverse order is answered after that")


def test_mutations(lab, seed, number):
    """Good packets with some bytes changed, cut or repeated; checksums are mended half of the time."""
    rng = random.Random(seed)
    seeds = [raw(case[1]) for case in CASES] + [raw(tcp(flags="PA", ack=1) / Raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))]
    for i in range(number):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(1, 6)):
            position = rng.randrange(12, max(13, len(data)))
            if position < len(data):
                data[position] = rng.choice((0, 1, 0x7f, 0x80, 0xff, rng.randrange(256)))
        if rng.random() < 0.2:
            data = data[:rng.randrange(14, max(15, len(data)))]
        if rng.random() < 0.5:
            frame = Ether(bytes(data))
            for layer in (IP, TCP, UDP, ICMP):
                if layer in frame and "chksum" in frame[layer].fields:
                    del frame[layer].chksum
            try:
                data = raw(frame)
            except Exception:  # scapy cannot make every nonsense: then it goes as it is
                pass
        if len(data) >= 14:
            try:
                lab.wire.send(bytes(data[:1514]))
            except OSError:
                pass
        if i % 250 == 0 and lab.process.poll() is None:
            lab.stats()
    ok(lab.process.poll() is None, f"{number} mutations, seed {seed}: it still runs")


def main():
    seed = int(os.environ.get("SEED", "1"))
    random.seed(seed)
    lab = Lab()
    try:
        binary = lab.build()
        if not ok(os.path.isabs(binary) and os.access(binary, os.X_OK), "the website builds with ASan", binary):
            return
        lab.start(binary)
        if not ok(lab.stats() is not None, "it runs over a tap"):
            return
        lab.send(E / ARP(op=1, hwsrc=US_MAC, psrc=US, pdst=APP))
        found = lab.receive(lambda frame: ARP in frame and frame[ARP].psrc == APP, 1)
        ok(found and found[0][ARP].hwsrc == APP_MAC, "ARP: it says where it is")
        for case in CASES:
            test_case(lab, *case)
            if lab.process.poll() is not None:
                break
        if ok(lab.process.poll() is None, "it has survived every case"):
            test_reassembly(lab)
            test_mutations(lab, seed, 4000)
            ok(lab.stats() is not None, "it still serves pages")
    finally:
        status, text = lab.close()
        ok(status == 0, "it ends with status 0", f"status {status}", *text.splitlines()[-30:])
        bad = [line for line in text.splitlines() if "Sanitizer" in line or "runtime error" in line]
        ok(not bad, "no sanitizer complained", *bad)


if __name__ == "__main__":
    main()
    done()
