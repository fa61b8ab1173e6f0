#!/usr/bin/env bash
# How POSIX sockets behave, case by case: the same program over the host's stack and over ours, by both ways in, compared line by
# line. Every difference is listed in docs/socket-differences.md with both results; any other is a failure, and so is one that
# is listed and not there any more.
# CONFORM='PART...' runs only the cases whose names begin so.
. "$(dirname "$0")/lib.sh"
. test/socket/net.sh
need_root
[ -x "$B/host/test/socket/conform" ] || skip_all "$B/host/test/socket/conform is not built (make test-bins)"
read -ra parts <<<"${CONFORM:-}"

conform() { # conform PROGRAM OUTPUT: on the stack that is set up
    peer_start helper "$B/host/test/socket/conform-peer" "$WORK/control" $PEER4 $PEER6
    wait_until 5 grep -q ready "$WORK/helper.out"
    sut timeout "${CONFORM_SECONDS:-150}" "$B/host/test/socket/$1" --control "$WORK/control" --self4 $SELF4 --peer4 $PEER4 \
        --self6 $SELF6 --peer6 $PEER6 "${parts[@]}" >"$2" 2>"$2.err"
    local status=$?
    is $status 0 "$1 ends: $(basename "$2")" || sed 's/^/# /' "$2.err" | head -n 20
    sut_stop helper
}
sut_host
conform conform "$WORK/host"
! grep -E ': (hangs|dies|gives up)' "$WORK/host" >"$WORK/bad"
ok $? "the host's stack: $(wc -l <"$WORK/host") lines" || sed 's/^/# /' "$WORK/bad"
sut_close
[ -z "${CONFORM_KEEP:-}" ] || cp "$WORK/host" "$CONFORM_KEEP-host"

differ() { # differ VIA SUFFIX [--part]: unknown differences into $WORK/differences
    test/socket/compare --via "$1" docs/socket-differences.md "$WORK/host$2" "$WORK/$1$2" ${3:-} >"$WORK/differences"
}
# Some cases are races of the program with its peer: a difference counts when it is there twice.
again() { # again VIA: the groups that differed, on both stacks
    local parts
    mapfile -t parts < <(sed -nE 's/: host .*//p' "$WORK/differences" | cut -d . -f 1,2 | sort -u)
    [ ${#parts[@]} -gt 0 ] || return 1
    note "$1: once more: ${parts[*]}"
    sut_host
    conform conform "$WORK/host-again"
    sut_close
    sut_private "$1"
    conform conform "$WORK/$1-again"
    sut_close
    sed -nE 's/: host .*//p' "$WORK/differences" | sort -u >"$WORK/once"
    differ "$1" -again --part
    ! sed -nE 's/: host .*//p' "$WORK/differences" | grep -F -x -q -f "$WORK/once"
}
compare() { # compare VIA
    differ "$1" '' ${CONFORM:+--part}
    local status=$?
    cp "$WORK/differences" "$WORK/first"
    [ $status = 0 ] || ! again "$1" || status=0
    ok $status "$1: the same as the host's stack, but for known differences" || sed 's/^/# /' "$WORK/first" "$WORK/differences"
    note "$1: $(tail -n 1 "$WORK/first")"
}
for via in notify preload; do
    if ! sut_has; then
        skip 'there is no socket server in this build' "$via"
        continue
    fi
    sut_private $via
    conform conform "$WORK/$via"
    sut_close
    compare $via
    [ -z "${CONFORM_KEEP:-}" ] || cp "$WORK/$via" "$CONFORM_KEEP-$via"
done
if sut_has; then
    parts=(tcp4.connected tcp4.reset udp4.bound-data process4 socket)
    CONFORM=part
    sut_private notify
    conform conform-static "$WORK/static"
    sut_close
    grep -E "^($(IFS='|' && echo "${parts[*]}"))" "$WORK/host" >"$WORK/host-static"
    test/socket/compare --via notify --part docs/socket-differences.md "$WORK/host-static" "$WORK/static" >"$WORK/differences"
    ok $? 'a static program is served as any other' || sed 's/^/# /' "$WORK/differences"
fi
done_testing
