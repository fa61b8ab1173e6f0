#!/usr/bin/env bash
# The appliance of docs/howto/new-appliance.md, taken out of the page, builds without a warning and does what it says.
. "$(dirname "$0")/lib.sh"
need nc python3
[ -x "$B/mirari" ] || skip_all "$B/mirari is not built"
mirari=$(realpath "$B/mirari")
page=docs/howto/new-appliance.md
# The first fenced block of a language.
block() { awk -v fence='```'"$1" '$0 == fence {on = 1; next} on && /^```$/ {exit} on' "$page"; }

"$mirari" new hello daytime "$WORK/daytime" >"$WORK/made"
ok $? 'mirari new makes the folder'
block ucl >"$WORK/daytime/app.conf"
block c >"$WORK/daytime/main.c"
"$mirari" build -C "$WORK/daytime" >"$WORK/build" 2>&1
ok $? 'what the page shows builds' || sed 's/^/# /' "$WORK/build"
! grep -qi warning "$WORK/build"
ok $? 'without a warning'

port=$(free_port)
APP_BINARY=$WORK/daytime/_build/unix/daytime
if app_start daytime --net user -p "127.0.0.1:$port:13" --greeting 'It is'; then
    is_like "$(nc -w 5 127.0.0.1 "$port" </dev/null)" '^It is [0-9]{10}' 'it tells the time, with the parameter given'
    app_stop_ok
fi
"$APP_BINARY" --greting 'It is' >"$WORK/bad" 2>&1
is $? 64 'a misspelt parameter ends with status 64'
is_like "$(cat "$WORK/bad")" 'greeting' 'and the near one is named'
done_testing
