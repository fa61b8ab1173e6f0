#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Images for aarch64 boot on QEMU's machine virt: exit statuses, crash reports, the end, the network.

Everything is compiled here with Debian's cross compiler; objects go to the build folder. Machines run by TCG, with both
interrupt controllers, at both exception levels, as ELF file and as Linux image.
"""
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("MIRARI_BUILD") or os.environ.get("B", "build"))
CROSS = "aarch64-linux-gnu-"
QEMU = "qemu-system-aarch64"
WAIT_S = 60
MACHINES = {  # name -> QEMU's words
    "cortex-a72, GICv2": ["-M", "virt", "-cpu", "cortex-a72"],
    "max, GICv3": ["-M", "virt,gic-version=3", "-cpu", "max"],
    "cortex-a72, GICv2, started at EL2": ["-M", "virt,virtualization=on", "-cpu", "cortex-a72"],
    "max, GICv3, started at EL2": ["-M", "virt,gic-version=3,virtualization=on", "-cpu", "max"],
}
FIRST = MACHINES["cortex-a72, GICv2"]
SECOND = MACHINES["max, GICv3"]
count = failed = 0


def report(good, name, *notes):
    global count, failed
    count += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {count} - {name}")
    for note in notes if not good else ():
        print("\n".join("# " + line for line in str(note).splitlines()))
    sys.stdout.flush()
    return good


def skip_all(reason):
    print(f"1..0 # SKIP {reason}")
    sys.exit(0)


def run(*words, **more):
    return subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)


def make(*goals):
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")}
    return run("make", "-s", "-j2", "B=" + BUILD, *goals, env=env)


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


class Machine:
    """A running machine: its console is read as it comes."""

    def __init__(self, image, options="", machine=FIRST, memory=32, more=()):
        self.process = subprocess.Popen(
            [QEMU, *machine, "-accel", "tcg", "-m", str(memory), "-nodefaults", "-no-user-config", "-no-reboot",
             "-display", "none", "-serial", "stdio", "-semihosting-config", "enable=on,target=gdb", "-kernel", image,
             "-append", options, *more],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.text = ""
        self.end = time.monotonic() + WAIT_S

    def until(self, pattern):
        """Read until PATTERN comes; False if the machine ends or takes too long."""
        fd = self.process.stdout.fileno()
        while not re.search(pattern, self.text):
            left = self.end - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                return False
            data = os.read(fd, 65536)
            if not data:
                return False
            self.text += data.decode(errors="replace")
        return True

    def type(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def status(self):
        """All of the output; the exit status, or "timeout"."""
        if not self.until(r"\Z(?!)") and self.process.poll() is None and time.monotonic() > self.end:
            self.process.kill()
            self.process.wait()
            return "timeout"
        return self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


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
    quiet = Machine(image, "--times 1 --log info", machine=SECOND)
    status = quiet.status()
    report(status == 0 and "entropy=1" in quiet.text, "random numbers of the CPU are found", quiet.text)
    powered = subprocess.run([QEMU, *FIRST, "-accel", "tcg", "-m", "32", "-nodefaults", "-display", "none", "-no-reboot",
                              "-serial", "stdio", "-kernel", image, "-append", "--times 1"], timeout=WAIT_S,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    report(powered.returncode == 0 and "ended:" in powered.stdout, "without semihosting: power off", powered.stdout)


def test_end(image, out):
    machine = Machine(image, "--times 60", machine=SECOND)
    good = machine.until("Hello")
    machine.type(b"\x03")
    status = machine.status()
    report(good and status == 0 and "ended: 0." in machine.text, "Ctrl-C on the console ends it", status, machine.text)

    path = os.path.join(out, "monitor")
    machine = Machine(image, "--times 60", more=["-monitor", f"unix:{path},server=on,wait=off"])
    good = machine.until("Hello")
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect(path)
        monitor.sendall(b"system_powerdown\n")
        status = machine.status()
    report(good and status == 0 and "ended: " in machine.text, "the power button ends it", status, machine.text)


def test_crashes(image):
    crash = r"(?s)crash: {}.*\n.*pc [0-9a-f]+ .*#0 {}.*#\d+ mir__task_main\+"
    expect("an exit status comes through", image, "--status 7", 7, "ended:")
    expect("write to a small address", image, "--mode null", 70,
           crash.format("page fault, write to address 0x1008, in task main", r"crash\+|mir_app_main\+"))
    expect("call of a small address", image, "--mode call", 70,
           crash.format("page fault, call of address 0x1000, in task main", "0x1000"))
    expect("write to code", image, "--mode code", 70, r"crash: protection fault, write to address 0x[0-9a-f]+, in task")
    expect("call of data", image, "--mode data", 70, r"crash: protection fault, call of address 0x[0-9a-f]+, in task")
    expect("a stack without an end", image, "--mode stack", 70, r"(?s)crash: stack overflow in task main.*recurse\+",
           memory=128)
    expect("an assertion", image, "--mode assert", 70, r"(?s)assertion failed: zero == 1 \(0, 1\).*mir__assert_fail\+")
    expect("a buffer overrun", image, "--mode smash", 70, "a buffer on the stack was written beyond its end")
    places = set()
    for _ in range(3):
        machine = Machine(image, "--mode null", machine=SECOND)
        machine.status()
        places.update(re.findall(r" pc ([0-9a-f]+) ", machine.text))
    report(len(places) == 3, "the image is somewhere else at every boot", places)


def main():
    for tool in (QEMU, CROSS + "gcc"):
        if shutil.which(tool) is None:
            skip_all(f"{tool} is not installed")
    made = make("tool", "virt-aarch64")
    if not report(made.returncode == 0, "the libraries compile for aarch64", made.stdout):
        print("1..1")
        return 1
    with tempfile.TemporaryDirectory() as out:
        test_memory_functions(out)
        hello = compile_app("examples/hello", os.path.join(out, "hello"))
        crash = compile_app("test/boot/crash", os.path.join(out, "crash"))
        if hello:
            test_hello(hello, out)
            test_end(hello, out)
        if crash:
            test_crashes(crash)
    print(f"1..{count}")
    return failed > 0


sys.exit(main())
