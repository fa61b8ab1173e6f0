# shellcheck shell=bash
# SPDX-License-Identifier: ISC
# redis, memcached and PostgreSQL, servers and clients on the tested stack.
if has redis-server redis-cli redis-benchmark; then
    redis() { # redis WHERE: a server with its own configuration
        printf '%s\n' 'port 6401' 'bind * -::*' 'protected-mode no' 'save ""' 'appendonly no' "dir $WORK" >"$WORK/redis.conf"
        "$1_start" redis redis-server "$WORK/redis.conf"
    }
    redis sut
    wait_until 10 peer_can_reach 6401
    is "$(peer redis-cli -h $SELF4 -p 6401 set key value)" OK "$VIA: redis: set"
    is "$(peer redis-cli -h $SELF6 -p 6401 get key)" value "$VIA: redis: get over IPv6"
    peer timeout 30 redis-benchmark -h $SELF4 -p 6401 -q -n 3000 -c 20 -P 4 -t set,get,incr >"$WORK/bench" 2>&1
    is "$(tr '\r' '\n' <"$WORK/bench" | grep -c 'requests per second')" 3 "$VIA: redis: a benchmark of the peer" || tail -n 3 "$WORK/bench"
    sut_stop redis
    redis peer
    wait_until 10 peer nc -z $PEER4 6401
    sut timeout 30 redis-benchmark -h $PEER4 -p 6401 -q -n 2000 -c 20 -t set,get >"$WORK/bench" 2>&1
    is "$(tr '\r' '\n' <"$WORK/bench" | grep -c 'requests per second')" 2 "$VIA: redis-benchmark: it measures" || tail -n 3 "$WORK/bench"
    sut_stop redis
fi
if has memcached; then
    sut_start memcached memcached -u nobody -p 11401 -U 11401 -t 2
    wait_until 10 peer_can_reach 11401
    is "$(printf 'set k 0 0 5\r\nhello\r\nget k\r\nquit\r\n' | peer nc -w 5 $SELF4 11401 | tr -d '\r' | xargs)" 'STORED VALUE k 0 5 hello END' \
        "$VIA: memcached: set and get"
    is "$(peer python3 - "$SELF4" 2>&1 <<'EOT'
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.sendto(b"\0\1\0\0\0\1\0\0get k\r\n", (sys.argv[1], 11401))
print(s.recv(100)[8:].split()[-2].decode())
EOT
)" hello "$VIA: memcached: over UDP"
    sut_stop memcached
fi
PG=$(dirname "$(ls /usr/lib/postgresql/*/bin/postgres 2>/dev/null | tail -n 1)" 2>/dev/null)
if [ -x "$PG/postgres" ] && id postgres >/dev/null 2>&1; then
    as_postgres=(setpriv --reuid postgres --regid postgres --clear-groups)
    if [ ! -d "$WORK/pg" ]; then
        install -d -o postgres -m 700 "$WORK/pg"
        "${as_postgres[@]}" "$PG/initdb" -D "$WORK/pg" -A trust -U postgres --no-sync >/dev/null 2>&1
        printf '%s\n' "listen_addresses = '*'" 'port = 5401' "unix_socket_directories = ''" 'fsync = off' >>"$WORK/pg/postgresql.conf"
        echo 'host all all 0.0.0.0/0 trust' >>"$WORK/pg/pg_hba.conf"
        echo 'host all all ::0/0 trust' >>"$WORK/pg/pg_hba.conf"
    fi
    postgres_is_up() { peer "$PG/pg_isready" -q -h "$1" -p 5401; }
    sut_start postgres "${as_postgres[@]}" "$PG/postgres" -D "$WORK/pg"
    wait_until 15 postgres_is_up $SELF4
    is "$(peer psql -h $SELF4 -p 5401 -U postgres -Atc 'select 6*7')" 42 "$VIA: PostgreSQL: a query" || tail -n 3 "$WORK/postgres.out"
    is "$(peer psql -h $SELF6 -p 5401 -U postgres -Atc "select length(repeat('x', 1000000))")" 1000000 "$VIA: PostgreSQL: over IPv6"
    peer "$PG/pgbench" -q -i -h $SELF4 -p 5401 -U postgres postgres >/dev/null 2>&1
    is_like "$(peer timeout 30 "$PG/pgbench" -h $SELF4 -p 5401 -U postgres -c 4 -t 25 postgres 2>&1)" 'processed: 100/100' \
        "$VIA: PostgreSQL: pgbench"
    sut_stop postgres
    peer_start postgres "${as_postgres[@]}" "$PG/postgres" -D "$WORK/pg"
    wait_until 15 postgres_is_up $PEER4
    is "$(sut psql -h $PEER4 -p 5401 -U postgres -Atc 'select 6*7')" 42 "$VIA: psql: a query"
    is_like "$(sut timeout 30 "$PG/pgbench" -S -h $PEER4 -p 5401 -U postgres -c 4 -t 50 postgres 2>&1)" 'processed: 200/200' \
        "$VIA: pgbench: a run"
    sut_stop postgres
fi
