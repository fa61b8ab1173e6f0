#!/bin/bash
# SPDX-License-Identifier: ISC
# An appliance inside the simulator: peers, faults, captures, the same output for the same seed.
. "$(dirname "$0")/lib.sh"
cd "$box" || exit 1

for kind in echo website hello; do
    is_ok "new $kind" "$mirari" new $kind "a$kind"
    is_ok "$kind builds for sim" "$mirari" build -q -C "a$kind" -t sim
done
echo=$(find aecho/_build/sim -maxdepth 1 -type f -perm -1 -name aecho)
site=$(find awebsite/_build/sim -maxdepth 1 -type f -perm -1 -name awebsite)
hello=$(find ahello/_build/sim -maxdepth 1 -type f -perm -1 -name ahello)

# Without a network and without a peer.
is_ok 'hello' "$hello"
has '^ended: [0-9.]* virtual s' 'says how long it was'
has_not '^net:' 'has no network'

# Peers.
is_ok 'echo over TCP' "$echo" --peer echo
has '^peer: echo 1: 100000 bytes: ok after' 'came back whole'
is_ok 'echo over UDP, lossy' "$echo" --peer udp-echo --peer-count 20 --wire delay=5,loss=10%
has '^peer: udp-echo 20: .*: ok' 'all twenty'
is_ok 'website' "$site" --peer http:/ --peer-count 3
has '^peer: http /: HTTP/1.1 200 OK, [1-9][0-9]* bytes, hash ' 'answers 200'
exits 1 'a page that is not there' "$site" --peer http:/nothing/here
has 'HTTP/1.1 404' 'is a 404, and the run a failure'

# A run is a function of its seed.
bad='loss=5%,dup=2%,reorder=3%,corrupt=2%,delay=3ms,jitter=1ms'
is_ok 'a bad wire' "$echo" --peer echo --peer-count 3 --fault "$bad" --seed 7
first=$out
is_ok 'the same seed' "$echo" --peer echo --peer-count 3 --fault "$bad" --seed 7
[ "$out" = "$first" ]; report $? 'prints the same'
is_ok 'another seed' "$echo" --peer echo --peer-count 3 --fault "$bad" --seed 8
[ "$out" != "$first" ]; report $? 'prints something else'

# Calls of the control channel at virtual times.
calls=(--call 0.0005:describe --call 0.13:netstat --call 0.15:stats --call '0.16:log.set:{"set":"info"}')
is_ok 'with calls' "$echo" --peer echo --peer-count 2 "${calls[@]}"
has '^0.000500 describe: .*"target":"sim"' 'each at its time'
has '^0.130000 netstat: .*"state":"ESTABLISHED"' 'the connection is seen'
has '^0.150000 stats: .*"tcp_[a-z_]*":[0-9]' 'so are counters'
first=$out
is_ok 'again' "$echo" --peer echo --peer-count 2 "${calls[@]}"
[ "$out" = "$first" ]; report $? 'prints the same'
frames=$(sed -n 's/.* events, \([0-9]* frames\),.*/\1/p' <<<"$out")
is_ok 'without calls' "$echo" --peer echo --peer-count 2
has " $frames," 'the same frames'
is_ok 'shutdown' "$echo" --call 3:shutdown
has '^ended: 3.000000 ' 'ends it then'
exits 1 'a method that is not there' "$echo" --call 1:nosuch
has '^1.000000 nosuch failed: no such method' 'fails, and the run'
exits 1 'a call too late' "$echo" --call 1:shutdown --call 2:stats
has 'stats failed: the appliance had ended' 'says so'
exits 1 'a call of more parts than are read' "$echo" --call "1:log.set:{\"set\":[$(printf '1,%.0s' {1..4000})1]}"
has 'a call failed: JSON too large' 'is refused, too'
for bad in 3x:stats :stats 1: 1:st/ats '1:log:[]' '1:log:{' 1.0000001:stats 99999999:stats; do
    exits 64 "--call $bad" "$echo" --call "$bad"
done

# Captures.
is_ok 'with a capture' "$echo" --peer echo --pcap wire.pcapng
[ "$(head -c 4 wire.pcapng | od -An -tx1 | tr -d ' ')" = 0a0d0d0a ]; report $? 'it is pcapng'
exits 69 'a capture that cannot be written' "$echo" --peer echo --pcap /nowhere/x.pcapng

# Traces of connections.
is_ok 'with a trace of connections' "$echo" --peer echo --trace-tcp trace.csv
[ "$(head -n 1 trace.csv | cut -d, -f1-7)" = time_s,node,connection,cwnd,ssthresh,srtt_us,flight ]
report $? 'it has a heading'
[ "$(cut -d, -f2 trace.csv | sort -u | tr '\n' ' ')" = 'aecho node peer ' ]; report $? 'both ends'
is_ok 'a plot of it' "$root/tools/plot-tcp" -o trace.svg trace.csv
python3 -c 'import xml.dom.minidom; xml.dom.minidom.parse("trace.svg")'; report $? 'it is XML'
exits 69 'a trace that cannot be written' "$echo" --peer echo --trace-tcp /nowhere/x.csv

# A network from a file, with the appliance in it.
cat >net.topo <<'END'
host server memory=32m
host client*3
router r
link server r name=up rate=100m delay=1ms
link client* r rate=10m delay=5ms loss=1%
run server app
run client* ask to=server bytes=50k flows=2
END
is_ok 'in a network' "$echo" --topology net.topo --seed 3 --capture up=up.pcapng
has '^flows: 6 started, 6 done' 'all clients are served'
first=$out
is_ok 'again' "$echo" --topology net.topo --seed 3
[ "$out" = "$first" ]; report $? 'the same'
[ "$(head -c 4 up.pcapng | od -An -tx1 | tr -d ' ')" = 0a0d0d0a ]; report $? 'a capture of a link'
is_ok 'by the tool' "$mirari" run -C aecho -t sim -- --topology "$box/net.topo" --seed 3
has '^flows: 6 started, 6 done' 'too'
echo 'host a' >bad.topo
exits 64 'a network without the appliance' "$echo" --topology bad.topo

# Mistakes.
exits 64 'an unknown peer' "$echo" --peer bad
has 'is not none, http:/PATH, echo or udp-echo' 'says what there is'
exits 64 'a bad wire' "$echo" --wire loss=200%
exits 64 'a bad fault' "$echo" --fault loss=200%
exits 64 'an unknown option' "$echo" --peerr none
is_ok 'help' "$echo" --help
has '--peer KIND' 'lists what the simulator takes'

done_testing
