#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Every example does as a virtual machine what its expected.txt says: under microvm (virtio over MMIO) and q35 (over PCI),
and on the other architecture under virt, by emulation, started by `mirari run`, asked through ports of this machine.

Needs no root. QEMU's own network gives the guest 10.0.2.15.
"""
import os
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "harness"))
from example import (ASKING, BUILD, ROOT, SERVICE_PORT, Appliance, architectures, do_request, done, first_line, free_port, in_order, names,
                     read_plan, report, why_no_machine)

MIRARI = os.path.join(BUILD, "mirari")
MACHINES = {"x86_64": ("microvm", "q35"), "aarch64": ("virt",)}
# What an appliance says when it can be asked.
READY = {"echo": "^echo on port", "dns": "^dns on port", "website": "^website on port"}


def run_virt(name, steps, arch, machine):
    where = f"{name} virt {arch} {machine}"
    port = free_port()
    args = [MIRARI, "run", "-t", "virt", "--arch", arch, "-C", os.path.join(ROOT, "examples", name), "-o",
            os.path.join(BUILD, "examples", name), "--no-build", "--accel", "tcg", "--machine", machine]
    asks = [step for step in steps if step[0] in ASKING]
    if asks:
        args += ["-p", f"{port}:{SERVICE_PORT[name]}", "-p", f"{port}:{SERVICE_PORT[name]}/udp"]
    for verb, rest in steps:
        if verb == "run":
            args += rest.split()
    appliance = Appliance(args)
    is_ready = not asks or appliance.wait_for(READY[name])
    report(is_ready, f"{where}: starts", appliance.text)
    for verb, rest in asks if is_ready else []:
        do_request(port, verb, rest, where)
    is_stopped = any(verb == "stop" for verb, _ in steps)
    if is_stopped and not asks:
        appliance.wait_for(first_line(steps))
    status = appliance.end(is_stopped)
    want = next(rest for verb, rest in steps if verb == "status")
    report(str(status) == want, f"{where}: exit status {want}", f"{status}\n{appliance.text}")
    # The console is a serial line: its ends of lines are CR LF.
    text = re.sub(r"\r+\n", "\n", appliance.text)
    report(in_order(text, [rest for verb, rest in steps if verb == "out"]), f"{where}: says what it should", text)


def main():
    if why_no_machine():
        print(f"1..0 # SKIP {why_no_machine()}")
        return 0
    box = tempfile.TemporaryDirectory()
    os.environ["XDG_RUNTIME_DIR"] = box.name
    archs = architectures()
    for name, arch in ((name, arch) for name in names() for arch in archs):
        built = subprocess.run([MIRARI, "build", "-q", "-t", "virt", "--arch", arch, "-C",
                                os.path.join(ROOT, "examples", name), "-o", os.path.join(BUILD, "examples", name)],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        report(built.returncode == 0, f"{name} virt {arch}: builds", built.stdout)
        for machine in MACHINES[arch] if built.returncode == 0 else ():
            run_virt(name, read_plan(name), arch, machine)
    return done()


sys.exit(main())
