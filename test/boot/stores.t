#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Stores read from a disk: the name server with zones, the website with pages, of archives that tar has made, under every
machine. What changes in the archive changes the answers; the image stays the same. Wrong archives are refused with a line.

Needs no root. Machines run by emulation, started by `mirari run`, asked through ports of this machine.
"""
import os
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "harness"))
from example import BUILD, ROOT, Appliance, architectures, ask_dns, done, free_port, http, report, why_no_machine

MIRARI = os.path.join(BUILD, "mirari")
MACHINES = {"x86_64": ("microvm", "q35"), "aarch64": ("virt",)}
ZONE = "$TTL 60\n@ SOA ns admin %d 3600 600 86400 60\n  NS ns\nns A 192.0.2.1\nwww A %s\n"


def run(*words):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def put(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def pack(folder, archive, *options):
    made = run("tar", "-C", folder, *options, "-cf", archive, ".")
    if made.returncode != 0:
        report(False, f"tar packs {archive}", made.stdout)
    return archive


def build(app, out, arch):
    built = run(MIRARI, "build", "-q", "-t", "virt", "--arch", arch, "-C", app, "-o", out)
    report(built.returncode == 0, f"{os.path.basename(app)} {arch}: builds", built.stdout)
    return built.returncode == 0


def start(app, out, arch, machine, disk, *options):
    return Appliance([MIRARI, "run", "-t", "virt", "--arch", arch, "-C", app, "-o", out, "--no-build", "--accel", "tcg",
                      "--machine", machine, "--disk", disk + ",ro", *options])


def serve(app, out, arch, machine, disk, store, *options):
    """The appliance of APP with its store from DISK, when it says that it serves."""
    vm = start(app, out, arch, machine, disk, "--kv", store, *options)
    ready = vm.wait_for("^(dns|website) on port")
    report(ready, f"{os.path.basename(app)} {arch} {machine}: starts with {os.path.basename(disk)}", vm.text)
    return vm if ready else None


def end(vm, where):
    status = vm.end(True)
    report(status == 0, f"{where}: a clean end", f"{status}\n{vm.text}")


def test_zones(box, arch):
    """Three archives, of the three formats there are, and the answers that follow from them."""
    app, out = os.path.join(ROOT, "examples", "dns"), os.path.join(box, "dns-" + arch)
    if not build(app, out, arch):
        return
    image = os.path.join(out, "virt" if arch == "x86_64" else "virt-" + arch, "dns")
    before = os.stat(image).st_mtime_ns
    formats = ("gnu", "pax", "ustar")
    for turn, machine in enumerate((MACHINES[arch] * 3)[:3]):
        folder, address = os.path.join(box, f"zones{turn}"), f"192.0.2.{77 + turn}"
        put(os.path.join(folder, "disk.test.zone"), ZONE % (turn + 1, address))
        archive = pack(folder, os.path.join(box, f"zones-{formats[turn]}.tar"), "--format=" + formats[turn])
        # By its name, and by its number.
        disk, port = ("disk0" if turn == 1 else "zones-disk"), free_port()
        vm = serve(app, out, arch, machine, archive, f"zones={disk}", "-p", f"{port}:53", "-p", f"{port}:53/udp")
        if vm is None:
            continue
        where = f"dns {arch} {machine} {formats[turn]}"
        ask_dns(port, f"www.disk.test A {address}", where)
        ask_dns(port, "www.example.org A", where + ": what is built in is not served")
        end(vm, where)
    report(os.stat(image).st_mtime_ns == before, f"dns {arch}: the image is the same all the while")


def test_pages(box, arch):
    """The website, given a disk by its manifest; a large page and its compressed form come as they are."""
    app, out, pages = (os.path.join(box, name) for name in ("website", "website-" + arch, "pages"))
    if not os.path.exists(app):
        shutil.copytree(os.path.join(ROOT, "examples", "website"), app)
        put(os.path.join(app, "site", "index.html"), "built in\n")
        with open(os.path.join(app, "app.conf"), "a", encoding="utf-8") as file:
            file.write("\ndisk pages {\n    optional = true\n    readonly = true\n}\n")
        put(os.path.join(pages, "index.html"), "from the disk\n")
        put(os.path.join(pages, "deep/er/large.txt"), "0123456789abcde\n" * 40000)
    if not build(app, out, arch):
        return
    archive = pack(pages, os.path.join(box, "pages.tar"))
    for machine in MACHINES[arch]:
        where, port = f"website {arch} {machine}", free_port()
        vm = serve(app, out, arch, machine, archive, "site=pages", "-p", f"{port}:80")
        if vm is None:
            continue
        for path, status, body in (("/", 200, b"from the disk\n"), ("/deep/er/large.txt", 200, b"0123456789abcde\n" * 40000),
                                   ("/deep", 404, None)):
            got = http("GET", f"http://127.0.0.1:{port}{path}")
            report(got[0] == status and body in (None, got[1]), f"{where}: GET {path}", f"{got[0]}, {len(got[1])} bytes")
        end(vm, where)


def test_wrong(box):
    """What is told when a disk, an archive or a name is not as it should be."""
    app, out = os.path.join(ROOT, "examples", "dns"), os.path.join(box, "dns-x86_64")
    good = os.path.join(box, "zones-pax.tar")
    with open(good, "rb") as file:
        data = bytearray(file.read())
    wrong = {"cut.tar": bytes(data[:1024]), "zeroes.img": bytes(8192), "damaged.tar": data}
    data[3] ^= 1
    for name, content in wrong.items():
        with open(os.path.join(box, name), "wb") as file:
            file.write(content)
    cases = ((good, "zones=disk1", '"disk1" is none of the 1 disks'), (good, "zones=zone-disk", '"zone-disk" is none of'),
             (os.path.join(box, "cut.tar"), "zones=zones-disk", "the archive ends"),
             (os.path.join(box, "zeroes.img"), "zones=zones-disk", "begins with zeroes"),
             (os.path.join(box, "damaged.tar"), "zones=zones-disk", "checksum of a header is wrong"))
    for disk, store, why in cases:
        vm = start(app, out, "x86_64", "microvm", disk, "--kv", store, "-p", f"{free_port()}:53")
        status = vm.end(False)
        report(status == 69 and "--kv zones: " in vm.text and why in vm.text, f"refused: {why}", f"{status}\n{vm.text}")


def test_tool(box):
    """What the tool says before a machine is started."""
    hello = os.path.join(ROOT, "examples", "hello")
    needy = os.path.join(box, "needy")
    shutil.copytree(hello, needy)
    with open(os.path.join(needy, "app.conf"), "a", encoding="utf-8") as file:
        file.write("\ndisk data {\n}\n")
    said = run(MIRARI, "run", "--print", "-t", "virt", "-C", hello, "--disk", os.path.join(box, "zones-pax.tar"))
    report(said.returncode == 1 and "knows no disks" in said.stdout, "a disk for an appliance without", said.stdout)
    said = run(MIRARI, "run", "--print", "-t", "virt", "-C", needy)
    report(said.returncode == 1 and 'needs disk 1, "data"' in said.stdout, "no disk for one that needs it", said.stdout)
    said = run(MIRARI, "run", "-q", "-C", needy, "-o", os.path.join(box, "needy-out"))
    report(said.returncode == 69 and "a process has no disks" in said.stdout, "nor as a process", said.stdout)
    if build(needy, os.path.join(box, "needy-out"), "x86_64"):
        image = os.path.join(box, "needy-out", "virt", "hello")
        said = run("qemu-system-x86_64", "-M", "microvm", "-accel", "tcg", "-cpu", "max", "-m", "16", "-nodefaults", "-no-reboot",
                   "-display", "none", "-serial", "stdio", "-device", "isa-debug-exit,iobase=0x501,iosize=2", "-kernel", image)
        report(said.returncode >> 1 == 69 and "disk data: the machine has 0 disks" in said.stdout,
               "nor on a machine that somebody else made", said.stdout)


def main():
    if why_no_machine():
        print(f"1..0 # SKIP {why_no_machine()}")
        return 0
    with tempfile.TemporaryDirectory() as box:
        os.environ["XDG_RUNTIME_DIR"] = box
        for arch in architectures():
            test_zones(box, arch)
            test_pages(box, arch)
        test_wrong(box)
        test_tool(box)
    return done()


sys.exit(main())
