#!/usr/bin/env bash
# --pcap writes what tshark reads: every packet whole, nothing malformed, no complaint about a clean run.
. "$(dirname "$0")/lib.sh"
need tshark curl ping
net_open
capture=$WORK/run.pcapng
tap_start website --pcap "$capture" || done_testing
inside ping -q -c 3 -i 0.05 -s 3000 "$APP_IP" >/dev/null
inside curl -sf -m 10 "http://$APP_IP/" >"$WORK/index"
inside curl -sf -m 10 "http://$APP_IP/bytes/3000000" >"$WORK/bytes"
# On a busy host a Linux peer keeps an ACK back until its program reads: a tail loss probe may be answered by a D-SACK.
said() { tr ',{}' '\n' <"$WORK/stats" | sed -n "s/^ *\"$1\" *: *\"\{0,1\}\([0-9]*\).*/\1/p" | head -n 1; }
settled() { # its answer to the last of them has come
    stats >"$WORK/stats"
    [ -n "$(said tcp_dsacks_in)" ] && [ "$(said tcp_dsacks_in)" = "$(said tcp_retransmits)" ]
}
wait_until 5 settled
again=$(said tcp_retransmits)
needless=$(said tcp_dsacks_in)
app_stop_ok

read_capture() { tshark -r "$capture" "$@" 2>"$WORK/tshark.err"; }
packets=$(read_capture | wc -l)
[ "$packets" -gt 30 ]
ok $? "tshark reads $packets packets"
is "$(grep -v 'Running as user' "$WORK/tshark.err")" '' 'without a complaint about the file'
is "$(read_capture -Y _ws.malformed | wc -l)" 0 'none is malformed'
is "$(read_capture -o ip.check_checksum:FALSE -o tcp.check_checksum:FALSE -Y '_ws.expert.severity == "Error"')" '' \
    'no expert error'
is "$(read_capture -Y 'tcp.analysis.lost_segment || (tcp.srcport == 80 && tcp.analysis.zero_window)')" '' 'no lost segment, no zero window of ours'
is "$again" "$needless" 'nothing was sent again that the peer did not have: tail loss probes at most'
last=$(read_capture -Y tcp -T fields -e tcp.stream | sort -n | tail -n 1) # the one that asked; its end is after the answer
is "$(read_capture -Y "tcp.analysis.retransmission && tcp.srcport == 80 && tcp.stream != $last" | wc -l)" "$again" 'tshark counts as many retransmissions'
is "$(read_capture -Y 'icmp.type == 0' | wc -l)" 3 'three echo replies, reassembled by tshark'
read_capture -q -z 'follow,tcp,raw,0' | sed '1,/^Node 1/d; /^=/d' | tr -d ' \t\n' |
    perl -0ne 'print pack "H*", $_' >"$WORK/stream"
grep -q 'HTTP/1.1 200' "$WORK/stream" && grep -q '<title>Mirari' "$WORK/stream"
ok $? 'the page can be read out of the capture'
is "$(capinfos -T -r -c "$capture" 2>/dev/null | cut -f 2)" "$packets" 'capinfos counts the same'
is_like "$(read_capture -T fields -e frame.interface_name -c 1)" '.' 'the interface has a name'
done_testing
