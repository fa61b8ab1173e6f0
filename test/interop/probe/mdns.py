#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Multicast DNS from Linux, for mdns.t: mdns.py OWN_IP [--legacy | --goodbye | --defend] NAME TYPE

Asks and prints what is answered: "answer NAME TYPE DATA ttl=IPTTL port=PORT", "extra ..." for additional records.
--legacy   ask from a port of our own, as a plain resolver does
--goodbye  say "listening", then wait for a record of the name with time 0
--defend   answer for the name with an address of our own, until ended
"""
import socket
import struct
import sys

GROUP, PORT = "224.0.0.251", 5353
TYPES = {"A": 1, "PTR": 12}
own, mode = sys.argv[1], sys.argv[2] if sys.argv[2].startswith("--") else ""
wanted, kind = sys.argv[-2], TYPES[sys.argv[-1]]


def wire(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


def read_name(msg, at):
    parts, end = [], None
    while msg[at]:
        if msg[at] >= 0xC0:
            end = end or at + 2
            at = struct.unpack(">H", msg[at : at + 2])[0] & 0x3FFF
            continue
        parts.append(msg[at + 1 : at + 1 + msg[at]].decode())
        at += 1 + msg[at]
    return ".".join(parts), end or at + 1


def read(msg):
    """Questions' names, and records as (section, name, type, ttl, data)."""
    counts, at, names, records = struct.unpack(">HHHH", msg[4:12]), 12, [], []
    for _ in range(counts[0]):
        name, at = read_name(msg, at)
        names.append(name)
        at += 4
    for section in (1, 2, 3):
        for _ in range(counts[section]):
            name, at = read_name(msg, at)
            rtype, _, ttl, length = struct.unpack(">HHIH", msg[at : at + 10])
            at += 10
            data = msg[at : at + length].hex()
            if rtype == 1:
                data = socket.inet_ntoa(msg[at : at + 4])
            elif rtype == 12:
                data = read_name(msg, at)[0]
            elif rtype == 33:
                data = read_name(msg, at + 6)[0] + ":" + str(struct.unpack(">H", msg[at + 4 : at + 6])[0])
            records.append((section, name, rtype, ttl, data))
            at += length
    return names, records


sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
sock.setsockopt(socket.IPPROTO_IP, 12, 1)  # IP_RECVTTL
if mode != "--legacy":
    sock.bind(("", PORT))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + socket.inet_aton(own))
query = struct.pack(">HHHHHH", 7 if mode == "--legacy" else 0, 0, 1, 0, 0, 0) + wire(wanted) + struct.pack(">HH", kind, 1)
claim = struct.pack(">HHHHHH", 0, 0x8400, 0, 1, 0, 0) + wire(wanted) + struct.pack(">HHIH", 1, 0x8001, 120, 4) + b"\x0a\x63\0\x09"
sock.settimeout(1)
if mode == "--goodbye":
    print("listening", flush=True)
for _ in range(40):
    if mode == "--defend":
        sock.sendto(claim, (GROUP, PORT))
    elif mode != "--goodbye":
        sock.sendto(query, (GROUP, PORT))
    try:
        while True:
            msg, ancillary, _, sender = sock.recvmsg(9000, 100)
            ttl = [struct.unpack("i", data)[0] for _, what, data in ancillary if what == socket.IP_TTL]
            names, records = read(msg)
            if mode == "--defend" and wanted in names:
                sock.sendto(claim, (GROUP, PORT))
            if mode == "--goodbye" and any(r[1] == wanted and r[3] == 0 for r in records):
                print("goodbye", wanted)
                sys.exit(0)
            if mode in ("", "--legacy") and any(r[0] == 1 and r[1] == wanted and r[2] == kind for r in records):
                for section, name, rtype, _, data in records:
                    print("answer" if section == 1 else "extra", name, rtype, data, f"ttl={ttl[0]}", f"port={sender[1]}")
                sys.exit(0)
    except socket.timeout:
        pass
sys.exit(1)
