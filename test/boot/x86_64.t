#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Images for x86-64 boot on microvm, q35 and pc: statuses, crash reports, the end, memory, time, sleep.

The images are compiled here; QEMU runs them by TCG, so no machine lacks what is tested. Sleeping is measured on QEMU's own
CPU time.
"""
import os
import re
import shutil
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "harness"))
import boot as harness
from boot import WAIT_S, Qemu, make, skip_all
from example import BUILD, ROOT, done, report

MUSL = "/usr/include/x86_64-linux-musl"
QEMU = "qemu-system-x86_64"
MACHINES = ("microvm", "q35", "pc")
OUT = os.path.join(BUILD, "boot")
STATUS = ["-device", "isa-debug-exit,iobase=0x501,iosize=2"]
USAGE, UNAVAILABLE, CRASH, FORCED = 64, 69, 70, 75


def run(*words):
    """The output of a command that must succeed."""
    made = harness.run(*words)
    if made.returncode != 0:
        report(False, "command: " + " ".join(words), made.stdout)
        sys.exit(done())
    return made.stdout


# ---- images ----------------------------------------------------------------------------------------------------------

def build(folder):
    """The image of the appliance in FOLDER, which has one source."""
    name = os.path.basename(folder)
    image = os.path.join(OUT, name)
    run(os.path.join(BUILD, "mirari"), "configure", "-q", "-C", folder, "-o", os.path.join(OUT, name + ".out"))
    objects = []
    for source in (os.path.join(folder, "main.c"), os.path.join(OUT, name + ".out", "unix", "manifest.c")):
        objects.append(os.path.join(OUT, f"{name}-{os.path.basename(source)}.o"))
        include = run("gcc", "-print-file-name=include").strip()
        run("gcc", "-std=gnu11", "-O2", "-g", "-fPIE", "-ffreestanding", "-nostdinc", "-isystem", include, "-isystem", MUSL,
            "-Iinclude", "-fstack-protector-strong", "-fno-omit-frame-pointer", "-ffunction-sections", "-fdata-sections",
            "-mno-red-zone", "-fcf-protection=none", "-c", "-o", objects[-1], source)
    run("tools/link-virt", "-b", os.path.join(BUILD, "virt"), "-o", image, *objects)
    return image


# ---- machines --------------------------------------------------------------------------------------------------------

class Machine(Qemu):
    """A virtual machine with a control socket."""

    def __init__(self, image, words, machine="microvm", memory=32, cpu="max", more=STATUS):
        self.folder = tempfile.TemporaryDirectory()
        super().__init__([QEMU, "-M", machine, "-cpu", cpu, "-m", str(memory), *more,
                          *(["-kernel", image, "-append", words] if image else [])],
                         control=os.path.join(self.folder.name, "qmp"))

    def end(self):
        """The exit status of the appliance, None if it was none of its own."""
        status = self.finish()
        if self.control is not None:
            self.lines.close()
            self.control.close()
        self.folder.cleanup()
        return status >> 1 if status is not None and status & 1 else None


def boot(image, words, **how):
    machine = Machine(image, words, **how)
    return machine.end(), machine.text


# ---- tests -----------------------------------------------------------------------------------------------------------

def build_by_tool(folder, name):
    """What the tool makes of the appliance in FOLDER: its packed image; bytes of the other without symbols for a debugger."""
    out = os.path.join(OUT, name + ".tool")
    run(os.path.join(BUILD, "mirari"), "build", "-q", "-t", "virt", "-C", folder, "-o", out)
    image = os.path.join(out, "virt", name)
    run("strip", "-o", out + ".stripped", image)
    return image + ".packed", os.path.getsize(out + ".stripped")


def test_packed():
    """The form that unpacks itself: the same appliance, on the same machines."""
    hello, size = build_by_tool("examples/hello", "hello")
    packed = os.path.getsize(hello)
    report(packed <= 44 * 1024 and packed < size, f"hello packed has {packed} bytes, 44 KiB at most")
    for machine in MACHINES:
        status, text = boot(hello, '--times 1 --greeting "out of the box"', machine=machine)
        report(status == 0 and "out of the box\n" in text, f"hello packed on {machine}", status, text)
    status, text = boot(hello, "--tims 1")
    report(status == USAGE and "--times" in text, "a wrong option, packed: status 64", status, text)
    status, text = boot(hello, "--times 1", memory=2)
    report(status == 0, "microvm with 2 MiB, packed", status, text)
    test_grub(hello, "a packed image")
    with tempfile.TemporaryDirectory() as folder:
        site = os.path.join(folder, "website")
        shutil.copytree("examples/website", site, ignore=shutil.ignore_patterns("site"))
        os.mkdir(os.path.join(site, "site"))
        with open(os.path.join(site, "site", "index.html"), "w", encoding="ascii") as page:
            page.write("<!DOCTYPE html><title>page</title>\n")
        image, _ = build_by_tool(site, "website")
    size = os.path.getsize(image)
    report(size <= 250000, f"the website with one small page, packed, has {size} bytes, 250 KB at most")
    status, text = boot(image, "--help", machine="q35")
    report(status == 0 and "--announce" in text, "and starts", status, text)


def test_hello(hello):
    _, size = build_by_tool("examples/hello", "hello")
    report(size <= 60 * 1024, f"hello has {size} bytes, 60 KiB at most")
    for machine in MACHINES:
        began = time.monotonic()
        status, text = boot(hello, "--times 1", machine=machine)
        report(status == 0 and re.match(r"Hello from Mirari\nended: \d+\.", text),
               f"hello on {machine}: {time.monotonic() - began:.2f} s with QEMU's own start", status, text)
    status, text = boot(hello, r'--times 1 --greeting "Good   day, \"you\""')
    report(status == 0 and 'Good   day, "you"\n' in text, "words of the command line can have blanks and quotes", text)
    status, text = boot(hello, "--tims 1")
    report(status == USAGE and "--times" in text, "a wrong option: status 64, and what was meant", status, text)
    status, text = boot(hello, '--greeting "no end')
    report(status == USAGE and "quote" in text, "a quote that does not end", status, text)
    status, text = boot(hello, "--times 1 --greeting " + "x" * 5000)
    report(status == USAGE and "4,095" in text, "a command line that is too long", status, text)
    status, text = boot(hello, "--times 1 virtio_mmio.device=512@0xfeb00000:12")
    report(status == 0, "words about devices are not the appliance's", status, text)
    status, text = boot(hello, "--help")
    report(status == 0 and "--greeting" in text, "--help", text)
    status, text = boot(hello, "--times 1", cpu="qemu64")
    report(status == 0 and "no source of random numbers" in text, "a CPU without random numbers is warned about", text)


def test_end(faults):
    status, text = boot(faults, "--status 17")
    report(status == 17, "an exit status of the appliance's own", status, text)
    for machine in MACHINES:
        m = Machine(faults, "--status 17", machine=machine, more=[])
        began = time.monotonic()
        m.end()
        report(m.process.returncode == 0 and time.monotonic() - began < WAIT_S / 2,
               f"{machine} without a way to tell a status powers off", m.process.returncode, m.text)


CHAIN = r"(?s).*#\d+ mir_app_main\+0x.*#\d+ mir__task_main\+0x"
FAULTS = {  # mode -> what the report must say
    "read": r"page fault, read of address 0x10, in task main\n" + CHAIN,
    "write": r"page fault, write to address 0x10, in task main\n" + CHAIN,
    "call": r"page fault, call of address 0x0, in task main\n" + CHAIN,
    "code": r"page fault, write to address 0xffff\w+, in task main\n" + CHAIN,
    "data": r"page fault, call of address 0xffff\w+, in task main\n" + CHAIN,
    "stack": r"stack overflow in task main\n(?s).*#0 recurse\+0x.*#1 recurse\+0x",
    "double": r"double fault in task main\n" + CHAIN,
    "invalid": r"bad instruction in task main\n(?s).*#0 mir_app_main.*#\d+ mir__task_main",
    "smash": r"a buffer on the stack was written beyond its end\n(?s).*#\d overrun\+0x",
    "assert": r"main\.c:\d+: assertion failed: zero == 1 \(0, 1\)\n" + CHAIN,
}


def test_grub(hello, what):
    """Multiboot2, from a CD that GRUB boots."""
    name = f"GRUB starts {what} by Multiboot2 under "
    if shutil.which("grub-mkrescue") is None or shutil.which("xorriso") is None:
        for firmware in ("BIOS", "UEFI"):
            report(True, f"{name}{firmware} # SKIP no grub-mkrescue and xorriso: apt install grub-common xorriso mtools")
        return
    with tempfile.TemporaryDirectory() as folder:
        os.makedirs(folder + "/cd/boot/grub")
        shutil.copy(hello, folder + "/cd/hello")
        with open(folder + "/cd/boot/grub/grub.cfg", "w") as file:
            file.write('set timeout=0\nmenuentry hello {\n multiboot2 /hello --times 1 --greeting "Good  day" --log target=info\n'
                       ' boot\n}\n')
        run("grub-mkrescue", "--compress=xz", "-o", folder + "/cd.iso", folder + "/cd")
        for firmware, need, more in (
                ("BIOS", "/usr/lib/grub/i386-pc", []),
                ("UEFI", "/usr/share/OVMF/OVMF_CODE.fd",
                 ["-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE.fd"])):
            if not os.path.exists(need) or (firmware == "UEFI" and not os.path.exists("/usr/lib/grub/x86_64-efi")):
                report(True, f"{name}{firmware} # SKIP {need} is not here: apt install grub-pc-bin grub-efi-amd64-bin ovmf")
                continue
            m = Machine(None, None, machine="q35", memory=256, more=STATUS + more + ["-cdrom", folder + "/cd.iso"])
            status = m.end()
            report(status == 0 and "loader=Multiboot2" in m.text and "Good  day\n" in m.text.replace("\r", ""), name + firmware,
                   status, m.text)


def test_crashes(faults):
    for machine in MACHINES:
        for mode, pattern in FAULTS.items():
            if machine != "microvm" and mode not in ("write", "stack"):
                continue
            status, text = boot(faults, f"--mode {mode}", machine=machine)
            flat = re.sub(r"\(\?s\)", "", pattern)
            report(status == CRASH and re.search(flat, text, re.S) is not None, f"crash on {machine}: {mode}", status, text)
    places = {re.search(r"rip (\w+) rsp (\w+)", boot(faults, "--mode read")[1]).groups() for _ in range(3)}
    report(len({p[0] for p in places}) == 3 and len({p[1] for p in places}) == 3,
           "code and stacks are elsewhere after every boot", places)
    m = Machine(faults, "--mode spin", machine="q35")
    report(m.until("ready") and m.qmp("inject-nmi") == {} and m.end() == CRASH and
           re.search("non-maskable irq in task main" + re.sub(r"\(\?s\)", "", CHAIN), m.text, re.S) is not None,
           "a non-maskable interrupt shows where an appliance hangs", m.text)
    m = Machine(faults, "--mode idle", machine="q35", more=STATUS + ["-device", "pvpanic", "-action", "panic=none"])
    m.until("ready")
    m.qmp("inject-nmi")
    events = m.events()
    report(m.end() == CRASH and "GUEST_PANICKED" in events, "the host hears of a crash by pvpanic", events, m.text)


def test_memory(hello, faults):
    for machine in MACHINES:
        status, text = boot(hello, "--times 1", machine=machine, memory=8)
        report(status == 0, f"{machine} with 8 MiB", status, text)
    for mode in ("deep", "burst", "aligned", "tasks"):
        status, text = boot(faults, f"--mode {mode}", memory=8)
        report(status == 0, f"stacks that grow, with 8 MiB: {mode}", status, text)
    status, text = boot(hello, "--times 1 --log target=info", machine="q35", memory=5120)
    kib = re.search(r"memory_kib=(\d+)", text)
    report(status == 0 and kib is not None and int(kib[1]) > 2 << 20, "5 GiB: the larger part is used", status, text)
    status, text = boot(hello, "--times 1", memory=2)
    report(status == 0, "microvm with 2 MiB", status, text)


def stop(faults, machine, mode, how, times):
    """Ask for the end TIMES times; status and console."""
    m = Machine(faults, f"--mode {mode} --log target=info", machine=machine)
    m.until("ready")
    for i in range(times):
        how(m)
        m.until("asked" if i == 0 else "ended")
    return m.end(), m.text


def test_stop(faults):
    def press(m):
        m.qmp("system_powerdown")

    def ctrl_c(m):
        m.type(b"noise\x03")

    for machine in MACHINES:
        status, text = stop(faults, machine, "idle", press, 1)
        report(status == 0 and "power button" in text and "ended: " in text, f"power button on {machine}", status, text)
        status, text = stop(faults, machine, "idle", ctrl_c, 1)
        report(status == 0 and "Ctrl-C" in text and "ended: " in text, f"Ctrl-C on the console of {machine}", status, text)
    for name, how in (("power button", press), ("Ctrl-C", ctrl_c)):
        status, text = stop(faults, "q35", "stubborn", how, 2)
        report(status == FORCED, f"{name} twice forces the end", status, text)


def test_time(faults):
    for machine in MACHINES:
        # A wall clock of its own, so that the host's says nothing.
        status, text = boot(faults, "--mode clock", machine=machine, more=STATUS + ["-rtc", "base=2031-02-03T04:05:06"])
        said = re.search(r"wall (\d+) slept (\d+)", text)
        want = 1927857906  # date -u -d '2031-02-03 04:05:06' +%s
        report(said is not None and want - 1 <= int(said[1]) <= want + WAIT_S and 300000 <= int(said[2]) < 5000000,
               f"wall clock and sleep on {machine}", status, text)


def test_idle(faults):
    for machine in ("microvm", "q35"):
        m = Machine(faults, "--mode idle", machine=machine)
        m.until("ready")
        for _ in range(3):  # QEMU's own start may last into the first seconds
            cpu, began = m.cpu_s(), time.monotonic()
            time.sleep(3)
            share = (m.cpu_s() - cpu) / (time.monotonic() - began)
            if share <= 0.01:
                break
        m.qmp("system_powerdown")
        report(m.end() == 0 and share <= 0.01, f"idle on {machine}: {100 * share:.2f} % of a core, 1 % at most", m.text)


def main():
    if os.uname().machine != "x86_64":
        skip_all("images are compiled with this machine's compiler, which is not for x86-64")
    for program, package in ((QEMU, "qemu-system-x86"), (MUSL, "musl-dev")):
        if shutil.which(program) is None and not os.path.exists(program):
            skip_all(f"{program} is not here: apt install {package}")
    os.makedirs(OUT, exist_ok=True)
    made = make("virt", "tool")
    if not report(made.returncode == 0, "the libraries of target virt", made.stdout):
        return done()
    hello, faults = build("examples/hello"), build("test/boot/faults")
    test_hello(hello)
    test_end(faults)
    test_crashes(faults)
    test_memory(hello, faults)
    test_grub(hello, "an image")
    test_packed()
    test_stop(faults)
    test_time(faults)
    test_idle(faults)
    return done()


sys.exit(main())
