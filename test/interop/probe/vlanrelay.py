#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""A VLAN of a tap for hosts whose kernel has none: vlanrelay.py TAP ID NEW

Makes the tap NEW and joins it to VLAN ID of the interface TAP: frames from NEW get the tag on their way to TAP, frames
with the tag from TAP lose it. What comes without the tag is counted; each such frame prints "foreign".
"""
import fcntl
import select
import socket
import struct
import sys

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 2, 0x1000
SOL_PACKET, PACKET_AUXDATA, VLAN_VALID = 263, 8, 0x10
SO_RCVBUFFORCE = 33


def main():
    tap, vlan, new = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    inner = open("/dev/net/tun", "r+b", buffering=0)
    fcntl.ioctl(inner, TUNSETIFF, struct.pack("16sH", new.encode(), IFF_TAP | IFF_NO_PI))
    outer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    outer.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    outer.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    outer.bind((tap, 0))
    print("ready", flush=True)
    while True:
        for ready in select.select([inner, outer], [], [])[0]:
            if ready is inner:
                frame = inner.read(70000)
                outer.send(frame[:12] + struct.pack("!HH", 0x8100, vlan) + frame[12:])
                continue
            frame, aux, _, sender = outer.recvmsg(70000, 256)
            if sender[2] == socket.PACKET_OUTGOING:
                continue
            # The kernel takes the tag out of the frame and tells it beside.
            tci = None
            for level, kind, data in aux:
                if level == SOL_PACKET and kind == PACKET_AUXDATA:
                    status, _, _, _, _, value, _ = struct.unpack("IIIHHHH", data[:20])
                    tci = value if status & VLAN_VALID else None
            if tci is None or tci & 0xFFF != vlan:
                print("foreign", flush=True)
                continue
            try:
                inner.write(frame)
            except OSError:
                pass  # the other end is not up yet


main()
