#!/usr/bin/env bash
# Programs that look at a host from outside: arping, ndisc6, nmap's scans of TCP, UDP and protocols and its detection of
# systems, over IPv4 and IPv6. They find what there is and nothing else, and it serves as before.
. "$(dirname "$0")/lib.sh"
need nmap arping ndisc6 nc
net_open
peer_build asan
peer_start --relay "7001=$HOST_IP:7000,7002=[$HOST_IP6]:7000"
tap=$(ip -n "$NS" -o link show type tun | sed -E 's/^[0-9]+: ([^:@]+).*/\1/')
mac=$(ip -n "$NS" neigh show "$APP_IP" | grep -o 'lladdr [0-9a-f:]*' | cut -d ' ' -f 2)

# ---- neighbours ---------------------------------------------------------------------------------
inside arping -c 3 -W 1 -i "$tap" "$APP_IP" >"$WORK/out" 2>&1
is_like "$(cat "$WORK/out")" "$mac.*3 packets received" 'arping: three answers' || sed 's/^/# /' "$WORK/out"
inside arping -c 2 -W 0.1 -i "$tap" 10.77.0.3 >"$WORK/out" 2>&1
is_like "$(cat "$WORK/out")" ' 0 packets received' 'arping for another address: none' || sed 's/^/# /' "$WORK/out"
inside arping -c 1 -w 10 -d -i "$tap" -S 0.0.0.0 "$APP_IP" >"$WORK/out" 2>&1
is_like "$(cat "$WORK/out")" "$mac" 'a probe from 0.0.0.0 is answered: the address is defended (RFC 5227)' || sed 's/^/# /' "$WORK/out"
is_like "$(inside ndisc6 -r 3 -w 5000 "$APP_IP6" "$tap" 2>&1)" "[Tt]arget link-layer address: *${mac^^}" 'ndisc6: the hardware address'
inside ndisc6 -q -r 1 -w 300 fd00:77::3 "$tap" >/dev/null 2>&1
is $? 2 'ndisc6 for another address: none'

# ---- ports --------------------------------------------------------------------------------------
scan() { inside timeout 150 nmap -n -Pn --max-retries 8 --host-timeout 140s "$@" >"$WORK/nmap" 2>&1; }
ports() { sed -nE 's/^([0-9]+)\/.* open .*/\1/p' "$WORK/nmap" | tr '\n' ' '; }
for address in "$APP_IP" "$APP_IP6"; do
    [[ $address = *:* ]] && six=-6 || six=
    scan $six -sS -p 1-1000,7000-7010 "$address"
    is "$(ports)" '9 7001 7002 ' "nmap -sS $address: the three open ports of 1,011" || sed 's/^/# /' "$WORK/nmap"
    is_like "$(cat "$WORK/nmap")" 'Not shown: 1008 closed' 'and the others refuse'
    scan $six -sT -p 9,80,7001 "$address"
    is "$(ports)" '9 7001 ' "nmap -sT $address" || sed 's/^/# /' "$WORK/nmap"
    scan $six -sU -p 53,7000,7001 "$address"
    is "$(sed -nE 's/^([0-9]+)\/udp +([a-z|]+).*/\1 \2/p' "$WORK/nmap" | tr '\n' ' ')" '53 closed 7000 closed 7001 open|filtered ' \
        "nmap -sU $address: port unreachable where nobody listens" || sed 's/^/# /' "$WORK/nmap"
    for odd in -sF -sN -sX; do
        # RFC 9293: an open port drops them, a closed one resets.
        scan $six $odd -p 80,7001 "$address"
        is "$(sed -nE 's/^([0-9]+)\/tcp +([a-z|]+).*/\1 \2/p' "$WORK/nmap" | tr '\n' ' ')" '80 closed 7001 open|filtered ' \
            "nmap $odd $address" || sed 's/^/# /' "$WORK/nmap"
    done
    scan $six -sA -p 80,7001 "$address"
    is "$(grep -c unfiltered "$WORK/nmap")" 2 "nmap -sA $address: resets from both" || sed 's/^/# /' "$WORK/nmap"
    scan $six -sO -p 1,6,17,58,132,253 "$address"
    ok $? "nmap -sO $address ends"
    scan $six -O --max-os-tries 1 -p 9,80 "$address"
    ok $? "nmap -O $address ends"
    is_like "$(cat "$WORK/nmap")" '9/tcp +open' 'and has found the port'
done
scan -O -v --max-os-tries 1 -p 9,80 "$APP_IP"
is_like "$(cat "$WORK/nmap")" 'TCP Sequence Prediction: Difficulty=2[0-9][0-9]' 'initial sequence numbers are judged hard to guess' ||
    sed 's/^/# /' "$WORK/nmap"
is_like "$(cat "$WORK/nmap")" 'IP ID Sequence Generation: (Randomized|All zeros)' 'and IP ids tell nothing'

# ---- it serves as before --------------------------------------------------------------------------
for port in 7001 7002; do
    head -c 100000 /dev/urandom >"$WORK/data"
    ip netns exec "$NS" nc -6 -l 7000 >"$WORK/got" </dev/null 2>/dev/null &
    PIDS+=($!)
    listening() { [ -n "$(inside ss -Hltn 'sport = :7000')" ]; }
    wait_until 10 listening
    inside timeout 30 nc -N "$APP_IP6" $port <"$WORK/data" >/dev/null
    same() { cmp -s "$WORK/data" "$WORK/got"; }
    wait_until 10 same
    ok $? "port $port serves after all that"
done
app_stop_ok
done_testing
