#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The parts of `make bench-virt` that need neither root nor a virtual machine: the prober, the archive of a Linux
guest, what the peers serve, table and plots."""
import os
import subprocess
import sys
import tempfile
import types
import xml.etree.ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
os.chdir(ROOT)
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "test/bench/virt"))
import guests
import report

BUILD = os.environ.get("B") or os.environ.get("MIRARI_BUILD", "build")
PROBER = os.path.join(BUILD, "host/test/bench/virt/first_answer")
count = 0

# An answer only after the tenth connection: the prober has to come again.
SERVER = """
import socket, sys
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("127.0.0.1", int(sys.argv[1])))
server.listen()
kept = []
while True:
    conn, _ = server.accept()
    kept.append(conn)
    if len(kept) > 10 and conn.recv(1000).startswith(b"GET /x HTTP/1.1"):
        conn.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n")
"""
# The first three questions are not answered, and neither is another's.
NAME_SERVER = """
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", int(sys.argv[1])))
for number in range(1000000):
    query, peer = server.recvfrom(1000)
    if number > 2 and query[12:].startswith(b"\\x02h1\\x07example\\x04test\\0\\0\\x01\\0\\x01"):
        server.sendto(query[:2] + b"\\x84\\0" + query[4:], peer)
"""


def report_line(ok, what, detail=""):
    global count
    count += 1
    print(f"{'ok' if ok else 'not ok'} {count} - {what}")
    if not ok:
        print("\n".join("# " + line for line in str(detail).splitlines()))


def probe(*words):
    return subprocess.run([PROBER, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, timeout=60)


def free_port(kind):
    import socket
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return str(sock.getsockname()[1])


def check_prober():
    subprocess.run(["make", "-s", f"B={BUILD}", PROBER], check=True,
                   env={name: value for name, value in os.environ.items() if not name.startswith("MA")})
    for service, ask, server, kind in (("http", "/x", SERVER, 1), ("dns", "h1.example.test", NAME_SERVER, 2)):
        port = free_port(kind)
        done = probe("--times", "2", service, "127.0.0.1", port, ask, sys.executable, "-c", server, port)
        values = [float(word) for word in done.stdout.split()]
        report_line(done.returncode == 0 and len(values) == 4 and all(0 < value < 10000 for value in values),
                    f"first_answer: two starts of a server that is slow to answer, {service}", done)
    done = probe("http", "127.0.0.1", free_port(1), "/", "true")
    report_line(done.returncode == 1 and "ended before" in done.stderr, "first_answer: a command that ends is noticed", done)
    done = probe("--limit", "0.1", "http", "127.0.0.1", free_port(1), "/", "sleep", "600")
    report_line(done.returncode == 1 and "no answer" in done.stderr, "first_answer: the limit holds", done)
    report_line(probe("dns", "127.0.0.1", "53", "a..b", "true").returncode == 64, "first_answer: a wrong name is refused")


def check_guests():
    archive = guests.Archive()
    archive.text("/etc/server.conf", "x\n")
    archive.text("/init", "#!/bin/sh\n", 0o755)
    data = archive.bytes()
    report_line(len(data) % 4 == 0 and data.count(b"070701") == 4 and data.startswith(b"070701"),
                "archive: a folder, two files and the end, each at a multiple of four", data)
    if subprocess.run(["sh", "-c", "command -v busybox"], stdout=subprocess.DEVNULL, check=False).returncode == 0:
        with tempfile.TemporaryDirectory() as box:
            done = subprocess.run(["busybox", "cpio", "-idv"], input=data, cwd=box, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, check=False)
            with open(os.path.join(box, "etc/server.conf"), encoding="ascii") as text:
                report_line(text.read() == "x\n" and os.access(os.path.join(box, "init"), os.X_OK),
                            "archive: cpio unpacks it", done)
    else:
        report_line(True, "archive: cpio unpacks it # SKIP busybox is not installed")
    report_line(len(guests.page()) == 600 and guests.queries().count("\n") == 1000 and guests.zone().count(" IN A ") == 1001,
                "what is served: 600 bytes, 1,000 names")


def check_report():
    results = {"http": {"Mirari VM, q35": {"rate": 40000.0, "boot": 100.0, "memory": 8, "image": 200.0},
                        "lighttpd in Linux, q35": {"rate": 8000.0, "boot": 2200.0, "memory": 78, "image": 16000.0},
                        "nginx in Linux, q35": {"rate": 9000.0, "boot": 2400.0, "memory": 90, "image": 18000.0}}}
    text = report.table(results, "2026-01-01", types.SimpleNamespace(memory=256, rounds=1, seconds=1))
    report_line("| http, q35 | answers per second | nginx | 4.44 x | at least 4 x | yes |" in text and
                "| http, q35 | smallest memory | lighttpd | 1/9.8 | at most 1/8 | yes |" in text,
                "table: ours against the best of the Linux guests, figure by figure", text)
    image = xml.etree.ElementTree.fromstring(report.plot("http", results["http"]))
    bars = [float(each.get("width")) for each in image.iter("{http://www.w3.org/2000/svg}rect") if each.get("class")]
    report_line(len(bars) == 12 and bars[0] > bars[2] > bars[1] > 0 and bars[3] < bars[4] < bars[5],
                "plot: a bar for each value, in the order of the values", bars)
    done = subprocess.run([sys.executable, "test/bench/virt/run", "nonsense"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    report_line(done.returncode == 2 and "no such part: nonsense; there are load" in done.stdout,
                "a part that does not exist is refused, with those that do", done.stdout)


print("1..11")
check_prober()
check_guests()
check_report()
