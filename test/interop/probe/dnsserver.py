#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Name servers that misbehave, for dns.t: `dnsserver.py ADDRESS...`, port 53 of each, UDP and TCP.

The first label of the asked name says what happens; the honest answer is 10.1.1.1, a lie 6.6.6.6.

  good         the answer
  wrong-id     lies with wrong ids, then the answer
  wrong-source a lie from another port, then the answer
  wrong-name   a lie about another name with the right id, then the answer
  flip-case    the answer with its letters changed; over TCP as they were
  storm        200 lies with wrong ids, no answer but over TCP
  truncated    an empty answer with TC; the whole one over TCP
  poison       the answer, with records about victim.bad in every section
  servfail     SERVFAIL
  noedns       FORMERR to EDNS, the answer without
  never        nothing
  garbage      octets that are no message, then the answer
  chain        aliases one at a time: chain -> chain1 -> chain2 -> good
"""
import socket
import socketserver
import struct
import sys
import threading

asked = {}


def read_name(msg, at):
    labels = []
    while msg[at]:
        labels.append(msg[at + 1 : at + 1 + msg[at]])
        at += 1 + msg[at]
    return labels, at + 1


def wire(labels):
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def text(name):
    return [label.encode() for label in name.split(".")]


def record(name, kind, data, ttl=60):
    return wire(name) + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data


def address(name, ip, ttl=60):
    return record(name, 1, socket.inet_aton(ip), ttl)


def message(query, name, answers=(), flags=0x8180, authority=(), additional=(), number=None):
    ident = struct.unpack(">H", query[:2])[0] if number is None else number
    _, end = read_name(query, 12)
    head = struct.pack(">HHHHHH", ident & 0xFFFF, flags, 1, len(answers), len(authority), len(additional))
    return head + wire(name) + query[end : end + 4] + b"".join([*answers, *authority, *additional])


def serve(query, is_tcp, send, send_elsewhere):
    name, _ = read_name(query, 12)
    what = name[0].decode().lower()
    ident = struct.unpack(">H", query[:2])[0]
    asked[what] = asked.get(what, 0) + 1
    honest = message(query, name, [address(name, "10.1.1.1")])
    lie = [address(name, "6.6.6.6", 3600)]
    has_edns = struct.unpack(">H", query[10:12])[0] > 0
    if what == "wrong-id" and not is_tcp:
        for i in range(1, 8):
            send(message(query, name, lie, number=ident + i))
    elif what == "wrong-source" and not is_tcp:
        send_elsewhere(message(query, name, lie))
    elif what == "wrong-name" and not is_tcp:
        send(message(query, text("other.bad"), [address(text("other.bad"), "6.6.6.6")]))
    elif what == "flip-case" and not is_tcp:
        flipped = [label.swapcase() for label in name]
        return send(message(query, flipped, [address(flipped, "6.6.6.6")]))
    elif what == "storm" and not is_tcp:
        for i in range(1, 201):
            send(message(query, name, lie, number=ident + i))
        return None
    elif what == "truncated" and not is_tcp:
        return send(message(query, name, flags=0x8380))
    elif what == "poison":
        victim = text("victim.bad")
        return send(message(query, name, [address(victim, "6.6.6.6", 3600), address(name, "10.1.1.1")],
                            authority=[record(text("bad"), 2, wire(victim))],
                            additional=[address(victim, "6.6.6.6", 3600)]))
    elif what == "servfail":
        return send(message(query, name, flags=0x8182))
    elif what == "noedns" and has_edns:
        return send(message(query, name, flags=0x8181))
    elif what == "never":
        return None
    elif what == "garbage" and not is_tcp:
        send(b"\xff" * 7)
        send(query[:2] + b"\x81\x80" + b"\xff" * 100)
    elif what in ("chain", "chain1", "chain2"):
        after = {"chain": "chain1.bad", "chain1": "chain2.bad", "chain2": "good.bad"}[what]
        return send(message(query, name, [record(name, 5, wire(text(after)))]))
    return send(honest)


def serve_udp(ip):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((ip, 53))
    other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    other.bind((ip, 0))
    while True:
        query, sender = server.recvfrom(4096)
        serve(query, False, lambda data: server.sendto(data, sender), lambda data: other.sendto(data, sender))


class Stream(socketserver.BaseRequestHandler):
    def handle(self):
        data = b""
        while len(data) < 2 or len(data) < 2 + struct.unpack(">H", data[:2])[0]:
            more = self.request.recv(4096)
            if not more:
                return
            data += more
        serve(data[2:], True, lambda answer: self.request.sendall(struct.pack(">H", len(answer)) + answer), None)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


for ip_text in sys.argv[1:]:
    threading.Thread(target=serve_udp, args=(ip_text,), daemon=True).start()
    threading.Thread(target=Server((ip_text, 53), Stream).serve_forever, daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
