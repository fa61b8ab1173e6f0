#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Virtio devices of QEMU: network on a tap, disks, random numbers, console; every transport QEMU has.

Machines run by TCG in a network namespace of the test's own. On the network: ping, bulk both ways with what came back
compared, 64 KiB frames in both directions counted, link down and up, announcement, filter and MAC. Disks: raw and qcow2,
512 and 4,096 bytes to a block, read-only; what the appliance has written is read on the host.
"""
import os
import re
import shutil
import socket
import struct
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "harness"))
from boot import Qemu, make, run, skip_all
from example import BUILD, ROOT, done, report

QEMU = "qemu-system-x86_64"
NS = f"mirvirtio{os.getpid()}"
MICROVM = ["-M", "microvm,rtc=on", "-global", "virtio-mmio.force-legacy=false"]
OLD = "disable-modern=on,disable-legacy=off"
# name -> machine, network device. Each boots and echoes; microvm and q35 carry the longer tests.
MACHINES = {
    "microvm": (MICROVM, "virtio-net-device"),
    "microvm, legacy registers": (["-M", "microvm,rtc=on"], "virtio-net-device"),
    "microvm, nothing negotiated": (MICROVM, "virtio-net-device,mrg_rxbuf=off,event_idx=off,indirect_desc=off,csum=off,"
                                             "guest_csum=off,ctrl_vq=off,status=off"),
    "q35": (["-M", "q35"], "virtio-net-pci,romfile="),
    "microvm with PCI, no firmware for it": (["-M", "microvm,rtc=on,pcie=on"], "virtio-net-pci,romfile="),
    "q35, lines": (["-M", "q35"], "virtio-net-pci,romfile=,vectors=0"),
    "q35, through an IOMMU": (["-M", "q35,kernel-irqchip=split", "-device", "intel-iommu,device-iotlb=on"],
                              "virtio-net-pci,romfile=,disable-legacy=on,iommu_platform=on,ats=on"),
    "microvm without ACPI": (["-M", "microvm,acpi=off,rtc=on,pit=on,pic=on"], "virtio-net-device"),
    "q35, behind a bridge, two pairs": (["-M", "q35", "-device", "pcie-root-port,id=rp,chassis=1"],
                                        "virtio-net-pci,romfile=,bus=rp,mq=on,vectors=6,host_mtu=1400"),
    "pc, legacy registers": (["-M", "pc"], "virtio-net-pci,romfile=," + OLD),
    "pc, legacy registers, lines": (["-M", "pc"], "virtio-net-pci,romfile=,vectors=0," + OLD),
}
# ---- images ----------------------------------------------------------------------------------------------------------

def image_of(folder, out):
    """The image of the appliance in FOLDER, or None."""
    name = os.path.basename(folder)
    made = run(os.path.join(BUILD, "mirari"), "build", "-q", "-t", "virt", "-C", folder, "-o", out)
    return os.path.join(out, "virt", name) if report(made.returncode == 0, f"{name} is built", made.stdout) else None


# ---- machines --------------------------------------------------------------------------------------------------------

class Machine(Qemu):
    """A machine in the namespace of the test, with a control socket."""

    def __init__(self, image, words, options, folder, memory=32, cpu="max"):
        super().__init__([QEMU, *words, "-cpu", cpu, "-m", str(memory), "-device", "isa-debug-exit,iobase=0x501,iosize=2", "-kernel",
                          image, "-append", options],
                         enter=["ip", "netns", "exec", NS], control=os.path.join(folder, "control"))

    def status(self):
        """The appliance's exit status; None: it did not end."""
        status = self.finish()
        return None if status is None else status >> 1

    def ask_end(self):
        """As Ctrl-C on the console does."""
        self.type(b"\3")
        return self.status()


# ---- network ---------------------------------------------------------------------------------------------------------

def in_namespace(function):
    """FUNCTION's result, from a thread that is in the namespace."""
    result = []

    def enter():
        with open(f"/run/netns/{NS}") as ns:
            import ctypes
            if ctypes.CDLL(None, use_errno=True).setns(ns.fileno(), 0x40000000) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        result.append(function())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    return result[0] if result else None


def echo(size):
    """Sends SIZE bytes to the echo appliance; True if they all came back as they were."""
    block = bytes(range(256)) * 256
    link = socket.create_connection(("10.9.0.2", 7), timeout=60)

    def send():
        for _ in range(size // len(block)):
            link.sendall(block)
        link.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    got, good = 0, True
    while True:
        data = link.recv(1 << 18)
        if not data:
            break
        at = got % 256
        good = good and data == (block * (len(data) // len(block) + 2))[at:at + len(data)]
        got += len(data)
    return good and got == size


def net_words(name):
    words, device = MACHINES[name]
    return words + ["-netdev", "tap,id=net0,ifname=tap0,script=no,downscript=no", "-device",
                    f"{device},netdev=net0,mac=02:00:00:00:00:07"]


OPTIONS = "--ip 10.9.0.2/24 --gateway 10.9.0.1 --ip6 off"


def frames(text):
    """Average length of frames in and out, and what was dropped, of the last line."""
    found = re.search(r"in (\d+) frames (\d+) bytes, out (\d+) frames (\d+) bytes, dropped (\d+)", text)
    numbers = [int(n) for n in found.groups()] if found else [1, 0, 1, 0, -1]
    return numbers[1] // max(numbers[0], 1), numbers[3] // max(numbers[2], 1), numbers[4]


def test_echo(image, name, folder, size):
    machine = Machine(image, net_words(name), OPTIONS + " --log info", folder)
    good = machine.until("echo on port 7") and in_namespace(lambda: echo(size))
    status = machine.ask_end()
    report(good and status == 0, f"{name}: {size >> 20} MiB there and back, and a clean end", status, machine.text)
    return machine.text


def hear_announcement(machine):
    """An ARP of the appliance about itself, after QEMU's announce-self."""
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
    link.bind(("tap0", 0x0806))
    link.settimeout(10)
    machine.qmp("announce-self", initial=50, max=550, rounds=5, step=50)
    try:
        while True:
            frame = link.recv(2048)
            if frame[6:12] == b"\2\0\0\0\0\7" and frame[28:32] == frame[38:42] == b"\x0a\x09\0\2":
                return True
    except OSError:
        return False


def test_control(image, name, folder):
    machine = Machine(image, net_words(name), OPTIONS + " --mac 02:00:00:00:00:08 --log info", folder)
    good = machine.until("echo on port 7") and in_namespace(lambda: echo(1 << 20))
    report(good, f"{name}: a MAC address of its own choice", machine.text)
    rules = machine.qmp("query-rx-filter")[0]
    report(rules["main-mac"] == "02:00:00:00:00:08" and not rules["promiscuous"] and rules["multicast"] == "all",
           f"{name}: the device filters for it", rules)
    machine.qmp("set_link", name="net0", up=False)
    down = machine.until("link interface=1 up=0")
    machine.text = machine.text.replace("up=1", "")
    machine.qmp("set_link", name="net0", up=True)
    up = machine.until("link interface=1 up=1")
    report(down and up and in_namespace(lambda: echo(1 << 20)), f"{name}: the link goes down and up", machine.text)
    result = []
    load = threading.Thread(target=lambda: result.append(in_namespace(lambda: echo(16 << 20))))
    load.start()
    for turn in range(10):
        machine.qmp("set_link", name="net0", up=turn % 2 == 1)
        time.sleep(0.05)
    load.join()
    report(result == [True], f"{name}: a link that flaps under load: every byte comes back", machine.text)
    status = machine.ask_end()
    report(status == 0, f"{name}: a clean end", status, machine.text)
    machine = Machine(image, net_words(name), OPTIONS, folder)
    heard = machine.until("echo on port 7") and in_namespace(lambda: hear_announcement(machine))
    report(heard, f"{name}: an announcement is made when the host asks for one", machine.text)
    machine.stop()


def test_net(folder):
    image = image_of("examples/echo", os.path.join(folder, "echo"))
    if image is None:
        return
    for name in MACHINES:
        is_long = name in ("microvm", "q35")
        text = test_echo(image, name, folder, (64 if is_long else 2) << 20)
        if is_long:
            length_in, length_out, dropped = frames(text)
            large = re.search(r"rx_large=(\d+) tx_large=(\d+).* resets=0 faults=0", text)
            good = large is not None and min(int(n) for n in large.groups()) > 500
            report(good and length_in > 8000 and length_out > 8000 and dropped == 0,
                   f"{name}: frames of up to 64 KiB in both directions",
                   f"{length_in} bytes in, {length_out} out on average, {dropped} dropped", text)
    for name in ("microvm", "q35"):
        test_control(image, name, folder)
    machine = Machine(image, net_words("microvm"), OPTIONS, folder, memory=8)
    good = machine.until("echo on port 7") and in_namespace(lambda: echo(8 << 20))
    report(good, "microvm with 8 MiB of memory: 8 MiB there and back", machine.text)
    pings = run("ip", "netns", "exec", NS, "ping", "-q", "-c", "50", "-i", "0.01", "-s", "1400", "10.9.0.2")
    report(" 0% packet loss" in pings.stdout, "ping", pings.stdout)
    machine.stop()


def test_website(folder):
    image = image_of("examples/website", os.path.join(folder, "website"))
    if image is None or shutil.which("curl") is None:
        return
    enter = ["ip", "netns", "exec", NS]
    with open(os.path.join(ROOT, "examples/website/site/index.html")) as file:
        page = file.read()
    for name in ("microvm", "q35"):
        machine = Machine(image, net_words(name), OPTIONS, folder, memory=16)
        ready = machine.until("net: ")
        got = run(*enter, "curl", "-s", "-m", "20", "--retry", "10", "--retry-connrefused", "http://10.9.0.2/")
        report(ready and got.stdout == page, f"{name}: the website appliance, a page as it is in its folder",
               got.stdout[:200], machine.text)
        if shutil.which("wrk") is not None:
            wrk = run(*enter, "wrk", "-t1", "-c16", "-d2", "--timeout", "30s", "http://10.9.0.2/")
            rate = re.search(r"Requests/sec: *([0-9.]+)", wrk.stdout)
            good = rate is not None and float(rate[1]) > 10 and "Non-2xx" not in wrk.stdout
            report(good and "Socket errors" not in wrk.stdout, f"{name}: two seconds of requests on 16 connections",
                   wrk.stdout)
            print(f"# requests_per_second {rate[1] if rate else 0}")
        report(machine.ask_end() == 0, f"{name}: the website ends cleanly", machine.text)


# ---- disks, random numbers, console ----------------------------------------------------------------------------------

PIECES, PIECE = 64, 65536


def is_written(path, number):
    """Is it the pattern of disk NUMBER (test/boot/disk), pieces 1 and 2 wiped?"""
    with open(path, "rb") as file:
        data = file.read(PIECES * PIECE)
    for piece in range(PIECES):
        words = struct.pack("<8192Q", *(number << 56 | piece << 32 | w for w in range(8192)))
        expected = bytes(PIECE) if piece in (1, 2) else words
        if data[piece * PIECE:(piece + 1) * PIECE] != expected:
            return False
    return True


def disk_words(folder, machine, devices):
    words = list(machine)
    for number, (kind, device, is_readonly) in enumerate(devices):
        path = os.path.join(folder, f"disk{number}.{kind}")
        if not is_readonly:
            run("qemu-img", "create", "-q", "-f", kind, path, "16M")
        words += ["-drive", f"if=none,id=d{number},format={kind},discard=unmap,file={path}"
                  + (",readonly=on" if is_readonly else ""), "-device", f"{device},drive=d{number}"]
    return words


def raw_of(folder, number, kind):
    path = os.path.join(folder, f"disk{number}.{kind}")
    if kind == "raw":
        return path
    run("qemu-img", "convert", "-O", "raw", path, path + ".raw")
    return path + ".raw"


def test_disks(image, folder, name, machine, net, devices):
    words = disk_words(folder, machine, devices) + ["-netdev", "hubport,id=net0,hubid=0", "-device", f"{net},netdev=net0"]
    vm = Machine(image, words, f"--ip 10.9.0.2/24 --ip6 off --pieces {PIECES}", folder)
    status = vm.status()
    good = status == 0 and f"{len(devices)} disks" in vm.text and vm.text.count(" 0 wrong pieces") == len(devices)
    report(good, f"{name}: patterns are written by several tasks at once, flushed, read back", status, vm.text)
    wrong = [number for number, (kind, _, _) in enumerate(devices) if not is_written(raw_of(folder, number, kind), number)]
    report(not wrong, f"{name}: the host finds them in the files, wiped pieces as zeroes", f"wrong: {wrong}", vm.text)


def test_all_disks(folder):
    image = image_of("test/boot/disk", os.path.join(folder, "disk"))
    if image is None:
        return
    if shutil.which("qemu-img") is None:
        report(True, "disks # SKIP no qemu-img")
        return
    big = "logical_block_size=4096,physical_block_size=4096"
    test_disks(image, folder, "microvm", MICROVM, "virtio-net-device,bus=virtio-mmio-bus.0",
               [("raw", "virtio-blk-device,bus=virtio-mmio-bus.1", False),
                ("qcow2", f"virtio-blk-device,bus=virtio-mmio-bus.2,{big}", False)])
    # The same disks once more, the second one read-only now.
    test_disks(image, folder, "q35", ["-M", "q35"], "virtio-net-pci,romfile=",
               [("raw", "virtio-blk-pci", False), ("qcow2", f"virtio-blk-pci,{OLD},{big}", True)])
    test_disks(image, folder, "pc, without tables or event indices", ["-M", "pc"], "virtio-net-pci,romfile=",
               [("qcow2", f"virtio-blk-pci,{OLD},vectors=0,indirect_desc=off,event_idx=off,queue-size=32", False)])


def test_rng_and_console(folder):
    image = os.path.join(folder, "echo", "virt", "echo")
    if not os.path.exists(image):
        return
    words, path, cpu = net_words("microvm"), os.path.join(folder, "console"), "max,-rdrand,-rdseed"
    machine = Machine(image, words, OPTIONS, folder, cpu=cpu)
    status = machine.status()
    report(status == 69 and "no random numbers" in machine.text, "no network without random numbers", status,
           machine.text)
    rng = ["-object", "rng-builtin,id=random", "-device", "virtio-rng-device,rng=random"]
    console = ["-chardev", f"file,id=c,path={path}", "-device", "virtio-serial-device", "-device", "virtconsole,chardev=c"]
    machine = Machine(image, words + rng + console, OPTIONS + " --log info", folder, cpu=cpu)
    good = machine.until("entropy=1") and machine.until("link interface=1 up=1") and in_namespace(lambda: echo(1 << 20))
    status = machine.ask_end()
    report(good and status == 0, "an entropy device is used", status, machine.text)
    with open(path) as file:
        text = file.read()
    report("echo on port 7" in text and "echo on port 7" not in machine.text,
           "what the appliance says goes to the virtio console", text, machine.text)


# ---- main ------------------------------------------------------------------------------------------------------------

def main():
    if os.uname().machine != "x86_64":
        skip_all("images for this machine are tested elsewhere")
    for tool in (QEMU, "ip"):
        if shutil.which(tool) is None:
            skip_all(f"no {tool}")
    if os.geteuid() != 0 or run("ip", "netns", "add", NS).returncode != 0:
        skip_all("needs root: no network namespace")
    folder = tempfile.mkdtemp(prefix="mir-virtio-")
    try:
        enter = ["ip", "netns", "exec", NS]
        made = run(*enter, "sh", "-ec", "ip link set lo up; ip tuntap add tap0 mode tap vnet_hdr; "
                   "echo 1 > /proc/sys/net/ipv6/conf/tap0/disable_ipv6; ip addr add 10.9.0.1/24 dev tap0; "
                   "ip link set tap0 up")
        if made.returncode != 0:
            skip_all("this host gives no tap: " + made.stdout.strip())
        made = make("virt", "tool", "site")
        if report(made.returncode == 0, "the libraries of target virt", made.stdout):
            test_net(folder)
            test_website(folder)
            test_all_disks(folder)
            test_rng_and_console(folder)
    finally:
        run("ip", "netns", "delete", NS)
        shutil.rmtree(folder, ignore_errors=True)
    return done()


sys.exit(main())
