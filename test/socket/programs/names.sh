# shellcheck shell=bash
# SPDX-License-Identifier: ISC
# BIND, NSD, unbound and dnsmasq on the tested stack; dig on the peer, and dig on the tested stack.
cat >"$WORK/zone" <<EOT
\$ORIGIN test.example.
@ 60 SOA ns root 1 60 60 60 60
@ 60 NS ns
ns 60 A $SELF4
www 60 A 192.0.2.1
big 60 TXT "$(printf 'x%.0s' {1..200})" "$(printf 'y%.0s' {1..200})" "$(printf 'z%.0s' {1..200})" "$(printf 'w%.0s' {1..200})"
EOT
name_server() { # name_server NAME PORT [flag of dig for large answers]
    local name=$1 port=$2
    ask() { peer dig +short +tries=2 +time=2 -p "$port" "$@" 2>&1; }
    wait_until 15 eval "[ \"\$(ask @$SELF4 www.test.example A)\" = 192.0.2.1 ]"
    ok $? "$VIA: $name: answers over UDP" || {
        tail -n 5 "$WORK/$name.out" | sed 's/^/# /'
        return
    }
    is "$(ask @$SELF6 www.test.example A)" 192.0.2.1 "$VIA: $name: over UDP and IPv6"
    is "$(ask +tcp @$SELF4 www.test.example A)" 192.0.2.1 "$VIA: $name: over TCP"
    is "$(ask +tcp @$SELF6 www.test.example A)" 192.0.2.1 "$VIA: $name: over TCP and IPv6"
    [ "$name" = dnsmasq ] || is "$(ask +ignore +bufsize=512 @$SELF4 big.test.example TXT | wc -c)$(ask @$SELF4 big.test.example TXT | wc -c)" 0812 \
        "$VIA: $name: a large answer goes over TCP" || ask +ignore +bufsize=512 @$SELF4 big.test.example TXT | head -3
    if [ "$name" = named ] && has dig; then
        is "$(sut dig +short +tries=2 +time=2 -p "$port" @$SELF4 www.test.example A)" 192.0.2.1 "$VIA: dig: to a server of the same stack"
    fi
    sut_stop "$name"
}
if has named; then
    cat >"$WORK/named.conf" <<EOT
options { directory "$WORK"; pid-file "$WORK/named.pid"; session-keyfile "$WORK/named.key"; recursion no; listen-on port 5301 { any; };
    listen-on-v6 port 5301 { any; }; dnssec-validation no; querylog no; };
controls { };
zone "test.example" { type primary; file "$WORK/zone"; };
EOT
    sut_start named named -g -n 2 -c "$WORK/named.conf"
    name_server named 5301
fi
if has nsd; then
    cat >"$WORK/nsd.conf" <<EOT
server:
    ip-address: 0.0.0.0@5302
    ip-address: ::0@5302
    server-count: 2
    username: ""
    pidfile: "$WORK/nsd.pid"
    xfrdfile: "$WORK/nsd.xfrd"
    zonelistfile: "$WORK/nsd.list"
    xfrdir: "$WORK"
    database: ""
    zonesdir: "$WORK"
remote-control:
    control-enable: no
zone:
    name: test.example
    zonefile: "$WORK/zone"
EOT
    sut_start nsd nsd -d -c "$WORK/nsd.conf"
    name_server nsd 5302
fi
if has unbound; then
    cat >"$WORK/unbound.conf" <<EOT
server:
    interface: 0.0.0.0@5303
    interface: ::0@5303
    username: ""
    chroot: ""
    directory: "$WORK"
    pidfile: "$WORK/unbound.pid"
    use-syslog: no
    logfile: ""
    do-daemonize: no
    access-control: 0.0.0.0/0 allow
    access-control: ::0/0 allow
    local-zone: "test.example." static
    local-data: "www.test.example. A 192.0.2.1"
    local-data: 'big.test.example. TXT "$(printf 'x%.0s' {1..200})" "$(printf 'y%.0s' {1..200})" "$(printf 'z%.0s' {1..200})" "$(printf 'w%.0s' {1..200})"'
remote-control:
    control-enable: no
EOT
    sut_start unbound unbound -d -c "$WORK/unbound.conf"
    name_server unbound 5303
fi
if has dnsmasq; then
    sut_start dnsmasq dnsmasq -k -p 5304 --no-resolv --no-hosts --conf-file=/dev/null --user=root --pid-file="$WORK/dnsmasq.pid" \
        --address=/www.test.example/192.0.2.1
    name_server dnsmasq 5304
fi
if has dnsmasq dig; then
    peer_start forwarder dnsmasq -k -p 5305 --no-resolv --no-hosts --conf-file=/dev/null --user=root \
        --pid-file="$WORK/forwarder.pid" --address=/www.test.example/192.0.2.1
    wait_until 10 peer dig +time=1 +tries=1 -p 5305 @$PEER4 www.test.example >/dev/null
    is "$(sut dig +short +tries=2 +time=2 -p 5305 @$PEER4 www.test.example)" 192.0.2.1 "$VIA: dig: over UDP"
    is "$(sut dig +short +tcp +tries=2 +time=2 -p 5305 @$PEER6 www.test.example)" 192.0.2.1 "$VIA: dig: over TCP and IPv6"
    sut_stop forwarder
fi
