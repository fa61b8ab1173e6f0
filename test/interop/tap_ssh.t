#!/usr/bin/env bash
# OpenSSH through our stack, which accepts and connects (test/interop/peer): commands, scp of both directions, a
# session with several key exchanges; over IPv4 and IPv6, on a clean wire and on bad ones. ssh notices any wrong byte.
. "$(dirname "$0")/lib.sh"
need ssh scp ssh-keygen sha256sum
SSHD=$(PATH=$PATH:/usr/sbin:/sbin command -v sshd) || skip_all 'sshd is not installed'
net_open
peer_build asan

# ---- a server of this run's own: keys, settings, no PAM -----------------------------------------
mkdir -p /run/sshd
chmod 700 "$WORK"
ssh-keygen -q -t ed25519 -N '' -f "$WORK/host" && ssh-keygen -q -t ed25519 -N '' -f "$WORK/user"
cp "$WORK/user.pub" "$WORK/authorized"
cat >"$WORK/sshd_config" <<EOT
Port 2222
AddressFamily any
HostKey $WORK/host
AuthorizedKeysFile $WORK/authorized
PidFile none
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
StrictModes no
UseDNS no
Subsystem sftp internal-sftp
EOT
cat >"$WORK/ssh_config" <<EOT
Host *
    IdentityFile $WORK/user
    IdentitiesOnly yes
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    GlobalKnownHostsFile /dev/null
    LogLevel ERROR
    BatchMode yes
    ConnectTimeout 20
    KexAlgorithms curve25519-sha256
EOT
ip netns exec "$NS" "$SSHD" -D -e -f "$WORK/sshd_config" >"$WORK/sshd.log" 2>&1 &
PIDS+=($!)
listening() { [ -n "$(inside ss -Hltn "sport = :2222")" ]; }
wait_until 10 listening
ok $? 'a private sshd runs' || sed 's/^/# /' "$WORK/sshd.log"

on_host() { inside timeout 150 ssh -F "$WORK/ssh_config" "$@"; }
for fault in '' 'loss=1%,reorder=1%,dup=1%' 'loss=5%,reorder=3%,dup=2%' 'loss=10%'; do
    peer_start --relay "22=$HOST_IP:2222,23=[$HOST_IP6]:2222" ${fault:+--fault "$fault"}
    # At high losses there are not enough segments in flight to notice most of them without a timeout.
    case $fault in
    loss=10%) bytes=100000 ;;
    loss=5%*) bytes=250000 ;;
    *) bytes=2000000 ;;
    esac
    head -c $bytes /dev/urandom >"$WORK/data"
    sum=$(sha256sum <"$WORK/data")
    for address in "$APP_IP6" "$APP_IP"; do
        label="${fault:-clean}, $address"
        [[ $address = *:* ]] && port=23 bracket="[$address]" || port=22 bracket=$address
        is "$(on_host -p $port "root@$address" 'echo $SSH_CONNECTION' 2>&1 | awk '{print $4}')" 2222 \
            "$label: a command runs behind the relay"
        rm -f "$WORK/up" "$WORK/down"
        inside timeout 150 scp -q -F "$WORK/ssh_config" -P $port "$WORK/data" "root@$bracket:$WORK/up" 2>"$WORK/err"
        is "$(sha256sum <"$WORK/up")" "$sum" "$label: scp there"
        [ "$fault" = 'loss=10%' ] && break
        inside timeout 150 scp -q -F "$WORK/ssh_config" -P $port "root@$bracket:$WORK/data" "$WORK/down" 2>"$WORK/err"
        is "$(sha256sum <"$WORK/down")" "$sum" "$label: scp back"
        is "$(on_host -o 'RekeyLimit 400K' -p $port "root@$address" cat <"$WORK/data" | sha256sum)" "$sum" \
            "$label: there and back at the same time, with new keys on the way"
    done
    app_stop_ok "${fault:-clean}: it ends with status 0"
done
done_testing
