#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The shared object for packetdrill, driven through its table of functions; needs no root.

A connection is opened packet by packet, in virtual time. Where the public program is installed, it
runs some of our scripts too.
"""
import ctypes
import os
import shutil
import socket
import struct
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "harness"))
from tap import done, ok as check  # noqa: E402

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("MIRARI_BUILD", "build")
SO = os.path.abspath(os.path.join(ROOT, BUILD, "mirari-packetdrill.so"))
NAMES = """userdata free socket bind listen accept connect read readv recv recvfrom recvmsg write writev send
sendto sendmsg fcntl ioctl close shutdown getsockopt setsockopt poll netdev_send netdev_receive usleep
gettimeofday epoll_create epoll_ctl epoll_wait pipe splice""".split()
LOCAL, REMOTE = socket.inet_aton("192.168.0.1"), socket.inet_aton("192.0.2.1")


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def segment(flags, seq, ack):
    tcp = struct.pack(">HHIIBBHHH", 40000, 8080, seq, ack, 5 << 4, flags, 65535, 0, 0)
    pseudo = REMOTE + LOCAL + struct.pack(">BBH", 0, 6, len(tcp))
    tcp = tcp[:16] + struct.pack(">H", checksum(pseudo + tcp)) + tcp[18:]
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, REMOTE, LOCAL)
    return ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:] + tcp


class Host:
    def __init__(self, flags):
        library = ctypes.CDLL(SO)
        self.table = (ctypes.c_void_p * len(NAMES))()
        library.packetdrill_interface_init(flags, ctypes.byref(self.table))

    def call(self, name, *args):
        kind = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p, *[type(a) for a in args])
        return ctypes.c_int(kind(self.table[NAMES.index(name)])(self.table[0], *args)).value

    def now_us(self):
        tv = (ctypes.c_long * 2)()
        self.call("gettimeofday", ctypes.c_void_p(ctypes.addressof(tv)), ctypes.c_void_p(0))
        return tv[0] * 1000000 + tv[1]

    def inject(self, packet):
        return self.call("netdev_send", ctypes.c_char_p(packet), ctypes.c_size_t(len(packet)))

    def receive(self):
        data = ctypes.create_string_buffer(65536)
        size, at_us = ctypes.c_size_t(65536), ctypes.c_longlong(0)
        self.call("netdev_receive", data, ctypes.c_void_p(ctypes.addressof(size)),
                  ctypes.c_void_p(ctypes.addressof(at_us)))
        return data.raw[:size.value], at_us.value


def main():
    if not os.path.exists(SO):
        made = subprocess.run(["make", "-s", "-C", ROOT, f"B={BUILD}", "packetdrill-so"], capture_output=True, text=True)
        if not check(made.returncode == 0, "make packetdrill-so", made.stderr):
            done()
    host = Host(b"seed=1")
    integer = ctypes.c_int
    fd = host.call("socket", integer(socket.AF_INET), integer(socket.SOCK_STREAM), integer(socket.IPPROTO_TCP))
    addr = struct.pack("=H", socket.AF_INET) + struct.pack(">H", 8080) + LOCAL + b"\0" * 8
    ok = host.call("bind", integer(fd), ctypes.c_char_p(addr), integer(16)) == 0
    check(fd >= 0 and ok and host.call("listen", integer(fd), integer(1)) == 0, "socket, bind, listen")
    before = host.now_us()
    host.call("usleep", ctypes.c_uint(3000000))
    passed = host.now_us() - before
    check(3000000 <= passed < 3000010, "three seconds pass at once")
    ok = host.inject(segment(2, 1000, 0)) == 0
    packet, _ = host.receive()
    got = struct.unpack(">IIBB", packet[24:34]) if len(packet) >= 40 else (0, 0, 0, 0)
    check(ok and got[1] == 1001 and got[3] == 0x12, "a SYN is answered, without an Ethernet header")
    isn = got[0]
    _, again_us = host.receive()
    check(900000 < again_us - before - 3000000 < 1100000, "... and a second later again: time moves until a packet leaves")
    host.inject(segment(0x10, 1001, isn + 1))
    size = (ctypes.c_uint * 1)(16)
    peer = ctypes.create_string_buffer(16)
    child = host.call("accept", integer(fd), peer, ctypes.c_void_p(ctypes.addressof(size)))
    check(child > fd and peer.raw[4:8] == REMOTE, "accept gives the connection and its peer")
    n = host.call("write", integer(child), ctypes.c_char_p(b"x" * 300), ctypes.c_size_t(300))
    packet, _ = host.receive()
    check(n == 300 and packet[40:] == b"x" * 300, "what is written leaves")
    host.call("free")
    if shutil.which("packetdrill") is None:
        check(True, "the public program runs our scripts # SKIP packetdrill is not installed")
        done()
    command = ["packetdrill", f"--so_filename={SO}", "--local_ip=192.168.0.1", "--gateway_ip=192.168.0.2",
               "--netmask_ip=255.255.0.0"]
    for script in ("nagle", "socket-poll", "socket-blocking", "sack-receive", "close-simultaneous", "reset-exact"):
        run = subprocess.run(command + [f"{ROOT}/test/packetdrill/{script}.pkt"], capture_output=True, text=True)
        check(run.returncode == 0, f"the public program: {script}", run.stderr)
    done()


main()
