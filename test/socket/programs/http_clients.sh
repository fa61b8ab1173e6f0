# shellcheck shell=bash
# SPDX-License-Identifier: ISC
# curl, wget, ab, wrk, git and Python's requests on the tested stack; lighttpd on the peer.
if has lighttpd; then
    cat >"$WORK/origin.conf" <<EOT
server.document-root = "$WORK/www"
server.port = 8101
server.errorlog = "$WORK/origin.log"
\$SERVER["socket"] == "[::]:8101" { }
EOT
    peer_start origin lighttpd -D -f "$WORK/origin.conf"
    wait_until 10 peer nc -z $PEER4 8101
    if has curl; then
        is "$(sut curl -sf -m 20 "http://$PEER4:8101/large" | sha256sum)" "$LARGE_SUM" "$VIA: curl: a megabyte"
        is "$(sut curl -g -sf -m 20 "http://[$PEER6]:8101/large" | sha256sum)" "$LARGE_SUM" "$VIA: curl: over IPv6"
        sut curl -s -m 10 "http://$PEER4:8109/"
        is $? 7 "$VIA: curl: a refused connection"
        sut curl -s -m 10 --connect-timeout 1 http://10.201.0.1/
        is $? 28 "$VIA: curl: nobody answers"
        is "$(sut curl -s -m 20 --parallel --parallel-max 8 -o '/dev/null' -w '%{http_code}\n' \
            "http://$PEER4:8101/small?[1-20]" 2>/dev/null | sort | uniq -c | xargs)" '20 200' "$VIA: curl: twenty at a time"
    fi
    if has wget; then
        is "$(sut wget -q -T 20 -t 1 -O - "http://$PEER4:8101/large" | sha256sum)" "$LARGE_SUM" "$VIA: wget: a megabyte"
        is "$(sut wget -q -T 20 -t 1 -O - "http://[$PEER6]:8101/small" | sha256sum)" "$SMALL_SUM" "$VIA: wget: over IPv6"
    fi
    ab_ok sut "$PEER4" 8101 300 8 -k "$VIA: ab: connections kept"
    ab_ok sut "$PEER4" 8101 100 4 "" "$VIA: ab: a connection each"
    if has wrk; then
        sut wrk -t1 -c8 -d1 "http://$PEER4:8101/small" >"$WORK/wrk" 2>&1
        is_like "$(<"$WORK/wrk")" 'Requests/sec: +[1-9]' "$VIA: wrk: it measures"
        ! grep -q 'Socket errors\|Non-2xx' "$WORK/wrk"
        ok $? "$VIA: wrk: no errors" || sed 's/^/# /' "$WORK/wrk"
    fi
    if has git; then
        if [ ! -d "$WORK/www/repo.git" ]; then
            git init -q "$WORK/repo" && cp "$WORK/www/large" "$WORK/repo/file"
            git -C "$WORK/repo" add file
            git -C "$WORK/repo" -c user.name=t -c user.email=t@t commit -qm one
            git clone -q --bare "$WORK/repo" "$WORK/www/repo.git"
            git -C "$WORK/www/repo.git" update-server-info
        fi
        rm -rf "$WORK/clone"
        sut git clone -q "http://$PEER4:8101/repo.git" "$WORK/clone" 2>"$WORK/git.err"
        is "$(sha256sum 2>/dev/null <"$WORK/clone/file")" "$LARGE_SUM" "$VIA: git: a clone over http" || sed 's/^/# /' "$WORK/git.err"
    fi
    if /usr/bin/python3 -c 'import requests' 2>/dev/null; then
        cat >"$WORK/session.py" <<'EOT'
import hashlib, sys, requests
with requests.Session() as s:
    print(hashlib.sha256(s.get(sys.argv[1] + "/large", timeout=20).content).hexdigest())
    print(all(s.get(sys.argv[1] + "/small", timeout=20).ok for _ in range(10)))
EOT
        is "$(sut /usr/bin/python3 "$WORK/session.py" "http://$PEER4:8101" 2>&1)" "${LARGE_SUM%% *}
True" "$VIA: Python requests: a session"
    fi
    sut_stop origin
fi
