# SPDX-License-Identifier: ISC
"""Appliances that are none, for dash.t: folders of running appliances whose control channels are served here.

A fake is a folder NAME-NUMBER of the state, as `mirari run` makes it, with the process id of this test in it. Its
channel is served by a thread, well or badly.
"""
import json
import os
import shutil
import socket
import struct
import threading
import time

EVIL = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"


def process_start(pid):
    with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
        return file.read().rpartition(")")[2].split()[19]


class Fake:
    """Serves a control channel; `kind` says how: good, evil, hung, liar, many, closed or pair."""

    def __init__(self, runtime, name, number, kind):
        self.kind, self.id, self.calls = kind, f"{name}-{number}", []
        self.born, self.counted = time.monotonic(), 0
        base = os.path.join(runtime, "mirari")
        os.makedirs(base, mode=0o700, exist_ok=True)
        self.folder = os.path.join(base, self.id)
        fresh = os.path.join(base, f".new-{os.getpid()}{number}")
        os.mkdir(fresh, 0o700)
        with open(os.path.join(fresh, "info"), "w", encoding="utf-8") as info:
            info.write(f"name {name}\npid {os.getpid()}\nstart {process_start(os.getpid())}\ntarget unix\n")
        with open(os.path.join(fresh, "log"), "wb") as log:
            log.write(b"first line\n" + (EVIL.encode() + b" \xff\x00\n" if kind == "evil" else b""))
        self.listeners = []
        for worker in range({"closed": 0, "pair": 2}.get(kind, 1)):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(os.path.join(fresh, f"control.{worker}" if worker else "control"))
            listener.listen(16)
            self.listeners.append(listener)
            threading.Thread(target=self.accept, args=(listener,), daemon=True).start()
        os.rename(fresh, self.folder)

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        for listener in self.listeners:
            listener.close()

    def accept(self, listener):
        while True:
            try:
                client = listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            while True:
                (length,) = struct.unpack(">I", client.recv(4, socket.MSG_WAITALL))
                request = json.loads(client.recv(length, socket.MSG_WAITALL))
                self.calls.append((request["method"], request["params"]))
                if self.kind == "hung":
                    continue
                if self.kind == "liar":
                    client.sendall(b"\x00\x00\x00\x05{]}[x" * 50)
                    continue
                self.answer(client, request)
        except (OSError, struct.error):
            pass
        finally:
            client.close()

    def answer(self, client, request):
        text = EVIL if self.kind == "evil" else "plain"
        if request["method"] == "describe":
            self.send(client, {"id": request["id"], "result": {"version": text, "address": text, "stack": text,
                                                               "workers": 2 if self.kind == "pair" else 0,
                                                               "ends": "", "lease_left_us": 90_000_000}})
        elif request["method"] == "stats":
            self.counted += 1
            self.send(client, {"id": request["id"], "result": {
                "uptime_us": self.counted * 1_000_000, "cpu_us": self.counted * 250_000, "memory_used_bytes": 3 << 20,
                "memory_free_bytes": 5 << 20, "tcp_connections": 7, "tcp_listeners": 1,
                "dev0_rx_bytes": self.counted * 40_000, "dev1_rx_bytes": self.counted * 2_000,
                "dev0_tx_bytes": self.counted * 9_000, "dev0_rx_frames": self.counted * 50,
                "dev0_tx_frames": self.counted * 20, text: 1}})
        elif request["method"] == "netstat":
            for _ in range(500 if self.kind == "many" else 1):
                rows = [{"proto": "tcp", "kind": "connection", "state": text, "local": text, "remote": text,
                         "recv_q": 1, "send_q": 2}] * 12
                self.send(client, {"method": "rpc.item", "params": {"id": request["id"], "item": rows}})
            self.send(client, {"id": request["id"], "result": {"count": 12}})
        elif request["method"] == "log.set" and request["params"]["set"] == "no":
            self.send(client, {"id": request["id"], "error": {"code": -32001, "message": f"not {text}"}})
        else:
            self.send(client, {"id": request["id"], "result": {"app": "warn"}})

    @staticmethod
    def send(client, frame):
        body = json.dumps({"jsonrpc": "2.0", **frame}).encode()
        client.sendall(struct.pack(">I", len(body)) + body)
