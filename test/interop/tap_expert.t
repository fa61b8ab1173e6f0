#!/usr/bin/env bash
# tshark judges captures of ours (--pcap, on our side of the faults): bulk of both directions, a closed window, all
# orders of closing, each over IPv4 and IPv6 and in both roles (test/interop/peer accepts and connects). On a clean
# wire every warning must be one that the test caused; on a bad one only losses and their repair may be seen.
. "$(dirname "$0")/lib.sh"
need tshark python3
net_open
peer_build asan

# What the host does: one port for each kind of traffic, so that tshark can tell them apart.
cat >"$WORK/traffic.py" <<'PY'
import os, select, socket, struct, sys, threading

addresses, kinds, size = sys.argv[1].split(","), sys.argv[2].split(","), int(sys.argv[3])
server = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
server.bind(("::", 7000))
server.listen(16)
PORTS = {"bulk": 7101, "window": 7102, "client first": 7103, "server first": 7104, "both": 7105, "half": 7106,
         "client resets": 7107, "server resets": 7108}

def pair(address, kind):
    client = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    client.settimeout(60)
    client.connect((address, PORTS[kind]))
    held, _ = server.accept()
    held.settimeout(60)
    return client, held

def drain(end, wanted):
    got = bytearray()
    while more := end.recv(65536):
        got += more
    assert got == wanted, f"{len(got)} of {len(wanted)} bytes, or wrong ones"

def send(end, data):
    end.sendall(data)
    end.shutdown(socket.SHUT_WR)

def reset(end):
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()

def run(address, kind):
    data = os.urandom(size)
    client, held = pair(address, kind)
    if kind == "window":
        closed_windows(client, held)
    elif kind == "bulk":
        threads = [threading.Thread(target=send, args=(end, data)) for end in (client, held)]
        threads += [threading.Thread(target=drain, args=(end, data)) for end in (client, held)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:
        client.sendall(b"question")
        assert held.recv(100) == b"question"
        held.sendall(b"answer")
        assert client.recv(100) == b"answer"
        if kind == "client first":
            client.close(); assert held.recv(1) == b""; held.close()
        elif kind == "server first":
            held.close(); assert client.recv(1) == b""; client.close()
        elif kind == "both":
            client.shutdown(socket.SHUT_WR); held.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b"" and held.recv(1) == b""
        elif kind == "half":
            client.shutdown(socket.SHUT_WR); assert held.recv(1) == b""
            held.sendall(b"later"); held.close(); drain(client, b"later")
        else:
            one, other = (client, held) if kind == "client resets" else (held, client)
            reset(one)
            try:
                assert other.recv(1) == b"never"
            except ConnectionResetError:
                pass
    client.close()
    held.close()

def window(end):  # what our stack announced last (Linux 5.4; 1 before: unknown)
    info = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 240)
    return struct.unpack_from("=I", info, 228)[0] if len(info) >= 232 else 1

def closed_windows(client, held):
    """Both send, and nobody reads until our stack has closed both of its windows, or nothing has moved for five seconds."""
    ends, block = (client, held), os.urandom(100000)
    sent, still = {client: 0, held: 0}, 0
    for end in ends:
        end.setblocking(False)
    while still < 50 and (window(client) or window(held)):
        before = sum(sent.values())
        for end in select.select([], ends, [], 0.1)[1]:
            try:
                sent[end] += end.send(block[sent[end] % len(block):])
            except BlockingIOError:
                pass
        still = still + 1 if sum(sent.values()) == before else 0
    for end in ends:
        end.settimeout(60)
        end.shutdown(socket.SHUT_WR)
    wanted = {end: (block * (sent[end] // len(block) + 1))[:sent[end]] for end in ends}
    readers = [threading.Thread(target=drain, args=(one, wanted[other])) for one, other in (ends, ends[::-1])]
    for thread in readers:
        thread.start()
    for thread in readers:
        thread.join()

for address in addresses:
    for kind in kinds:
        run(address, kind)
        print(f"{address} {kind}: done")
PY
kinds='bulk,window,client first,server first,both,half,client resets,server resets'
relay=
for port in 7101 7102 7103 7104 7105 7106 7107 7108; do
    relay+="${relay:+,}$port=$HOST_IP:7000"
done
relay6=${relay//$HOST_IP/[$HOST_IP6]}

# Warnings and errors of a capture: number of frame, stream, texts.
expert() { # FILE FILTER
    tshark -n -r "$1" --only-protocols frame,eth,ethertype,arp,ip,ipv6,icmp,icmpv6,udp,tcp -o tcp.check_checksum:FALSE -o udp.check_checksum:FALSE -o ip.check_checksum:FALSE \
        -Y "($2) && _ws.expert.severity >= 0x00600000" -T fields -e frame.number -e _ws.expert.message \
        2>/dev/null >"$WORK/expert"
    head -n 5 "$WORK/expert"
}
count() { tshark -n -r "$1" -Y "$2" 2>/dev/null | wc -l; }

# ---- a clean wire -------------------------------------------------------------------------------
clean=$WORK/clean.pcapng
for family in 4 6; do
    [ $family = 4 ] && to=$relay address=$APP_IP || to=$relay6 address=$APP_IP6
    peer_start --relay "$to" --pcap "$clean"
    inside timeout 150 python3 "$WORK/traffic.py" "$address" "$kinds" 12000000 >"$WORK/traffic" 2>&1
    ok $? "IPv$family: all the traffic of a clean run" || sed 's/^/# /' "$WORK/traffic"
    app_stop_ok "IPv$family: ends with status 0"
    # Both connections of a relay, by the port of the first and the order in which they begin: stream numbers.
    tshark -n -r "$clean" -Y 'tcp.flags.syn == 1 && tcp.flags.ack == 0' -T fields -e tcp.stream -e tcp.dstport \
        2>/dev/null >"$WORK/streams"
    of() { # FIRST-PORT LAST-PORT: a display filter for both connections of each
        awk -v a="$1" -v b="$2" '$2 >= 7101 { on = $2 >= a && $2 <= b } on { printf "%stcp.stream == %s", s, $1; s = " || " }' "$WORK/streams"
    }
    is "$(expert "$clean" "$(of 7101 7101)" | grep -v -i 'window')" '' "IPv$family: bulk of both directions"
    is "$(expert "$clean" "$(of 7102 7102)" | grep -v -i 'window')" '' "IPv$family: windows that close and open"
    [ "$(count "$clean" "($(of 7102 7102)) && tcp.analysis.zero_window")" -gt 0 ]
    ok $? "IPv$family: and they did close"
    is "$(expert "$clean" "$(of 7103 7106)")" '' "IPv$family: all orders of closing"
    is "$(expert "$clean" "$(of 7107 7108)" | grep -v 'Connection reset (RST)')" '' "IPv$family: resets are only resets"
    is "$(expert "$clean" 'not tcp')" '' "IPv$family: everything else"
    is "$(count "$clean" 'tcp.flags.syn == 1 && !(tcp.options.mss_val && tcp.options.sack_perm && tcp.options.wscale && tcp.options.timestamp.tsval)')" \
        0 "IPv$family: every SYN has its options"
done

# ---- bad wires -----------------------------------------------------------------------------------
repairs='previous segment|out-of-order|retransmission|duplicate|D-SACK|acked segment|window'
for family in 4 6; do
    [ $family = 4 ] && to=$relay address=$APP_IP || to=$relay6 address=$APP_IP6
    bad=$WORK/bad.pcapng
    peer_start --relay "$to" --pcap "$bad" --fault 'loss=2%,reorder=2%,dup=1%'
    inside timeout 150 python3 "$WORK/traffic.py" "$address" 'bulk,client first,server first,both,half' 1000000 >"$WORK/traffic" 2>&1
    ok $? "IPv$family, bad wire: all the traffic" || sed 's/^/# /' "$WORK/traffic"
    app_stop_ok "IPv$family, bad wire: ends with status 0"
    is "$(expert "$bad" 'tcp || !tcp' | grep -v -i -E "$repairs")" '' "IPv$family, bad wire: losses and their repair, nothing else"
    [ "$(count "$bad" 'tcp.analysis.retransmission || tcp.analysis.fast_retransmission')" -gt 0 ]
    ok $? "IPv$family, bad wire: there were retransmissions"
    # What we send, the capture has whole: a segment of ours that is missing would be one we never sent.
    is "$(expert "$bad" "eth.src == $(tshark -n -r "$bad" -Y "tcp.srcport == 7101" -T fields -e eth.src -c 1 2>/dev/null | head -n 1) && tcp.analysis.lost_segment")" \
        '' "IPv$family, bad wire: nothing of ours is missing"
    is "$(count "$bad" 'tcp.flags.syn == 1 && !(tcp.options.mss_val && tcp.options.sack_perm && tcp.options.wscale && tcp.options.timestamp.tsval)')" \
        0 "IPv$family, bad wire: every SYN has its options, repeated ones too"
done
done_testing
