#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The control channel as somebody else speaks it: control_client.py SOCKET | metrics FILE.

Framing and JSON-RPC 2.0 from their descriptions alone; then clients that mean no good. Prints a
line "ok WHAT" or "not ok WHAT" for each thing looked at.
"""
import json
import re
import socket
import struct
import sys
import time

failures = 0


def check(ok, what, note=""):
    global failures
    failures += not ok
    print(("ok " if ok else "not ok ") + what + ("" if ok else f" ({note})"), flush=True)


class Client:
    def __init__(self, path, timeout=10):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)  # waits while the queue of the listener is full
        self.socket.settimeout(timeout)

    def send(self, body):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.socket.sendall(struct.pack(">I", len(body)) + body)

    def read(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def receive(self):
        (length,) = struct.unpack(">I", self.read(4))
        return json.loads(self.read(length))

    def answer(self):
        """The next frame that is no item: lines may be traced at any time."""
        while True:
            frame = self.receive()
            if frame.get("method") != "rpc.item":
                return frame

    def call(self, method, params=None, ident=1):
        self.send({"jsonrpc": "2.0", "id": ident, "method": method, "params": params or {}})
        items = []
        while True:
            frame = self.receive()
            if frame.get("method") == "rpc.item":
                assert frame["params"]["id"] == ident
                items.append(frame["params"]["item"])
            else:
                assert frame["id"] == ident, frame
                return frame, items


def speaks(path):
    c = Client(path)
    answer, _ = c.call("rpc.methods")
    methods = {m["name"]: m for m in answer["result"]["methods"]}
    check(answer["result"]["version"] == 1, "version 1")
    check(all(m["help"] and isinstance(m["params"], list) for m in methods.values()), "methods describe themselves")
    answer, items = c.call("netstat")
    rows = [row for item in items for row in item]
    check(any(r["kind"] == "listener" and r["local"] == "[::]:80" for r in rows), "netstat has the listener", rows)
    check(answer["result"]["count"] == len(rows), "and counts its rows")
    answer, _ = c.call("describe", {"x": 1})
    check(answer["error"]["code"] == -32602, "a parameter too many is refused", answer)
    # Several at a time, canceled, with a time.
    c.send({"jsonrpc": "2.0", "id": "t", "method": "trace", "params": {}})
    c.send({"jsonrpc": "2.0", "id": 2, "method": "stats"})
    check(c.answer()["id"] == 2, "a call that goes on does not hold up others")
    c.send({"jsonrpc": "2.0", "id": 3, "method": "rpc.cancel", "params": {"text_id": "t"}})
    answers = {f["id"]: f for f in (c.answer(), c.answer())}
    check("result" in answers[3] and answers["t"]["error"]["code"] == -32013, "cancel", answers)
    before = c.call("log.levels")[0]["result"]
    for ident, levels in ((10, "tcp=trace"), (11, "http=debug")):
        c.send({"jsonrpc": "2.0", "id": ident, "method": "trace", "params": {"levels": levels}})
    for ident in (10, 11):
        c.send({"jsonrpc": "2.0", "id": 12, "method": "rpc.cancel", "params": {"id": ident}})
        c.answer(), c.answer()  # of the call, and of the cancel
    after = c.call("log.levels")[0]["result"]
    check(after == before, "levels that two traces wanted are gone with the second", f"{before} {after}")
    c.send({"jsonrpc": "2.0", "id": 4, "method": "trace", "timeout_ms": 100})
    begin = time.monotonic()
    check(c.answer()["error"]["code"] == -32012 and time.monotonic() - begin < 5, "timeout_ms")
    c.send(b"{nonsense")
    check(c.answer()["error"]["code"] == -32700, "no JSON")
    c.call("rpc.drop")
    check(c.call("log.set", {"set": "info"})[0]["error"]["code"] == -32017, "a role that was given up is gone")


def captures(path):
    c = Client(path)
    c.send({"jsonrpc": "2.0", "id": 1, "method": "tcpdump", "params": {"snaplen": 96}})
    first = c.receive()
    check(first["params"]["item"]["data"].startswith("Cg0NC"), "tcpdump begins with a pcapng section", first)
    for bad in ("", "zz", "0000", "0006000000000000" * 513, "0005000000000000", "0028000000000010"):
        other = Client(path)
        answer, _ = other.call("tcpdump", {"filter": bad})
        if answer.get("error", {}).get("code") != -32602:
            check(False, "a filter that is no program is refused", (bad[:20], answer))
    check(True, "filters that are no programs are refused")


def means_no_good(path):
    # Frames that make no sense end the session, and no other.
    for head in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n"):
        c = Client(path)
        c.socket.sendall(head)
        frame = c.receive()
        try:
            c.read(1)
            ended = False
        except (EOFError, ConnectionError):
            ended = True
        check(frame["error"]["code"] == -32600 and ended, f"framing {head[:4]!r} ends the session")
    # Many: those beyond the limit are told so; when they have gone others get in.
    crowd = []
    refused = 0
    for _ in range(50):
        c = Client(path)
        try:
            c.send({"jsonrpc": "2.0", "id": 1, "method": "describe"})
        except BrokenPipeError:
            pass  # refused already, and the word is there
        frame = c.receive()
        refused += "error" in frame
        crowd.append(c)
    check(refused == 42, "50 clients: 8 are served, 42 refused with a word", refused)
    for c in crowd:
        c.socket.close()
    end = time.monotonic() + 5
    good = False
    while not good and time.monotonic() < end:
        try:
            good = "result" in Client(path).call("describe")[0]
        except (EOFError, ConnectionError):
            pass
    check(good, "and when they have gone others get in")
    # Slow: half a frame, and nothing more. Deaf: asks and never reads.
    slow = Client(path)
    slow.socket.sendall(b"\0\0\0\x40{")
    deaf = Client(path, timeout=0.5)
    sent = 0
    try:
        for _ in range(20000):
            deaf.send({"jsonrpc": "2.0", "id": 1, "method": "metrics"})
            sent += 1
    except (socket.timeout, OSError):
        pass
    check(sent < 20000, "one who does not read is not read from for ever", sent)
    other = Client(path)
    begin = time.monotonic()
    for _ in range(100):
        other.call("stats")
    took = time.monotonic() - begin
    check(took < 5, "others are served meanwhile", f"{took:.2f} s for 100 calls")
    used = other.call("stats")[0]["result"]
    check(used["memory_used_bytes"] < 2 << 20, "within the memory of a few sessions", used["memory_used_bytes"])
    for c in (slow, deaf, other):
        c.socket.close()
    # Garbage, from a seed.
    import random

    random.seed(20261122)
    for _ in range(200):
        c = Client(path)
        try:
            body = bytes(random.randrange(256) for _ in range(random.randrange(1, 200)))
            c.send(body) if random.random() < 0.5 else c.socket.sendall(body)
        except OSError:
            pass
        c.socket.close()
    end = time.monotonic() + 5
    stats = None
    while time.monotonic() < end:
        try:
            stats = Client(path).call("stats")[0]["result"]
            if stats["control_sessions_now"] == 1:
                break
        except (EOFError, ConnectionError, KeyError):
            pass
    check(stats is not None and stats["control_sessions_now"] == 1, "all of them are forgotten", stats and stats["control_sessions_now"])


def metrics(file):
    """The text format of Prometheus, version 0.0.4."""
    types, seen = {}, set()
    line_re = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-z_]+=\"[^\"]*\"(,[a-z_]+=\"[^\"]*\")*\})? ([0-9.]+)$")
    last = None
    for line in (sys.stdin if file == "-" else open(file)):
        line = line.rstrip("\n")
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types, f"{name} twice"
            assert kind in ("counter", "gauge"), line
            types[name] = kind
            last = name
            continue
        match = line_re.match(line)
        assert match, f"no sample: {line}"
        assert match[1] == last, f"{match[1]} stands apart"
        key = match[1] + (match[2] or "")
        assert key not in seen, f"{key} twice"
        seen.add(key)
        float(match[4])
        if types[match[1]] == "counter":
            assert match[1].endswith("_total"), match[1]
    assert len(seen) > 50
    print(f"{len(seen)} samples")


if sys.argv[1] == "metrics":
    metrics(sys.argv[2])
elif sys.argv[1] == "role":
    answer, _ = Client(sys.argv[2]).call("rpc.methods")
    sys.exit(answer["result"]["role"] != "read-only")
else:
    speaks(sys.argv[1])
    captures(sys.argv[1])
    means_no_good(sys.argv[1])
    sys.exit(failures > 0)
