#!/usr/bin/env bash
# The website over a tap with curl, wrk and ab: 1 B to 1 GiB in both directions, many at once, ranges, HEAD,
# keep-alive, conditional requests. GIB=0 leaves the largest transfer out.
. "$(dirname "$0")/lib.sh"
need curl wrk ab
pattern=$B/host/test/bench/pattern
[ -x "$pattern" ] || skip_all "$pattern is not built (make bench-bins)"
net_open
tap_start website || done_testing
wait_until 10 tcp_answers "$APP_IP" 80
url=http://$APP_IP
get() { inside curl -s -m 300 "$@"; }

# ---- sizes, both directions ----------------------------------------------------------------------

sizes='0 1 2 535 1447 1448 1449 4096 65535 65536 65537 1000000 10000000 100000000'
[ "${GIB:-1}" = 0 ] || sizes+=' 1073741824'
for size in $sizes; do
    get "$url/bytes/$size" | cmp - <("$pattern" "$size")
    ok $? "out: $size bytes arrive unchanged"
done
for size in $sizes; do
    wanted=$("$pattern" "$size" | "$pattern" sum)
    if [ "$size" -gt 10000000 ]; then
        got=$("$pattern" "$size" | get -X PUT -T - "$url/upload") # chunked: the length is not known before
    else
        "$pattern" "$size" >"$WORK/up"
        got=$(get --data-binary "@$WORK/up" "$url/upload")
    fi
    is "$(sed -E 's/.*length": ([0-9]+), "crc32": "([0-9a-f]+)".*/\1 \2/' <<<"$got")" "$wanted" \
        "in: $size bytes arrive unchanged"
done

# ---- many at once --------------------------------------------------------------------------------

get "$url/" >"$WORK/index"
grep -q '<title>Mirari' "$WORK/index"
ok $? 'the first page is the site'
seq 200 | sed "s|.*|url = $url/\noutput = $WORK/p.&|" >"$WORK/list"
get --no-progress-meter --fail-early -Z --parallel-max 200 --parallel-immediate -K "$WORK/list"
ok $? '200 requests in parallel'
is "$(for f in "$WORK"/p.*; do cmp "$WORK/index" "$f"; done 2>&1; ls "$WORK"/p.* | wc -l)" 200 'each got the whole page'
seq 200 | sed "s|.*|url = $url/bytes/1000000\noutput = $WORK/q.&|" >"$WORK/list"
get --no-progress-meter --fail-early -Z --parallel-max 200 --parallel-immediate -K "$WORK/list"
ok $? '200 transfers of 1 MB in parallel'
"$pattern" 1000000 >"$WORK/mb"
is "$(for f in "$WORK"/q.*; do cmp "$WORK/mb" "$f"; done 2>&1; ls "$WORK"/q.* | wc -l)" 200 'each is whole'
rm -f "$WORK"/q.*

# ---- what HTTP says ------------------------------------------------------------------------------

head_of() { get -I "$@" | tr -d '\r'; }
is_like "$(head_of "$url/")" '^HTTP/1.1 200' 'HEAD is answered'
is "$(head_of "$url/" | sed -n 's/^Content-Length: //Ip')" "$(stat -c %s "$WORK/index")" 'HEAD says the length of GET'
etag=$(head_of "$url/" | sed -n 's/^ETag: //Ip')
is_like "$etag" '^"' 'there is an ETag'
is "$(get -o /dev/null -w '%{http_code} %{size_download}' -H "If-None-Match: $etag" "$url/")" '304 0' \
    'the same ETag: 304 without a body'
is "$(get -o /dev/null -w '%{http_code}' -H 'If-None-Match: "other"' "$url/")" 200 'another ETag: 200'
modified=$(head_of "$url/" | sed -n 's/^Last-Modified: //Ip')
if [ -n "$modified" ]; then
    is "$(get -o /dev/null -w '%{http_code}' -H "If-Modified-Since: $modified" "$url/")" 304 'not modified since: 304'
fi
size=$(stat -c %s "$WORK/index")
range() { get -r "$1" -o "$WORK/range" -w '%{http_code}' "$url/"; }
is "$(range 0-0) $(wc -c <"$WORK/range")" '206 1' 'a range of one byte'
is "$(range 100-299)" 206 'a range in the middle'
cmp "$WORK/range" <(tail -c +101 "$WORK/index" | head -c 200)
ok $? 'it has the right bytes'
is "$(range -100)" 206 'the last 100 bytes'
cmp "$WORK/range" <(tail -c 100 "$WORK/index")
ok $? 'they are the last ones'
is "$(range "$((size - 10))-$((size + 10))") $(wc -c <"$WORK/range")" '206 10' 'a range beyond the end is cut'
is "$(range "$size-")" 416 'a range after the end: 416'
for encoding in gzip br; do
    get -H "Accept-Encoding: $encoding" -D "$WORK/head" "$url/" >"$WORK/packed"
    is_like "$(tr -d '\r' <"$WORK/head")" "[Cc]ontent-[Ee]ncoding: $encoding" "$encoding is chosen when asked for"
done
get --compressed "$url/" | cmp - "$WORK/index"
ok $? 'unpacked it is the same page'
is "$(get -o /dev/null -w '%{http_code}' "$url/nothing/here")" 404 'not there: 404'
is "$(get -o /dev/null -w '%{http_code}' -X DELETE "$url/")" 405 'a method that is not allowed: 405'
is "$(get -o /dev/null -w '%{http_code}' "$url/howto")" 404 'a folder without an index is not a page'
is "$(get -o /dev/null -w '%{http_code} %{redirect_url}' "$url/decisions")" "301 $url/decisions/" \
    'a folder with an index: redirected to its slash'
is "$(get -o /dev/null -w '%{http_code}' --path-as-is "$url/../../etc/passwd")" "$(
    get -o /dev/null -w '%{http_code}' --path-as-is "$url/../nothing")" 'dots do not lead out'
is "$(get -o /dev/null -w '%{http_code}' -H "X-Long: $(head -c 20000 /dev/zero | tr '\0' x)" "$url/")" 431 'headers too long: 431'
is "$(get -o /dev/null -w '%{http_code}' "$url/$(head -c 9000 /dev/zero | tr '\0' x)")" 414 'address too long: 414'
is "$(get -o /dev/null -o /dev/null -o /dev/null -w '%{num_connects} ' "$url/" "$url/style.css" "$url/features.html")" '1 0 0 ' \
    'three requests, one connection'
is "$(printf 'GET /style.css HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' |
    inside nc -N -w 5 "$APP_IP" 80 | tr -d '\r' | grep -a '^HTTP' | cut -d ' ' -f 2 | tr '\n' ' ')" '200 404 ' \
    'two requests in one segment are answered in order'
is_like "$(printf 'NONSENSE\r\n\r\n' | inside nc -N -w 5 "$APP_IP" 80 | tr -d '\r' | head -n 1)" '^HTTP/1.1 400' 'nonsense: 400'

# ---- load ----------------------------------------------------------------------------------------

inside wrk --timeout 30s -t 1 -c 256 -d "${WRK_SECONDS:-10}s" --latency "$url/" >"$WORK/wrk"
! grep -qE 'Socket errors|Non-2xx' "$WORK/wrk"
ok $? "wrk, ${WRK_SECONDS:-10} s, 256 connections: no error" || sed 's/^/# /' "$WORK/wrk"
note "$(grep -E 'Requests/sec|99%' "$WORK/wrk" | tr -s ' ')"
inside ab -q -k -n 20000 -c 50 "$url/style.css" >"$WORK/ab" 2>&1
is "$(sed -n 's/^Failed requests: *//p; s/^Complete requests: *//p' "$WORK/ab" | tr '\n' ' ')" '20000 0 ' 'ab -k: 20,000 requests, none failed'
inside ab -q -n 3000 -c 50 "$url/style.css" >"$WORK/ab" 2>&1
is "$(sed -n 's/^Failed requests: *//p; s/^Complete requests: *//p' "$WORK/ab" | tr '\n' ' ')" '3000 0 ' 'ab without keep-alive: 3,000, none failed'

is "$(counter responses_5xx)" 0 'no answer was a 5xx'
app_stop_ok
done_testing
