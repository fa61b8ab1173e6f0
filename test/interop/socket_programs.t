#!/usr/bin/env bash
# Unmodified programs, each with its own configuration, over our stack by both ways in: test/socket/programs/*.sh. They are checked
# by other programs at the other end, on the host's stack. PROGRAMS='http_servers names' runs some; VIAS='host' runs them over the
# host's stack, which shows that the scripts are right.
. "$(dirname "$0")/lib.sh"
. test/socket/net.sh
PATH=$PATH:/usr/sbin:/usr/local/go/bin
need_root
need curl nc ab python3 sha256sum

MISSING=
has() { # has PROGRAM...: are they here? What is missing is named once
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || {
            [[ $MISSING == *" $program"* ]] || skip 'it is not installed' "$program"
            MISSING+=" $program"
            return 1
        }
    done
}
peer_can_reach() { peer nc -z -w 1 $SELF4 "$1" 2>/dev/null; }
peer_listens() { [ -n "$(peer ss -Hltn "sport = :$1")" ]; }
server_listens() { # without a connection, which would be the one that nc serves
    if [ "$VIA" = host ]; then
        [ -n "$(sut ss -Hltn "sport = :$1")" ]
    else
        "$B/mirari" socket netstat --on "$SUT_SERVER" 2>/dev/null | grep -q "[.:]$1\b"
    fi
}
ab_ok() { # ab_ok WHO ADDRESS PORT REQUESTS AT-A-TIME FLAG NAME
    "$1" timeout 40 ab -q ${6:+"$6"} -n "$4" -c "$5" "http://$2:$3/small" >"$WORK/ab" 2>&1
    is "$(sed -nE 's/^(Complete|Failed) requests: *//p' "$WORK/ab" | xargs)" "$4 0" "$7" || sed 's/^/# /' "$WORK/ab" | tail -n 3
}
chmod 755 "$WORK"
mkdir -m 755 "$WORK/www"
mkdir -m 777 "$WORK/tmp"
head -c 1000000 /dev/urandom >"$WORK/www/large"
head -c 600 /dev/urandom >"$WORK/www/small"
chmod 644 "$WORK/www/"*
LARGE_SUM=$(sha256sum <"$WORK/www/large")
SMALL_SUM=$(sha256sum <"$WORK/www/small")

if ! sut_has && [ "${VIAS:-}" != host ]; then
    skip_all 'there is no socket server in this build'
fi
for VIA in ${VIAS:-notify preload}; do
    # PostgreSQL refuses to be root, and a preloaded library asks the server as the user that its program is.
    if [ "$VIA" = host ]; then sut_host; else sut_ours "$VIA" --allow-uid "$(id -u postgres 2>/dev/null || echo 0)"; fi
    for part in ${PROGRAMS:-http_servers http_clients names stores tools languages}; do
        start=$EPOCHREALTIME
        . "test/socket/programs/$part.sh"
        note "$VIA: $part: $(((${EPOCHREALTIME/./} - ${start/./}) / 1000)) ms"
    done
    sut_close
done
done_testing
