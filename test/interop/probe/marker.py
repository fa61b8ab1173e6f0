#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A wire between two Ethernet interfaces that marks congestion: `marker.py A B N`.

Every N-th IPv4 packet that is ECN-capable leaves with CE. Prints how many were marked at SIGTERM.
"""
import select
import signal
import socket
import sys

marked = seen = 0


def done(*_):
    print("marked %d of %d" % (marked, seen), flush=True)
    sys.exit(0)


def mark(frame):
    frame = bytearray(frame)
    frame[15] |= 3
    frame[24:26] = b"\0\0"
    size = (frame[14] & 15) * 4
    total = sum(int.from_bytes(frame[at : at + 2], "big") for at in range(14, 14 + size, 2))
    total = (total & 0xFFFF) + (total >> 16)
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    frame[24:26] = total.to_bytes(2, "big")
    return frame


SO_RCVBUFFORCE = 33  # whatever the limit of this host: no frame may be lost here
signal.signal(signal.SIGTERM, done)
ends = []
for name in sys.argv[1:3]:
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    end.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    end.bind((name, 0))
    ends.append(end)
print("ready", flush=True)
while True:
    for end in select.select(ends, [], [])[0]:
        try:
            frame, where = end.recvfrom(65536)
        except OSError:
            done()
        if where[2] == socket.PACKET_OUTGOING:
            continue
        if frame[12:14] == b"\x08\0" and frame[15] & 3 in (1, 2):
            seen += 1
            if seen % int(sys.argv[3]) == 0:
                marked += 1
                frame = mark(frame)
        ends[1 - ends.index(end)].send(frame)
