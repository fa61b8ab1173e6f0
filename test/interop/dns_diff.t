#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# The authoritative server beside NSD and BIND: the same zone, thousands of drawn questions, every answer compared.
. "$(dirname "$0")/lib.sh"
need nsd named
/usr/bin/python3 -c 'import dns.zone' 2>/dev/null || skip_all 'python3-dnspython is not installed'
[ -x "$B/mirari" ] || skip_all "$B/mirari is not built (make)"
SEED=${SEED:-1}
COUNT=${COUNT:-2500}
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

cat >"$WORK/nsd/nsd.conf" <<CONF
server:
  server-count: 1
  ip-address: 127.0.0.2
  username: ""
  zonesdir: "$ZONES"
  database: ""
  pidfile: "$WORK/nsd/pid"
  xfrdfile: "$WORK/nsd/xfrd"
  xfrdir: "$WORK/nsd"
  zonelistfile: "$WORK/nsd/list"
  rrl-ratelimit: 0
  ipv4-edns-size: 1232
remote-control:
  control-enable: no
zone:
  name: diff.example
  zonefile: diff.example.zone
CONF
cp "$ZONES"/* "$WORK/named"
cat >"$WORK/named/named.conf" <<CONF
options {
    directory "$WORK/named"; listen-on { 127.0.0.3; }; listen-on-v6 { none; }; recursion no; pid-file none; session-keyfile none;
    max-udp-size 1232; edns-udp-size 1232; minimal-any no; check-names primary ignore; check-srv-cname ignore; check-mx ignore;
    empty-zones-enable no; zero-no-soa-ttl no;
};
controls { };
zone "diff.example" { type primary; file "diff.example.zone"; check-integrity no; };
CONF
ip netns exec "$NS" nsd -d -c "$WORK/nsd/nsd.conf" >"$WORK/nsd.out" 2>&1 &
PIDS+=($!)
ip netns exec "$NS" named -n 1 -g -c "$WORK/named/named.conf" >"$WORK/named.out" 2>&1 &
PIDS+=($!)
APP_BINARY=$WORK/out/unix/dns tap_start dns --rate 0
serves() { inside dig +short +time=2 +tries=1 @"$1" diff.example SOA 2>/dev/null | grep -q 2026112201; }
for server in "$APP_IP" 127.0.0.2 127.0.0.3; do
    wait_until 60 serves $server
    ok $? "$server serves the zone" || sed 's/^/# /' "$WORK/nsd.out" "$WORK/named.out"
done
note "seed $SEED"
inside test/interop/probe/dnsdiff.py "$ZONES/diff.example.zone" diff.example "$SEED" "$COUNT" "$APP_IP" nsd=127.0.0.2 bind=127.0.0.3 \
    >"$WORK/diff.out" 2>&1
ok $? 'the questions are asked' || sed 's/^/# /' "$WORK/diff.out"
sed '/^#/!s/^/# /' "$WORK/diff.out"
is "$(sed -n 's/^questions //p' "$WORK/diff.out")" "$COUNT" 'all of them'
is "$(sed -n 's/^differences //p' "$WORK/diff.out")" 0 'every difference is of a kind that is known'
app_stop_ok
done_testing
