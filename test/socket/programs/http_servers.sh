# shellcheck shell=bash
# SPDX-License-Identifier: ISC
# nginx, lighttpd and Apache on the tested stack; curl and ab on the peer, and wget over IPv6.
http_server() { # http_server NAME PORT
    local name=$1 port=$2
    wait_until 15 peer_can_reach "$port"
    ok $? "$VIA: $name: it listens" || {
        tail -n 5 "$WORK/$name.out" | sed 's/^/# /'
        return
    }
    is "$(peer curl -sf -m 20 "http://$SELF4:$port/large" | sha256sum)" "$LARGE_SUM" "$VIA: $name: a megabyte"
    is "$(peer curl -g -sf -m 20 "http://[$SELF6]:$port/large" | sha256sum)" "$LARGE_SUM" "$VIA: $name: the same over IPv6"
    is "$(peer curl -s -m 20 -r 5-9 "http://$SELF4:$port/small" | wc -c)" 5 "$VIA: $name: a range"
    is "$(peer curl -s -m 20 -o /dev/null -w '%{http_code}' "http://$SELF4:$port/none")" 404 "$VIA: $name: what is not there"
    ab_ok peer "$SELF4" "$port" 1000 8 -k "$VIA: $name: ab, connections kept"
    ab_ok peer "$SELF4" "$port" 200 8 "" "$VIA: $name: ab, a connection each"
    sut_stop "$name"
}
if has nginx; then
    cat >"$WORK/nginx.conf" <<EOT
daemon off;
user www-data;
worker_processes 2;
pid $WORK/nginx.pid;
error_log $WORK/nginx.log info;
events { worker_connections 256; }
http {
    access_log $WORK/nginx.access;
    client_body_temp_path $WORK/tmp/b; proxy_temp_path $WORK/tmp/p; fastcgi_temp_path $WORK/tmp/f;
    uwsgi_temp_path $WORK/tmp/u; scgi_temp_path $WORK/tmp/s;
    sendfile on; tcp_nopush on;
    server { listen 8001; listen [::]:8001; root $WORK/www; }
}
EOT
    sut_start nginx nginx -e "$WORK/nginx.log" -c "$WORK/nginx.conf"
    http_server nginx 8001
fi
if has lighttpd; then
    cat >"$WORK/lighttpd.conf" <<EOT
server.document-root = "$WORK/www"
server.port = 8002
server.username = "www-data"
server.errorlog = "$WORK/lighttpd.log"
\$SERVER["socket"] == "[::]:8002" { }
EOT
    touch "$WORK/lighttpd.log" && chmod 666 "$WORK/lighttpd.log"
    sut_start lighttpd lighttpd -D -f "$WORK/lighttpd.conf"
    http_server lighttpd 8002
fi
if has apache2; then
    cat >"$WORK/apache.conf" <<EOT
ServerRoot $WORK
ServerName test
PidFile $WORK/apache.pid
Listen 8003
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
StartServers 2
ErrorLog $WORK/apache.log
DocumentRoot $WORK/www
<Directory $WORK/www>
    Require all granted
</Directory>
Mutex file:$WORK/tmp
EOT
    sut_start apache2 apache2 -DFOREGROUND -f "$WORK/apache.conf"
    http_server apache2 8003
fi
