#!/usr/bin/env bash
# nginx and lighttpd behind our stack, curl and ab in front of it (test/interop/peer accepts and connects): contents
# compared, uploads, ranges, keep-alive and one connection a request; IPv4 and IPv6; a clean wire and bad ones.
. "$(dirname "$0")/lib.sh"
need curl ab lighttpd sha256sum
PATH=$PATH:/usr/sbin
need nginx
net_open
peer_build asan
chmod 755 "$WORK"
mkdir -m 755 "$WORK/www"
mkdir -m 777 "$WORK/www/up" "$WORK/tmp"
head -c 1000000 /dev/urandom >"$WORK/www/large"
head -c 600 /dev/urandom >"$WORK/www/small"
chmod 644 "$WORK"/www/*large "$WORK"/www/small
sum=$(sha256sum <"$WORK/www/large")

cat >"$WORK/nginx.conf" <<EOT
daemon off;
worker_processes 1;
pid $WORK/nginx.pid;
error_log $WORK/nginx.log;
events { worker_connections 512; }
http {
    access_log off;
    client_body_temp_path $WORK/tmp/body;
    proxy_temp_path $WORK/tmp/proxy;
    fastcgi_temp_path $WORK/tmp/fastcgi;
    uwsgi_temp_path $WORK/tmp/uwsgi;
    scgi_temp_path $WORK/tmp/scgi;
    keepalive_requests 100000;
    client_max_body_size 100m;
    server {
        listen 0.0.0.0:8081;
        listen [::]:8081;
        root $WORK/www;
        location /up/ { dav_methods PUT; }
    }
}
EOT
cat >"$WORK/lighttpd.conf" <<EOT
server.document-root = "$WORK/www"
server.port = 8082
server.bind = "0.0.0.0"
server.errorlog = "$WORK/lighttpd.log"
\$SERVER["socket"] == "[::]:8082" { }
EOT
ip netns exec "$NS" nginx -e "$WORK/nginx.log" -c "$WORK/nginx.conf" 2>"$WORK/nginx.err" &
PIDS+=($!)
ip netns exec "$NS" lighttpd -D -f "$WORK/lighttpd.conf" 2>"$WORK/lighttpd.err" &
PIDS+=($!)
both_listen() { [ "$(inside ss -Hltn 'sport = :8081 or sport = :8082' | wc -l)" -ge 4 ]; }
wait_until 10 both_listen
ok $? 'nginx and lighttpd run' || sed 's/^/# /' "$WORK"/*.err "$WORK"/*.log
get() { inside curl -g -sf -m 150 "$@"; }

for fault in '' 'loss=1%,reorder=1%,dup=1%' 'loss=5%,reorder=3%,dup=2%'; do
    peer_start --relay "81=$HOST_IP:8081,82=$HOST_IP:8082,83=[$HOST_IP6]:8081,84=[$HOST_IP6]:8082" ${fault:+--fault "$fault"}
    requests=2000
    [ "$fault" = '' ] || requests=120
    for address in "$APP_IP" "[$APP_IP6]"; do
        [ "$address" = "$APP_IP" ] && nginx=81 lighttpd=82 || nginx=83 lighttpd=84
        label="${fault:-clean}, $address"
        is "$(get "http://$address:$nginx/large" | sha256sum)" "$sum" "$label: a megabyte from nginx"
        is "$(get "http://$address:$lighttpd/large" | sha256sum)" "$sum" "$label: a megabyte from lighttpd"
        get -r 300000-499999 "http://$address:$lighttpd/large" | cmp -s - <(tail -c +300001 "$WORK/www/large" | head -c 200000)
        ok $? "$label: a range"
        rm -f "$WORK/www/up/file"
        get -T "$WORK/www/large" "http://$address:$nginx/up/file"
        is "$(sha256sum <"$WORK/www/up/file")" "$sum" "$label: a megabyte to nginx"
        inside timeout 150 ab -s 60 -q -k -n $requests -c 16 "http://$address:$nginx/small" >"$WORK/ab" 2>&1
        is "$(sed -nE 's/^(Complete|Failed) requests: *//p' "$WORK/ab" | tr '\n' ' ')" "$requests 0 " \
            "$label: ab with keep-alive" || sed 's/^/# /' "$WORK/ab" | tail -n 3
        inside timeout 150 ab -s 60 -q -n $((requests / 4)) -c 8 "http://$address:$lighttpd/small" >"$WORK/ab" 2>&1
        is "$(sed -nE 's/^(Complete|Failed) requests: *//p' "$WORK/ab" | tr '\n' ' ')" "$((requests / 4)) 0 " \
            "$label: ab, a connection each" || sed 's/^/# /' "$WORK/ab" | tail -n 3
        get "http://$address:$nginx/nothing" >/dev/null
        is $? 22 "$label: not found stays not found"
    done
    app_stop_ok "${fault:-clean}: it ends with status 0"
done
done_testing
