#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Odd IPv6 packets over a tap: each is answered as RFC 8200, 4443 and 4861 say, or dropped and counted by its reason.

The appliance (test/interop/peer, with ASan, UBSan and the stack's own checks) is asked by a host of ours on the same
wire (rawlab.py). Each packet is sent COPIES times: then either that many answers came back, or one of the named
counters grew by that many. Lies by ICMP about a live connection, overlapping fragments, floods and thousands of
mutations follow, and everything must be served as before.
"""
import os
import random
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
from rawlab import APP6, APP_MAC, ETHER, HOST, HOST6, US6, US_MAC, Lab, done, ok  # noqa: E402
from scapy.all import (ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6MLReport2, ICMPv6ND_NA, ICMPv6ND_NS,  # noqa: E402
                       ICMPv6ND_RA, ICMPv6ND_Redirect, ICMPv6NDOptDstLLAddr, ICMPv6NDOptPrefixInfo,
                       ICMPv6NDOptSrcLLAddr, ICMPv6PacketTooBig, ICMPv6ParamProblem, ICMPv6TimeExceeded,
                       ICMPv6Unknown, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop,
                       IPv6ExtHdrRouting, HBHOptUnknown, Jumbo, Pad1, PadN, RouterAlert, Raw, TCP, UDP, Ether, raw)

COPIES = 5
ROUTER = "fe80::99"


def ip6(**fields):
    return ETHER / IPv6(**{"src": US6, "dst": APP6, **fields})


def is_echo(frame):
    return ICMPv6EchoReply in frame


def problem(code):
    return lambda frame: ICMPv6ParamProblem in frame and frame[ICMPv6ParamProblem].code == code


def unreachable(code):
    return lambda frame: ICMPv6DestUnreach in frame and frame[ICMPv6DestUnreach].code == code


def wrong_sum(frame, layer):
    good = Ether(raw(frame))
    field = "cksum" if "cksum" in good[layer].fields else "chksum"
    setattr(good[layer], field, (getattr(good[layer], field) + 1) & 0xffff)
    return good


def unknown(kind, size=2):
    return HBHOptUnknown(otype=kind, optlen=size, optdata=b"\0" * size)


def nd(message, **fields):
    return ETHER / IPv6(**{"src": US6, "dst": APP6, "hlim": 255, **fields}) / message


ECHO = ICMPv6EchoRequest(id=7, seq=1) / Raw(b"x" * 20)
MAC_OPTION = ICMPv6NDOptSrcLLAddr(lladdr=US_MAC)
QUOTE = IPv6(src=APP6, dst=US6) / UDP(sport=7, dport=9) / Raw(b"x" * 20)

# name, packet, an answer or the counters that may grow.
CASES = [
    ("version 5", ip6(version=5) / ECHO, "ip_malformed"),
    ("cut after 20 bytes", Raw(raw(ip6() / ECHO)[:34]), "ip_malformed"),
    ("payload length beyond the frame", ip6(plen=1000) / ECHO, "ip_malformed"),
    ("from a group", ip6(src="ff02::1") / ECHO, "ip_martian"),
    ("from ::1", ip6(src="::1") / ECHO, "ip_martian"),
    ("from our own address", ip6(src=APP6) / ECHO, "ip_martian"),
    ("from an IPv4 address in IPv6 form", ip6(src="::ffff:10.77.0.1") / ECHO, "ip_martian"),
    ("from :: with TCP", ip6(src="::") / TCP(dport=9, flags="S"), "ip_martian"),
    ("to ::1", ip6(dst="::1") / ECHO, "ip_martian"),
    ("to another address", ip6(dst="fd00:77::3") / ECHO, "ip_not_for_us"),
    ("to a group of scope 1", ip6(dst="ff01::1") / ECHO, "ip_martian"),
    ("to a group nobody joined", ip6(dst="ff02::1234") / ECHO, "ip6_group_not_joined"),
    ("next header 253", ip6(nh=253) / Raw(b"x" * 20), problem(1)),
    ("hop-by-hop options behind others", ip6() / IPv6ExtHdrDestOpt(nh=0) / IPv6ExtHdrHopByHop() / ECHO, problem(1)),
    ("hop-by-hop and destination options", ip6() / IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)]) /
     IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)]) / ECHO, is_echo),
    ("unknown option to be skipped", ip6() / IPv6ExtHdrDestOpt(options=[unknown(0x1e)]) / ECHO, is_echo),
    ("unknown option to be dropped for", ip6() / IPv6ExtHdrDestOpt(options=[unknown(0x5e)]) / ECHO,
     "ip6_extension_refused"),
    ("unknown option to be told about", ip6() / IPv6ExtHdrDestOpt(options=[unknown(0x9e)]) / ECHO, problem(2)),
    ("unknown option to be told about unless a group", ip6() / IPv6ExtHdrDestOpt(options=[unknown(0xde)]) / ECHO,
     problem(2)),
    ("option longer than its header", ip6(nh=60) / Raw(b"\x3a\x00\x1e\x20\0\0\0\0") / ECHO, problem(0)),
    ("options longer than the packet", ip6(nh=60) / Raw(b"\x3a\x20\x01\x04\0\0\0\0") / ECHO, "ip_malformed"),
    ("options cut", ip6(nh=60) / Raw(b"\x3a\x00\x01"), "ip_malformed"),
    ("nine headers of options", ip6(nh=60) / Raw(b"\x3c\x00\x01\x04\0\0\0\0" * 8 + b"\x3a\x00\x01\x04\0\0\0\0") / ECHO,
     "ip6_extension_refused"),
    ("headers of 600 bytes", ip6(nh=60) / Raw((b"\x3c\x25\x01\x04\0\0\0\0" + b"\0" * 296) +
                                              (b"\x3a\x25\x01\x04\0\0\0\0" + b"\0" * 296)) / ECHO,
     "ip6_extension_refused"),
    ("twenty options", ip6() / IPv6ExtHdrDestOpt(options=[unknown(0x1e, 0)] * 20) / ECHO, "ip6_extension_refused"),
    ("padding only, much of it", ip6(nh=60) / Raw(b"\x3a\x03" + b"\0" * 30) / ECHO, is_echo),
    ("jumbogram", ip6(plen=0) / IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=70000)]) / ECHO,
     "ip_malformed ip6_extension_refused"),
    ("routing header of type 0 with segments left (RFC 5095)",
     ip6() / IPv6ExtHdrRouting(type=0, segleft=1, addresses=["fd00:77::1"]) / ECHO, problem(0)),
    ("routing header of type 0 at its end", ip6() / IPv6ExtHdrRouting(type=0, segleft=0) / ECHO, is_echo),
    ("routing header of an unknown type with segments left",
     ip6() / IPv6ExtHdrRouting(type=77, segleft=3, addresses=["fd00:77::1"]) / ECHO, problem(0)),
    ("no next header", ip6(nh=59) / Raw(b"x" * 20), ""),
    ("atomic fragment (RFC 6946)", ip6() / IPv6ExtHdrFragment(nh=58, id=5) / ECHO, is_echo),
    ("fragment beyond 65,535 bytes", ip6() / IPv6ExtHdrFragment(nh=58, offset=8189, id=6) / Raw(b"x" * 100), problem(0)),
    ("fragment not a multiple of 8 and not the last", ip6() / IPv6ExtHdrFragment(nh=58, m=1, id=7) / Raw(b"\x80" * 13),
     problem(0)),
    ("fragment header cut", ip6(nh=44) / Raw(b"\x3a\x00\x00"), "ip_malformed"),
    ("first fragment without its headers (RFC 7112)",
     ip6() / IPv6ExtHdrFragment(nh=60, m=1, id=10) / Raw(b"\x06\x04" + b"\0" * 6), problem(3)),
    ("ICMP: wrong checksum", wrong_sum(ip6() / ECHO, ICMPv6EchoRequest), "icmp_bad_checksum"),
    ("ICMP: 3 bytes", ip6(nh=58) / Raw(b"\x80\0\0"), "icmp_malformed icmp_bad_checksum"),
    ("ICMP: unknown error", ip6() / ICMPv6Unknown(type=99, code=0, msgbody=b"\0" * 60), "icmp_ignored"),
    ("ICMP: unknown question", ip6() / ICMPv6Unknown(type=200, code=0, msgbody=b"\0" * 60), "icmp_ignored"),
    ("ICMP: unreachable without a packet", ip6() / ICMPv6DestUnreach(code=4), "icmp_malformed"),
    ("ICMP: unreachable about a packet of others", ip6() / ICMPv6DestUnreach(code=4) / IPv6(src="fd00::1", dst="fd00::2") /
     UDP(), "icmp_ignored"),
    ("ICMP: unreachable about a socket that is not there", ip6() / ICMPv6DestUnreach(code=4) / QUOTE, "udp_error_ignored"),
    ("ICMP: too big for 600 bytes (RFC 8201)", ip6() / ICMPv6PacketTooBig(mtu=600) / QUOTE, "icmp_malformed"),
    ("ICMP: too big about a connection that is not there",
     ip6() / ICMPv6PacketTooBig(mtu=1300) / IPv6(src=APP6, dst=US6) / TCP(sport=7001, dport=9, seq=1), "tcp_icmp_invalid"),
    ("UDP: no checksum", Ether(raw(ip6() / UDP(sport=9, dport=7001, chksum=0) / Raw(b"x"))), "udp_bad_checksum"),
    ("UDP: wrong checksum", wrong_sum(ip6() / UDP(sport=9, dport=7001) / Raw(b"xyz"), UDP), "udp_bad_checksum"),
    ("UDP: length 7", ip6() / UDP(sport=9, dport=7001, len=7) / Raw(b"x"), "udp_malformed"),
    ("UDP: length beyond the packet", ip6() / UDP(sport=9, dport=7001, len=99) / Raw(b"x"), "udp_malformed"),
    ("UDP: cut header", ip6(nh=17) / Raw(b"\0\x09\x1b\x59"), "udp_malformed"),
    ("UDP: a port where nobody listens", ip6() / UDP(sport=9, dport=4444) / Raw(b"x"), unreachable(4)),
    ("TCP: cut header", ip6(nh=6) / Raw(b"\x12\x34\x00\x50\0\0"), "tcp_drop_malformed"),
    ("TCP: wrong checksum", wrong_sum(ip6() / TCP(dport=7001, flags="S"), TCP), "tcp_drop_bad_checksum"),
    ("TCP: to a group", ip6(dst="ff02::1") / TCP(dport=7001, flags="S"), "ip_martian tcp_drop_broadcast"),
    ("ND: solicitation with hop limit 64", nd(ICMPv6ND_NS(tgt=APP6) / MAC_OPTION, hlim=64), "nd_malformed"),
    ("ND: solicitation with code 1", nd(ICMPv6ND_NS(tgt=APP6, code=1) / MAC_OPTION), "nd_malformed"),
    ("ND: solicitation for a group", nd(ICMPv6ND_NS(tgt="ff02::1") / MAC_OPTION), "nd_malformed"),
    ("ND: option of length 0", nd(ICMPv6ND_NS(tgt=APP6) / Raw(b"\x01\x00" + b"\0" * 6)), "nd_malformed"),
    ("ND: option beyond the message", nd(ICMPv6ND_NS(tgt=APP6) / Raw(b"\x01\x09" + b"\0" * 6)), "nd_malformed"),
    ("ND: solicitation cut", nd(ICMPv6Unknown(type=135, code=0, msgbody=b"\0" * 8)), "nd_malformed"),
    ("ND: solicitation from :: with a hardware address",
     nd(ICMPv6ND_NS(tgt=APP6) / MAC_OPTION, src="::", dst="ff02::1:ff00:2"), "nd_malformed"),
    ("ND: solicitation in a fragment (RFC 6980)",
     ETHER / IPv6(src=US6, dst=APP6, hlim=255) / IPv6ExtHdrFragment(nh=58, id=11) /
     Raw(raw(IPv6(src=US6, dst=APP6, hlim=255) / ICMPv6ND_NS(tgt=APP6) / MAC_OPTION)[40:]), "nd_malformed nd_ignored"),
    ("ND: solicitation for an address that is not ours", nd(ICMPv6ND_NS(tgt="fd00:77::3") / MAC_OPTION), "nd_ignored"),
    ("ND: advertisement that nobody asked for", nd(ICMPv6ND_NA(tgt="fd00:77::44", R=0, S=1, O=1) /
                                                  ICMPv6NDOptDstLLAddr(lladdr="02:00:00:00:77:44")), "nd_ignored"),
    ("ND: solicited advertisement to a group", nd(ICMPv6ND_NA(tgt=US6, S=1), dst="ff02::1"), "nd_malformed"),
    ("ND: advertisement of our own address", nd(ICMPv6ND_NA(tgt=APP6, S=0, O=1) /
                                                ICMPv6NDOptDstLLAddr(lladdr=US_MAC), dst="ff02::1"), "nd_conflict"),
    ("ND: router advertisement from a global address", nd(ICMPv6ND_RA() / ICMPv6NDOptPrefixInfo(
        prefix="2001:db8:bad::", prefixlen=64), dst="ff02::1"), "nd_malformed nd_ignored"),
    ("ND: router advertisement, where routers are not listened to", nd(ICMPv6ND_RA() / ICMPv6NDOptPrefixInfo(
        prefix="2001:db8:bad::", prefixlen=64), src=ROUTER, dst="ff02::1"), "nd_ignored"),
    ("ND: redirect by somebody who is no router", nd(ICMPv6ND_Redirect(tgt=ROUTER, dst="2001:db8::1"), src=ROUTER),
     "nd_ignored nd_malformed"),
    ("MLD: report to us", nd(ICMPv6MLReport2(records_number=0), src=ROUTER, hlim=1), "mld_malformed icmp_ignored"),
    ("good echo", ip6() / ECHO, is_echo),
]


def fresh(frame):
    copy = frame.copy()
    if TCP in copy and copy[TCP].chksum is None:
        copy[TCP].sport = random.randrange(1024, 65000)
    if IPv6ExtHdrFragment in copy:
        copy[IPv6ExtHdrFragment].id = random.randrange(1 << 32)
    return copy


def test_case(lab, name, frame, wanted):
    before = lab.counters()
    for _ in range(COPIES):
        lab.send(fresh(frame))
    frames = lab.settle(6)
    if callable(wanted):
        found = sum(1 for answer in frames if wanted(answer))
        ok(found == COPIES, f"{name}: answered", f"{found} of {COPIES}; {[f.summary() for f in frames][:3]}", grown(lab, before))
        return
    names = wanted.split()
    after = lab.counters()
    good = not names or any(after.get(n, 0) - before.get(n, 0) >= COPIES for n in names)
    quiet = not any(ICMPv6ParamProblem in f or ICMPv6EchoReply in f or TCP in f for f in frames)
    ok(good and quiet, f"{name}: dropped" + (f", {names[0]}" if names else ""), grown(lab, before),
       [f.summary() for f in frames][:3])


def grown(lab, before):
    quiet = ("tcp_segs", "tcp_bytes", "eth_", "ip6_in", "ip6_out", "ip_in", "ip_out", "dev0", "tcp_fast", "icmp_in", "icmp_out")
    return {n: v - before.get(n, 0) for n, v in lab.counters().items() if v != before.get(n, 0) and not n.startswith(quiet)}


def pieces(identity, size, payload):
    whole = raw(IPv6(src=US6, dst=APP6) / payload)[40:]
    for at in range(0, len(whole), size):
        yield ip6() / IPv6ExtHdrFragment(nh=58, offset=at // 8, m=int(at + size < len(whole)), id=identity) / \
            Raw(whole[at:at + size])


def test_fragments(lab):
    payload = ICMPv6EchoRequest(id=8, seq=2) / Raw(bytes(range(250)) * 16)
    for order in ("in order", "in reverse", "mixed"):
        frames = list(pieces(random.randrange(1 << 32), 512, payload))
        if order == "in reverse":
            frames.reverse()
        if order == "mixed":
            random.shuffle(frames)
        for frame in frames:
            lab.send(frame)
        ok(any(f[IPv6].nh in (44, 58) for f in lab.settle(6) if IPv6 in f), f"fragments {order} are put together")
    before = lab.counters()
    for number in range(COPIES):
        frames = list(pieces(1000 + number, 512, payload))
        lab.send(frames[0])
        lab.send(ip6() / IPv6ExtHdrFragment(nh=58, offset=32, m=1, id=1000 + number) / Raw(b"z" * 512))
        for frame in frames[1:]:
            lab.send(frame)
    answers = [f for f in lab.settle(6) if ICMPv6EchoReply in f]
    after = lab.counters()
    ok(not answers, "overlapping fragments are never put together (RFC 5722)", len(answers))
    ok(after["ip_reassembly_overlap"] - before["ip_reassembly_overlap"] >= COPIES, "and are counted")
    inner = raw(ip6() / IPv6ExtHdrFragment(nh=58, id=5) / ECHO)[54:]
    for number in range(COPIES):
        for at in (0, 16):
            lab.send(ip6() / IPv6ExtHdrFragment(nh=44, offset=at // 8, m=int(at == 0), id=2000 + number) /
                     Raw(inner[at:] if at else inner[:16]))
    answers = [f for f in lab.settle(6) if ICMPv6EchoReply in f]
    refused = lab.counters()["ip6_extension_refused"] - after["ip6_extension_refused"]
    ok(refused == COPIES and not answers, "fragments of fragments are refused", refused, answers)
    for number in range(3000):
        lab.send(ip6() / IPv6ExtHdrFragment(nh=17, offset=number % 4 * 200, m=1, id=number) / Raw(b"a" * 1400))
        if number % 100 == 0:
            lab.ping(6)
    after = lab.counters()
    ok(after["ip_reassembly_limit"] > before["ip_reassembly_limit"], "a flood of fragments meets a limit")
    for frame in pieces(77, 512, payload):
        lab.send(frame)
    ok(lab.settle(6), "and good ones are put together after it")


def test_lies(lab, server):
    """ICMP errors about a live connection, with wrong and with right numbers: it must live on."""
    asked = lab.socket(socket.AF_INET6, socket.SOCK_STREAM)
    asked.settimeout(10)
    asked.connect((APP6, 7001))
    held, _ = server.accept()
    held.settimeout(10)
    port = asked.getsockname()[1]
    before = lab.counters()

    def quote(seq):
        return IPv6(src=APP6, dst=HOST6) / TCP(sport=7001, dport=port, seq=seq, flags="A")
    for number in range(50):
        seq = random.randrange(1 << 32)
        for lie in (ICMPv6PacketTooBig(mtu=1280), ICMPv6DestUnreach(code=4), ICMPv6TimeExceeded(), ICMPv6ParamProblem(code=1)):
            lab.send(ip6() / lie / quote(seq))
        if number % 10 == 0:
            lab.ping(6)
    lab.settle(6)
    after = lab.counters()
    ok(after["tcp_icmp_invalid"] - before["tcp_icmp_invalid"] >= 190, "lies with made-up numbers are counted as such",
       after["tcp_icmp_invalid"] - before["tcp_icmp_invalid"])
    ok(after["tcp_pmtu_reductions"] == before["tcp_pmtu_reductions"], "and lower no path MTU")
    data = os.urandom(300000)
    asked.sendall(data)
    got = b""
    while len(got) < len(data):
        got += held.recv(65536)
    ok(got == data, "the connection carries on")
    asked.close()
    held.close()


def test_mutations(lab, number):
    seeds = [raw(case[1]) for case in CASES]
    for i in range(number):
        data = bytearray(random.choice(seeds))
        for _ in range(random.randrange(1, 6)):
            position = random.randrange(14, max(15, len(data)))
            if position < len(data):
                data[position] = random.choice((0, 1, 6, 17, 43, 44, 58, 60, 0x7f, 0x80, 0xff, random.randrange(256)))
        if random.random() < 0.2:
            data = data[:random.randrange(14, max(15, len(data)))]
        if len(data) >= 14:
            lab.wire.send(bytes(data[:1514]))
        if i % 100 == 0:
            lab.ping(6)
    ok(lab.ping(6) is not None and lab.process.poll() is None, f"{number} mutations: it still answers")


def main():
    seed = int(os.environ.get("SEED", "1"))
    random.seed(seed)
    print(f"# seed {seed}")
    lab = Lab("--relay", f"7001=[{HOST6}]:7000")
    try:
        server = lab.socket(socket.AF_INET6, socket.SOCK_STREAM)
        server.bind((HOST6, 7000))
        server.listen(16)
        server.settimeout(10)
        for case in CASES:
            test_case(lab, *case)
        test_fragments(lab)
        test_lies(lab, server)
        test_mutations(lab, 3000)
        test_case(lab, "after all that, good echo", ip6() / ECHO, is_echo)
        test_lies(lab, server)
    finally:
        lab.close()
    done()


if __name__ == "__main__":
    main()
