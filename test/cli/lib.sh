# SPDX-License-Identifier: ISC
# What the tests of the tool share: TAP, a sandbox that is removed, the tool under test.
#
#   is_ok "what" COMMAND...          the command succeeds
#   exits N "what" COMMAND...        the command's status is N
#   says PATTERN "what" COMMAND...   its output (both streams) matches the extended pattern
#   has PATTERN "what"               the output of the last command does
#   wait_for COMMAND...              true within half a minute
# The output of the last command is in $out, its status in $status.
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
b=${B:-build}
case $b in /*) ;; *) b=$root/$b ;; esac
mirari=$b/mirari
tests=0 failures=0 out='' status=0

box=$(mktemp -d "${TMPDIR:-/tmp}/mirari-cli.XXXXXX")
chmod 700 "$box"
mkdir -m 700 "$box/runtime"
export XDG_RUNTIME_DIR=$box/runtime
unset CC SOURCE_DATE_EPOCH
clean_up() {
    "$mirari" stop --all -t 1 >/dev/null 2>&1
    chmod -R u+rwx "$box" 2>/dev/null
    rm -rf "$box"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

if [ ! -x "$mirari" ]; then
    echo 1..1
    echo "not ok 1 - no $mirari; run make first"
    exit 1
fi

report() { # report STATUS WHAT
    tests=$((tests + 1))
    if [ "$1" = 0 ]; then
        echo "ok $tests - $2"
    else
        failures=$((failures + 1))
        echo "not ok $tests - $2"
        printf '%s\n' "status $status, output:" "$out" | head -n 40 | sed 's/^/# /'
    fi
}
run() { out=$("$@" 2>&1 </dev/null); status=$?; }
is_ok() { local what=$1; shift; run "$@"; report "$status" "$what"; }
exits() { local want=$1 what=$2; shift 2; run "$@"; [ "$status" = "$want" ]; report $? "$what"; }
has() { grep -Eq -- "$1" <<<"$out"; report $? "$2"; }
has_not() { ! grep -Eq -- "$1" <<<"$out"; report $? "$2"; }
says() { local pattern=$1 what=$2; shift 2; run "$@"; has "$pattern" "$what"; }
check() { local what=$1; shift; "$@" >/dev/null 2>&1; report $? "$what"; }
wait_for() {
    local end=$((SECONDS + 30))
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -ge $end ] && return 1
        sleep 0.02
    done
}
done_testing() { echo "1..$tests"; [ "$failures" = 0 ]; exit; }

# An appliance that prints "ready", waits until it is asked to end, and ends with status 3.
make_waiter() { # make_waiter FOLDER [NAME]
    mkdir -p "$1"
    printf 'name = %s\nmemory = 8\n' "${2:-waiter}" >"$1/app.conf"
    cat >"$1/main.c" <<'END'
#include <mirari/mirari.h>
int mir_app_main(struct mir_app *app)
{
    mir_app_print(app, "ready\n");
    mir_app_wait_stop(app);
    mir_app_print(app, "last words\n");
    return 3;
}
END
}
