#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Images for aarch64 boot on QEMU's machine virt: exit statuses, crash reports, the end, the network.

Everything is compiled here with Debian's cross compiler; objects go to the build folder. Machines run by TCG, with both
interrupt controllers, at both exception levels, as ELF file and as Linux image.
"""
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "harness"))
from boot import WAIT_S, Qemu, make, run, skip_all
from example import BUILD, ROOT, done, report

CROSS = "aarch64-linux-gnu-"
QEMU = "qemu-system-aarch64"
MACHINES = {  # name -> QEMU's words
    "cortex-a72, GICv2": ["-M", "virt", "-cpu", "cortex-a72"],
    "max, GICv3": ["-M", "virt,gic-version=3", "-cpu", "max"],
    "cortex-a72, GICv2, started at EL2": ["-M", "virt,virtualization=on", "-cpu", "cortex-a72"],
    "max, GICv3, started at EL2": ["-M", "virt,gic-version=3,virtualization=on", "-cpu", "max"],
}
FIRST = MACHINES["cortex-a72, GICv2"]
SECOND = MACHINES["max, GICv3"]
# ---- images ----------------------------------------------------------------------------------------------------------

LIBS = os.path.join(BUILD, "virt-aarch64")


def compile_app(folder, out, *link):
    """The image of the appliance in FOLDER; None and a failed test if that does not work."""
    name = os.path.basename(folder)
    made = run(os.path.join(BUILD, "mirari"), "configure", "-q", "-C", folder, "-o", out)
    words = [CROSS + "gcc", "-std=gnu11", "-O2", "-g", "-Wall", "-Werror", "-fPIE", "-ffreestanding", "-nostdinc",
             "-isystem", run(CROSS + "gcc", "-print-file-name=include").stdout.strip(), "-Iinclude",
             "-fstack-protector-strong", "-mstack-protector-guard=global", "-mno-outline-atomics",
             "-fno-omit-frame-pointer", "-ffunction-sections", "-fdata-sections", "-c"]
    objects = []
    for source in [os.path.join(out, "unix", "manifest.c"), os.path.join(ROOT, folder, "main.c")]:
        objects.append(os.path.join(out, os.path.basename(source) + ".o"))
        if made.returncode == 0:
            made = run(*words, "-o", objects[-1], source)
    image = os.path.join(out, name + ".img")
    if made.returncode == 0:
        made = run("tools/link-virt", "-a", "aarch64", "-p", CROSS, "-b", LIBS, "-m", "", "-o", image, *objects, *link)
    good = made.returncode == 0 and not made.stdout
    report(good, f"{name} compiles and links without a C library", made.stdout)
    return image if good else None


# ---- machines --------------------------------------------------------------------------------------------------------


class Machine(Qemu):
    """A machine with an exit status by semihosting."""

    def __init__(self, image, options="", machine=FIRST, memory=32, more=()):
        super().__init__([QEMU, *machine, "-m", str(memory), "-semihosting-config", "enable=on,target=gdb", "-kernel", image,
                          "-append", options, *more])

    def status(self):
        return self.finish()


def expect(name, image, options, status, pattern, **more):
    machine = Machine(image, options, **more)
    got = machine.status()
    good = got == status and re.search(pattern, machine.text) is not None
    report(good, name, f"status {got}, expected {status}; expected {pattern!r} in:", machine.text)


# ---- tests -----------------------------------------------------------------------------------------------------------


def test_memory_functions(out):
    obj, program = os.path.join(out, "mem.o"), os.path.join(out, "mem")
    names = [f"-D{name}=our_{name}" for name in ("memcpy", "memmove", "memset", "memcmp")]
    made = run(CROSS + "gcc", *names, "-c", "-o", obj, "target/virt/aarch64/mem.S")
    if made.returncode == 0:
        made = run(CROSS + "gcc", "-O2", "-static", "-I.", "-Iinclude", "-o", program, "test/boot/aarch64_mem.c",
                   "test/harness/tap.c", obj)
    if made.returncode == 0 and shutil.which("qemu-aarch64"):
        made = run("qemu-aarch64", program)
    report(made.returncode == 0, "memory functions", made.stdout)


def test_hello(image, out):
    for name, machine in MACHINES.items():
        expect(f"hello boots: {name}", image, '--times 1 --greeting "a b"', 0, r"(?m)^a b$", machine=machine)
    expect("hello boots with 8 MiB", image, "--times 1", 0, "Hello from Mirari", memory=8)
    expect("hello boots with 4 GiB", image, "--times 1", 0, "Hello from Mirari", memory=4096, machine=SECOND)
    linux = os.path.join(out, "hello.bin")
    made = run(CROSS + "objcopy", "-O", "binary", image, linux)
    report(made.returncode == 0, "an ELF file becomes a Linux image", made.stdout)
    expect("hello boots as a Linux image", linux, "--times 1", 0, "Hello from Mirari")
    expect("a wrong option is status 64", image, "--tmies 1", 64, "unknown option --tmies")
    expect("--help", image, "--help", 0, "--greeting")
    no_seed = ["-M", "virt,dtb-randomness=off", "-cpu"]
    for name, machine, found in (("of the CPU", no_seed + ["max"], "entropy=1"), ("of the loader", FIRST, "entropy=1"),
                                 ("that are not there", no_seed + ["cortex-a72"], "entropy=0")):
        expect(f"random numbers {name}", image, "--times 1 --log target=info", 0, found, machine=machine)
    powered = subprocess.run([QEMU, *FIRST, "-accel", "tcg", "-m", "32", "-nodefaults", "-display", "none", "-no-reboot",
                              "-serial", "stdio", "-kernel", image, "-append", "--times 1"], timeout=WAIT_S,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    report(powered.returncode == 0 and "ended:" in powered.stdout, "without semihosting: power off", powered.stdout)


def test_end(faults, out):
    expect("an exit status comes through", faults, "--status 17", 17, "ended:")
    for name, machine in (("GICv2", FIRST), ("GICv3", SECOND)):
        m = Machine(faults, "--mode idle", machine=machine)
        good = m.until("ready")
        m.type(b"noise\x03")
        status = m.status()
        report(good and status == 0 and "asked" in m.text, f"Ctrl-C on the console asks for the end, {name}", status, m.text)
        path = os.path.join(out, "monitor")
        m = Machine(faults, "--mode idle", machine=machine, more=["-monitor", f"unix:{path},server=on,wait=off"])
        good = m.until("ready")
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(path)
            monitor.sendall(b"system_powerdown\n")
            status = m.status()
        report(good and status == 0 and "asked" in m.text, f"the power button asks for the end, {name}", status, m.text)
    m = Machine(faults, "--mode stubborn")
    good = m.until("ready")
    m.type(b"\x03")
    good = good and m.until("asked")
    m.type(b"\x03")
    status = m.status()
    report(good and status == 75, "Ctrl-C twice forces the end", status, m.text)


def test_crashes(faults):
    chain = r"\nmirari:   pc [0-9a-f]+ .*#\d+ mir_app_main\+0x.*#\d+ mir__task_main\+0x"
    for mode, pattern in {
            "read": r"page fault, read of address 0x10, in task main" + chain,
            "write": r"page fault, write to address 0x10, in task main" + chain,
            "call": r"page fault, call of address 0x0, in task main" + chain,
            "code": r"protection fault, write to address 0x[0-9a-f]+, in task main" + chain,
            "data": r"protection fault, call of address 0x[0-9a-f]+, in task main" + chain,
            "stack": r"stack overflow in task main\n.*#0 recurse\+0x.*#1 recurse\+0x",
            "invalid": r"trap instruction in task main" + chain,
            "smash": r"a buffer on the stack was written beyond its end\n.*#\d overrun\+0x",
            "assert": r"main\.c:\d+: assertion failed: zero == 1 \(0, 1\)\n.*#\d+ mir_app_main\+0x"}.items():
        expect(f"crash: {mode}", faults, f"--mode {mode}", 70, "(?s)" + pattern)
    expect("crash with GICv3: write", faults, "--mode write", 70, "(?s)page fault, write to address 0x10" + ".*" + chain,
           machine=SECOND)
    places = set()
    for _ in range(3):
        machine = Machine(faults, "--mode read", machine=SECOND)
        machine.status()
        places.update(re.findall(r" pc ([0-9a-f]+) sp ([0-9a-f]+) ", machine.text))
    report(len({pc for pc, _ in places}) == 3, "code is elsewhere after every boot", places)


def test_memory(faults):
    for mode in ("deep", "burst", "aligned", "tasks"):
        expect(f"stacks that grow, with 8 MiB: {mode}", faults, f"--mode {mode}", 0, "ended:", memory=8)


def test_time(faults):
    machine = Machine(faults, "--mode clock", more=["-rtc", "base=2031-02-03T04:05:06"])
    machine.status()
    said = re.search(r"wall (\d+) slept (\d+)", machine.text)
    want = 1927857906  # date -u -d '2031-02-03 04:05:06' +%s
    report(said is not None and want - 1 <= int(said[1]) <= want + WAIT_S and 300000 <= int(said[2]) < 5000000,
           "wall clock and sleep", machine.text)
    machine = Machine(faults, "--mode idle")
    machine.until("ready")
    for _ in range(3):  # QEMU's own start may last into the first seconds
        used, began = machine.cpu_s(), time.monotonic()
        time.sleep(3)
        share = (machine.cpu_s() - used) / (time.monotonic() - began)
        if share <= 0.01:
            break
    machine.type(b"\x03")
    report(machine.status() == 0 and share <= 0.01, f"idle: {100 * share:.2f} % of a core, 1 % at most", machine.text)


def test_packed(out):
    """The form that unpacks itself: on the same machines, and anywhere in memory."""
    made = run(os.path.join(BUILD, "mirari"), "build", "-q", "-t", "virt", "--arch", "aarch64", "-C", "examples/hello", "-o",
               out)
    if not report(made.returncode == 0, "hello is built by the tool", made.stdout):
        return
    image = os.path.join(out, "virt-aarch64", "hello.packed")
    size = os.path.getsize(image)
    report(size <= 48 * 1024, f"hello packed has {size} bytes, 48 KiB at most")
    for name, machine in MACHINES.items():
        expect(f"hello packed boots: {name}", image, '--times 1 --greeting "a b"', 0, r"(?m)^a b$", machine=machine)
    expect("hello packed boots with 8 MiB", image, "--times 1", 0, "Hello from Mirari", memory=8)
    linux = os.path.join(out, "hello.bin")
    made = run(CROSS + "objcopy", "-O", "binary", image, linux)
    report(made.returncode == 0, "a packed image becomes a Linux image", made.stdout)
    expect("hello packed boots as a Linux image", linux, "--times 1", 0, "Hello from Mirari")


def test_semihosting(image, out):
    """The interface that takes the exit status gives a guest nothing else of the host."""
    secret, made = os.path.join(out, "secret"), os.path.join(out, "made")
    with open(secret, "w", encoding="ascii") as file:
        file.write("top secret")
    machine = Machine(image, f'--file {secret} --command "touch {made}"')
    status = machine.status()
    report(status == 3 and 'read: ""' in machine.text and os.path.exists(secret) and not os.path.exists(made),
           "a guest reaches no files and no commands of the host", status, machine.text)


def test_libc(out):
    """musl, taken out of Debian's package for aarch64."""
    name = "functions of musl in an image"
    made = make("musl-aarch64")
    if made.returncode != 0:
        report(True, f"# SKIP {name}: {made.stdout.strip().splitlines()[-1]}")
        return
    made = run(os.path.join(BUILD, "mirari"), "build", "-q", "-t", "virt", "--arch", "aarch64", "-C", "test/boot/libc", "-o",
               out)
    if made.returncode != 0:
        report(False, name, made.stdout)
        return
    line = r'(?m)^1359 1\.500 "No such file or directory" 42 9223372036854775807 1 Q$'
    expect(name, os.path.join(out, "virt-aarch64", "libc"), "", 0, line)


# ---- networks --------------------------------------------------------------------------------------------------------

MODERN = ["-global", "virtio-mmio.force-legacy=false"]
ON_MMIO = ["-device", "virtio-net-device,netdev=n0", "-device", "virtio-rng-device"]
NETWORKS = {  # name -> machine, devices, where the appliance finds it
    "virtio-mmio": (SECOND, MODERN + ON_MMIO, "mmio 0xa"),
    "virtio-mmio, legacy": (FIRST, ON_MMIO, "mmio 0xa"),
    "PCI, messages by GICv2m": (FIRST, ["-device", "virtio-net-pci,netdev=n0,romfile=", "-device", "virtio-rng-pci"], "pci"),
    "PCI, lines of GICv3": (SECOND, ["-device", "virtio-net-pci,netdev=n0,romfile=", "-device", "virtio-rng-pci"], "pci"),
    "PCI, transitional by ports": (FIRST, ["-device", "virtio-net-pci,netdev=n0,romfile=,disable-modern=on,vectors=0",
                                           "-device", "virtio-rng-pci"], "pci"),
}


def echo(port, data):
    """What comes back of DATA, over TCP."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as conn:
        sender = threading.Thread(target=lambda: (conn.sendall(data), conn.shutdown(socket.SHUT_WR)))
        sender.start()
        while piece := conn.recv(65536):
            got += piece
        sender.join()
    return got


def test_networks(image):
    data = bytes(i * 7 + (i >> 8) & 255 for i in range(300000))
    for name, (machine, devices, place) in NETWORKS.items():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        net = ["-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{port}-:7,hostfwd=udp:127.0.0.1:{port}-:7"]
        m = Machine(image, "--ip 10.0.2.15/24 --gateway 10.0.2.2", machine=machine, more=net + devices)
        good, got, datagram = m.until("(?m)^echo on port"), b"", b""
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(WAIT_S)
                sock.sendto(b"who is there", ("127.0.0.1", port))
                datagram = sock.recv(100)
            got = echo(port, data)
        except OSError as error:
            m.text += str(error)
        m.type(b"\x03")
        status = m.status()
        report(good and status == 0 and place in m.text and got == data and datagram == b"who is there",
               f"echo over {name}", f"{len(got)} bytes, status {status}", m.text)


def main():
    for tool in (QEMU, CROSS + "gcc"):
        if shutil.which(tool) is None:
            skip_all(f"{tool} is not installed")
    made = make("tool", "virt-aarch64")
    if not report(made.returncode == 0, "the libraries compile for aarch64", made.stdout):
        return done()
    with tempfile.TemporaryDirectory() as out:
        test_memory_functions(out)
        hello = compile_app("examples/hello", os.path.join(out, "hello"))
        faults = compile_app("test/boot/faults", os.path.join(out, "faults"))
        echo_image = compile_app("examples/echo", os.path.join(out, "echo"), "-Wl,-u,mir__devices")
        if hello:
            test_hello(hello, out)
        if faults:
            test_end(faults, out)
            test_crashes(faults)
            test_memory(faults)
            test_time(faults)
        semihosting = compile_app("test/boot/semihosting", os.path.join(out, "semihosting"))
        if semihosting:
            test_semihosting(semihosting, out)
        test_packed(os.path.join(out, "packed"))
        test_libc(os.path.join(out, "libc"))
        if echo_image:
            expect("a network without random numbers is refused", echo_image, "--ip 10.0.2.15/24", 69, "no random numbers",
                   machine=["-M", "virt,dtb-randomness=off", "-cpu", "cortex-a72"],
                   more=["-netdev", "user,id=n0", "-device", "virtio-net-device,netdev=n0"])
            test_networks(echo_image)
    return done()


sys.exit(main())
