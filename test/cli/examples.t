#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Every example does what its expected.txt says, on every target that exists.

unix: the appliance runs with `net = user` and again with `net = socket`; real sockets ask it.
sim:  each request is one run with the scripted peer that can make it.

The format of expected.txt is explained at its top. Ports are chosen by the system.
"""
import os
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "harness"))
from example import ASKING, BUILD, SERVICE_PORT, WAIT_S, Appliance, do_request, done, first_line, free_port, in_order, names, read_plan, report


def run_unix(name, steps, mode):
    where = f"{name} unix {mode}"
    binary = os.path.join(BUILD, "examples", name, "unix", name)
    args = [binary]
    asks = [step for step in steps if step[0] in ASKING]
    port = free_port()
    for verb, rest in steps:
        if verb == "run":
            args += rest.replace("--net user", f"--net {mode}").split()
    guest = SERVICE_PORT.get(name)
    if asks and mode == "user":
        args += ["-p", f"{port}:{guest}", "-p", f"{port}:{guest}/udp"]
    elif asks:
        args += ["--port", str(port)]
    appliance = Appliance(args)
    if asks:
        ready = f"forward: 127.0.0.1:{port} .*{guest}/udp" if mode == "user" else "^net: socket"
        report(appliance.wait_for(ready) and (name != "echo" or appliance.wait_for("^echo on port")),
               f"{where}: starts", appliance.text)
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline and mode == "socket":
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
    for verb, rest in asks:
        do_request(port, verb, rest, where)
    is_stopped = any(verb == "stop" for verb, _ in steps)
    if is_stopped and not asks:
        appliance.wait_for(first_line(steps))
    status = appliance.end(is_stopped)
    want = next(rest for verb, rest in steps if verb == "status")
    report(str(status) == want, f"{where}: exit status {want}", f"{status}\n{appliance.text}")
    # The probe above is a connection more, so counts are compared where there was none.
    lines = [rest for verb, rest in steps if verb == "out" and mode == "user"]
    report(in_order(appliance.text, lines), f"{where}: says what it should", appliance.text)


def run_sim(name, steps):
    binary = os.path.join(BUILD, "examples", name, "sim", name)
    runs = []
    for verb, rest in steps:
        if verb == "get" and rest.split()[1] == "200":
            runs.append(["--peer", "http:" + rest.split()[0]])
        elif verb in ("tcp", "udp"):
            runs.append(["--peer", "echo" if verb == "tcp" else "udp-echo"])
    for args in runs or [[]]:
        done = subprocess.run([binary] + args, capture_output=True, text=True, timeout=60, check=False)
        ok = done.returncode == 0 and "virtual s" in done.stdout
        report(ok, f"{name} sim {' '.join(args)}", done.stdout + done.stderr)


def main():
    for name in names():
        steps = read_plan(name)
        run_unix(name, steps, "user")
        if any(verb in ("get", "tcp", "dns") for verb, _ in steps):
            run_unix(name, steps, "socket")
        run_sim(name, steps)
    return done()


sys.exit(main())
