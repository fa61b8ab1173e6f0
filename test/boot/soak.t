#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Virtual machines over a tap: boots in a row, and mixed load with faults on the wire, after which nothing is left.

Part of `make check` in a short form; `make soak` is the long one. From the environment:

    SOAK_BOOTS     starts of the website until its first answer, under microvm; a quarter of it under q35  (8)
    SOAK_SECONDS   of load                                                                                (12)
    SOAK_AS        vm, or process: the same appliances without QEMU                                       (vm)

The load: pages fetched and compared, wrk, a megabyte at a time, questions over UDP and TCP, pings, all at once, while each
appliance loses, doubles, reorders and corrupts frames both ways. Memory is flat: what the page pool lends is
looked at once a second, and the second half of the load may not need more than the first.
Needs root for namespaces and taps.
"""
import hashlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
TEST = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TEST, "harness"), os.path.join(TEST, "bench/virt")]
import guests
import machine
from example import BUILD, ROOT, done, report

MIRARI = os.path.join(BUILD, "mirari")
PROBER = os.path.join(BUILD, "host/test/bench/virt/first_answer")
BOOTS = int(os.environ.get("SOAK_BOOTS", "8"))
SECONDS = int(os.environ.get("SOAK_SECONDS", "12"))
AS = os.environ.get("SOAK_AS", "vm")
TARGET = {"vm": "virt", "process": "unix"}[AS]
MEMORY_MB = 64
FAULTS = "--fault loss=0.5%,dup=0.5%,reorder=1%,corrupt=0.2%"
NAME, ADDRESS = "example.org", "192.0.2.1"


def build(name):
    out = os.path.join(BUILD, "examples", name)
    subprocess.run([MIRARI, "build", "-q", "-t", TARGET, "-C", os.path.join(ROOT, "examples", name), "-o", out], check=True)
    return os.path.join(out, TARGET, name)


def appliance(space, name, kind, words):
    service = {"website": "http", "dns": "dns"}[name]
    if AS == "process":
        return machine.Process(space, build(name), service, words)
    return machine.Appliance(space, build(name), service, kind, words)


def quiet(space, *command):
    """(status, output) of a client in a namespace."""
    done = subprocess.run(["ip", "netns", "exec", space, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=False, timeout=90)
    return done.returncode, done.stdout


def stats(space):
    status, text = quiet(space, "curl", "-s", "-m", "20", "--retry", "3", f"http://{guests.GUEST_IP}/api/stats")
    return json.loads(text)["stack"] if status == 0 else None


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


# ---- boots -------------------------------------------------------------------------------------------


def check_boots(space):
    for kind, times in (("microvm", BOOTS), ("q35", max(BOOTS // 4, 2))) if AS == "vm" else (("process", BOOTS),):
        site = appliance(space, "website", kind, "")
        site.path = "/"
        try:
            took = [ms for ms, _ in machine.first_answers(PROBER, site, MEMORY_MB, times, 20)]
            report(len(took) == times, f"{times} starts in a row under {kind}", took)
            print(f"# first answer after {min(took):.0f} to {max(took):.0f} ms, median {statistics.median(took):.0f}")
        except machine.Failure as failure:
            report(False, f"{times} starts in a row under {kind}", failure)


# ---- mixed load --------------------------------------------------------------------------------------


class Load:
    """Clients, each in a thread of its own until the end; what went wrong and how often each was served."""

    def __init__(self):
        self.end = threading.Event()
        self.served, self.wrong, self.samples = {}, [], []
        self.threads = []

    def add(self, what, client):
        def loop():
            while not self.end.is_set():
                try:
                    trouble = client()
                except (subprocess.TimeoutExpired, OSError, ValueError) as error:
                    trouble = str(error)
                self.served[what] = self.served.get(what, 0) + 1
                if trouble:
                    self.wrong.append(f"{what}: {trouble}")
        self.threads.append(threading.Thread(target=loop, name=what))

    def run(self, seconds):
        for thread in self.threads:
            thread.start()
        time.sleep(seconds)
        wait_for(lambda: len(self.samples) >= 8, 120)  # a busy machine answers slowly
        self.end.set()
        for thread in self.threads:
            thread.join()


def fetch(space, path, digest):
    status, body = quiet(space, "curl", "-s", "-m", "60", f"http://{guests.GUEST_IP}{path}")
    return "" if status == 0 and hashlib.sha256(body).hexdigest() == digest else f"{path}: status {status}, {len(body)} bytes"


def wrk(space):
    status, text = quiet(space, "wrk", "-t1", "-c16", "-d2s", f"http://{guests.GUEST_IP}/")
    requests = re.search(rb"(\d+) requests in", text)
    return "" if status == 0 and requests and int(requests.group(1)) > 0 and b"Non-2xx" not in text else text.decode()


def dig(space, *words):
    """A lost datagram is asked for again, by a real client as here."""
    status, text = quiet(space, "dig", f"@{guests.GUEST_IP}", NAME, "A", "+short", "+tries=8", "+time=2", *words)
    return "" if status == 0 and text.decode().splitlines()[-1:] == [ADDRESS] else f"{status} {text}"


def ping(space):
    status, text = quiet(space, "ping", "-n", "-q", "-c", "50", "-i", "0.02", "-s", "1000", "-W", "2", guests.GUEST_IP)
    received = re.search(rb"(\d+) received", text)
    return "" if received and int(received.group(1)) >= 35 else f"{status} {text}"


def sample(space, load):
    before = time.monotonic()
    now = stats(space)
    if now is None:
        return "no statistics"
    load.samples.append((now["page_bytes_used"], now["tcp_connections"]))
    load.end.wait(max(1 - (time.monotonic() - before), 0))
    return ""


def check_memory(load):
    """Medians: a peak of a moment is no leak."""
    used = [each for each, _ in load.samples]
    half = len(used) // 2
    if half < 3:
        report(False, "there are samples of the memory", used)
        return
    first, second = statistics.median(used[:half]), statistics.median(used[half:])
    print(f"# pages lent: median of the first half {first / 1024:.0f} KiB, of the second {second / 1024:.0f} KiB")
    report(second <= first * 1.25 + 65536, "memory is flat", f"{first} {second}\n{used}")


def check_load(web_space, dns_space):
    site = appliance(web_space, "website", "microvm", FAULTS)
    names = appliance(dns_space, "dns", "q35", f"--rate 0 {FAULTS}")
    site.answers = lambda: quiet(web_space, "curl", "-s", "-m", "2", "-o", "/dev/null", f"http://{site.ip}/")[0] == 0
    names.answers = lambda: dig(dns_space) == ""
    is_up = site.start(MEMORY_MB) and names.start(MEMORY_MB)
    report(is_up, "website and dns are up", "" if is_up else site.said() + (names.said() if names.process else ""))
    if not is_up:
        return
    home, big = ("/", "/bytes/1000003")
    digests = {path: hashlib.sha256(quiet(web_space, "curl", "-s", f"http://{site.ip}{path}")[1]).hexdigest()
               for path in (home, big)}
    at_rest = stats(web_space)
    load = Load()
    load.add("pages", lambda: fetch(web_space, home, digests[home]))
    load.add("megabytes", lambda: fetch(web_space, big, digests[big]))
    load.add("wrk", lambda: wrk(web_space))
    load.add("pings", lambda: ping(web_space))
    load.add("samples", lambda: sample(web_space, load))
    load.add("questions over UDP", lambda: dig(dns_space))
    load.add("questions over TCP", lambda: dig(dns_space, "+tcp"))
    load.add("pings of dns", lambda: ping(dns_space))
    load.run(SECONDS)
    print("# " + ", ".join(f"{count} {what}" for what, count in sorted(load.served.items())))
    report(not load.wrong, f"{SECONDS} s of mixed load with faults: every client was served", "\n".join(load.wrong[:20]))
    check_memory(load)
    at_end = {}

    def is_at_rest():
        at_end.update(stats(web_space) or {})
        # Pools of objects keep the pages they grew by.
        return at_end.get("tcp_connections", 9) <= 2 and at_end["page_bytes_used"] <= at_rest["page_bytes_used"] + (256 << 10)

    report(wait_for(is_at_rest, 90), "all of it comes back", {key: (at_rest[key], at_end.get(key)) for key in
                                                              ("tcp_connections", "page_bytes_used", "buffers_used")})
    report(site.process.poll() is None and names.process.poll() is None, "both still run", site.said() + names.said())
    report(dig(dns_space) == "" and fetch(web_space, home, digests[home]) == "", "and answer")
    site.stop()
    names.stop()


def why_not():
    for tool in ("wrk", "dig", "curl", "ping", "ip") + (("qemu-system-x86_64",) if AS == "vm" else ()):
        if not shutil.which(tool):
            return f"{tool} is not installed; run: tools/deps test"
    if os.geteuid() != 0:
        return "needs root for namespaces and taps"
    if AS == "vm" and os.uname().machine != "x86_64":
        return "images of this architecture are tested elsewhere"
    return ""


def main():
    if why_not():
        print(f"1..0 # SKIP {why_not()}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # through the finally below
    try:
        web_space, dns_space = machine.tap_namespace("web-tap"), machine.tap_namespace("dns-tap")
        check_boots(web_space)
        check_load(web_space, dns_space)
    finally:
        machine.clean_up()
    return done()


sys.exit(main())
