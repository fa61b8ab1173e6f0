#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""RFC 9293 section 3.10.7, branch by branch, against a live appliance over IPv4 and IPv6.

Our host on the wire (rawlab.py) sends single segments; the appliance (test/interop/peer) relays to a server of the
host's kernel that this test holds in its hands, so it decides when the appliance sends data or FIN, and every state
can be reached. SYN-SENT is reached the other way round: the appliance is told to connect to us.
"""
import os
import random
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
from rawlab import APP, APP6, HOST, HOST6, US, US6, Lab, base, done, ok  # noqa: E402
from scapy.all import IP, TCP, IPv6, Raw  # noqa: E402

PORT, SERVER, OUTWARDS, OUR = 7001, 7000, {4: 7004, 6: 7006}, 7100
SEED = int(os.environ.get("SEED", "1"))
SLOW_S = 0.2  # a branch takes a tenth of it; the first timers of TCP go off after as much


class Connection:
    """One end of a connection, ours; numbers of segments are relative to the next one expected."""

    def __init__(self, test, port=PORT):
        self.test, self.lab, self.family = test, test.lab, test.family
        self.port, self.ours = port, random.randrange(10000, 60000)
        self.seq, self.ack = random.randrange(1 << 32), 0
        self.server = None
        self.seen = set()

    def belongs(self, frame):
        return TCP in frame and frame[TCP].sport == self.port and frame[TCP].dport == self.ours

    def send(self, flags, data=b"", seq=0, ack=0, window=60000, options=()):
        self.lab.send(base(self.family) / TCP(
            sport=self.ours, dport=self.port, flags=flags, seq=(self.seq + seq) % (1 << 32),
            ack=(self.ack + ack) % (1 << 32) if "A" in flags else 0, window=window, options=list(options)) / Raw(data))

    def say(self, flags, *arguments, **named):
        """Send, and all segments that come of it as texts: flags, relative numbers, length of data."""
        self.send(flags, *arguments, **named)
        return self.heard()

    def heard(self):
        """What a slow machine lets be sent once more, data or FIN, is left out."""
        return [self.text(frame[TCP]) for frame in self.lab.settle(self.family)
                if self.belongs(frame) and self.is_new(frame[TCP])]

    def is_new(self, segment):
        key = (segment.seq, "F" in str(segment.flags), self.payload_len(segment))
        if not any(key[1:]):
            return True
        was_seen = key in self.seen
        self.seen.add(key)
        return not was_seen

    def text(self, segment):
        seq = (segment.seq - self.ack + (1 << 31)) % (1 << 32) - (1 << 31)
        ack = (segment.ack - self.seq + (1 << 31)) % (1 << 32) - (1 << 31)
        length = self.payload_len(segment)
        return f"{segment.flags} {seq}" + (f" {ack}" if "A" in str(segment.flags) else "") + (f" +{length}" if length else "")

    def payload_len(self, segment):
        """Of the TCP segment, without padding of the frame."""
        if self.family == 4:
            whole = segment.underlayer
            return whole.len - whole.ihl * 4 - segment.dataofs * 4
        return segment.underlayer.plen - segment.dataofs * 4

    def syn(self, **named):
        """SYN and SYN-ACK; the answers."""
        self.send("S", **named)
        reply = self.lab.wait(self.belongs)
        assert reply is not None and reply[TCP].flags == "SA", "no SYN-ACK"
        self.ack = (reply[TCP].seq + 1) % (1 << 32)
        self.seq = (self.seq + 1) % (1 << 32)
        return reply[TCP]

    def open(self, **named):
        """ESTABLISHED; the server's side of the relay is in our hands."""
        self.syn(**named)
        self.send("A", **named)
        self.server, _ = self.test.server.accept()
        self.server.settimeout(10)
        self.lab.settle(self.family)
        return self

    def fin_wait_1(self):
        """The appliance has sent its FIN, which is not acknowledged."""
        self.open()
        self.server.shutdown(socket.SHUT_WR)
        reply = self.lab.wait(self.belongs)
        assert reply is not None and "F" in str(reply[TCP].flags) and self.is_new(reply[TCP]), "no FIN"
        return self

    def fin_wait_2(self):
        self.fin_wait_1()
        self.ack += 1
        assert self.say("A") == []
        return self

    def closing(self):
        self.fin_wait_1()
        assert "A 1 1" in self.say("FA"), "the FIN is not acknowledged"
        self.seq += 1
        return self

    def time_wait(self):
        self.fin_wait_2()
        assert self.say("FA") == ["A 0 1"], "the FIN is not acknowledged"
        self.seq += 1
        return self

    def close_wait(self):
        self.open()
        assert self.say("FA") == ["A 0 1"], "the FIN is not acknowledged"
        self.seq += 1
        return self

    def last_ack(self):
        self.close_wait()
        self.server.close()
        reply = self.lab.wait(self.belongs)
        assert reply is not None and "F" in str(reply[TCP].flags) and self.is_new(reply[TCP]), "no FIN"
        return self

    def is_alive(self, data=b"still here"):
        """In-order data arrives at the server and is acknowledged."""
        self.send("PA", data)
        try:
            got = self.server.recv(1000)
        except OSError:
            return False
        heard = self.heard()
        while not heard:  # the ACK may be delayed
            heard = self.heard()
        self.seq += len(data)
        return got == data and heard[-1].endswith(f" {len(data)}")

    def is_gone(self):
        """Any ACK is answered with a reset: the state CLOSED."""
        return self.say("A") == ["R 0"]

    def end(self):
        self.send("R", seq=0)
        if self.server:
            self.server.close()


CHECKS = []


def branch(name):
    def add(function):
        CHECKS.append((name, function))
        return function
    return add


class Test:
    def __init__(self, lab, family, server, client):
        self.lab, self.family, self.server, self.client_socket = lab, family, server, client

    def connection(self, *arguments):
        return Connection(self, *arguments)

    def same(self, got, wanted, what=""):
        if got != wanted:
            raise AssertionError(f"{what} got {got}, wanted {wanted}")

    def client(self):
        """The appliance has begun to connect to us: SYN-SENT. Our end, and the socket that asked for it."""
        asked = self.client_socket()
        end = self.connection()
        frame = self.lab.wait(lambda f: TCP in f and f[TCP].dport == OUR and f[TCP].flags.S)
        assert frame is not None, "no SYN"
        end.port, end.ours = frame[TCP].sport, OUR
        end.ack = frame[TCP].seq + 1
        return end, asked

    def run(self, name, function):
        """A machine that lets us wait lets timers of the appliance go off meanwhile, and what they send was not asked for
        here: a failure that took long is tried again."""
        for turn in range(3):
            began = time.monotonic()
            try:
                function(self)
                passed = time.monotonic() - began
                if passed > 2:
                    print(f"# {passed:.1f} s")
                return ok(True, f"IPv{self.family} {name}")
            except (AssertionError, OSError) as error:
                passed, trouble = time.monotonic() - began, str(error) or repr(error)
            if passed < SLOW_S or turn == 2:
                return ok(False, f"IPv{self.family} {name}", trouble)
            print(f"# again, {passed:.1f} s: {trouble}")
            self.forget()

    def forget(self):
        """Connections that a failed try has left to the server."""
        self.lab.settle(self.family)
        self.server.settimeout(0.2)
        try:
            while True:
                self.server.accept()[0].close()
        except OSError:
            pass
        self.server.settimeout(10)


# ---- 3.10.7.1 CLOSED -------------------------------------------------------------------------------


@branch("CLOSED: RST is discarded")
def _(t):
    t.same(t.connection(6999).say("R"), [])
    t.same(t.connection(6999).say("RA"), [])


@branch("CLOSED: without ACK: reset with number 0, which acknowledges all of it")
def _(t):
    c = t.connection(6999)
    t.same(c.say("S", seq=0), ["RA 0 1"])
    t.same(t.connection(6999).say("S", b"12345"), ["RA 0 6"])
    t.same(t.connection(6999).say("F", b"12345"), ["RA 0 6"])


@branch("CLOSED: with ACK: reset with the number it acknowledges")
def _(t):
    c = t.connection(6999)
    c.ack = 12345
    t.same(c.say("A"), ["R 0"])
    t.same(c.say("SA"), ["R 0"])
    t.same(c.say("FPA", b"data"), ["R 0"])


# ---- 3.10.7.2 LISTEN -------------------------------------------------------------------------------


@branch("LISTEN: RST is ignored")
def _(t):
    t.same(t.connection().say("R"), [])
    t.same(t.connection().say("RA"), [])


@branch("LISTEN: ACK is answered with a reset")
def _(t):
    for flags in ("A", "SA", "FA", "PA"):
        c = t.connection()
        c.ack = 777
        t.same(c.say(flags), ["R 0"], flags)


@branch("LISTEN: SYN is answered with SYN and ACK")
def _(t):
    c = t.connection()
    c.syn()
    c.end()


@branch("LISTEN: neither SYN nor ACK nor RST is dropped")
def _(t):
    for flags in ("", "F", "P", "U"):
        t.same(t.connection().say(flags, b"data"), [], flags)


@branch("LISTEN: data with the SYN is not lost")
def _(t):
    c = t.connection()
    reply = c.syn(data=b"early")
    if (reply.ack - c.seq) % (1 << 32) == 0:
        c.send("PA", b"early")  # it was not taken with the SYN: sent again, as every TCP would
    else:
        c.send("A")
    server, _ = t.server.accept()
    server.settimeout(10)
    t.same(server.recv(100), b"early")
    c.end()
    server.close()


# ---- 3.10.7.3 SYN-SENT -----------------------------------------------------------------------------


@branch("SYN-SENT: an ACK of something never sent is answered with a reset, and changes nothing")
def _(t):
    end, asked = t.client()
    t.same(end.say("SA", ack=5), ["R 5"])
    t.same(end.say("A", ack=-1), ["R -1"])
    t.same(end.say("RA", ack=5), [])
    end.send("RA")
    t.same(closed_by_reset(asked), True)


def closed_by_reset(asked):
    try:
        return asked.recv(1) == b"not so"
    except ConnectionResetError:
        return True
    finally:
        asked.close()


@branch("SYN-SENT: RST without ACK is dropped, with the right ACK it refuses")
def _(t):
    end, asked = t.client()
    t.same(end.say("R"), [])
    t.same(end.say("RA"), [])
    t.same(closed_by_reset(asked), True)


@branch("SYN-SENT: an ACK without SYN is dropped")
def _(t):
    end, asked = t.client()
    t.same(end.say("A"), [])
    t.same(end.say("FA"), [])
    end.send("RA")
    t.same(closed_by_reset(asked), True)


@branch("SYN-SENT: SYN and ACK establish")
def _(t):
    end, asked = t.client()
    t.same(end.say("SA"), ["A 0 1"])
    end.seq += 1
    asked.sendall(b"through")
    frame = end.lab.wait(end.belongs)
    t.same(bytes(frame[TCP].payload)[:7], b"through")
    end.send("R")
    closed_by_reset(asked)


@branch("SYN-SENT: SYN and ACK with data: the data is taken")
def _(t):
    end, asked = t.client()
    end.send("SA", b"hello")
    t.same(asked.recv(10), b"hello")
    end.seq += 6
    end.send("R")
    closed_by_reset(asked)


@branch("SYN-SENT: SYN alone: both open at once")
def _(t):
    end, asked = t.client()
    t.same(end.say("S"), ["SA -1 1"])
    end.send("SA", ack=0)  # our own SYN again, with the ACK of theirs
    end.seq += 1
    end.lab.settle(end.family)
    end.send("PA", b"crossed")
    t.same(asked.recv(10), b"crossed")
    end.seq += 7
    end.send("R")
    closed_by_reset(asked)


# ---- 3.10.7.4 SYN-RECEIVED -------------------------------------------------------------------------


@branch("SYN-RECEIVED: the SYN again brings the SYN and ACK again")
def _(t):
    c = t.connection()
    c.syn()
    t.same(c.say("S", seq=-1), ["SA -1 0"])
    c.end()


@branch("SYN-RECEIVED: an unacceptable ACK is answered with a reset")
def _(t):
    c = t.connection()
    c.syn()
    t.same(c.say("A", ack=100), ["R 100"])
    t.same(c.say("A", ack=-1), ["R -1"])
    c.send("A")
    c.server, _ = t.server.accept()
    c.server.settimeout(10)
    t.same(c.is_alive(), True)
    c.end()


@branch("SYN-RECEIVED: RST at the right number ends it, another does not")
def _(t):
    c = t.connection()
    c.syn()
    t.same(c.say("R", seq=70000), [])
    t.same(len(c.say("R", seq=100)) <= 1, True)
    t.same(c.say("R"), [])
    t.same(c.say("A"), ["R 0"])


@branch("SYN-RECEIVED: an old or far number is answered with an ACK")
def _(t):
    c = t.connection()
    c.syn()
    heard = c.say("A", b"x", seq=200000)
    t.same([text.split()[0] in ("A", "SA") for text in heard], [True])
    c.send("R")


@branch("SYN-RECEIVED: FIN before the handshake ends arrives after it")
def _(t):
    c = t.connection()
    c.syn()
    t.same("A 0 5" in c.say("FA", b"last"), True)
    server, _ = t.server.accept()
    server.settimeout(10)
    t.same((server.recv(10), server.recv(10)), (b"last", b""))
    server.close()
    c.end()


# ---- 3.10.7.4 first: sequence numbers ---------------------------------------------------------------


@branch("ESTABLISHED: data from before the window is acknowledged and dropped")
def _(t):
    c = t.connection().open()
    c.is_alive(b"0123456789")
    t.same(c.say("PA", b"56789", seq=-5), ["A 0 0"])
    t.same(c.is_alive(), True)
    c.end()


@branch("ESTABLISHED: data from beyond the window is acknowledged and dropped")
def _(t):
    c = t.connection().open()
    t.same(c.say("PA", b"far", seq=1 << 24), ["A 0 0"])
    t.same(c.is_alive(), True)
    c.end()


@branch("ESTABLISHED: an empty segment out of the window is acknowledged")
def _(t):
    c = t.connection().open()
    t.same(c.say("A", seq=-1), ["A 0 0"])
    t.same(c.say("A", seq=1 << 24), ["A 0 0"])
    c.end()


@branch("ESTABLISHED: what is left of old data is taken, and only that")
def _(t):
    c = t.connection().open()
    c.is_alive(b"0123456789")
    t.same(c.say("PA", b"56789abc", seq=-5), ["A 0 3"])
    t.same(c.server.recv(100), b"abc")
    c.end()


@branch("ESTABLISHED: data behind a hole waits for it")
def _(t):
    c = t.connection().open()
    t.same(c.say("PA", b"world", seq=6), ["A 0 0"])
    t.same(c.say("PA", b"hello "), ["A 0 11"])
    got = c.server.recv(100)
    while len(got) < 11:
        got += c.server.recv(100)
    t.same(got, b"hello world")
    c.end()


@branch("ESTABLISHED: a closed window takes ACK and RST, and no data")
def _(t):
    c = t.connection().open()
    sent, heard = 0, []
    c.server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for _ in range(4000):  # until it promises nothing more
        c.send("A", b"z" * 1400)
        frames = [f[TCP] for f in c.lab.settle(c.family) if c.belongs(f)]
        c.seq = max([c.seq] + [f.ack for f in frames], key=lambda ack: (ack - c.seq) % (1 << 32) if (ack - c.seq) % (1 << 32) < 1 << 31 else 0)
        sent += 1400
        if frames and frames[-1].window == 0:
            break
    t.same(frames[-1].window, 0, "window")
    heard = c.say("A", b"more")
    t.same(heard, ["A 0 0"])
    t.same(c.say("A"), [])
    c.send("R")
    t.same(c.lab.settle(c.family) is not None and c.is_gone(), True)
    c.server.close()


# ---- second: RST ------------------------------------------------------------------------------------


@branch("ESTABLISHED: RST at exactly the next number resets")
def _(t):
    c = t.connection().open()
    t.same(c.say("R"), [])
    t.same(c.is_gone(), True)
    t.same(closed_by_reset(c.server), True)


@branch("ESTABLISHED: RST elsewhere in the window is challenged (RFC 5961)")
def _(t):
    c = t.connection().open()
    t.same(c.say("R", seq=100), ["A 0 0"])
    t.same(c.is_alive(), True)
    c.end()


@branch("ESTABLISHED: RST out of the window is dropped")
def _(t):
    c = t.connection().open()
    t.same(c.say("R", seq=-1), [])
    t.same(c.say("R", seq=1 << 24), [])
    t.same(c.is_alive(), True)
    c.end()


for _state in ("fin_wait_1", "fin_wait_2", "close_wait", "closing", "last_ack"):
    def _reset(t, state=_state):
        c = getattr(t.connection(), state)()
        t.same(c.say("R", seq=100), ["A %d 0" % (1 if state in ("fin_wait_1", "closing", "last_ack") else 0)], "challenge")
        t.same(c.say("R"), [])
        t.same(c.is_gone(), True)
        c.server.close()
    branch(f"{_state.upper().replace('_', '-')}: RST in the window is challenged, the right one ends it")(_reset)


@branch("TIME-WAIT: RST does not end it (RFC 1337)")
def _(t):
    c = t.connection().time_wait()
    t.same(c.say("R"), [])
    t.same(c.say("FA", seq=-1), ["A 0 0"])


# ---- fourth: SYN ------------------------------------------------------------------------------------

for _state in ("open", "fin_wait_1", "fin_wait_2", "close_wait", "closing", "last_ack"):
    def _syn(t, state=_state):
        c = getattr(t.connection(), state)()
        ack = 1 if state in ("fin_wait_1", "closing", "last_ack") else 0
        for seq in (0, 1000, -5, 1 << 24):
            t.same(c.say("S", seq=seq), [f"A {ack} 0"], f"SYN at {seq}")
        c.end()
    branch(f"{'ESTABLISHED' if _state == 'open' else _state.upper().replace('_', '-')}: SYN is challenged (RFC 5961)")(_syn)


@branch("TIME-WAIT: a SYN with a higher number begins a new connection")
def _(t):
    c = t.connection().time_wait()
    c.seq += 100000
    c.send("S")
    reply = c.lab.wait(c.belongs)
    t.same(str(reply[TCP].flags), "SA")
    t.same((reply[TCP].ack - c.seq) % (1 << 32), 1)
    c.send("R", seq=1)


@branch("TIME-WAIT: an old SYN is answered with an ACK")
def _(t):
    c = t.connection().time_wait()
    t.same(c.say("S", seq=-10), ["A 0 0"])


# ---- fifth: ACK -------------------------------------------------------------------------------------


@branch("ESTABLISHED: without ACK it is dropped")
def _(t):
    c = t.connection().open()
    for flags in ("", "P", "F", "U"):
        t.same(c.say(flags, b"no"), [], flags)
    t.same(c.is_alive(), True)
    c.end()


@branch("ESTABLISHED: an ACK of data never sent is answered, and the data with it dropped")
def _(t):
    c = t.connection().open()
    t.same(c.say("PA", b"bad", ack=1000), ["A 0 0"])
    t.same(c.is_alive(), True)
    c.end()


@branch("ESTABLISHED: an ACK from long ago is challenged (RFC 5961)")
def _(t):
    c = t.connection().open()
    t.same(c.say("A", ack=-(1 << 24)), ["A 0 0"])
    t.same(c.is_alive(), True)
    c.end()


@branch("ESTABLISHED: data of theirs is sent, and again until it is acknowledged")
def _(t):
    c = t.connection().open()
    c.server.sendall(b"important")
    first, second = c.lab.wait(c.belongs), c.lab.wait(c.belongs)
    t.same((c.text(first[TCP])[-2:], second[TCP].seq), ("+9", first[TCP].seq))
    c.ack += 9
    t.same(c.say("A"), [])
    c.end()


@branch("ESTABLISHED: more data than our window is not sent, a probe follows")
def _(t):
    c = t.connection().open()
    c.say("A", window=10)
    c.server.sendall(b"0123456789abcdef")
    frame = c.lab.wait(c.belongs)
    t.same(c.payload_len(frame[TCP]) <= 10, True, "window of 10")
    c.end()


@branch("FIN-WAIT-1: the ACK of the FIN leads to FIN-WAIT-2")
def _(t):
    c = t.connection().fin_wait_2()
    t.same(c.is_alive(), True)
    c.end()


@branch("FIN-WAIT-1: FIN with the ACK of theirs leads to TIME-WAIT")
def _(t):
    c = t.connection().fin_wait_1()
    c.ack += 1
    t.same(c.say("FA"), ["A 0 1"])
    c.seq += 1
    t.same(c.say("FA", seq=-1), ["A 0 0"], "and the FIN again is acknowledged again")


@branch("CLOSING: the ACK of the FIN leads to TIME-WAIT")
def _(t):
    c = t.connection().closing()
    c.ack += 1
    t.same(c.say("A"), [])
    t.same(c.say("FA", seq=-1), ["A 0 0"])


@branch("LAST-ACK: the ACK of the FIN leads to CLOSED")
def _(t):
    c = t.connection().last_ack()
    c.ack += 1
    t.same(c.say("A"), [])
    t.same(c.is_gone(), True)


# ---- sixth: URG, seventh: text, eighth: FIN ----------------------------------------------------------


@branch("ESTABLISHED: urgent data stays in its place in the stream")
def _(t):
    c = t.connection().open()
    c.lab.send(base(t.family) / TCP(sport=c.ours, dport=c.port, flags="PAU", urgptr=3, seq=c.seq, ack=c.ack) / Raw(b"urgent"))
    t.same(c.server.recv(100), b"urgent")
    c.seq += 6
    c.end()


@branch("CLOSE-WAIT: text after the FIN is not taken")
def _(t):
    c = t.connection().close_wait()
    t.same(c.say("PA", b"after"), [])
    t.same(c.server.recv(10), b"")
    c.end()


@branch("CLOSE-WAIT: data of theirs still arrives")
def _(t):
    c = t.connection().close_wait()
    c.server.sendall(b"half")
    frame = c.lab.wait(c.belongs)
    t.same(c.payload_len(frame[TCP]), 4)
    c.end()


@branch("FIN behind a hole waits for what is missing")
def _(t):
    c = t.connection().open()
    t.same(c.say("FA", b"end", seq=4), ["A 0 0"])
    t.same(c.say("PA", b"the "), ["A 0 8"])
    got = b""
    while more := c.server.recv(100):
        got += more
    t.same(got, b"the end")
    c.seq += 8
    c.end()


for _state in ("close_wait", "closing", "last_ack", "time_wait"):
    def _again(t, state=_state):
        c = getattr(t.connection(), state)()
        t.same(c.say("FA", seq=-1), ["A %d 0" % (1 if state in ("closing", "last_ack") else 0)])
        c.end()
    branch(f"{_state.upper().replace('_', '-')}: the FIN again is acknowledged again")(_again)


@branch("options: an unknown one is skipped, a broken one drops the segment")
def _(t):
    c = t.connection().open()
    c.send("PA", b"fine", options=[(200, b"xx")])
    t.same(c.server.recv(10), b"fine")
    c.seq += 4
    c.heard()
    for bad in (b"\x05\0\0\0", b"\x05\1\0\0", b"\x05\x0a\0\0"):
        c.lab.send(base(t.family) / TCP(sport=c.ours, dport=c.port, flags="PA", dataofs=6, seq=c.seq, ack=c.ack) /
                   Raw(bad + b"no"))
        t.same(c.heard(), [], bad.hex())
    t.same(c.is_alive(), True)
    c.end()


@branch("timestamps: a ghost is dropped by PAWS, a segment without one too (RFC 7323)")
def _(t):
    c = t.connection().open(options=[("Timestamp", (1000000, 0))])
    t.same(c.say("PA", b"none"), [])
    c.send("PA", b"yes", options=[("Timestamp", (1000001, 0))])
    t.same(c.server.recv(10), b"yes")
    c.seq += 3
    c.heard()
    t.same(c.say("PA", b"old", options=[("Timestamp", (999000, 0))]), ["A 0 0"])
    c.end()


# ---- all of it --------------------------------------------------------------------------------------


def main():
    random.seed(SEED)
    relay = f"{PORT}={HOST}:{SERVER},{OUTWARDS[4]}={US}:{OUR},{OUTWARDS[6]}=[{US6}]:{OUR}"
    lab = Lab("--relay", relay)
    try:
        server = lab.socket(socket.AF_INET, socket.SOCK_STREAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((HOST, SERVER))
        server.listen(64)
        server.settimeout(10)
        before = lab.counters()
        for family in (4, 6):
            def client(family=family):
                asked = lab.socket(socket.AF_INET, socket.SOCK_STREAM)
                asked.settimeout(10)
                asked.connect((APP, OUTWARDS[family]))
                return asked
            test = Test(lab, family, server, client)
            for name, function in CHECKS:
                if only is None or only in name:
                    test.run(name, function)
        grown = {name: value - before[name] for name, value in lab.counters().items() if value != before[name]}
        for name in ("tcp_drop_no_port", "tcp_drop_listen", "tcp_drop_rst_invalid", "tcp_drop_no_ack_flag", "tcp_drop_bad_ack",
                     "tcp_drop_out_of_window", "tcp_challenge_acks", "tcp_drop_bad_options", "tcp_drop_paws",
                     "tcp_drop_no_timestamp", "tcp_duplicate_bytes_in", "tcp_out_of_order_in", "tcp_time_wait_reused",
                     "tcp_time_wait_resets_ignored"):
            ok(only or grown.get(name, 0) > 0, f"counted: {name} {grown.get(name, 0)}")
        ok(lab.process.poll() is None and lab.counters(), "it serves as before")
    finally:
        lab.close()
    done()


only = os.environ.get("ONLY")
if __name__ == "__main__":
    main()
