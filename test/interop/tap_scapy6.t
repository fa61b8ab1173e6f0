#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Odd IPv6 packets over a tap: each is answered as RFC 8200 and 4443 say, or dropped and counted; none crashes.

The same bed as tap_scapy.t: the website built with ASan and UBSan, packets from an address of our own on the wire. A
thread of this test answers the appliance's neighbour solicitations.
"""
import importlib.machinery
import importlib.util
import os
import random
import socket
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
loader = importlib.machinery.SourceFileLoader("tap_scapy", os.path.join(HERE, "tap_scapy.t"))
sys.dont_write_bytecode = True
bed = importlib.util.module_from_spec(importlib.util.spec_from_loader("tap_scapy", loader))
loader.exec_module(bed)

from scapy.all import (ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS,  # noqa: E402
                       ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, ICMPv6PacketTooBig, ICMPv6ParamProblem, TCP, UDP,
                       Ether, HBHOptUnknown, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop,
                       IPv6ExtHdrRouting, Jumbo, PadN, Raw, fragment6, raw)

ok, COPIES, US_MAC, APP_MAC = bed.ok, bed.COPIES, bed.US_MAC, bed.APP_MAC
US6, APP6 = "fd00:77::99", "fd00:77::2"
E = Ether(src=US_MAC, dst=APP_MAC)


class Lab6(bed.Lab):
    """With an IPv6 address, and somebody who says where we are."""

    options = ["--ip", f"{APP6}/64", "--ip6", "static"]

    def start(self, binary):
        super().start(binary)
        own, other = os.open("/proc/self/ns/net", os.O_RDONLY), os.open(f"/run/netns/{self.space}", os.O_RDONLY)
        libc = __import__("ctypes").CDLL(None, use_errno=True)
        libc.setns(other, 0)
        self.ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86dd))
        self.ear.bind(("tap0", 0))
        libc.setns(own, 0)
        threading.Thread(target=self.answer, daemon=True).start()

    def answer(self):
        while True:
            try:
                data, address = self.ear.recvfrom(70000)
            except OSError:  # the tap is gone
                return
            if address[2] == socket.PACKET_OUTGOING or len(data) < 78 or data[20] != 58 or data[54] != 135:
                continue
            frame = Ether(data)
            if frame[ICMPv6ND_NS].tgt == US6 and frame[IPv6].src != "::":
                self.ear.send(raw(Ether(src=US_MAC, dst=frame.src) / IPv6(src=US6, dst=frame[IPv6].src, hlim=255) /
                                  ICMPv6ND_NA(tgt=US6, S=1, O=1, R=0) / ICMPv6NDOptDstLLAddr(lladdr=US_MAC)))

    def meet(self):
        """Until its address is tested and it knows us."""
        for _ in range(200):
            self.send(E / IPv6(src=US6, dst=APP6, hlim=255) / ICMPv6ND_NS(tgt=APP6) /
                      ICMPv6NDOptSrcLLAddr(lladdr=US_MAC))
            if self.receive(lambda frame: ICMPv6ND_NA in frame and frame[ICMPv6ND_NA].tgt == APP6, 1, 0.05):
                return True
        return False


def ip(**fields):
    return E / IPv6(src=US6, dst=APP6, **fields)


def problem(code, pointer):
    return lambda frame: (ICMPv6ParamProblem in frame and frame[ICMPv6ParamProblem].code == code and
                          frame[ICMPv6ParamProblem].ptr == pointer)


def echo_reply(frame):
    return ICMPv6EchoReply in frame


def off_by_one(frame, layer, field):
    good = Ether(raw(frame))
    setattr(good[layer], field, (getattr(good[layer], field) + 1) & 0xffff)
    return good


def unknown_option(kind):
    return IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=kind, optdata=b"abcd")])


ECHO = ICMPv6EchoRequest(id=7, seq=1, data=b"x" * 56)
CASES = [
    ("good echo", ip() / ECHO, echo_reply),
    ("version 4", Raw(raw(ip() / ECHO)[:14] + b"\x40" + raw(ip() / ECHO)[15:]), None),
    ("cut after 30 bytes", Raw(raw(ip() / ECHO)[:44]), None),
    ("payload length beyond the frame", ip(plen=1000) / ECHO, None),
    ("payload length 0", ip(plen=0, nh=17) / UDP(sport=9, dport=80), None),
    ("from loopback", E / IPv6(src="::1", dst=APP6) / ECHO, None),
    ("from a group", E / IPv6(src="ff02::1", dst=APP6) / ECHO, None),
    ("from our own address", E / IPv6(src=APP6, dst=APP6) / ECHO, None),
    ("from IPv4 in disguise", E / IPv6(src="::ffff:10.77.0.1", dst=APP6) / ECHO, None),
    ("a TCP segment from ::", E / IPv6(src="::", dst=APP6) / TCP(flags="S"), None),
    ("next header 253", ip(nh=253) / Raw(b"x" * 20), problem(1, 6)),
    ("to another address", E / IPv6(src=US6, dst="fd00:77::3") / ECHO, None),
    ("to a group of another link", Ether(src=US_MAC, dst="33:33:00:00:00:42") / IPv6(src=US6, dst="ff02::42") / ECHO,
     None),
    ("a group of this host alone", Ether(src=US_MAC, dst="33:33:00:00:00:01") / IPv6(src=US6, dst="ff01::1") / ECHO,
     None),
    ("an option to be skipped", ip() / unknown_option(0x1e) / ECHO, echo_reply),
    ("an option to be dropped", ip() / unknown_option(0x5e) / ECHO, None),
    ("an option to be told", ip() / unknown_option(0x9e) / ECHO, problem(2, 42)),
    ("ICMPv6: wrong checksum", off_by_one(ip() / ECHO, ICMPv6EchoRequest, "cksum"), None),
    ("ICMPv6: 4 bytes", ip(nh=58) / Raw(b"\x80\x00\x12\x34"), None),
    ("hop-by-hop options of padding", ip() / IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)]) / ECHO, echo_reply),
    ("a header that runs out of the packet", ip(nh=60) / Raw(b"\x3a\xff" + b"\0" * 40), None),
    ("a jumbogram", ip() / IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=70000)]) / ECHO, problem(2, 42)),
    ("nine extension headers", ip() / (IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt()) /
     (IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt()) /
     (IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt()) / ECHO, None),
    ("ICMPv6: an unknown error", ip(nh=58) / ICMPv6DestUnreach(type=100) / Raw(b"x" * 48), None),
    ("routing type 0 with segments left", ip() / IPv6ExtHdrRouting(type=0, addresses=["fd00:77::1"]) / ECHO,
     problem(0, 42)),
    ("ICMPv6: too big about a packet that is not ours",
     ip() / ICMPv6PacketTooBig(mtu=1300) / IPv6(src="fd00::1", dst="fd00::2") / TCP(), None),
    ("ICMPv6: too big below 1280", ip() / ICMPv6PacketTooBig(mtu=68) / IPv6(src=APP6, dst=US6) / TCP(), None),
    ("hop-by-hop behind another header",
     ip() / IPv6ExtHdrDestOpt(nh=0, options=[PadN(optdata=b"\0" * 4)]) / IPv6ExtHdrHopByHop() / ECHO, problem(1, 40)),
    ("a fragment of 13 bytes that is not the last", ip() / IPv6ExtHdrFragment(m=1, nh=17) / Raw(b"x" * 13),
     problem(0, 4)),
    ("a fragment of a fragment", ip() / IPv6ExtHdrFragment(nh=44) / IPv6ExtHdrFragment(nh=44) /
     IPv6ExtHdrFragment(nh=17, m=1, offset=1) / Raw(b""), None),
    ("an atomic fragment", ip() / IPv6ExtHdrFragment(id=5) / ECHO, echo_reply),
    ("UDP: checksum 0", ip() / UDP(sport=9, dport=80, chksum=0) / Raw(b"x"), None),
    ("UDP: a port where nobody listens", ip() / UDP(sport=9, dport=4444) / Raw(b"x"),
     lambda frame: ICMPv6DestUnreach in frame and frame[ICMPv6DestUnreach].code == 4),
    ("TCP: wrong checksum", off_by_one(ip() / TCP(sport=99, dport=80, flags="S"), TCP, "chksum"), None),
    ("TCP: SYN to a closed port", ip() / TCP(sport=99, dport=81, flags="S"),
     lambda frame: TCP in frame and frame[TCP].flags == "RA"),
    ("ND: a solicitation from beyond the link", ip(hlim=254) / ICMPv6ND_NS(tgt=APP6), None),
]


def test_fragments(lab):
    lab.drain()
    whole = ip() / IPv6ExtHdrFragment(id=77) / ICMPv6EchoRequest(id=9, data=bytes(range(200)) * 20)
    for piece in reversed(fragment6(whole, 600)):
        lab.send(piece)
    found = lab.receive(lambda frame: IPv6ExtHdrFragment in frame or ICMPv6EchoReply in frame, 3)
    ok(len(found) == 3, "a good packet in reverse order is answered")
    before = lab.stats()
    for number in range(COPIES):
        lab.send(ip() / IPv6ExtHdrFragment(id=number, m=1, nh=17) / Raw(b"a" * 64))
        lab.send(ip() / IPv6ExtHdrFragment(id=number, offset=4, nh=17) / Raw(b"b" * 64))
    after = lab.stats()
    ok(after["ip_reassembly_overlap"] - before["ip_reassembly_overlap"] == COPIES, "overlaps are counted")


def test_mutations(lab, seed, number):
    rng = random.Random(seed)
    seeds = [raw(case[1]) for case in CASES]
    for i in range(number):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(1, 5)):
            position = rng.randrange(14, max(15, len(data)))
            if position < len(data):
                data[position] = rng.choice((0, 1, 44, 60, 0x80, 0xff, rng.randrange(256)))
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
    lab = Lab6()
    try:
        binary = lab.build()
        if not ok(os.path.isabs(binary) and os.access(binary, os.X_OK), "the website builds with ASan", binary):
            return
        lab.start(binary)
        if not ok(lab.stats() is not None, "it runs over a tap"):
            return
        if not ok(lab.meet(), "it says where it is, when it has tested its address"):
            return
        for case in CASES:
            bed.test_case(lab, *case)
            if lab.process.poll() is not None:
                break
        if ok(lab.process.poll() is None, "it has survived every case"):
            test_fragments(lab)
            test_mutations(lab, seed, 3000)
            ok(lab.stats() is not None, "it still serves pages")
    finally:
        status, text = lab.close()
        ok(status == 0, "it ends with status 0", f"status {status}", *text.splitlines()[-30:])
        bad = [line for line in text.splitlines() if "Sanitizer" in line or "runtime error" in line]
        ok(not bad, "no sanitizer complained", *bad)
        print(f"1..{bed.count}")


if __name__ == "__main__":
    main()
    sys.exit(1 if bed.failed else 0)
