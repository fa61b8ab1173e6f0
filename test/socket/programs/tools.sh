# shellcheck shell=bash
# SPDX-License-Identifier: ISC
# OpenSSH, rsync, openssl, iperf3, netcat and socat, both ends on the tested stack in turn.
if has ssh sshd ssh-keygen; then
    SSHD=$(command -v sshd)
    if [ ! -f "$WORK/key" ]; then
        ssh-keygen -q -t ed25519 -N '' -f "$WORK/key"
        ssh-keygen -q -t ed25519 -N '' -f "$WORK/hostkey"
        mkdir -p /run/sshd
        printf '%s\n' "HostKey $WORK/hostkey" "AuthorizedKeysFile $WORK/key.pub" 'StrictModes no' 'UsePAM no' 'PermitRootLogin yes' \
            'Subsystem sftp internal-sftp' "PidFile $WORK/sshd.pid" >"$WORK/sshd.conf"
        chmod 600 "$WORK/key" "$WORK/hostkey"
    fi
    SSH_OPTIONS=(-i "$WORK/key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=10 -o BatchMode=yes)
    sut_start sshd "$SSHD" -D -e -p 2201 -f "$WORK/sshd.conf"
    wait_until 10 peer_can_reach 2201
    is "$(peer ssh "${SSH_OPTIONS[@]}" -p 2201 root@$SELF4 'sha256sum' <"$WORK/www/large" 2>&1)" "$LARGE_SUM" "$VIA: sshd: a command with a megabyte" ||
        tail -n 3 "$WORK/sshd.out"
    rm -f "$WORK/copied"
    peer scp -q "${SSH_OPTIONS[@]}" -P 2201 "$WORK/www/large" "root@[$SELF6]:$WORK/copied" 2>"$WORK/scp.err"
    is "$(sha256sum 2>/dev/null <"$WORK/copied")" "$LARGE_SUM" "$VIA: sshd: scp over IPv6" || sed 's/^/# /' "$WORK/scp.err"
    sut_stop sshd
    peer_start sshd "$SSHD" -D -e -p 2202 -f "$WORK/sshd.conf"
    wait_until 10 peer nc -z $PEER4 2202
    is "$(sut ssh "${SSH_OPTIONS[@]}" -p 2202 root@$PEER4 'sha256sum' <"$WORK/www/large" 2>&1)" "$LARGE_SUM" "$VIA: ssh: a command with a megabyte"
    sut_stop sshd
fi
if has rsync; then
    mkdir -p "$WORK/module" && cp "$WORK/www/large" "$WORK/module/"
    printf '%s\n' 'use chroot = no' "pid file = $WORK/rsync.pid" '[m]' "path = $WORK/module" 'read only = no' 'uid = root' >"$WORK/rsync.conf"
    rsync_copies() { # rsync_copies CLIENT ADDRESS PORT NAME
        rm -rf "$WORK/synced" "$WORK/rsync.pid"
        "$1" timeout 30 rsync -a "rsync://$2:$3/m/" "$WORK/synced/" 2>"$WORK/rsync.err"
        is "$(sha256sum 2>/dev/null <"$WORK/synced/large")" "$LARGE_SUM" "$4" || sed 's/^/# /' "$WORK/rsync.err" "$WORK/rsyncd.out"
    }
    rm -f "$WORK/rsync.pid"
    sut_start rsyncd rsync --daemon --no-detach --port 8731 --config="$WORK/rsync.conf"
    wait_until 10 peer_can_reach 8731
    rsync_copies peer $SELF4 8731 "$VIA: rsync: a daemon"
    sut_stop rsyncd
    rm -f "$WORK/rsync.pid"
    peer_start rsyncd rsync --daemon --no-detach --port 8732 --config="$WORK/rsync.conf"
    wait_until 10 peer nc -z $PEER4 8732
    rsync_copies sut $PEER4 8732 "$VIA: rsync: a client"
    sut_stop rsyncd
fi
if has openssl; then
    [ -f "$WORK/tls.pem" ] || openssl req -x509 -newkey rsa:2048 -nodes -keyout "$WORK/tls.key" -out "$WORK/tls.pem" -subj /CN=test -days 2 2>/dev/null
    tls_get() { # tls_get WHO ADDRESS: over TLS, the megabyte
        "$1" curl -g -sk -m 20 "https://$2/large" | sha256sum
    }
    sut_start tls sh -c "cd '$WORK/www' && exec openssl s_server -quiet -accept 4431 -key ../tls.key -cert ../tls.pem -WWW"
    wait_until 10 peer_can_reach 4431
    is "$(tls_get peer $SELF4:4431)" "$LARGE_SUM" "$VIA: openssl s_server: a megabyte"
    sut_stop tls
    peer_start tls sh -c "cd '$WORK/www' && exec openssl s_server -quiet -accept 4432 -key ../tls.key -cert ../tls.pem -WWW"
    wait_until 10 peer nc -z $PEER4 4432
    is "$(printf 'GET /small HTTP/1.0\r\n\r\n' | sut timeout 20 openssl s_client -quiet -connect $PEER4:4432 2>/dev/null | tail -c 600 | sha256sum)" \
        "$SMALL_SUM" "$VIA: openssl s_client: a page"
    is "$(tls_get sut $PEER4:4432)" "$LARGE_SUM" "$VIA: curl: a megabyte over TLS"
    sut_stop tls
fi
if has iperf3; then
    # Between two clients its server closes its listener and opens another: who comes then is refused, and asks again.
    iperf_tells() {
        timeout 20 "${SUT_OR_PEER[@]}" iperf3 -J -t 1 "$@" >"$WORK/iperf" 2>&1
        ! grep -qE 'refused|busy' "$WORK/iperf"
    }
    iperf_ok() { # iperf_ok NAME WHO ARGUMENTS...
        local name=$1 SUT_OR_PEER=(ip netns exec "$NS")
        [ "$2" = peer ] || SUT_OR_PEER=("${SUT_RUN[@]}")
        shift 2
        wait_until 10 iperf_tells "$@"
        is_like "$(tr -d '\n' <"$WORK/iperf")" '"bits_per_second":[[:space:]]*[1-9][0-9.]{6,}' "$VIA: iperf3: $name" || tail -n 5 "$WORK/iperf"
    }
    sut_start iperf iperf3 -s -p 5501
    wait_until 10 peer_can_reach 5501
    iperf_ok 'server, in' peer -c $SELF4 -p 5501
    iperf_ok 'server, out' peer -c $SELF4 -p 5501 -R
    iperf_ok 'server, four streams over IPv6' peer -c $SELF6 -p 5501 -P 4
    iperf_ok 'server, UDP' peer -c $SELF4 -p 5501 -u -b 50M -l 1200
    iperf_ok 'server, UDP out' peer -c $SELF4 -p 5501 -u -b 50M -l 1200 -R
    sut_stop iperf
    peer_start iperf iperf3 -s -p 5502
    wait_until 10 peer nc -z $PEER4 5502
    iperf_ok 'client, out' sut -c $PEER4 -p 5502
    iperf_ok 'client, in' sut -c $PEER4 -p 5502 -R
    iperf_ok 'client, UDP' sut -c $PEER4 -p 5502 -u -b 50M -l 1200
    sut_stop iperf
fi
if has nc; then
    peer_start ncd sh -c "sha256sum <'$WORK/www/large' | nc -l -N -w 20 $PEER4 7701"
    wait_until 10 peer_listens 7701
    is "$(sut nc -d -w 10 $PEER4 7701)" "$LARGE_SUM" "$VIA: netcat: a client"
    sut_stop ncd
    sut_start ncd nc -l -w 20 7702
    wait_until 5 server_listens 7702
    peer nc -N -w 10 $SELF4 7702 <"$WORK/www/large"
    wait_until 5 eval "[ \$(stat -c %s '$WORK/ncd.out') = 1000000 ]"
    is "$(sha256sum <"$WORK/ncd.out")" "$LARGE_SUM" "$VIA: netcat: a server"
    sut_stop ncd
    sut_start ncd nc -u -l -w 20 7703
    udp_came() {
        echo datagram | peer nc -u -w 0 $SELF4 7703
        grep -q datagram "$WORK/ncd.out"
    }
    wait_until 5 udp_came
    ok $? "$VIA: netcat: a UDP server"
    sut_stop ncd
fi
if has socat; then
    sut_start echo4 socat TCP4-LISTEN:7711,fork,reuseaddr EXEC:cat
    wait_until 10 peer_can_reach 7711
    is "$(peer sh -c "socat -t 5 - TCP4:$SELF4:7711 <'$WORK/www/large'" | sha256sum)" "$LARGE_SUM" "$VIA: socat: an echo server that forks"
    sut_start echo6 socat UDP6-RECVFROM:7712,fork EXEC:cat
    udp_echo() { [ "$(echo datagram | peer socat -t 1 - UDP6:[$SELF6]:7712)" = datagram ]; }
    wait_until 5 udp_echo
    ok $? "$VIA: socat: a UDP server over IPv6"
    peer_start relayed socat TCP6-LISTEN:7713,fork,reuseaddr EXEC:cat
    wait_until 10 peer_listens 7713
    is "$(sut sh -c "socat -t 5 - TCP6:[$PEER6]:7713 <'$WORK/www/large'" | sha256sum)" "$LARGE_SUM" "$VIA: socat: a client over IPv6"
    sut_stop echo4
    sut_stop echo6
    sut_stop relayed
fi
