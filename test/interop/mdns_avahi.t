#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# Multicast DNS with a real peer: avahi on the other side of a tap, in a network namespace with a message bus of its
# own. Avahi finds our name and service, sees them go, and neither side takes the other's name.
. "$(dirname "$0")/lib.sh"
need avahi-daemon avahi-resolve avahi-browse avahi-publish dbus-daemon unshare
net_open
sysctl_of() { inside sysctl -qw "$@"; }
sysctl_of net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0

export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$WORK/bus
cat >"$WORK/bus.conf" <<CONF
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path=$WORK/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/><allow user="*"/>
  </policy>
</busconfig>
CONF
dbus-daemon --config-file="$WORK/bus.conf" --nofork --nopidfile >"$WORK/bus.log" 2>&1 &
PIDS+=($!)
wait_until 10 test -S "$WORK/bus"
ok $? 'a message bus of our own'

avahi() { # avahi HOST: its runtime folder is fixed, so it gets a mount namespace too
    cat >"$WORK/avahi.conf" <<CONF
[server]
host-name=$1
use-ipv4=yes
use-ipv6=yes
enable-dbus=yes
[publish]
publish-hinfo=no
publish-workstation=no
CONF
    mkdir -p "$WORK/empty"
    ip netns exec "$NS" unshare --mount sh -c 'mkdir -p /run/avahi-daemon && mount -t tmpfs none /run/avahi-daemon &&
        mount --bind "$1/empty" /etc/avahi/services && exec avahi-daemon -f "$1/avahi.conf" --no-drop-root --no-chroot \
        --no-rlimits' sh "$WORK" >"$WORK/avahi.log" 2>&1 &
    AVAHI=$!
    PIDS+=("$AVAHI")
    wait_until 40 grep -qs 'Server startup complete' "$WORK/avahi.log"
}

tap_start website --announce mirari --ip6 link-local
is_like "$(ip -n "$NS" link show dev mir0)" MULTICAST 'our tap is an interface for groups'
wait_until 20 grep -q '^announced' "$APP_OUT"
ok $? 'we are there first'
avahi linux
ok $? 'avahi comes' || sed 's/^/# /' "$WORK/avahi.log"
# It gives up after seconds of its own choice; a busy machine may need a second question.
SAID=
says() { # says REGEX COMMAND...
    SAID=$(inside timeout 15 "${@:2}" 2>&1)
    [[ $SAID =~ $1 ]]
}
wait_until 30 says "^mirari.local[[:space:]]+$APP_IP\$" avahi-resolve -4 -n mirari.local
ok $? 'it resolves our name' || note "$SAID"
wait_until 30 says '^mirari.local[[:space:]]+fe80:' avahi-resolve -6 -n mirari.local
ok $? 'over IPv6 too' || note "$SAID"
wait_until 30 says '=.*;mirari;_http._tcp;local;mirari.local;.*;80;' avahi-browse -krpt _http._tcp
ok $? 'it browses and resolves our service' || note "$SAID"
wait_until 30 says ';mirari;_http._tcp;local' avahi-browse -katp
ok $? 'and finds its type among all' || note "$SAID"

# We ask too, as a plain resolver does, over a bridge that stays there while we come and go: avahi probes for its
# name on each new link for a second, and does not answer meanwhile.
inside sh -c 'ip link add br0 type bridge mcast_snooping 0 && ip link add d0 type veth peer name d1 && ip link set d1 up && ip link set d0 master br0 up &&
    ip link set br0 up && ip address add 10.78.0.1/24 dev br0 && ip tuntap add tapq mode tap && ip link set tapq master br0 up'
ip netns exec "$NS" timeout 120 avahi-publish -s 'Linux Printer' _ipp._tcp 631 'rp=x' >"$WORK/publish" 2>&1 &
PIDS+=($!)
wait_until 30 grep -q Established "$WORK/publish"
asks() { # asks TYPE NAME
    inside timeout 20 "$(app_binary lookup)" --net tap:tapq --ip 10.78.0.2/24 --ip6 link-local --type "$1" --names "$2" 2>&1
}
resolves() { asks A linux.local | grep -q '^linux.local A 10\.78\.0\.1$'; }
wait_until 60 resolves
ok $? 'we resolve its name' || asks A linux.local | sed 's/^/# /'
finds() { SAID=$(asks PTR _ipp._tcp.local) && [[ $SAID == *'Linux\032Printer._ipp._tcp.local'* ]]; }
wait_until 30 finds
ok $? 'and find its service' || note "$SAID"
is_like "$(asks A nobody-here.local)" 'nobody-here.local: no such name' 'a name that nobody has is none'

# It says goodbye: whoever browses sees it go within a second, and not after 75 minutes.
ip netns exec "$NS" timeout 60 avahi-browse -kp _http._tcp >"$WORK/watch" 2>&1 &
PIDS+=($!)
wait_until 20 grep -q '^+.*;mirari;' "$WORK/watch"
app_stop_ok
wait_until 20 grep -q '^-.*;mirari;' "$WORK/watch"
ok $? 'our goodbye is understood'

# Both want "linux" on a link that has just come up: one gets it, the other one takes "linux-2".
tap_start website --announce linux --ip6 link-local
ours() { sed -n 's|^announced: http://\([^ ]*\)\.local.*|\1|p' "$APP_OUT" | tail -n 1; }
address_of() { inside timeout 3 avahi-resolve -4 -n "$1.local" 2>/dev/null | cut -f 2; }
settled() {
    case $(ours) in
    linux) [ "$(address_of linux)" = "$APP_IP" ] && [ "$(address_of linux-2)" = "$HOST_IP" ] ;;
    linux-2) [ "$(address_of linux-2)" = "$APP_IP" ] && [ "$(address_of linux)" = "$HOST_IP" ] ;;
    *) false ;;
    esac
}
wait_until 60 settled
ok $? 'of two that want one name each has one of its own' || sed 's/^/# /' "$APP_OUT" "$WORK/avahi.log"
note "ours: $(ours)"
app_stop_ok

# The other way round: we have the name, avahi wants it.
tap_start website --announce contested --ip6 link-local
wait_until 20 grep -q '^announced: http://contested.local' "$APP_OUT"
kill "$AVAHI"
wait "$AVAHI" 2>/dev/null
avahi contested
wait_until 40 grep -q 'contested-2.local' "$WORK/avahi.log"
ok $? 'avahi leaves our name to us' || sed 's/^/# /' "$WORK/avahi.log"
is "$(grep -c '^announced: http://contested-2' "$APP_OUT")" 0 'we keep it'
wait_until 30 says "$APP_IP" avahi-resolve -4 -n contested.local
ok $? 'and are found by it' || note "$SAID"
app_stop_ok
done_testing
