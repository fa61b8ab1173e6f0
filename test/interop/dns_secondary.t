#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# Real secondaries: NSD and BIND are told of a zone (NOTIFY), fetch it whole (AXFR, IXFR) and then say the same. Who is
# not on the list gets nothing. dig and kdig ask over both transports, many questions on one connection.
. "$(dirname "$0")/lib.sh"
need nsd named dig kdig
[ -x "$B/mirari" ] || skip_all "$B/mirari is not built (make)"
ZONES=$PWD/test/interop/probe/zones
net_open
inside ip addr add 127.0.0.2/8 dev lo
inside ip addr add 127.0.0.3/8 dev lo
chmod 755 "$WORK"
mkdir "$WORK/app" "$WORK/nsd" "$WORK/named"
cp examples/dns/app.conf examples/dns/main.c "$WORK/app"
cp -r "$ZONES" "$WORK/app/zones"
"$B/mirari" build -q -C "$WORK/app" -o "$WORK/out" >"$WORK/build.log" 2>&1
ok $? 'an appliance with the zone' || { sed 's/^/# /' "$WORK/build.log"; done_testing; }
APP_BINARY=$WORK/out/unix/dns

# The secondaries listen at the tap's address of the host, NSD on 53 and BIND at a second address.
NSD_IP=10.77.0.1 BIND_IP=10.77.0.9
cat >"$WORK/nsd/nsd.conf" <<CONF
server:
  server-count: 1
  ip-address: $NSD_IP
  username: ""
  zonesdir: "$WORK/nsd"
  database: ""
  pidfile: "$WORK/nsd/pid"
  xfrdfile: "$WORK/nsd/xfrd"
  xfrdir: "$WORK/nsd"
  zonelistfile: "$WORK/nsd/list"
  rrl-ratelimit: 0
  verbosity: 2
  xfrd-reload-timeout: 0
remote-control:
  control-enable: no
zone:
  name: diff.example
  zonefile: diff
  request-xfr: AXFR $APP_IP@53 NOKEY
  allow-notify: $APP_IP NOKEY
CONF
cat >"$WORK/named/named.conf" <<CONF
options {
    directory "$WORK/named"; listen-on { $BIND_IP; }; listen-on-v6 { none; }; recursion no; pid-file none; session-keyfile none;
    notify no; check-names secondary ignore; empty-zones-enable no; query-source address $BIND_IP; transfer-source $BIND_IP;
};
controls { };
zone "diff.example" { type secondary; primaries { $APP_IP; }; file "diff"; masterfile-format text; };
CONF
tap_start dns --rate 0 --transfer "$NSD_IP,$BIND_IP/32" --notify "$NSD_IP $BIND_IP"
inside ip addr add $BIND_IP/24 dev mir0
ip netns exec "$NS" nsd -d -c "$WORK/nsd/nsd.conf" >"$WORK/nsd.out" 2>&1 &
PIDS+=($!)
ip netns exec "$NS" named -n 1 -g -c "$WORK/named/named.conf" >"$WORK/named.out" 2>&1 &
PIDS+=($!)

ask() { inside dig +noall +answer +norec +time=2 +tries=2 @"$@" 2>&1; }
serves() { ask "$1" diff.example SOA | grep -q 2026112201; }
for server in $NSD_IP $BIND_IP; do
    wait_until 60 serves $server
    ok $? "the secondary $server has the zone" || sed 's/^/# /' "$WORK/nsd.out" "$WORK/named.out"
done
whole() { # ADDRESS: the zone from there, sorted, names in small letters
    inside dig +noall +answer +norec +onesoa +tcp -b "$NSD_IP" @"$1" diff.example AXFR | tr 'A-Z\t' 'a-z ' | tr -s ' ' | sort
}
whole "$APP_IP" >"$WORK/ours"
[ "$(wc -l <"$WORK/ours")" -gt 250 ]
ok $? "a transfer of $(wc -l <"$WORK/ours") records"
sed 's/;.*//' "$WORK/named/diff" >/dev/null 2>&1
named_has() { [ -s "$WORK/named/diff" ]; }
wait_until 30 named_has
named-compilezone -i none -k ignore -j -o - diff.example "$WORK/named/diff" 2>/dev/null | grep -v '^OK' | tr 'A-Z\t' 'a-z ' | tr -s ' ' |
    sort -u >"$WORK/theirs"
named-compilezone -i none -k ignore -j -w "$ZONES" -o - diff.example diff.example.zone 2>/dev/null | grep -v '^OK' | tr 'A-Z\t' 'a-z ' |
    tr -s ' ' | sort -u >"$WORK/source"
diff "$WORK/source" "$WORK/theirs" >"$WORK/differences"
ok $? 'the file that BIND keeps is the zone' || head -20 "$WORK/differences" | sed 's/^/# /'
diff <(sort -u "$WORK/ours") "$WORK/source" >"$WORK/differences"
ok $? 'and so is what dig got' || head -20 "$WORK/differences" | sed 's/^/# /'
for server in $NSD_IP $BIND_IP; do
    different=0
    for question in 'diff.example MX' 'x.wild.diff.example A' 'host.sub.diff.example A' 'ftp.diff.example AAAA' 'odd.diff.example TYPE65280' \
        '_sip._udp.diff.example SRV' 'big100.diff.example A +tcp' 'nothing.diff.example A' 'a\.dot.diff.example A'; do
        # shellcheck disable=SC2086
        [ "$(ask "$APP_IP" $question | sort)" = "$(ask $server $question | sort)" ] || different=$((different + 1))
    done
    is $different 0 "$server answers as its primary"
done
inside dig +noall +answer +tcp -b 127.0.0.2 @"$APP_IP" diff.example AXFR >/dev/null 2>&1 || :
inside ip addr add 10.77.0.8/24 dev mir0
is_like "$(inside dig +tcp -b 10.77.0.8 @"$APP_IP" diff.example AXFR)" 'Transfer failed' 'who is not on the list gets no zone'
is_like "$(inside dig +tcp -b 10.77.0.8 @"$APP_IP" diff.example IXFR=1)" 'Transfer failed' 'nor a part of it'
is "$(inside dig +noall +answer +tcp -b $NSD_IP @"$APP_IP" diff.example IXFR=2026112201 | wc -l)" 1 'IXFR with the serial number of today: the SOA alone'
[ "$(inside dig +noall +answer +tcp -b $NSD_IP @"$APP_IP" diff.example IXFR=1 | wc -l)" -gt 250 ]
ok $? 'with an old one: the whole zone'

# Many questions on one connection, sent without waiting.
for i in $(seq 200); do echo "mx$((i % 12)).diff.example A"; done >"$WORK/questions"
is "$(inside dig +noall +answer +norec +tcp +keepopen -f "$WORK/questions" @"$APP_IP" | grep -c '10\.0\.2\.')" 200 'dig: 200 questions on one connection'
is "$(inside kdig +noall +answer +norec +tcp +keepopen @"$APP_IP" $(for i in $(seq 50); do echo "mx$((i % 12)).diff.example A"; done) | grep -c '10\.0\.2\.')" \
    50 'kdig: 50 on one'
is_like "$(inside kdig +norec +bufsize=4096 @"$APP_IP" big100.diff.example A)" 'QUERY: 1; ANSWER: 100;' 'truncated: kdig asks again over TCP'
is_like "$(inside kdig +norec +edns=1 @"$APP_IP" diff.example A)" 'BADVERS' 'EDNS of a later version'
is_like "$(inside dig +norec +cookie @"$APP_IP" diff.example A)" 'status: NOERROR' 'a cookie is no harm'
is_like "$(inside dig +norec +opcode=NOTIFY @"$APP_IP" diff.example SOA)" 'status: NOTIMP' 'another operation'
is_like "$(inside dig +norec @"$APP_IP" -c CH version.bind TXT)" 'status: REFUSED' 'another class'
is_like "$(inside dig +norec @"$APP_IP" elsewhere.test A)" 'status: REFUSED' 'another zone'
# It tells again after 1, 2, 4, 8 seconds; a secondary that was slow to start has heard of it when it says so.
heard() { grep -q 'notify for diff.example' "$WORK/nsd.out" && grep -q 'received notify' "$WORK/named.out"; }
wait_until 40 heard
ok $? 'both secondaries say that they were told' || sed 's/^/# /' "$WORK/nsd.out" "$WORK/named.out"
app_stop_ok
is_like "$(cat "$APP_OUT")" ' ([2-9]|1[0-9]) transfers, 2 notices heard' 'transfers are counted, and both secondaries heard of the zone'
done_testing
