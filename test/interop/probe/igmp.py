#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""A multicast querier on an interface: igmp.py INTERFACE ADDRESS GROUP VERSION SECONDS

Sends a general query of VERSION (0: none) with a delay of one second, then prints the first IGMP message about GROUP that
is heard within SECONDS: "v3 record=4 ttl=1 alert=yes", "v2 report ttl=1 alert=yes". After a query the news of a join,
which is told twice within a second of it (RFC 3376 section 5.1), is no answer and passed over.
"""
import socket
import struct
import sys
import time


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def ip_packet(source, payload):
    def header(check):
        return struct.pack("!BBHHHBBH4s4sI", 0x46, 0xC0, 24 + len(payload), 0, 0, 1, 2, check,
                           socket.inet_aton(source), socket.inet_aton("224.0.0.1"), 0x94040000)
    return header(checksum(header(0))) + payload


def query(version):
    tail = struct.pack("!BBH", 2, 125, 0) if version == 3 else b""
    def message(check):
        return struct.pack("!BBH4s", 0x11, 0 if version == 1 else 10, check, bytes(4)) + tail
    return message(checksum(message(0)))


def describe(packet, group):
    header = (packet[0] & 15) * 4
    alert = "yes" if packet[20:24] == b"\x94\x04\0\0" else "no"
    message = packet[header:struct.unpack("!H", packet[2:4])[0]]
    if checksum(message) != 0 or len(message) < 8:
        return "bad message"
    suffix = f"ttl={packet[8]} alert={alert}"
    if message[0] in (0x12, 0x16, 0x17) and message[4:8] == group:
        return f"v{1 if message[0] == 0x12 else 2} {'leave' if message[0] == 0x17 else 'report'} {suffix}"
    at = 8
    while message[0] == 0x22 and at + 8 <= len(message):
        sources = struct.unpack("!H", message[at + 2:at + 4])[0]
        if message[at + 4:at + 8] == group:
            return f"v3 record={message[at]} sources={sources} {suffix}"
        at += 8 + 4 * sources
    return None


def main():
    interface, source, group, version, seconds = sys.argv[1:]
    group = socket.inet_aton(group)
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    link.bind((interface, 0))
    link.settimeout(0.2)
    if int(version):
        frame = bytes.fromhex("01005e000001") + link.getsockname()[4] + b"\x08\0" + ip_packet(source, query(int(version)))
        link.send(frame)
    print("listening", flush=True)
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        try:
            frame, sender = link.recvfrom(2000)
        except TimeoutError:
            continue
        if sender[2] == socket.PACKET_OUTGOING or frame[12:14] != b"\x08\0" or frame[23] != 2:
            continue
        text = describe(frame[14:], group)
        if text and not (int(version) and text.startswith("v3 record=4")):
            print(text, flush=True)
            return 0
    return 1


sys.exit(main())
