#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Ask several name servers the same drawn questions and compare what they say, section by section, as sets.

    dnsdiff.py ZONEFILE ZONE SEED COUNT OURS NAME=PEER...

Each question is drawn from the names of the zone: as they are, with labels before them or without their first, with
letters in other cases, made up; any type; with and without EDNS, DO, RD; over UDP with several sizes and over TCP. A
difference is either of a kind that is known and explained (KINDS) or a failure, which is printed with both answers.
Prints "kind PEER KIND count" lines and "differences N", "questions N".
"""
import os
import random
import sys

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.zone

KINDS = {
    "additional": "other additional records, all of which are optional here",
    "ns": "the zone's own NS beside an answer",
    "tc": "both truncated, with other parts left in",
    "size": "one of them fits and the other does not, because they add other optional records",
    "any": "ANY: one set of ours, all or others of theirs (RFC 8482)",
    "glue": "truncated, because glue does not fit (RFC 9471)",
    "loop": "a loop of aliases: how often it is written, and whether that is a failure",
    "beside": "types that signed zones have beside an alias: is it followed?",
    "rename": "DNAME that makes a name too long",
}
TYPES = ("A AAAA NS SOA MX TXT CNAME SRV CAA PTR DNAME DS ANY NAPTR HINFO TLSA SSHFP RP URI TYPE65280 TYPE999 SPF RRSIG "
         "DNSKEY NSEC").split()


def mixed(rng, name):
    labels = [bytes(c ^ 0x20 if chr(c).isalpha() and c < 128 and rng.random() < 0.5 else c for c in label)
              for label in name.labels]
    return dns.name.Name(labels)


def draw_name(rng, names, origin):
    name = rng.choice(names)
    kind = rng.random()
    try:
        if kind < 0.35:
            pass
        elif kind < 0.65:
            front = [rng.choice([b"x", b"*", b"a", b"www", b"nothing", b"\x00", b"b", b"y", b"mail"])
                     for _ in range(rng.choice([1, 1, 1, 2, 3]))]
            name = dns.name.Name(tuple(front) + name.labels)
        elif kind < 0.75 and len(name.labels) > len(origin.labels):
            name = name.parent()
        elif kind < 0.8:
            name = dns.name.Name((b"q" * rng.randrange(1, 64),) + name.labels)
        elif kind < 0.85:
            name = dns.name.Name((b"%d" % rng.randrange(10000),) + origin.labels)
        elif kind < 0.87:
            name = rng.choice([dns.name.root, origin.parent(), dns.name.from_text("host.elsewhere.test."),
                               dns.name.from_text("xdiff.example.")])
    except dns.name.NameTooLong:
        return origin
    return mixed(rng, name) if rng.random() < 0.3 else name


def draw(rng, names, origin):
    message = dns.message.make_query(draw_name(rng, names, origin), rng.choice(TYPES + ["A"] * 10 + ["MX", "NS", "TXT"]))
    message.flags = dns.flags.RD if rng.random() < 0.3 else 0
    message.id = rng.randrange(65536)
    if rng.random() < 0.5:
        message.use_edns(0, dns.flags.DO if rng.random() < 0.2 else 0, payload=rng.choice([512, 1232, 1232, 4096]))
    return message, rng.random() < 0.15


def section(rrsets):
    """Names in answers may have the letters of the question: all small."""
    return {(str(s.name).lower(), dns.rdatatype.to_text(s.rdtype), s.ttl, r.to_digestable().lower())
            for s in rrsets for r in s}


class Answer:
    def __init__(self, message):
        self.rcode = dns.rcode.to_text(message.rcode())
        self.flags = message.flags & (dns.flags.AA | dns.flags.TC | dns.flags.RD)
        self.tc = bool(message.flags & dns.flags.TC)
        self.answer, self.authority, self.additional = (section(s) for s in
                                                        (message.answer, message.authority, message.additional))
        self.question = [(q.name.to_wire(), q.rdtype) for q in message.question]
        self.do = bool(message.ednsflags & dns.flags.DO)
        self.edns = message.edns

    def core(self):
        return self.rcode, self.flags, self.answer, self.authority


def is_ns_only(more, origin):
    return bool(more) and all(name == str(origin) and kind == "NS" for name, kind, _, _ in more)


def judge(message, ours, theirs, origin):
    """None: the same; the kind of a difference; or "" for one that nobody explained."""
    kind = dns.rdatatype.to_text(message.question[0].rdtype)
    if ours.question != theirs.question and theirs.question:
        return ""
    if kind == "ANY":
        one = len({k for _, k, _, _ in ours.answer}) <= 1 or any(k == "CNAME" for _, k, _, _ in ours.answer)
        renamed = any(k == "DNAME" for _, k, _, _ in ours.answer & theirs.answer)  # is its alias followed?
        if ours.core() == theirs.core():
            return None
        return "any" if one and ours.rcode == theirs.rcode or renamed else ""
    if (ours.tc or theirs.tc) and ours.rcode == theirs.rcode:
        if ours.tc and theirs.tc:
            return None if ours.core() == theirs.core() else "tc"
        return "size" if theirs.tc else "glue" if not ours.flags & dns.flags.AA else ""
    if ours.rcode == theirs.rcode and ours.flags == theirs.flags and ours.answer == theirs.answer:
        if ours.authority != theirs.authority:
            if ours.authority <= theirs.authority and is_ns_only(theirs.authority - ours.authority, origin):
                return "ns"
        elif ours.additional != theirs.additional:
            # Glue below the delegation is not optional.
            return "additional"
        else:
            return None
    answers = ours.answer | theirs.answer
    if ours.answer <= theirs.answer and answers and all(k == "CNAME" for _, k, _, _ in answers) and ours.flags == theirs.flags:
        if ours.rcode == "NOERROR" and not ours.authority and not theirs.authority - ours.authority:
            return "loop"
    if kind in ("NSEC", "RRSIG", "KEY") and ours.answer and not theirs.answer:
        return "beside"
    if "YXDOMAIN" in (ours.rcode, theirs.rcode):
        return "rename"
    return ""


def show(title, answer):
    print(f"#   {title}: {answer.rcode} {dns.flags.to_text(answer.flags)}")
    for name in ("answer", "authority", "additional"):
        for record in sorted(getattr(answer, name), key=str):
            print(f"#     {name}: {record}")


def ask(message, address, over_tcp):
    for _ in range(3):
        try:
            if over_tcp:
                return Answer(dns.query.tcp(message, address, timeout=5))
            return Answer(dns.query.udp(message, address, timeout=2, ignore_unexpected=True))
        except dns.exception.Timeout:
            pass
    return None


def main():
    path, zone, seed, count, address, *peers = sys.argv[1:]
    origin = dns.name.from_text(zone)
    os.chdir(os.path.dirname(path))
    text = dns.zone.from_file(path, origin, relativize=False, allow_include=True)
    names = sorted(text.nodes.keys())
    rng = random.Random(int(seed))
    peers = [peer.split("=") for peer in peers]
    counts, bad = {}, 0
    for _ in range(int(count)):
        message, over_tcp = draw(rng, names, origin)
        ours = ask(message, address, over_tcp)
        for name, peer in peers:
            theirs = ask(message, peer, over_tcp)
            found = judge(message, ours, theirs, origin) if ours and theirs else ""
            if found is None:
                continue
            counts[name, found] = counts.get((name, found), 0) + 1
            if found == "":
                bad += 1
                if bad <= 12:
                    print(f"# {message.question[0]} edns {message.edns} {message.payload} tcp {over_tcp}")
                    show("ours", ours) if ours else print("#   ours: silence")
                    show(name, theirs) if theirs else print(f"#   {name}: silence")
        if ours and (ours.edns != message.edns or ours.do != bool(message.ednsflags & dns.flags.DO)):
            bad += 1
            print(f"# EDNS of {message.question[0]}: {ours.edns} {ours.do}")
    for (name, kind), n in sorted(counts.items()):
        print(f"kind {name} {kind or 'unexplained'} {n}: {KINDS.get(kind, '')}")
    print(f"questions {count}")
    print(f"differences {bad}")


main()
